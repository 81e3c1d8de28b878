"""The wheel finds due leases, and renewals do not touch it."""

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
        """A lease is due one slot after its deadline."""
        self.leases.grant(claim("a"), 110.0)
        self.leases.turn(110.0 + SLOT_S, 1000)
        self.assertEqual(due_keys(self.leases), ["a"])

    def test_renewed(self) -> None:
        """A lease whose deadline moved is checked again at the new deadline."""
        lease = self.leases.grant(claim("a"), 110.0)
        lease.deadline = 115.0
        self.leases.turn(112.0, 1000)
        self.assertEqual(due_keys(self.leases), [])
        self.leases.turn(116.0, 1000)
        self.assertEqual(due_keys(self.leases), ["a"])

    def test_revoked(self) -> None:
        """A revoked lease is never due, and leaves the wheel at its deadline."""
        self.leases.revoke(self.leases.grant(claim("a"), 110.0))
        self.leases.turn(120.0, 1000)
        self.assertEqual((due_keys(self.leases), len(self.leases)), ([], 0))

    def test_revoked_while_due(self) -> None:
        """A revoked lease is no longer due."""
        lease = self.leases.grant(claim("a"), 110.0)
        self.leases.turn(120.0, 1000)
        self.leases.revoke(lease)
        self.assertEqual(due_keys(self.leases), [])

    def test_seated_twice(self) -> None:
        """A lease that was marked as due early is due once."""
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
        """A lease is due at the turn at which its deadline is reached."""
        lease = self.leases.grant(claim("a"), 110.0)
        lease.deadline = 112.0
        self.leases.turn(112.0, 1000)
        self.assertEqual(due_keys(self.leases), ["a"])

    def test_ended_before(self) -> None:
        """An ended lease stays due when its deadline passes or moves."""
        leases = [self.leases.grant(claim(key), 110.0) for key in "ab"]
        for lease in leases:
            self.leases.due[lease] = 105.0
        leases[1].deadline = 130.0
        self.leases.turn(120.0, 1000)
        self.assertEqual([*self.leases.due.values()], [105.0, 105.0])

    def test_not_current(self) -> None:
        """A new lease is not current, because its claim was not compared with the winner yet."""
        self.assertFalse(self.leases.grant(claim("a"), 110.0).is_current)

    def test_slices(self) -> None:
        """A turn checks a limited number of leases, and the next turn continues."""
        for i in range(5):
            self.leases.grant(claim(str(i)), 110.0)
        self.assertTrue(self.leases.turn(111.0, 2))
        self.assertEqual(len(self.leases.due), 2)
        self.assertTrue(self.leases.turn(111.0, 2))
        self.assertFalse(self.leases.turn(111.0, 2))
        self.assertEqual(len(self.leases.due), 5)


class ClaimTests(SynchronousTestCase):
    """Leases of claims are distinguished from those of ends."""

    def test_claims(self) -> None:
        """Each claim is returned once, waiting or due, and revoked ones are not."""
        leases = Leases(SLOT_S, now=0.0)
        seated, due, gone = (leases.grant(claim(key), deadline) for key, deadline in (("a", 10), ("b", 1), ("c", 10)))
        leases.grant(End(1, 2, "b", 18.0, 1, ((1, 1),)), 18.0)
        leases.turn(2.0, 1000)
        leases.revoke(gone)
        leases.due[seated] = 2.0  # this claim was ended
        self.assertEqual([*leases.claims()], [due, seated])


class ShortenTests(SynchronousTestCase):
    """The deadline of a lease can be shortened."""

    def setUp(self) -> None:
        self.leases = Leases(SLOT_S, now=0.0)
        self.lease = self.leases.grant(claim("a"), 10.0)

    def test_shortened(self) -> None:
        """A shortened lease is due at its new deadline, once."""
        self.leases.shorten(self.lease, 2.0)
        self.leases.turn(2.0 + SLOT_S, 1000)
        self.assertEqual(due_keys(self.leases), ["a"])
        self.leases.revoke(self.lease)
        self.leases.turn(11.0, 1000)
        self.assertEqual((due_keys(self.leases), len(self.leases)), ([], 0))

    def test_renewed(self) -> None:
        """A shortened lease that is renewed has its time again, and is in the wheel once."""
        for _ in range(3):
            self.leases.shorten(self.lease, 2.0)
            self.lease.deadline = 20.0
        self.leases.turn(11.0, 1000)
        self.assertEqual((due_keys(self.leases), len(self.leases)), ([], 1))

    def test_not_prolonged(self) -> None:
        """A later deadline does not prolong the lease."""
        self.leases.shorten(self.lease, 20.0)
        self.assertEqual(self.lease.deadline, 10.0)

    def test_the_same(self) -> None:
        """An equal deadline takes no further place in the wheel."""
        self.leases.shorten(self.lease, 10.0)
        self.assertEqual(len(self.leases), 1)

    def test_due(self) -> None:
        """A lease that is due stays due."""
        self.leases.turn(11.0, 1000)
        self.leases.shorten(self.lease, 5.0)
        self.assertEqual(due_keys(self.leases), ["a"])


class ShiftTests(SynchronousTestCase):
    """After a pause, a node moves the deadlines of leases whose clients could not renew meanwhile."""

    def shifted(self, ttl_s: float, gap_s: float) -> Lease:
        leases = Leases(SLOT_S, now=0.0)
        lease = leases.grant(claim("a", ttl_s), 10.0)
        leases.shift(gap_s, gap_s)
        return lease

    def test_short(self) -> None:
        """A gap shorter than the ttl moves the deadline."""
        self.assertEqual(self.shifted(10.0, 4.0).deadline, 14.0)

    def test_long(self) -> None:
        """A gap as long as the ttl does not move the deadline, because live instances renewed at other nodes."""
        self.assertEqual(self.shifted(10.0, 10.0).deadline, 10.0)

    def test_wait(self) -> None:
        """The wait for readiness moves deadlines only if the gap and the wait together are shorter than the ttl."""
        leases = Leases(SLOT_S, now=0.0)
        longer, shorter = leases.grant(claim("a", 13.0), 13.0), leases.grant(claim("b", 12.0), 12.0)
        leases.shift(4.0, 8.0 + 4.0)
        self.assertEqual((longer.deadline, shorter.deadline), (17.0, 12.0))
