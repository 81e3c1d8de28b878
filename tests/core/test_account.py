"""What a node can say of an id."""

from __future__ import annotations

from typing import Any

from msgspec import to_builtins
from twisted.trial.unittest import SynchronousTestCase

from bender.core.account import MARKS_MAX, Account, Marks
from tests.core.cluster import KEY, Cluster


class Accounts(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster("abc")

    def account(self, name: str) -> Account:
        return self.cluster[name].account(self.cluster.now, KEY)

    def claim(self, name: str) -> dict[str, Any]:
        claim: dict[str, Any] = to_builtins(self.account(name).claim)
        return claim

    def seen(self, name: str) -> list[tuple[Any, ...]]:
        return [(seen.node, seen.counts, seen.why) for seen in self.account(name).sees]

    def test_of_a_claim_of_its_own(self) -> None:
        """It says since when it holds it, when it heard the instance last, and how much is left."""
        self.cluster.register("a")
        self.cluster.run(5)
        self.cluster.renew("a")
        self.cluster.run(2)
        # Since the heartbeat that followed.
        held = {"ttl": 10.0, "held": 6.0, "renewed": 2.0, "left": 8.0, "rev": 1, "speaks": True}
        self.assertEqual(self.claim("a"), held)

    def test_of_a_claim_of_another(self) -> None:
        """It says whether it counts, and how long ago its node was heard."""
        self.cluster.register("a")
        self.cluster.run(2)
        account = self.account("b")
        self.assertEqual((account.listed, account.claim, self.seen("b")), (True, None, [("a", True, None)]))
        self.assertEqual(account.sees[0].heard_s, 0.0)

    def test_of_what_it_hides(self) -> None:
        """The claim of a node that is not heard does not count, and that is why."""
        self.cluster.register("a")
        self.cluster.cut = {"a"}
        self.cluster.run(14)
        account = self.account("b")
        self.assertEqual((account.listed, account.hidden, self.seen("b")), (False, True, [("a", False, "silent")]))
        self.assertGreaterEqual(account.sees[0].heard_s or 0.0, 13.0)

    def test_of_what_was_deregistered(self) -> None:
        """The end names the node that was told."""
        self.cluster.register("a")
        self.cluster.deregister("b")
        self.assertEqual([self.account(name).ended for name in "abc"], [("b",)] * 3)
        self.assertEqual([self.account(name).listed for name in "abc"], [False] * 3)

    def test_of_a_claim_that_was_ended(self) -> None:
        """One that is still there does not count, because it was ended."""
        self.cluster.register("a")
        self.cluster.cut = {"c"}
        self.cluster.deregister("b")
        self.assertEqual(self.seen("b"), [("a", False, "ended")])

    def test_of_a_node_before_its_restart(self) -> None:
        """It has its name, and is told from what is there now."""
        self.cluster.register("a")
        self.cluster.start("a", 9, "abc")
        self.cluster.run(1)
        self.cluster.renew("a")
        seen = {(seen.node, seen.earlier, seen.counts) for seen in self.account("b").sees}
        self.assertEqual(seen, {("a", True, True), ("a", False, True)})

    def test_of_two_claims(self) -> None:
        """Each node knows of its own lease alone."""
        self.cluster.register("a")
        self.cluster.run(4)
        self.cluster.renew("b")
        self.assertEqual((self.claim("a")["left"], self.claim("b")["left"]), (6.0, 10.0))
        self.assertTrue(self.claim("a")["speaks"] and self.claim("b")["speaks"])

    def test_of_one_that_is_due(self) -> None:
        """Nothing is left of a claim that waits for the peers' word."""
        self.cluster.register("a")
        self.cluster.run(7)
        self.cluster.cut = {"b"}
        self.cluster.run(4)
        self.assertEqual((self.claim("a")["left"], self.claim("a")["renewed"]), (0.0, 11.0))

    def test_of_the_others(self) -> None:
        """It says when it heard each of them; who left is said to have."""
        self.cluster["c"].leave(self.cluster.now)
        self.cluster.settle()
        self.assertEqual([(heard.node, heard.left) for heard in self.account("a").hears], [("b", False), ("c", True)])

    def test_of_what_nobody_knows(self) -> None:
        """It says nothing."""
        self.assertFalse(self.account("a").says_something)
        self.cluster.register("a")
        self.assertTrue(all(self.account(name).says_something for name in "abc"))


class Reaching(SynchronousTestCase):
    """How far what a node did has come."""

    def setUp(self) -> None:
        self.cluster = Cluster("abc")
        self.cluster.register("a")

    def split(self) -> tuple[str, str]:
        replica = self.cluster["a"]
        having, lacking = replica.split(replica.claims.ledger.version)
        return "".join(each.name for each in having), "".join(each.name for each in lacking)

    def test_everybody(self) -> None:
        """Peers show with their answers what they have."""
        replica = self.cluster["a"]
        self.assertEqual(self.split(), ("bc", ""))
        self.assertEqual(replica.reached(self.cluster.now), replica.claims.ledger.version)

    def test_somebody_who_is_cut_off(self) -> None:
        """A peer that lacks it is waited for until it is silent, and named afterwards too."""
        self.cluster.cut = {"c"}
        self.cluster.deregister("a")
        replica = self.cluster["a"]
        self.assertEqual(self.split(), ("b", "c"))
        self.assertLess(replica.reached(self.cluster.now), replica.claims.ledger.version)
        self.cluster.run(4)
        self.assertEqual(self.split(), ("b", "c"))
        self.assertEqual(replica.reached(self.cluster.now), replica.claims.ledger.version)

    def test_somebody_who_left(self) -> None:
        """There is nobody to wait for."""
        self.cluster["c"].leave(self.cluster.now)
        self.cluster.settle()
        self.cluster.deregister("a")
        self.assertEqual(self.split(), ("b", ""))


class WhenThingsWere(SynchronousTestCase):
    def test_an_entry_was_added_by_the_heartbeat_after_it(self) -> None:
        """Between two heartbeats one cannot tell."""
        marks = Marks(100.0)
        for version, now in ((3, 101.0), (3, 102.0), (5, 103.0)):
            marks.note(version, now)
        self.assertEqual([marks.added_at(n, 104.0) for n in (1, 3, 4, 5, 6)], [101.0, 101.0, 103.0, 103.0, 104.0])

    def test_they_are_bounded(self) -> None:
        """What is old is told less exactly, what is new is not."""
        marks = Marks(0.0)
        for i in range(1, 10 * MARKS_MAX):
            marks.note(i, float(i))
        last = 10 * MARKS_MAX - 1
        self.assertEqual(marks.added_at(last, 0.0), float(last))
        self.assertGreaterEqual(marks.added_at(1, 0.0), 1.0)
        self.assertLess(len(marks._versions), MARKS_MAX + 1)
