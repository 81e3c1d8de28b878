"""The wheel finds what is due, and renewals do not touch it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.leases import Lease, Leases
from bender.core.ledger import Claim, End

SLOT_S = 0.125


def claim(key: str, ttl_s: float = 10.0) -> Claim:
    return Claim(1, 1, key, b"{}", ttl_s, 1, 1, 1)


def due_keys(leases: Leases) -> list[str]:
    return [lease.entry.key for lease in leases.due]


class DueTests(SynchronousTestCase):
    """A lease is due when its deadline has passed, at most one slot later."""

    def setUp(self) -> None:
        self.leases = Leases(SLOT_S, now=100.0)

    def test_not_before(self) -> None:
        """Up to its deadline a lease is not due."""
        self.leases.grant(claim("a"), 110.0)
        self.leases.turn(110.0, 1000)
        self.assertEqual(due_keys(self.leases), [])

    def test_soon_after(self) -> None:
        """One slot after its deadline it is."""
        self.leases.grant(claim("a"), 110.0)
        self.leases.turn(110.0 + SLOT_S, 1000)
        self.assertEqual(due_keys(self.leases), ["a"])

    def test_renewed(self) -> None:
        """A lease whose deadline moved is looked at again when the new one has come."""
        lease = self.leases.grant(claim("a"), 110.0)
        lease.deadline = 115.0
        self.leases.turn(112.0, 1000)
        self.assertEqual(due_keys(self.leases), [])
        self.leases.turn(116.0, 1000)
        self.assertEqual(due_keys(self.leases), ["a"])

    def test_revoked(self) -> None:
        """A lease that was revoked is never due, and takes no room once its time is over."""
        self.leases.revoke(self.leases.grant(claim("a"), 110.0))
        self.leases.turn(120.0, 1000)
        self.assertEqual((due_keys(self.leases), len(self.leases)), ([], 0))

    def test_revoked_while_due(self) -> None:
        """Revoking takes a lease out of those that are due."""
        lease = self.leases.grant(claim("a"), 110.0)
        self.leases.turn(120.0, 1000)
        self.leases.revoke(lease)
        self.assertEqual(due_keys(self.leases), [])

    def test_seated_twice(self) -> None:
        """A lease that was put among the due ones early is found there once."""
        lease = self.leases.grant(claim("a"), 110.0)
        self.leases.due[lease] = None
        self.leases.turn(120.0, 1000)
        self.assertEqual(due_keys(self.leases), ["a"])
        self.assertEqual(len(self.leases), 1)

    def test_granted_late(self) -> None:
        """A lease whose deadline was over when it was granted is due at the next turn."""
        self.leases.turn(105.0, 1000)
        self.leases.grant(claim("a"), 101.0)
        self.leases.turn(105.0 + SLOT_S, 1000)
        self.assertEqual(due_keys(self.leases), ["a"])

    def test_renewed_until_now(self) -> None:
        """A deadline that has just come is over."""
        lease = self.leases.grant(claim("a"), 110.0)
        lease.deadline = 112.0
        self.leases.turn(112.0, 1000)
        self.assertEqual(due_keys(self.leases), ["a"])

    def test_ended_before(self) -> None:
        """What was found to be ended stays so when its deadline comes, or has been moved."""
        leases = [self.leases.grant(claim(key), 110.0) for key in "ab"]
        for lease in leases:
            self.leases.due[lease] = 105.0
        leases[1].deadline = 130.0
        self.leases.turn(120.0, 1000)
        self.assertEqual([*self.leases.due.values()], [105.0, 105.0])

    def test_not_current(self) -> None:
        """Nobody has seen yet whether a new lease's claim says what the winner says."""
        self.assertFalse(self.leases.grant(claim("a"), 110.0).is_current)

    def test_slices(self) -> None:
        """A turn looks at no more leases than it may, and goes on where it stopped."""
        for i in range(5):
            self.leases.grant(claim(str(i)), 110.0)
        self.assertTrue(self.leases.turn(111.0, 2))
        self.assertEqual(len(self.leases.due), 2)
        self.assertTrue(self.leases.turn(111.0, 2))
        self.assertFalse(self.leases.turn(111.0, 2))
        self.assertEqual(len(self.leases.due), 5)


class ClaimTests(SynchronousTestCase):
    """Those of claims can be told from those of ends."""

    def test_claims(self) -> None:
        """Each is there once, seated or due, and none that was revoked."""
        leases = Leases(SLOT_S, now=0.0)
        seated, due, gone = (leases.grant(claim(key), deadline) for key, deadline in (("a", 10), ("b", 1), ("c", 10)))
        leases.grant(End(1, 2, "b", 18.0, 1, ((1, 1),)), 18.0)
        leases.turn(2.0, 1000)
        leases.revoke(gone)
        leases.due[seated] = 2.0  # it was ended
        self.assertEqual([*leases.claims()], [due, seated])


class ShortenTests(SynchronousTestCase):
    """A lease may end earlier than was said."""

    def setUp(self) -> None:
        self.leases = Leases(SLOT_S, now=0.0)
        self.lease = self.leases.grant(claim("a"), 10.0)

    def test_shortened(self) -> None:
        """It is due at its new deadline, and looked at once."""
        self.leases.shorten(self.lease, 2.0)
        self.leases.turn(2.0 + SLOT_S, 1000)
        self.assertEqual(due_keys(self.leases), ["a"])
        self.leases.revoke(self.lease)
        self.leases.turn(11.0, 1000)
        self.assertEqual((due_keys(self.leases), len(self.leases)), ([], 0))

    def test_renewed(self) -> None:
        """Renewed after that it has its time again, and the wheel has it once."""
        for _ in range(3):
            self.leases.shorten(self.lease, 2.0)
            self.lease.deadline = 20.0
        self.leases.turn(11.0, 1000)
        self.assertEqual((due_keys(self.leases), len(self.leases)), ([], 1))

    def test_not_prolonged(self) -> None:
        """A later deadline changes nothing."""
        self.leases.shorten(self.lease, 20.0)
        self.assertEqual(self.lease.deadline, 10.0)

    def test_the_same(self) -> None:
        """The same deadline again takes no place in the wheel."""
        self.leases.shorten(self.lease, 10.0)
        self.assertEqual(len(self.leases), 1)

    def test_due(self) -> None:
        """What is due already stays so."""
        self.leases.turn(11.0, 1000)
        self.leases.shorten(self.lease, 5.0)
        self.assertEqual(due_keys(self.leases), ["a"])


class ShiftTests(SynchronousTestCase):
    """A node that was away gives its clients that time back, where they could have renewed meanwhile."""

    def shifted(self, ttl_s: float, gap_s: float) -> Lease:
        leases = Leases(SLOT_S, now=0.0)
        lease = leases.grant(claim("a", ttl_s), 10.0)
        leases.shift(gap_s, gap_s)
        return lease

    def test_short(self) -> None:
        """A gap shorter than the ttl moves the deadline."""
        self.assertEqual(self.shifted(10.0, 4.0).deadline, 14.0)

    def test_long(self) -> None:
        """A longer one does not: whoever is alive went elsewhere."""
        self.assertEqual(self.shifted(10.0, 10.0).deadline, 10.0)

    def test_wait(self) -> None:
        """The wait for readiness after a gap moves it by itself, where both together are shorter than the ttl."""
        leases = Leases(SLOT_S, now=0.0)
        longer, shorter = leases.grant(claim("a", 13.0), 13.0), leases.grant(claim("b", 12.0), 12.0)
        leases.shift(4.0, 8.0 + 4.0)
        self.assertEqual((longer.deadline, shorter.deadline), (17.0, 12.0))
