"""Deploys of a backend at three nodes, whose time passes by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred

from bender.client import Client, Consumer, NotFound, Reply, Unavailable
from bender.core.model import RegistrationRequest
from bender.deploy import Deploy, DeployOutcome, DeployPlan, DeployProgress, Observation, Step
from bender.deploy.analysis import RequestCount
from bender.deploy.backend_update import UNANSWERED_S_MAX
from bender.deploy.plan import Settings
from bender.net.addresses import NoAnswer
from tests.client.cluster import ALL, ONE, THREE, TWO, ClientCase

#: In steps of which each is watched ten seconds.
STEPS = DeployPlan("shop", "2", steps=(5, 25, 100), every_s=10, watch_s=5)


#: The backend before anything was done.
OLD = b'{"id":"backend/shop","resource":"Backend","name":"shop","app":"web","version":"1","meta":{"note":"x"}}'


class Told(DeployProgress):
    """Keeps what it is told, in short."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.seen: list[tuple[float, float]] = []

    def begins(self, found: Settings, look: Observation) -> None:
        self.lines.append(f"begins at {found['version']} with {look.members}")

    def plans(self, step: Step, number: int, of: int) -> None:
        self.lines.append(f"{number}/{of} would take {step.percent:g}")

    def takes(self, step: Step, number: int, of: int) -> None:
        self.lines.append(f"{number}/{of} takes {step.percent:g}")

    def sees(self, step: Step, look: Observation, left_s: float) -> None:
        self.seen.append((step.percent, left_s))

    def keeps(self, step: Step, look: Observation) -> None:
        self.lines.append(f"keeps {step.percent:g}")

    def notes(self, text: str) -> None:
        self.lines.append(text)


class Edge:
    """A load balancer that reports, or none where it is None."""

    def __init__(self) -> None:
        self.counts: dict[str, RequestCount] | None = None
        self.down: list[str] = []

    async def reports(self) -> Sequence[Consumer]:
        if self.counts is None:
            raise NotFound(404, "NOT_FOUND", "the API has no such path", "n1")
        counts = {v: {"requests": c.requests, "errors": c.errors} for v, c in self.counts.items()}
        report = {"down": self.down, "backends": {"shop": counts}}
        return [
            consumer("edge", report, at_ms=5),
            consumer("edge", {"down": [], "backends": {"shop": {"2": {"requests": 10**6, "errors": 0}}}}, at_ms=4),
            consumer("gone", {"down": [], "backends": {}}, connected=False),
            consumer("watcher", None),
        ]


def consumer(name: str, report: dict[str, Any] | None, *, connected: bool = True, at_ms: int = 1) -> Consumer:
    return Consumer(name, "n1", connected, "x-1", 0, at_ms, report)


class Wayward(Client):
    """What becomes of its requests is not what normally does.

    `on_change` is called before each change is asked for. `losing` answers to changes are lost; none comes if they are
    `hanging`, and a refusal if they are `refusing`. What `shows` says of a node is what that shows of the backend.
    """

    on_change: Callable[[bytes], None] = staticmethod(lambda _change: None)
    losing = 0
    shows: Mapping[str, bytes] = {}
    hanging = False
    refusing = False

    async def ask(self, node: str, method: str, path: str, content: bytes | None = None, **more: Any) -> Reply:
        if method == "PUT":
            self.on_change(content or b"")
            if self.hanging:
                await Deferred()
            if self.refusing:
                return Reply(node, 403, b'{"code": "FORBIDDEN", "message": "not you"}')
        reply = await super().ask(node, method, path, content, **more)
        if method == "PUT" and self.losing:
            self.losing -= 1
            raise NoAnswer("does not answer (the connection was lost)")
        shown = self.shows.get(node) if method == "GET" and path == "/backends/shop" else None
        return reply if shown is None else Reply(node, 200, shown, '"old"')


class DeployCase(ClientCase):
    """A backend that version 1 serves with two members, while version 2 has three."""

    def setUp(self) -> None:
        super().setUp()
        for version, count in (("1", 2), ("2", 3)):
            for port in range(1, count + 1):
                self.register(version, port)
        self.set(app="web", version="1", meta={"note": "x"})
        self.told = Told()
        self.edge = Edge()
        self.doing: Deferred[DeployOutcome] = Deferred()
        self.deploy: Deploy

    def register(self, version: str, port: int) -> None:
        self.node(THREE).register(RegistrationRequest("web", version, "10.0.0.9", port, ttl_s=3600.0))
        self.network.settle()

    def lose(self, version: str, port: int) -> None:
        self.node(THREE).deregister(f"registration/web/{version}/10.0.0.9/{port}")
        self.network.settle()

    def set(self, **settings: Any) -> None:
        """As somebody else does."""
        self.result(self.client(THREE).set_backend("shop", force=True, **settings))
        self.network.settle()

    @property
    def shop(self) -> dict[str, Any]:
        """What the backend is set to: its version and canary, in short."""
        settings = self.result(self.client(THREE).backend("shop")).settings
        canary = settings.get("canary")
        self.assertEqual(settings["meta"], {"note": "x"})
        return {"version": settings["version"], **({canary["version"]: canary["percent"]} if canary else {})}

    @property
    def settings(self) -> int:
        """How many there were, that at the beginning included."""
        return len(self.result(self.client(THREE).backend_history("shop")))

    def wayward(self) -> Wayward:
        return Wayward(self.network, [f"{host}:1729" for host in ALL], shuffle=lambda _: None)

    def begin(self, plan: DeployPlan = STEPS, client: Client | None = None) -> None:
        self.deploy = Deploy(
            self.network, client or self.client(*ALL), plan, self.told, self.edge.reports, self.wall_ms
        )
        self.doing = Deferred.fromCoroutine(self.deploy.run())
        self.network.settle()

    def wall_ms(self) -> int:
        return int(self.network.seconds() * 1000)

    def rehearse(self, plan: DeployPlan = STEPS) -> DeployOutcome:
        self.deploy = Deploy(self.network, self.client(*ALL), plan, self.told, self.edge.reports, self.wall_ms)
        return self.result(self.deploy.rehearse())

    def outcome(self, within_s: float = 0) -> DeployOutcome:
        if not self.doing.called:
            self.network.pass_time(within_s)
        return self.successResultOf(self.doing)

    def failed(self, within_s: float = 0) -> str:
        outcome = self.outcome(within_s)
        self.assertFalse(outcome.done)
        return outcome.text


class Rehearsing(DeployCase):
    """What would be done is told, and nothing is changed."""

    def setUp(self) -> None:
        super().setUp()
        self.edge.counts = {}

    def tearDown(self) -> None:
        self.assertEqual((self.shop, self.settings), ({"version": "1"}, 1))

    def test_steps(self) -> None:
        """All of them, and what would serve at the end."""
        outcome = self.rehearse()
        text = "Nothing was changed: backend/shop would serve web 2"
        self.assertEqual((outcome.done, outcome.text), (True, text))
        self.assertEqual(self.told.lines[0], "begins at 1 with 3")
        self.assertEqual(self.told.lines[-3:], ["1/3 would take 5", "2/3 would take 25", "3/3 would take 100"])
        canary = self.rehearse(DeployPlan("shop", "2", steps=(5,)))
        self.assertEqual(
            canary.text, "Nothing was changed: backend/shop would serve web 1 with 5 % of the traffic at 2"
        )

    def test_what_could_not_begin(self) -> None:
        """With the sentence that the deploy itself would end with."""
        for plan in (DeployPlan("shop", "2", members_min=4), DeployPlan("shop", "3")):
            outcome = self.rehearse(plan)
            self.assertFalse(outcome.done)
            self.assertIn("to take traffic, and needs", outcome.text)

    def test_forced(self) -> None:
        """It could begin, and what that would do is told."""
        self.assertTrue(self.rehearse(DeployPlan("shop", "3", force=True)).done)
        self.assertIn("web 3 has no members: its requests would be answered 503.", self.told.lines)


class Forced(DeployCase):
    def test_without_members(self) -> None:
        """The version serves all the same."""
        self.begin(DeployPlan("shop", "3", force=True))
        self.assertEqual(self.shop, {"version": "3"})

    def test_conditions(self) -> None:
        """A number of members that is asked for is needed all the same."""
        self.begin(DeployPlan("shop", "3", members_min=1, force=True))
        self.assertIn("needs 1", self.failed())
        self.assertEqual(self.shop, {"version": "1"})


class Going(DeployCase):
    def test_at_once(self) -> None:
        """It is switched, watched for some seconds, and done."""
        self.begin(DeployPlan("shop", "2", watch_s=5))
        self.assertEqual(self.shop, {"version": "2"})
        self.network.pass_time(4.75)
        self.assertNoResult(self.doing)
        outcome = self.outcome(0.25)
        self.assertEqual((outcome.done, outcome.text), (True, "backend/shop serves web 2"))
        self.assertEqual(outcome.backend, self.result(self.client(ONE).call("GET", "/backends/shop")).body)
        self.assertEqual(self.told.lines[0], "begins at 1 with 3")
        self.assertEqual(self.told.lines[2:], ["1/1 takes 100", "keeps 100"])
        self.assertEqual(self.told.seen, [(100, 5), (100, 4), (100, 3), (100, 2), (100, 1)])

    def test_not_watched(self) -> None:
        """Then it is done as soon as it is switched."""
        self.begin(DeployPlan("shop", "2", watch_s=0))
        self.assertTrue(self.outcome().done)
        self.assertEqual(self.shop, {"version": "2"})

    def test_in_steps(self) -> None:
        """One after the other, and at the end there is no canary."""
        self.begin()
        for shop, seconds in (
            ({"version": "1", "2": 5}, 9.75),
            ({"version": "1", "2": 5}, 0.25),
            ({"version": "1", "2": 25}, 9.75),
            ({"version": "1", "2": 25}, 0.25),
            ({"version": "2"}, 4.75),
        ):
            self.assertEqual(self.shop, shop)
            self.network.pass_time(seconds)
        self.assertTrue(self.outcome(0.25).done)
        self.assertEqual((self.shop, self.settings), ({"version": "2"}, 4))
        steps = [line for line in self.told.lines if "takes" in line]
        self.assertEqual(steps, ["1/3 takes 5", "2/3 takes 25", "3/3 takes 100"])

    def test_no_further(self) -> None:
        """Steps may end before all."""
        self.begin(DeployPlan("shop", "2", steps=(25,), every_s=3))
        outcome = self.outcome(3)
        said = "backend/shop serves web 1 with 25 % of the traffic at 2"
        self.assertEqual((outcome.done, outcome.text, self.shop), (True, said, {"version": "1", "2": 25}))
        self.begin(DeployPlan("shop", "2", steps=(25,), every_s=3))
        self.assertIn("already where these steps end", self.outcome().text)

    def test_gone_on_with(self) -> None:
        """With the next larger step."""
        self.set(canary={"version": "2", "percent": 5})
        self.begin()
        self.assertEqual(self.shop, {"version": "1", "2": 25})

    def test_what_serves_already(self) -> None:
        """There is nothing to do, which is said."""
        self.begin(DeployPlan("shop", "1"))
        outcome = self.outcome()
        self.assertEqual((outcome.done, outcome.text), (True, "backend/shop serves web 1 already"))
        self.assertEqual(self.settings, 1)

    def test_what_serves_already_with_too_few_members(self) -> None:
        """The number that is wanted is checked all the same."""
        self.begin(DeployPlan("shop", "1", members_min=3))
        lacks = "web 1 has 2 members to take traffic, and needs 3"
        self.assertEqual(self.failed(), f"backend/shop serves web 1 already, but {lacks}")
        self.begin(DeployPlan("shop", "1", members_min=2))
        self.assertTrue(self.outcome().done)

    def test_what_serves_but_not_alone(self) -> None:
        """The canary is ended, which leads out of steps that were stopped."""
        self.set(canary={"version": "2", "percent": 20})
        self.begin(DeployPlan("shop", "1"))
        self.assertEqual(self.shop, {"version": "1"})
        self.network.pass_time(5)
        self.assertEqual(self.outcome().text, "backend/shop serves web 1")

    def test_who_is_gone(self) -> None:
        """Whose traffic stays where it was is told, before and after."""
        self.edge.counts = {}
        self.begin(DeployPlan("shop", "2"))
        self.network.pass_time(6)
        said = [line for line in self.told.lines if line.startswith("gone has disconnected")]
        self.assertEqual((len(said), self.outcome().done), (2, True))

    def test_load_balancers_of_one_name(self) -> None:
        """The reports of both count, also of the one that was heard before the other."""
        errors = 0

        async def reports() -> Sequence[Consumer]:
            counts = [{"2": {"requests": 1000 + errors, "errors": errors}}, {"2": {"requests": 1000, "errors": 0}}]
            return [
                msgspec.structs.replace(
                    consumer("edge", {"down": [], "backends": {"shop": each}}, at_ms=at_ms), instance=f"i{at_ms}"
                )
                for at_ms, each in enumerate(counts)
            ]

        self.edge.reports = reports  # type: ignore[method-assign]
        self.begin(DeployPlan("shop", "2", steps=(5, 100), every_s=10))
        self.network.pass_time(2)
        errors = 500
        self.assertIn("backend/shop is back at web 1", self.failed(10))

    def test_another_s_canary(self) -> None:
        """It ends with the switch."""
        self.set(canary={"version": "3", "percent": 5})
        ends = "The canary 3, which gets 5 % of the traffic, ends with the first step."
        self.rehearse(DeployPlan("shop", "2"))
        self.assertIn(ends, self.told.lines)
        self.begin(DeployPlan("shop", "2"))
        self.assertEqual(self.shop, {"version": "2"})
        self.assertEqual(self.told.lines.count(ends), 2)

    def test_what_is_not_there(self) -> None:
        """It cannot be begun."""
        self.begin(DeployPlan("nobody", "2"))
        self.failureResultOf(self.doing, NotFound)


class AnotherOperator(DeployCase):
    """Another operator changed the backend a moment ago, and may be in the middle of a deploy."""

    def sets(self, author: str | None, **settings: Any) -> None:
        self.result(self.client(THREE, author=author).set_backend("shop", force=True, **settings))
        self.network.settle()

    def test_a_canary(self) -> None:
        """Who, what and when is said, also in a dry run, and nothing is changed."""
        self.sets("anna@web1", canary={"version": "2", "percent": 10})
        self.network.pass_time(3)
        plan = DeployPlan("shop", "2", operator="bert@web2")
        self.begin(plan)
        said = self.failed()
        self.assertIn("anna@web1 set canary 10 % of 2, 3 s ago: another operator may be deploying", said)
        self.assertEqual(self.rehearse(plan).text, said)
        self.assertEqual((self.shop, self.told.lines), ({"version": "1", "2": 10}, []))

    def test_it_may_be_forced(self) -> None:
        self.sets("anna@web1", canary={"version": "2", "percent": 10})
        self.begin(DeployPlan("shop", "2", operator="bert@web2", force=True))
        self.assertEqual(self.shop, {"version": "2"})

    def test_a_deploy_that_is_over(self) -> None:
        """It left no canary."""
        self.sets("anna@web1", meta={"note": "x"})
        self.assertTrue(self.rehearse(DeployPlan("shop", "2", operator="bert@web2")).done)

    def test_who_is_no_other(self) -> None:
        """The same operator, one without a name, and one who did that long ago."""
        for author, waits_s in (("bert@web2", 0), (None, 0), ("anna@web1", 601)):
            self.sets(author, canary={"version": "2", "percent": 10})
            self.network.pass_time(waits_s)
            self.assertTrue(self.rehearse(DeployPlan("shop", "2", operator="bert@web2")).done, author)
            self.sets(None, canary=None)


class TooFew(DeployCase):
    """Members that are needed, and are not there."""

    def test_fewer_than_wanted(self) -> None:
        """Nothing is changed, in steps or not."""
        for steps in ((), (5, 100)):
            self.begin(DeployPlan("shop", "2", steps=steps, members_min=4))
            self.assertEqual(self.failed(), "web 2 has 3 members to take traffic, and needs 4: nothing was changed")
        self.begin(DeployPlan("shop", "2", members_min=3))
        self.assertEqual((self.shop, self.settings), ({"version": "2"}, 2))

    def test_who_takes_no_traffic(self) -> None:
        """Members that are drained are none."""
        self.result(self.client(THREE).call("PUT", "/registrations/web/2/10.0.0.9/1/state", {"state": "drain"}))
        self.begin(DeployPlan("shop", "2", members_min=3))
        self.assertIn("has 2 members to take traffic", self.failed())
        self.result(self.client(THREE).register("web", "2", "10.0.0.9", 2, weight=0))
        self.network.settle()
        self.begin(DeployPlan("shop", "2", members_min=2))
        self.assertIn("has 1 member to take traffic", self.failed())

    def test_nobody(self) -> None:
        """One is needed, if nothing else is said, whoever serves now."""
        self.begin(DeployPlan("shop", "3"))
        self.assertEqual(
            self.failed(),
            "web 3 has no members to take traffic, and needs 1: nothing was changed; versions with members: 1, 2",
        )
        self.begin(DeployPlan("shop", "3", members_min=0))
        self.assertEqual(self.shop, {"version": "3"})
        self.begin(DeployPlan("shop", "4"))
        self.assertIn("web 4 has no members to take traffic, and needs 1: nothing was changed", self.failed())
        for version, port in (("1", 1), ("1", 2), ("1", 3), ("2", 1), ("2", 2), ("2", 3)):
            self.lose(version, port)
        self.begin(DeployPlan("shop", "4"))
        self.assertTrue(
            self.failed().endswith(
                "nothing was changed; no other version has members: start them first, or add --force"
            )
        )
        self.begin(DeployPlan("shop", "4", members_min=1))
        self.assertTrue(self.failed().endswith("no other version has members"))
        self.assertEqual(self.shop, {"version": "3"})

    def test_fewer_when_it_comes_to_the_switch(self) -> None:
        """Nodes know it, and it goes back."""
        client = self.wayward()
        client.on_change = lambda change: self.lose("2", 1) if b"min_members" in change else None
        self.begin(DeployPlan("shop", "2", steps=(5, 100), every_s=0, members_min=3), client)
        self.assertEqual(self.failed(), "web 2 has too few members now: backend/shop is back at web 1")
        self.assertEqual((self.shop, self.settings), ({"version": "1"}, 3))


class Worse(DeployCase):
    """It goes back by itself."""

    def test_members_lost(self) -> None:
        """As soon as there are fewer than at the beginning, whatever was wanted."""
        self.begin(DeployPlan("shop", "2", steps=(5, 25, 100), every_s=10, members_min=1))
        self.network.pass_time(12)
        self.assertEqual(self.shop, {"version": "1", "2": 25})
        self.lose("2", 1)
        self.assertEqual(self.failed(1), "web 2 has 2 members left of 3: backend/shop is back at web 1")
        self.assertEqual(self.shop, {"version": "1"})
        self.assertNotIn("keeps 25", self.told.lines)

    def test_members_lost_after_the_switch(self) -> None:
        """It goes back to what it found, another's canary included."""
        self.set(canary={"version": "3", "percent": 5})
        self.begin(DeployPlan("shop", "2"))
        self.network.pass_time(2)
        self.lose("2", 1)
        self.assertIn("is back at web 1", self.failed(1))
        self.assertEqual(self.shop, {"version": "1", "3": 5})

    def test_members_that_came_meanwhile(self) -> None:
        """They are not needed."""
        self.begin()
        self.register("2", 4)
        self.network.pass_time(5)
        self.lose("2", 4)
        self.assertTrue(self.outcome(20).done)

    def test_gone_on_with(self) -> None:
        """It does not go back to an earlier share."""
        self.set(canary={"version": "2", "percent": 5})
        self.begin()
        self.lose("2", 1)
        self.failed(1)
        self.assertEqual(self.shop, {"version": "1"})

    def test_errors(self) -> None:
        """When more requests fail than of the other version since the step began."""
        self.edge.counts = {"1": RequestCount(10_000, 100), "2": RequestCount(0, 0)}
        self.begin()
        self.assertNotIn("watches the members alone", " ".join(self.told.lines))
        self.network.pass_time(2)
        self.edge.counts = {"1": RequestCount(12_000, 120), "2": RequestCount(100, 3)}
        self.network.pass_time(2)
        self.assertEqual(self.shop, {"version": "1", "2": 5})
        self.edge.counts = {"1": RequestCount(12_000, 120), "2": RequestCount(100, 4)}
        said = "web 2 fails in 4.0 % of its requests, against 1.0 %: backend/shop is back at web 1"
        self.assertEqual(self.failed(1), said)
        self.assertEqual(self.shop, {"version": "1"})

    def test_errors_of_an_earlier_step(self) -> None:
        """Each step is looked at for itself."""
        self.edge.counts = {"1": RequestCount(10_000, 0), "2": RequestCount(0, 0)}
        self.begin()
        self.network.pass_time(9)
        self.edge.counts = {"1": RequestCount(12_000, 0), "2": RequestCount(99, 40)}
        self.network.pass_time(2)
        self.edge.counts = {"1": RequestCount(14_000, 0), "2": RequestCount(199, 40)}
        self.network.pass_time(2)
        self.assertEqual(self.shop, {"version": "1", "2": 25})

    def test_members_that_cannot_be_reached(self) -> None:
        """By the load balancer, though they are registered."""
        self.edge.counts = {}
        self.begin()
        self.edge.down = [f"registration/web/2/10.0.0.9/{port}" for port in (1, 2)] + ["registration/web/1/10.0.0.9/1"]
        self.assertIn("of which 2 cannot be reached: backend/shop is back", self.failed(1))

    def test_nobody_to_go_back_to(self) -> None:
        """Then it stays where it is, for it would be worse still; fixed servers are somebody."""
        self.begin(DeployPlan("shop", "2"))
        for port in (1, 2):
            self.lose("1", port)
        self.lose("2", 1)
        said = self.failed(1)
        self.assertIn("has 2 members left of 3, but the version before has no members to go back to", said)
        self.assertIn("bender backend set shop --version 1 goes back", said)
        self.assertEqual(self.shop, {"version": "2"})
        self.set(version="1", servers=["10.0.0.9:5"])
        self.begin(DeployPlan("shop", "2"))
        self.lose("2", 2)
        self.assertIn("is back at web 1", self.failed(1))


class Others(DeployCase):
    """Somebody else who changes the backend meanwhile: that is not touched."""

    def test_a_change(self) -> None:
        """Of whatever there is."""
        changes: list[tuple[dict[str, Any], str, str, str]] = [
            ({"balance": "source"}, "balance source", "web 1 with 5 % of the traffic at 2", "canary=null"),
            ({"version": "3"}, "version 1 → 3", "web 3 with 5 % of the traffic at 2", "--version 1 canary=null"),
            ({"canary": {"version": "2", "percent": 7}}, "canary 5 % → 7 % of 2", "web 1 with 7 % of the traffic at 2",
             "canary=null"),
        ]  # fmt: skip
        for change, words, serves, back in changes:
            self.set(version="1", canary=None, balance=None)
            self.begin()
            self.network.pass_time(3)
            self.set(**change)
            before = self.settings
            said = (
                f"backend/shop was changed by somebody else (10.0.0.9): {words}; the deploy stops and changes "
                f"nothing more: {serves} serves now; bender backend set shop {back} restores what served before the "
                "deploy"
            )
            self.assertEqual(self.failed(1), said)
            self.assertEqual(self.settings, before)

    def test_a_rollback(self) -> None:
        """That too is somebody's will."""
        self.begin(DeployPlan("shop", "2"))
        self.network.pass_time(2)
        self.result(self.client(ONE).roll_back_backend("shop"))
        said = self.failed(1)
        self.assertIn("was changed by somebody else", said)
        self.assertIn("version 2 → 1; the deploy stops and changes nothing more: web 1 serves now, as before", said)
        self.assertEqual(self.shop, {"version": "1"})

    def test_a_removal(self) -> None:
        """It is not made anew."""
        self.begin()
        self.result(self.client(TWO).remove_backend("shop"))
        said = self.failed(1)
        self.assertIn("was removed by somebody else (10.0.0.9): the deploy stops", said)
        again = 'bender backend set shop --app web --version 1 \'meta={"note":"x"}\' creates it again'
        self.assertIn(again, said)
        self.failure(self.client(ONE).backend("shop"), NotFound)

    def test_one_who_is_faster(self) -> None:
        """Between the last look and a step, or the way back."""
        for lost in (False, True):
            self.set(version="1", canary=None)
            client = self.wayward()
            self.begin(STEPS, client)
            client.on_change = self.change
            if lost:
                self.lose("2", 1)
            said = self.failed(11)
            self.assertIn("was changed by somebody else (me): version 1 → 7", said)
            self.assertEqual("has 2 members left of 3, but" in said, lost)
            self.assertEqual(self.shop, {"version": "7"})

    def change(self, _change: bytes) -> None:
        self.node(ONE).configure("backend/shop", OLD.replace(b'"1"', b'"7"'), "me")


class Nodes(DeployCase):
    """Nodes that go away."""

    def test_the_one_that_was_asked(self) -> None:
        """The next one is asked, and each step is done once."""
        self.begin()
        self.network.pass_time(5)
        self.machines[ONE].kill()
        self.network.pass_time(8)
        self.machines[TWO].leave()
        self.assertTrue(self.outcome(20).done)
        self.assertEqual((self.shop, self.settings), ({"version": "2"}, 4))

    def test_an_answer_that_is_lost(self) -> None:
        """What was done is not done again, nor taken for somebody else's."""
        client = self.wayward()
        client.losing = 1
        self.begin(STEPS, client)
        self.assertEqual(self.shop, {"version": "1", "2": 5})
        self.network.pass_time(9)
        client.losing = 2
        self.assertTrue(self.outcome(20).done)
        self.assertEqual((self.shop, self.settings), ({"version": "2"}, 4))

    def test_a_node_that_knows_less(self) -> None:
        """One that has not heard of the last step yet is given time."""
        client = self.wayward()
        self.begin(STEPS, client)
        client.shows = {f"{TWO}:1729": OLD}
        self.machines[ONE].kill()
        self.network.pass_time(3)
        self.assertNoResult(self.doing)
        client.shows = {}
        self.assertTrue(self.outcome(30).done)

    def test_a_node_that_never_learns(self) -> None:
        """It knows better."""
        client = self.wayward()
        self.begin(STEPS, client)
        client.shows = {f"{TWO}:1729": OLD}
        self.machines[ONE].kill()
        self.assertIn("was changed by somebody else", self.failed(7))

    def test_all_of_them_for_a_while(self) -> None:
        """It goes on trying, and then goes on."""
        self.begin()
        self.network.pass_time(3)
        doors = {(host, 1729): self.network.listening.pop((host, 1729)) for host in ALL}
        for end in self.network.server_ends:
            if end.hostAddress.port == 1729:
                end.abortConnection()
        self.network.pass_time(10)
        self.assertEqual(len([line for line in self.told.lines if "retrying" in line]), 1)
        self.network.listening.update(doors)
        self.assertTrue(self.outcome(40).done)
        self.assertEqual(self.settings, 4)

    def test_all_of_them(self) -> None:
        """It stops, and says how the backend is left."""
        self.begin()
        self.network.pass_time(3)
        for host in ALL:
            self.machines[host].kill()
        said = self.failed(UNANSWERED_S_MAX + 5)
        self.assertIn("does not answer", said)
        self.assertIn("backend/shop is left with web 1 with 5 % of the traffic at 2; the same command continues", said)

    def test_all_of_them_when_it_is_worse(self) -> None:
        """Both are said."""
        client = self.wayward()
        self.begin(STEPS, client)
        self.lose("2", 1)
        client.on_change = lambda _change: self.network.cut.update(ALL)
        said = self.failed(UNANSWERED_S_MAX + 20)
        self.assertIn("has 2 members left of 3, but", said)
        self.assertIn("does not answer", said)
        self.assertIn("may have been made", said)

    def test_none_from_the_beginning(self) -> None:
        """It is not begun."""
        for host in ALL:
            self.machines[host].kill()
        self.begin()
        self.failureResultOf(self.doing, Unavailable)

    def test_others_are_learned(self) -> None:
        """To be told of one node is enough."""
        self.begin(client=self.client(ONE))
        self.network.pass_time(3)
        self.machines[ONE].kill()
        self.assertTrue(self.outcome(30).done)


class NotAllowed(DeployCase):
    def test_a_step_that_is_refused(self) -> None:
        """It stops, and says how the backend is left."""
        client = self.wayward()
        self.begin(STEPS, client)
        client.refusing = True
        self.assertIn("not you: backend/shop is left with web 1 with 5 % of the traffic at 2; the", self.failed(10))


class Stopped(DeployCase):
    """By Ctrl-C: the backend is left as it is, and how is said."""

    def stopped(self) -> str:
        self.doing.cancel()
        self.failureResultOf(self.doing, CancelledError)
        return self.deploy.whereabouts()

    def test_before_anything_was_changed(self) -> None:
        """There is nothing to do about it."""
        self.machines[ONE].kill()
        self.network.cut = {TWO}
        self.begin()
        self.assertEqual(self.stopped(), "backend/shop is unchanged")

    def test_in_a_step(self) -> None:
        """How to go on, and how to go back."""
        self.begin()
        self.assertEqual(
            self.stopped(),
            "backend/shop is left with web 1 with 5 % of the traffic at 2; the same command continues, and "
            "bender backend set shop canary=null goes back",
        )
        self.assertEqual(self.shop, {"version": "1", "2": 5})

    def test_after_the_switch(self) -> None:
        """How to go back, to another's canary too."""
        self.set(canary={"version": "3", "percent": 5})
        self.begin(DeployPlan("shop", "2"))
        command = """bender backend set shop --version 1 'canary={"version":"3","percent":5}' goes back"""
        self.assertEqual(self.stopped(), f"backend/shop is left with web 2; {command}")

    def test_in_the_midst_of_a_change(self) -> None:
        """It is not known whether that was done."""
        client = self.wayward()
        client.hanging = True
        self.begin(STEPS, client)
        said = "a change of backend/shop may have been made: see bender backend history shop"
        self.assertEqual(self.stopped(), said)
