"""The diagnosis of an id at one node."""

from __future__ import annotations

from typing import Any

from msgspec import to_builtins
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from bender.core.diagnosis import FORGOTTEN, MARKS_MAX, Heard, NodeDiagnosis, SeenClaim, VersionTimes, heard_s
from bender.core.ledger import Claim
from bender.core.messages import Counter, Sender
from bender.core.peers import Peer
from bender.core.reasons import CHECK_FAILED
from bender.core.replica import Replica
from bender.core.timing import Timing
from tests.core.cluster import BODY, KEY, TTL_S, Cluster, update


class Accounts(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster("abc")

    def account(self, name: str) -> NodeDiagnosis:
        return self.cluster[name].diagnose(self.cluster.now, KEY)

    def claim(self, name: str) -> dict[str, Any]:
        claim: dict[str, Any] = to_builtins(self.account(name).claim)
        return claim

    def seen(self, name: str) -> list[tuple[Any, ...]]:
        return [(seen.node, seen.counts, seen.why) for seen in self.account(name).sees]

    def test_of_a_claim_of_its_own(self) -> None:
        """The diagnosis of a claim has the times since when it is held, of its last renewal, and that is left."""
        self.cluster.register("a")
        self.cluster.run(5)
        self.cluster.renew("a")
        self.cluster.run(2)
        # The time is counted from the heartbeat that followed.
        held = {"ttl": 10.0, "held": 6.0, "renewed": 2.0, "left": 8.0, "rev": 1, "speaks": True}
        self.assertEqual(self.claim("a"), held)

    def test_of_a_claim_of_another(self) -> None:
        """The diagnosis has for the claim of a peer whether it counts, and when the peer was heard."""
        self.cluster.register("a")
        self.cluster.run(2)
        account = self.account("b")
        self.assertEqual((account.listed, account.claim, self.seen("b")), (True, None, [("a", True, None)]))
        self.assertEqual(account.sees[0].heard_s, 0.0)

    def test_of_what_it_hides(self) -> None:
        """The claim of a silent node does not count, and the diagnosis gives this reason."""
        self.cluster.register("a")
        self.cluster.cut = {"a"}
        self.cluster.run(14)
        account = self.account("b")
        self.assertEqual((account.listed, account.hidden, self.seen("b")), (False, True, [("a", False, "silent")]))
        self.assertGreaterEqual(account.sees[0].heard_s or 0.0, 13.0)

    def test_of_what_was_deregistered(self) -> None:
        """An end has the name of the node that received the deregistration."""
        self.cluster.register("a")
        self.cluster.deregister("b")
        self.assertEqual([self.account(name).ended for name in "abc"], [("b",)] * 3)
        self.assertEqual([self.account(name).listed for name in "abc"], [False] * 3)

    def test_of_what_was_deregistered_because_a_check_failed(self) -> None:
        """All nodes know that a check failed, until the id is deregistered for another reason."""
        self.cluster.register("a")
        self.cluster["b"].deregister(self.cluster.now, KEY, CHECK_FAILED)
        self.cluster.cut = {"c"}
        self.cluster.settle()
        self.assertEqual([self.account(name).check_failed for name in "abc"], [True, True, False])
        self.cluster.deregister("c")
        self.cluster.cut = set()
        self.cluster.run(2)
        self.assertEqual([self.account(name).check_failed for name in "abc"], [False] * 3)

    def test_of_a_claim_that_was_ended(self) -> None:
        """An ended claim does not count, with this reason."""
        self.cluster.register("a")
        self.cluster.cut = {"c"}
        self.cluster.deregister("b")
        self.assertEqual(self.seen("b"), [("a", False, "ended")])

    def test_of_a_node_before_its_restart(self) -> None:
        """The former incarnation of a node has its name, and is marked as earlier."""
        self.cluster.register("a")
        self.cluster.start("a", 9, "abc")
        self.cluster.run(1)
        self.cluster.renew("a")
        seen = {(seen.node, seen.earlier, seen.counts) for seen in self.account("b").sees}
        self.assertEqual(seen, {("a", True, True), ("a", False, True)})

    def test_of_two_claims(self) -> None:
        """A node knows the lease of its own claim only."""
        self.cluster.register("a")
        self.cluster.run(4)
        self.cluster.renew("b")
        self.assertEqual((self.claim("a")["left"], self.claim("b")["left"]), (6.0, 10.0))
        self.assertTrue(self.claim("a")["speaks"] and self.claim("b")["speaks"])

    def test_of_one_that_is_due(self) -> None:
        """A claim that waits for answers of peers has no time left."""
        self.cluster.register("a")
        self.cluster.run(7)
        self.cluster.cut = {"b"}
        self.cluster.run(4)
        self.assertEqual((self.claim("a")["left"], self.claim("a")["renewed"]), (0.0, 11.0))

    def test_of_the_others(self) -> None:
        """The diagnosis has the peers, and those that left are marked."""
        self.cluster["c"].leave(self.cluster.now)
        self.cluster.settle()
        self.assertEqual([(heard.node, heard.left) for heard in self.account("a").hears], [("b", False), ("c", True)])

    def test_of_what_nobody_knows(self) -> None:
        """The diagnosis of an unknown id has no content."""
        self.assertFalse(self.account("a").has_content)
        self.cluster.register("a")
        self.assertTrue(all(self.account(name).has_content for name in "abc"))


class Reaching(SynchronousTestCase):
    """The peers that a change of this node has reached."""

    def setUp(self) -> None:
        self.cluster = Cluster("abc")
        self.cluster.register("a")

    def split(self) -> tuple[str, str]:
        replica = self.cluster["a"]
        having, lacking = replica.split_peers(replica.claims.ledger.version)
        return "".join(each.name for each in having), "".join(each.name for each in lacking)

    def test_everybody(self) -> None:
        """Peers confirm with their answers that they have the change."""
        replica = self.cluster["a"]
        self.assertEqual(self.split(), ("bc", ""))
        self.assertEqual(replica.version_reached(self.cluster.now), replica.claims.ledger.version)

    def test_somebody_who_is_cut_off(self) -> None:
        """The change waits for a peer that lacks it until this is silent; the peer is still named after that."""
        self.cluster.cut = {"c"}
        self.cluster.deregister("a")
        replica = self.cluster["a"]
        self.assertEqual(self.split(), ("b", "c"))
        self.assertLess(replica.version_reached(self.cluster.now), replica.claims.ledger.version)
        self.cluster.run(4)
        self.assertEqual(self.split(), ("b", "c"))
        self.assertEqual(replica.version_reached(self.cluster.now), replica.claims.ledger.version)

    def test_somebody_who_left(self) -> None:
        """The change does not wait for a peer that left."""
        self.cluster["c"].leave(self.cluster.now)
        self.cluster.settle()
        self.cluster.deregister("a")
        self.assertEqual(self.split(), ("b", ""))


class WhenThingsWere(SynchronousTestCase):
    def test_an_entry_was_added_by_the_heartbeat_after_it(self) -> None:
        """The time of an entry is that of the next heartbeat."""
        marks = VersionTimes(100.0)
        for version, now in ((3, 101.0), (3, 102.0), (5, 103.0)):
            marks.note(version, now)
        self.assertEqual([marks.added_at(n, 104.0) for n in (1, 3, 4, 5, 6)], [101.0, 101.0, 103.0, 103.0, 104.0])

    def test_they_are_bounded(self) -> None:
        """The number of stored times is limited: older ones are less exact."""
        marks = VersionTimes(0.0)
        for i in range(1, 10 * MARKS_MAX):
            marks.note(i, float(i))
        last = 10 * MARKS_MAX - 1
        self.assertEqual(marks.added_at(last, 0.0), float(last))
        self.assertGreaterEqual(marks.added_at(1, 0.0), 1.0)
        self.assertLess(len(marks._versions), MARKS_MAX + 1)


class ByHand(SynchronousTestCase):
    """Node 1, which has heard node 2 and has a guard of twenty seconds."""

    def setUp(self) -> None:
        self.now = 1000.0
        self.replica = Replica(Sender(1, "a", "a"), Timing(), self.now, guard_s=20.0)
        self.hear(2, "b")

    def hear(self, incarnation: int, name: str, beats: int = 1) -> Peer:
        counter = Counter(incarnation, name, name, beats, 0.0)
        self.replica.peers.meet(counter, self.now)
        self.replica.peers.hear(counter, self.now)
        peer = self.replica.peers.get(incarnation)
        assert peer is not None
        return peer

    def see(self, incarnation: int) -> None:
        self.replica.claims.index.add(Claim(incarnation, 1, KEY, BODY, TTL_S, 1, incarnation, 1))
        self.replica.claims.refresh(KEY, self.now)

    def account(self, at: float) -> NodeDiagnosis:
        return self.replica.diagnose(at, KEY)

    def test_to_the_millisecond(self) -> None:
        """All times are rounded to the millisecond, and are not negative."""
        self.replica.register(self.now, KEY, update(BODY, TTL_S))
        self.replica._marks.note(1, self.now)
        account = self.account(1000.12344)
        assert account.claim is not None
        self.assertEqual((account.claim.held_s, account.claim.renewed_s, account.claim.left_s), (0.123, 0.123, 9.877))
        self.assertEqual(account.hears, (Heard("b", 0.123, left=False),))
        late = self.account(1012.0).claim
        self.assertEqual(late and late.left_s, 0.0)

    def test_suspect(self) -> None:
        """The diagnosis of a suspect has the time for which it stays listed."""
        self.see(2)
        self.assertIsNone(self.account(self.now).suspect_s)
        self.replica.claims.refresh(KEY, 1013.0)
        self.replica.claims.judge(1013.0)
        self.assertEqual([self.account(at).suspect_s for at in (1014.00044, 1032.5, 1040.0)], [19.0, 0.5, 0.0])

    def test_shorter_ttl(self) -> None:
        """An end without roots is not in the diagnosis."""
        for ttl_s in (20.0, TTL_S):
            self.replica.register(self.now, KEY, update(BODY, ttl_s))
        self.assertEqual(self.account(self.now).ended, ())

    def test_succeeded(self) -> None:
        """Of a restarted node, only the present incarnation is in the diagnosis."""
        self.hear(3, "b").message_at = self.now + 1.0
        former = self.replica.peers.get(2)
        assert former is not None
        former.mark_replaced(self.now)
        self.assertEqual([heard.left for heard in self.account(self.now).hears], [False])

    def test_of_a_node_that_is_forgotten(self) -> None:
        """The name of a forgotten node is unknown, and so is the time when it was heard."""
        self.see(9)
        self.assertEqual(self.account(self.now).sees, (SeenClaim(FORGOTTEN, False, 1, False, "silent", None),))

    def test_heard(self) -> None:
        """A node may be known and not heard; its first heartbeat has number 0."""
        self.replica.peers.meet(Counter(4, "d", "d", 5, 0.0), self.now)
        self.assertEqual(heard_s(None, self.now), None)
        self.assertEqual(heard_s(self.replica.peers.get(4), self.now), None)
        self.assertEqual(heard_s(self.hear(5, "e", beats=0), self.now + 1.0), 1.0)

    def test_says_something(self) -> None:
        """A diagnosis has content if the node sees a claim or an end, or hides the id."""
        nothing = self.account(self.now)
        seen = SeenClaim("b", False, 1, False, "silent", None)
        self.assertFalse(nothing.has_content)
        for known in (replace(nothing, sees=(seen,)), replace(nothing, ended=("b",)), replace(nothing, hidden=True)):
            self.assertTrue(known.has_content)

    def test_marks(self) -> None:
        """A version has one stored time."""
        marks = VersionTimes(0.0)
        for now in (5.0, 6.0):
            marks.note(1, now)
        self.assertEqual((marks.added_at(1, 9.0), len(marks._versions)), (5.0, 2))
