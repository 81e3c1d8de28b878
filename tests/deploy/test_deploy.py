"""Deploys of a backend at three nodes, on a clock that the tests move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from bender.client import Consumer, NotFound
from bender.deploy import DeployPlan
from tests.client.cluster import ONE, THREE
from tests.deploy.deploy_case import DeployCase, consumer


class Rehearsing(DeployCase):
    """A dry run reports the steps, and changes nothing."""

    def setUp(self) -> None:
        super().setUp()
        self.load_balancer.counts = {}

    def tearDown(self) -> None:
        self.assertEqual((self.shop, self.settings), ({"version": "1"}, 1))

    def test_steps(self) -> None:
        """A dry run reports all steps, and what would serve at the end."""
        outcome = self.rehearse()
        text = "Nothing was changed: backend/shop would serve web 2"
        self.assertEqual((outcome.succeeded, outcome.text), (True, text))
        self.assertEqual(self.progress.lines[0], "begins at 1 with 3")
        self.assertEqual(self.progress.lines[-3:], ["1/3 would take 5", "2/3 would take 25", "3/3 would take 100"])
        canary = self.rehearse(DeployPlan("shop", "2", steps=(5,)))
        self.assertEqual(
            canary.text, "Nothing was changed: backend/shop would serve web 1 with 5 % of the traffic at 2"
        )

    def test_what_could_not_begin(self) -> None:
        """A deploy that could not begin is reported with the sentence of the deploy itself."""
        for plan in (DeployPlan("shop", "2", members_min=4), DeployPlan("shop", "3")):
            outcome = self.rehearse(plan)
            self.assertFalse(outcome.succeeded)
            self.assertIn("that can take traffic, and needs", outcome.text)

    def test_forced(self) -> None:
        """With `force`, the deploy could begin, and its steps are reported."""
        self.assertTrue(self.rehearse(DeployPlan("shop", "3", force=True)).succeeded)
        self.assertIn("web 3 has no members: its requests would be answered 503.", self.progress.lines)


class Forced(DeployCase):
    def test_without_members(self) -> None:
        """With `force`, a version without members serves."""
        self.begin(DeployPlan("shop", "3", force=True))
        self.assertEqual(self.shop, {"version": "3"})

    def test_conditions(self) -> None:
        """With `force`, a given number of members is still required."""
        self.begin(DeployPlan("shop", "3", members_min=1, force=True))
        self.assertIn("needs 1", self.failed())
        self.assertEqual(self.shop, {"version": "1"})


class Going(DeployCase):
    def test_at_once(self) -> None:
        """The backend is switched and watched for some seconds."""
        self.begin(DeployPlan("shop", "2", watch_s=5))
        self.assertEqual(self.shop, {"version": "2"})
        self.network.pass_time(4.75)
        self.assertNoResult(self.running)
        outcome = self.outcome(0.25)
        self.assertEqual((outcome.succeeded, outcome.text), (True, "backend/shop serves web 2"))
        self.assertEqual(outcome.backend, self.result(self.client(ONE).call("GET", "/backends/shop")).body)
        self.assertEqual(self.progress.lines[0], "begins at 1 with 3")
        self.assertEqual(self.progress.lines[2:], ["1/1 takes 100", "keeps 100"])
        self.assertEqual(self.progress.observed, [(100, 5), (100, 4), (100, 3), (100, 2), (100, 1)])

    def test_not_watched(self) -> None:
        """If it is not watched, the deploy ends after the switch."""
        self.begin(DeployPlan("shop", "2", watch_s=0))
        self.assertTrue(self.outcome().succeeded)
        self.assertEqual(self.shop, {"version": "2"})

    def test_in_steps(self) -> None:
        """The steps are done one after the other, and at the end there is no canary."""
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
        self.assertTrue(self.outcome(0.25).succeeded)
        self.assertEqual((self.shop, self.settings), ({"version": "2"}, 4))
        steps = [line for line in self.progress.lines if "takes" in line]
        self.assertEqual(steps, ["1/3 takes 5", "2/3 takes 25", "3/3 takes 100"])

    def test_no_further(self) -> None:
        """The steps may end below 100 percent."""
        self.begin(DeployPlan("shop", "2", steps=(25,), every_s=3))
        outcome = self.outcome(3)
        said = "backend/shop serves web 1 with 25 % of the traffic at 2"
        self.assertEqual((outcome.succeeded, outcome.text, self.shop), (True, said, {"version": "1", "2": 25}))
        self.begin(DeployPlan("shop", "2", steps=(25,), every_s=3))
        self.assertIn("already reached the last of these steps", self.outcome().text)

    def test_gone_on_with(self) -> None:
        """A deploy continues with the next larger step."""
        self.set(canary={"version": "2", "percent": 5})
        self.begin()
        self.assertEqual(self.shop, {"version": "1", "2": 25})

    def test_what_serves_already(self) -> None:
        """A deploy of the version that serves does nothing, and reports this."""
        self.begin(DeployPlan("shop", "1"))
        outcome = self.outcome()
        self.assertEqual((outcome.succeeded, outcome.text), (True, "backend/shop serves web 1 already"))
        self.assertEqual(self.settings, 1)

    def test_what_serves_already_with_too_few_members(self) -> None:
        """A version that serves already must also have the required number of members."""
        self.begin(DeployPlan("shop", "1", members_min=3))
        lacks = "web 1 has 2 members that can take traffic, and needs 3"
        self.assertEqual(self.failed(), f"backend/shop serves web 1 already, but {lacks}")
        self.begin(DeployPlan("shop", "1", members_min=2))
        self.assertTrue(self.outcome().succeeded)

    def test_what_serves_but_not_alone(self) -> None:
        """If the version serves beside a canary, the deploy ends the canary, and so also steps that were stopped."""
        self.set(canary={"version": "2", "percent": 20})
        self.begin(DeployPlan("shop", "1"))
        self.assertEqual(self.shop, {"version": "1"})
        self.network.pass_time(5)
        self.assertEqual(self.outcome().text, "backend/shop serves web 1")

    def test_who_is_gone(self) -> None:
        """Disconnected drivers, whose traffic stays, are reported before and after."""
        self.load_balancer.counts = {}
        self.begin(DeployPlan("shop", "2"))
        self.network.pass_time(6)
        said = [line for line in self.progress.lines if line.startswith("gone has disconnected")]
        self.assertEqual((len(said), self.outcome().succeeded), (2, True))

    def test_load_balancers_of_one_name(self) -> None:
        """The reports of both load balancers count, also that of the one that reported first."""
        errors = 0

        async def reports() -> Sequence[Consumer]:
            counts = [{"2": {"requests": 1000 + errors, "errors": errors}}, {"2": {"requests": 1000, "errors": 0}}]
            return [
                msgspec.structs.replace(
                    consumer("edge", {"down": [], "backends": {"shop": each}}, at_ms=at_ms), instance=f"i{at_ms}"
                )
                for at_ms, each in enumerate(counts)
            ]

        self.load_balancer.reports = reports  # type: ignore[method-assign]
        self.begin(DeployPlan("shop", "2", steps=(5, 100), every_s=10))
        self.network.pass_time(2)
        errors = 500
        self.assertIn("backend/shop is back at web 1", self.failed(10))

    def test_another_s_canary(self) -> None:
        """Another version's canary ends with the switch."""
        self.set(canary={"version": "3", "percent": 5})
        ends = "The canary 3, which gets 5 % of the traffic, ends with the first step."
        self.rehearse(DeployPlan("shop", "2"))
        self.assertIn(ends, self.progress.lines)
        self.begin(DeployPlan("shop", "2"))
        self.assertEqual(self.shop, {"version": "2"})
        self.assertEqual(self.progress.lines.count(ends), 2)

    def test_what_is_not_there(self) -> None:
        """A deploy to a backend that does not exist cannot begin."""
        self.begin(DeployPlan("nobody", "2"))
        self.failureResultOf(self.running, NotFound)


class AnotherOperator(DeployCase):
    """Another operator changed the backend recently, and may be deploying."""

    def sets(self, author: str | None, **settings: Any) -> None:
        self.result(self.client(THREE, author=author).set_backend("shop", force=True, **settings))
        self.network.settle()

    def test_a_canary(self) -> None:
        """The author, change and time are reported, also in a dry run, and nothing is changed."""
        self.sets("anna@web1", canary={"version": "2", "percent": 10})
        self.network.pass_time(3)
        plan = DeployPlan("shop", "2", operator="bert@web2")
        self.begin(plan)
        said = self.failed()
        self.assertIn(
            "anna@web1 set canary version 2 with 10 % of the traffic, 3 s ago: another operator may be deploying", said
        )
        self.assertEqual(self.rehearse(plan).text, said)
        self.assertEqual((self.shop, self.progress.lines), ({"version": "1", "2": 10}, []))

    def test_it_may_be_forced(self) -> None:
        self.sets("anna@web1", canary={"version": "2", "percent": 10})
        self.begin(DeployPlan("shop", "2", operator="bert@web2", force=True))
        self.assertEqual(self.shop, {"version": "2"})

    def test_a_deploy_that_is_over(self) -> None:
        """A change that left no canary does not matter."""
        self.sets("anna@web1", meta={"note": "x"})
        self.assertTrue(self.rehearse(DeployPlan("shop", "2", operator="bert@web2")).succeeded)

    def test_who_is_no_other(self) -> None:
        """Changes by the same operator, by one without a name, or a long time ago do not matter."""
        for author, waits_s in (("bert@web2", 0), (None, 0), ("anna@web1", 601)):
            self.sets(author, canary={"version": "2", "percent": 10})
            self.network.pass_time(waits_s)
            self.assertTrue(self.rehearse(DeployPlan("shop", "2", operator="bert@web2")).succeeded, author)
            self.sets(None, canary=None)


class TooFew(DeployCase):
    """The version has fewer members than it needs."""

    def test_fewer_than_wanted(self) -> None:
        """A deploy with too few members changes no setting, with steps or without."""
        for steps in ((), (5, 100)):
            self.begin(DeployPlan("shop", "2", steps=steps, members_min=4))
            self.assertEqual(
                self.failed(), "web 2 has 3 members that can take traffic, and needs 4: nothing was changed"
            )
        self.begin(DeployPlan("shop", "2", members_min=3))
        self.assertEqual((self.shop, self.settings), ({"version": "2"}, 2))

    def test_who_takes_no_traffic(self) -> None:
        """Drained members do not count as members of the version."""
        self.result(self.client(THREE).call("PUT", "/registrations/web/2/10.0.0.9/1/state", {"state": "drain"}))
        self.begin(DeployPlan("shop", "2", members_min=3))
        self.assertIn("has 2 members that can take traffic", self.failed())
        self.result(self.client(THREE).register("web", "2", "10.0.0.9", 2, weight=0))
        self.network.settle()
        self.begin(DeployPlan("shop", "2", members_min=2))
        self.assertIn("has 1 member that can take traffic", self.failed())

    def test_nobody(self) -> None:
        """By default a version needs one member, even if nothing serves now."""
        self.begin(DeployPlan("shop", "3"))
        self.assertEqual(
            self.failed(),
            "web 3 has no members that can take traffic, and needs 1: nothing was changed; versions with members: 1, 2",
        )
        self.begin(DeployPlan("shop", "3", members_min=0))
        self.assertEqual(self.shop, {"version": "3"})
        self.begin(DeployPlan("shop", "4"))
        self.assertIn("web 4 has no members that can take traffic, and needs 1: nothing was changed", self.failed())
        for version, port in (("1", 1), ("1", 2), ("1", 3), ("2", 1), ("2", 2), ("2", 3)):
            self.deregister(version, port)
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
        """If too few members are left at the switch, nodes refuse it, and the deploy rolls back."""
        client = self.unreliable_client()
        client.on_change = lambda change: self.deregister("2", 1) if b"min_members" in change else None
        self.begin(DeployPlan("shop", "2", steps=(5, 100), every_s=0, members_min=3), client)
        self.assertEqual(self.failed(), "web 2 has too few members now: backend/shop is back at web 1")
        self.assertEqual((self.shop, self.settings), ({"version": "1"}, 3))
