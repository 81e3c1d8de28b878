"""A node, its model, and a client that compares the answers of both."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine
from twisted.internet.task import Clock

from bender.api import site
from tests.api.conversation import Connection, Response, a_node, parsed, request
from tests.fuzz.machine.model import Event, Json, Model, events_for

CLIENT = "10.9.9.9"
STATUS_OF = {
    "INVALID": 400,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "CONFLICT": 409,
    "STALE": 412,
    "TOO_LARGE": 413,
}

apps = st.sampled_from(["web", "api"])
versions = st.sampled_from(["1", "2"])
keys = st.builds(
    "registration/{}/{}/{}/{}".format, apps, versions, st.sampled_from(["10.0.0.1", "10.0.0.2"]), st.just(80)
)
forces = st.sampled_from(["", "", "?force", "?force=1"])


def path_of(key: str) -> str:
    return "/" + key.replace("registration/", "registrations/", 1)


class NodeMachine(RuleBasedStateMachine):
    """A node and its model, with the requests and checks that all rules use."""

    #: The method and path of each request that any machine has sent.
    requests: ClassVar[set[tuple[str, str]]] = set()

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.node = a_node(self.clock, "n1")
        self.site = site(self.node, self.clock)
        self.model = Model()
        self.cursor: str = self.request("GET", "/events").json["cursor"]
        #: The index in the model's events to which the cursor belongs.
        self.seen = 0
        #: The tag and the body of the last answer, by path.
        self.tagged: dict[str, tuple[str, Any]] = {}
        #: A waiting long poll, with its app, its index in the events, and its end.
        self.waiting: tuple[Connection, str | None, int, float] | None = None

    def request(self, method: str, path: str, body: object = None, **headers: str) -> Response:
        connection = Connection(self.site, (CLIENT, 40_000))
        connection.send(request(method, path, body, **headers))
        (response,) = parsed(connection.received(), head=method == "HEAD")
        self.requests.add((method, path.partition("?")[0]))
        return response

    def expect_error(self, code: str, response: Response) -> None:
        """Check that an answer is this error."""
        assert response.status == STATUS_OF[code], (code, response)
        assert response.json["code"] == code and response.json["message"], response

    def expect_answer(self, status: int, body: Any, response: Response) -> None:
        """Check the status and the body of an answer."""
        assert response.status == status, (status, response)
        assert response.json == body, (body, response.json)

    def expect_object(self, path: str, body: Any) -> None:
        """Request an object or list, and check its body and its tag."""
        response = self.request("GET", path)
        self.expect_answer(200, body, response)
        tag = response.headers["etag"]
        before = self.tagged.get(path)
        if before is not None:
            again = self.request("GET", path, None, If_None_Match=before[0])
            assert again.status == 304 if before[0] == tag else again.status == 200, (before, again)
            assert before[0] != tag or before[1] == body, "another content has the same tag"
        self.tagged[path] = (tag, body)
        unchanged = self.request("GET", path, None, If_None_Match=f'"other", W/{tag}')
        assert (unchanged.status, unchanged.body) == (304, b""), unchanged
        head = self.request("HEAD", path)
        assert (head.status, head.headers["etag"], head.body) == (200, tag, b""), head

    def pass_seconds(self, seconds: int) -> None:
        self.check_long_poll()  # before time passes: the answer must not have later events
        for _ in range(seconds):
            self.clock.advance(1)
            self.node.sweep()
            self.model.pass_second()
            self.end_what_is_due()
            self.check_long_poll()

    def end_what_is_due(self) -> None:
        """End registrations in the model that may expire now, if the node has ended them."""
        for key in self.model.ids_due():
            if self.request("GET", path_of(key)).status == 404:
                self.model.deregister(key, "expired")

    def check_long_poll(self) -> None:
        """Check that the long poll is answered with the first events, or at its end, and not earlier."""
        self.clock.advance(0)
        if self.waiting is None:
            return
        connection, app, place, until = self.waiting
        expected = [*events_for(self.model.events[place:], app)]
        received = connection.received()
        if not expected and self.model.now < until:
            assert received == b"", received
            return
        (response,) = parsed(received)
        found = response.json["events"]
        if found or self.model.now < until:  # otherwise, the poll ended just before the events
            self.assert_same_events(found, expected)
        self.waiting = None
        connection.lose()

    @staticmethod
    def assert_same_events(found: list[Json], expected: list[Event]) -> None:
        """Compare events: those of one object must be in order; objects may be in any order."""
        found_by_id, expected_by_id = defaultdict[str, list[Any]](list), defaultdict[str, list[Any]](list)
        for each in found:
            body = object_of(each)
            found_by_id[body["id"]].append((each["event"], each["reason"], body))
        for event in expected:
            expected_by_id[event.id].append((event.event, event.reason, event.object))
        assert found_by_id == expected_by_id, (found_by_id, expected_by_id)


def object_of(event: Json) -> Json:
    """Return the registration, backend or frontend that an event is about."""
    found: Json = next(event[kind] for kind in ("registration", "backend", "frontend") if kind in event)
    return found
