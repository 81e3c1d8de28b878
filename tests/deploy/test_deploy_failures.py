"""Deploys that roll back, or lose nodes, load balancers or their operator on the way."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError

from bender.client import NotFound, Unavailable
from bender.deploy import DeployPlan
from bender.deploy.analysis import RequestCount
from bender.deploy.backend_update import UNANSWERED_S_MAX
from tests.client.cluster import ALL, ONE, TWO
from tests.deploy.deploy_case import OLD, STEPS, DeployCase


class Worse(DeployCase):
    """The deploy rolls back by itself."""

    def test_members_lost(self) -> None:
        """The deploy rolls back when fewer members remain than at the beginning, even if fewer were required."""
        self.begin(DeployPlan("shop", "2", steps=(5, 25, 100), every_s=10, members_min=1))
        self.network.pass_time(12)
        self.assertEqual(self.shop, {"version": "1", "2": 25})
        self.deregister("2", 1)
        self.assertEqual(self.failed(1), "web 2 has 2 members left of 3: backend/shop is back at web 1")
        self.assertEqual(self.shop, {"version": "1"})
        self.assertNotIn("keeps 25", self.progress.lines)

    def test_members_lost_after_the_switch(self) -> None:
        """The rollback restores the setting from before the deploy, including another version's canary."""
        self.set(canary={"version": "3", "percent": 5})
        self.begin(DeployPlan("shop", "2"))
        self.network.pass_time(2)
        self.deregister("2", 1)
        self.assertIn("is back at web 1", self.failed(1))
        self.assertEqual(self.shop, {"version": "1", "3": 5})

    def test_members_that_came_meanwhile(self) -> None:
        """Members that were added during the deploy are not required."""
        self.begin()
        self.register("2", 4)
        self.network.pass_time(5)
        self.deregister("2", 4)
        self.assertTrue(self.outcome(20).succeeded)

    def test_gone_on_with(self) -> None:
        """The rollback does not restore an earlier share of the same version."""
        self.set(canary={"version": "2", "percent": 5})
        self.begin()
        self.deregister("2", 1)
        self.failed(1)
        self.assertEqual(self.shop, {"version": "1"})

    def test_errors(self) -> None:
        """The deploy rolls back if more requests fail than those of the other version in this step."""
        self.load_balancer.counts = {"1": RequestCount(10_000, 100), "2": RequestCount(0, 0)}
        self.begin()
        self.assertNotIn("watches the members alone", " ".join(self.progress.lines))
        self.network.pass_time(2)
        self.load_balancer.counts = {"1": RequestCount(12_000, 120), "2": RequestCount(100, 3)}
        self.network.pass_time(2)
        self.assertEqual(self.shop, {"version": "1", "2": 5})
        self.load_balancer.counts = {"1": RequestCount(12_000, 120), "2": RequestCount(100, 4)}
        said = "web 2 fails 4.0 % of its requests, and the other version fails 1.0 %: backend/shop is back at web 1"
        self.assertEqual(self.failed(1), said)
        self.assertEqual(self.shop, {"version": "1"})

    def test_errors_of_an_earlier_step(self) -> None:
        """The errors of each step are counted separately."""
        self.load_balancer.counts = {"1": RequestCount(10_000, 0), "2": RequestCount(0, 0)}
        self.begin()
        self.network.pass_time(9)
        self.load_balancer.counts = {"1": RequestCount(12_000, 0), "2": RequestCount(99, 40)}
        self.network.pass_time(2)
        self.load_balancer.counts = {"1": RequestCount(14_000, 0), "2": RequestCount(199, 40)}
        self.network.pass_time(2)
        self.assertEqual(self.shop, {"version": "1", "2": 25})

    def test_members_that_cannot_be_reached(self) -> None:
        """The deploy rolls back if load balancers cannot reach most members, although they are registered."""
        self.load_balancer.counts = {}
        self.begin()
        self.load_balancer.down = [f"registration/web/2/10.0.0.9/{port}" for port in (1, 2)] + [
            "registration/web/1/10.0.0.9/1"
        ]
        self.assertIn("of which 2 cannot be reached: backend/shop is back", self.failed(1))

    def test_nobody_to_go_back_to(self) -> None:
        """Without members of the previous version there is no rollback; fixed servers count as members."""
        self.begin(DeployPlan("shop", "2"))
        for port in (1, 2):
            self.deregister("1", port)
        self.deregister("2", 1)
        said = self.failed(1)
        why = "has 2 members left of 3, but the previous version has no members, so a rollback is impossible"
        self.assertIn(why, said)
        self.assertIn("bender backend set shop --version 1 restores what served before", said)
        self.assertEqual(self.shop, {"version": "2"})
        self.set(version="1", servers=["10.0.0.9:5"])
        self.begin(DeployPlan("shop", "2"))
        self.deregister("2", 2)
        self.assertIn("is back at web 1", self.failed(1))


class Others(DeployCase):
    """A change by another client during the deploy is not overwritten."""

    def test_a_change(self) -> None:
        """The deploy stops at a change of any field."""
        changes: list[tuple[dict[str, Any], str, str, str]] = [
            ({"balance": "source"}, "balance source", "web 1 with 5 % of the traffic at 2", "canary=null"),
            ({"version": "3"}, "version 1 → 3", "web 3 with 5 % of the traffic at 2", "--version 1 canary=null"),
            ({"canary": {"version": "2", "percent": 7}}, "canary version 2 with 7 % of the traffic (was 5 %)",
             "web 1 with 7 % of the traffic at 2", "canary=null"),
        ]  # fmt: skip
        for change, words, serves, back in changes:
            self.set(version="1", canary=None, balance=None)
            self.begin()
            self.network.pass_time(3)
            self.set(**change)
            before = self.settings
            said = (
                f"backend/shop was changed by another client (10.0.0.9): {words}; the deploy stops and changes "
                f"nothing more: {serves} serves now; bender backend set shop {back} restores what served before the "
                "deploy"
            )
            self.assertEqual(self.failed(1), said)
            self.assertEqual(self.settings, before)

    def test_a_rollback(self) -> None:
        """The deploy also stops at a rollback by another client."""
        self.begin(DeployPlan("shop", "2"))
        self.network.pass_time(2)
        self.result(self.client(ONE).roll_back_backend("shop"))
        said = self.failed(1)
        self.assertIn("was changed by another client", said)
        self.assertIn("version 2 → 1; the deploy stops and changes nothing more: web 1 serves now, as before", said)
        self.assertEqual(self.shop, {"version": "1"})

    def test_a_removal(self) -> None:
        """The deploy does not create a removed backend again."""
        self.begin()
        self.result(self.client(TWO).remove_backend("shop"))
        said = self.failed(1)
        self.assertIn("was removed by another client (10.0.0.9): the deploy stops", said)
        again = 'bender backend set shop --app web --version 1 \'meta={"note":"x"}\' creates it again'
        self.assertIn(again, said)
        self.failure(self.client(ONE).backend("shop"), NotFound)

    def test_one_who_is_faster(self) -> None:
        """Another client changes the backend between the last check and a step or rollback."""
        for lost in (False, True):
            self.set(version="1", canary=None)
            client = self.unreliable_client()
            self.begin(STEPS, client)
            client.on_change = self.change
            if lost:
                self.deregister("2", 1)
            said = self.failed(11)
            self.assertIn("was changed by another client (me): version 1 → 7", said)
            self.assertEqual("has 2 members left of 3, but" in said, lost)
            self.assertEqual(self.shop, {"version": "7"})

    def change(self, _change: bytes) -> None:
        self.node(ONE).configure("backend/shop", OLD.replace(b'"1"', b'"7"'), "me")


class Nodes(DeployCase):
    """Nodes that do not answer."""

    def test_the_one_that_was_asked(self) -> None:
        """If the node that was asked fails, the next node is asked, and each step is done once."""
        self.begin()
        self.network.pass_time(5)
        self.machines[ONE].kill()
        self.network.pass_time(8)
        self.machines[TWO].leave()
        self.assertTrue(self.outcome(20).succeeded)
        self.assertEqual((self.shop, self.settings), ({"version": "2"}, 4))

    def test_an_answer_that_is_lost(self) -> None:
        """After a lost answer, a step is not repeated, and does not count as a change by another client."""
        client = self.unreliable_client()
        client.losing = 1
        self.begin(STEPS, client)
        self.assertEqual(self.shop, {"version": "1", "2": 5})
        self.network.pass_time(9)
        client.losing = 2
        self.assertTrue(self.outcome(20).succeeded)
        self.assertEqual((self.shop, self.settings), ({"version": "2"}, 4))

    def test_a_node_that_knows_less(self) -> None:
        """A node that has not received the last step yet gets some time."""
        client = self.unreliable_client()
        self.begin(STEPS, client)
        client.shows = {f"{TWO}:1729": OLD}
        self.machines[ONE].kill()
        self.network.pass_time(3)
        self.assertNoResult(self.running)
        client.shows = {}
        self.assertTrue(self.outcome(30).succeeded)

    def test_a_node_that_never_learns(self) -> None:
        """A node that still has not received the last step after some time counts as changed by another client."""
        client = self.unreliable_client()
        self.begin(STEPS, client)
        client.shows = {f"{TWO}:1729": OLD}
        self.machines[ONE].kill()
        self.assertIn("was changed by another client", self.failed(7))

    def test_all_of_them_for_a_while(self) -> None:
        """If no node answers for a while, the deploy retries, and continues when a node answers."""
        self.begin()
        self.network.pass_time(3)
        doors = {(host, 1729): self.network.listening.pop((host, 1729)) for host in ALL}
        for end in self.network.server_ends:
            if end.hostAddress.port == 1729:
                end.abortConnection()
        self.network.pass_time(10)
        self.assertEqual(len([line for line in self.progress.lines if "retrying" in line]), 1)
        self.network.listening.update(doors)
        self.assertTrue(self.outcome(40).succeeded)
        self.assertEqual(self.settings, 4)

    def test_all_of_them(self) -> None:
        """If no node answers any more, the deploy stops, and reports the state of the backend."""
        self.begin()
        self.network.pass_time(3)
        for host in ALL:
            self.machines[host].kill()
        said = self.failed(UNANSWERED_S_MAX + 5)
        self.assertIn("does not answer", said)
        self.assertIn("backend/shop is left with web 1 with 5 % of the traffic at 2; the same command continues", said)

    def test_all_of_them_when_it_is_worse(self) -> None:
        """If no node answers after a regression, the deploy reports both."""
        client = self.unreliable_client()
        self.begin(STEPS, client)
        self.deregister("2", 1)
        client.on_change = lambda _change: self.network.cut.update(ALL)
        said = self.failed(UNANSWERED_S_MAX + 20)
        self.assertIn("has 2 members left of 3, but", said)
        self.assertIn("does not answer", said)
        self.assertIn("may have been made", said)

    def test_none_from_the_beginning(self) -> None:
        """If no node answers at the beginning, the deploy does not begin."""
        for host in ALL:
            self.machines[host].kill()
        self.begin()
        self.failureResultOf(self.running, Unavailable)

    def test_others_are_learned(self) -> None:
        """A deploy that was given one node learns the others."""
        self.begin(client=self.client(ONE))
        self.network.pass_time(3)
        self.machines[ONE].kill()
        self.assertTrue(self.outcome(30).succeeded)


class NotAllowed(DeployCase):
    def test_a_step_that_is_refused(self) -> None:
        """If nodes refuse a step, the deploy stops, and reports the state of the backend."""
        client = self.unreliable_client()
        self.begin(STEPS, client)
        client.refusing = True
        self.assertIn("not you: backend/shop is left with web 1 with 5 % of the traffic at 2; the", self.failed(10))


class Stopped(DeployCase):
    """Ctrl-C leaves the backend as it is, and its state is reported."""

    def stopped(self) -> str:
        self.running.cancel()
        self.failureResultOf(self.running, CancelledError)
        return self.deploy.describe_state()

    def test_before_anything_was_changed(self) -> None:
        """The report has no commands, because no step has to be continued or restored."""
        self.machines[ONE].kill()
        self.network.cut = {TWO}
        self.begin()
        self.assertEqual(self.stopped(), "backend/shop is unchanged")

    def test_in_a_step(self) -> None:
        """The report has the commands to continue and to restore."""
        self.begin()
        self.assertEqual(
            self.stopped(),
            "backend/shop is left with web 1 with 5 % of the traffic at 2; the same command continues; "
            "bender backend set shop canary=null restores what served before",
        )
        self.assertEqual(self.shop, {"version": "1", "2": 5})

    def test_after_the_switch(self) -> None:
        """The report has the command to restore, including another version's canary."""
        self.set(canary={"version": "3", "percent": 5})
        self.begin(DeployPlan("shop", "2"))
        command = (
            """bender backend set shop --version 1 'canary={"version":"3","percent":5}' restores what served before"""
        )
        self.assertEqual(self.stopped(), f"backend/shop is left with web 2; {command}")

    def test_in_the_midst_of_a_change(self) -> None:
        """The report states that the change may have been made."""
        client = self.unreliable_client()
        client.hanging = True
        self.begin(STEPS, client)
        said = "a change of backend/shop may have been made: see bender backend history shop"
        self.assertEqual(self.stopped(), said)
