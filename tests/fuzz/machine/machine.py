"""The machine: a rule for each kind of request, and one for time. Hypothesis draws sequences of them.

Each rule sends a request to a node, over HTTP without a socket, and makes the same change in the model. The status and
the body must equal those of the model, and a refused request must change nothing.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from tests.api.conversation import Connection, request
from tests.api.scraping import named, series
from tests.fuzz.machine.configuration import Configuration
from tests.fuzz.machine.model import events_for
from tests.fuzz.machine.node_machine import CLIENT, apps, keys, object_of, versions
from tests.fuzz.machine.registrations import Registrations
from tests.fuzz.machine.wrong_requests import WRONG


class ApiMachine(Registrations, Configuration):
    """Rules for requests to all routes and for time, and the invariants after each rule."""

    @initialize(chosen=st.lists(keys, max_size=4), serves=st.booleans())
    def begin(self, chosen: list[str], serves: bool) -> None:
        """Register some instances, and set a backend that one of them serves, if `serves`."""
        for key in chosen:
            self.register(key, {}, in_path=True)
            self.renew(key)
        if serves and chosen:
            _, app, version, _, _ = chosen[0].split("/")
            self.create("backend", "site", {"app": app, "version": version}, "", None)
            self.create("frontend", "edge", {"backend": "site"}, "", None)

    # Mistakes that would stop traffic.

    @rule(key=keys, number=st.integers(0, 1), how=st.sampled_from(["remove", "move", "drain", "weight", "redirect"]))
    def make_a_mistake(self, key: str, number: int, how: str) -> None:
        """Send a change without `force` that the node refuses while traffic is served."""
        if how == "remove":
            self.remove("backend", number, "", None)
        elif how == "move":
            self.put("backend", ("site", "shop")[number], {"app": "api", "version": "1"}, "", None, None)
        elif how == "drain":
            self.set_state(key, "drain", 7.0, "", None)
        elif how == "redirect":
            self.put("frontend", ("edge", "www")[number], {"backend": "shop"}, "", None, None)
        else:  # which nobody refuses, but which counts in what is refused later
            for each in [*self.model.registered]:
                self.register(each, {"weight": 0}, in_path=False)

    # Events and consumers.

    @rule(app=st.none() | apps)
    def poll(self, app: str | None) -> None:
        """Poll all events since the last poll: each event must be returned once."""
        query = "" if app is None else f"&app={app}"
        found = self.request("GET", f"/events?since={self.cursor}{query}").json
        self.expect_answer(200, found, self.request("GET", f"/events?last={len(found['events'])}{query}"))
        self.assert_same_events(found["events"], [*events_for(self.model.events[self.seen :], app)])
        self.cursor, self.seen = found["cursor"], len(self.model.events)

    @precondition(lambda self: self.waiting is None)
    @rule(app=st.none() | apps, wait_s=st.sampled_from([3, 30]))
    def begin_long_poll(self, app: str | None, wait_s: int) -> None:
        """Send a poll that waits for the first event."""
        self.poll(None)
        connection = Connection(self.site, (CLIENT, 40_001))
        query = "" if app is None else f"&app={app}"
        connection.send(request("GET", f"/events?since={self.cursor}&wait={wait_s}{query}"))
        self.waiting = (connection, app, len(self.model.events), self.model.now + wait_s)

    @rule(name=st.sampled_from(["haproxy", "dns"]))
    def confirm(self, name: str) -> None:
        """Confirm the cursor of the last poll as a consumer."""
        response = self.request("PUT", f"/consumers/{name}", {"cursor": self.cursor})
        assert response.status == 200, response
        found = response.json
        assert (found["name"], found["cursor"], found["node"]) == (name, self.cursor, "n1"), found
        assert found["behind"] == len(self.model.events) - self.seen, (found, len(self.model.events), self.seen)
        listed = [each["name"] for each in self.request("GET", "/consumers").json]
        assert name in listed and listed == sorted(listed), listed

    # The rest.

    def look_at_the_node(self) -> None:
        status = self.request("GET", "/status").json
        counts = status["counts"]
        assert status["ready"] and status["peers"] == [], status
        assert counts["registrations"] == len(self.model.registered), counts
        assert counts["backends"] == len(self.model.objects("backend")), counts
        assert counts["frontends"] == len(self.model.objects("frontend")), counts
        self.expect_answer(200, {"ready": True, "node": "n1"}, self.request("GET", "/ready"))
        assert self.request("GET", "/").json["name"] == "bender"
        (own,) = self.request("GET", "/nodes").json
        assert (own["node"], own["hears"]) == ("n1", []), own
        self.expect_answer(200, {"required": False, "token": None, "scopes": ["admin"]}, self.request("GET", "/token"))
        for path in ("/page/main.js", "/page/views/now.js"):
            assert self.request("GET", path).headers["content-type"].startswith("text/javascript"), path
        self.expect_error("NOT_FOUND", self.request("GET", "/page/views/nothing.js"))
        self.look_at_metrics()
        self.expect_object("/guard", [])
        self.expect_error("NOT_FOUND", self.request("GET", "/guard/web"))
        self.expect_error("NOT_FOUND", self.request("DELETE", "/guard/web"))

    def look_at_metrics(self) -> None:
        """Compare the metrics of listed registrations, in total and by app, and of backends without traffic."""
        response = self.request("GET", "/metrics")
        assert response.status == 200, response
        values = series(response.body)
        listed = Counter(key.split("/")[1] for key in self.model.registered)
        shown: Counter[str] = Counter()
        for labels, count in named(values, "bender_registrations").items():
            shown[labels.split('"')[1]] += int(count)
        assert shown == listed, (shown, listed)
        serving = [self.members_with_weight(each["name"]) for each in self.model.objects("backend")]
        assert values["bender_backends_without_members"] == serving.count(0), (values, serving)

    def members_with_weight(self, name: str) -> int:
        """Return the number of members with traffic in the API."""
        return sum(member["weight"] > 0 for member in self.request("GET", f"/backends/{name}/members").json)

    @rule(key=keys, app=apps, version=versions, number=st.integers(0, 1))
    def look_around(self, key: str, app: str, version: str, number: int) -> None:
        """Send one request of each kind that changes nothing."""
        self.look_at_registrations(app, version)
        self.look_at_one(key)
        self.explain(key)
        self.ask_for_claims(key)
        self.look_at_state(key)
        for kind in ("backend", "frontend"):
            self.look_at_objects(kind, number)
        self.look_at_members(("site", "shop")[number])
        self.look_at_the_node()

    @rule(number=st.integers(0, 99))
    def ask_what_is_wrong(self, number: int) -> None:
        """Send a request that is always refused. An invariant checks that it changes nothing."""
        method, path, body, code = WRONG[number % len(WRONG)]
        self.expect_error(code, self.request(method, path, body))

    @rule(seconds=st.integers(1, 12))
    def pass_time(self, seconds: int) -> None:
        self.pass_seconds(seconds)

    @precondition(lambda self: self.waiting is None)
    @rule(seconds=st.sampled_from([2, 5, 25]))
    def pause_node(self, seconds: int) -> None:
        """Pause the node, as a machine may do."""
        self.clock.advance(seconds)
        self.node.sweep()
        self.model.pause_node(seconds)
        self.end_what_is_due()

    @invariant()
    def long_polls_are_answered(self) -> None:
        """A long poll is answered at the first event, and not earlier."""
        self.check_long_poll()

    @invariant()
    def check_snapshot(self) -> None:
        """A snapshot has all objects, and then `synced`."""
        found = self.request("GET", "/events?snapshot=true").json
        *shown, synced = found["events"]
        assert synced["event"] == "synced" and found["cursor"] == synced["cursor"], found
        assert all(each["snapshot"] for each in shown)
        bodies = [*map(object_of, shown)]
        objects = [*self.model.objects("backend"), *self.model.objects("frontend")]
        assert bodies == [*self.model.listing(), *objects], (bodies, self.model.listing(), objects)

    def teardown(self) -> None:
        if hasattr(self, "model"):
            self.poll(None)


def try_histories(count: int, *, same_each_time: bool = False) -> None:
    """Try `count` sequences of requests. An error shows the shortest sequence with an answer that differs."""
    options = settings(max_examples=count, stateful_step_count=40, derandomize=same_each_time, deadline=None)
    run_state_machine_as_test(ApiMachine, settings=settings(options, database=None, report_multiple_bugs=False))
