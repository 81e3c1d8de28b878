"""The index of all entries by key."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.index import Index
from bender.core.leases import Lease
from tests.core.test_view import KEY, claim


class IndexTests(SynchronousTestCase):
    """The index holds all entries of a key."""

    def test_one_two_and_none(self) -> None:
        """Entries are added and removed, and a key without entries leaves nothing behind."""
        index, one, two, three = Index(), claim(1), claim(2), claim(3)
        for each in (one, two, three):
            index.add(each)
        self.assertEqual(index.entries(KEY), (one, two, three))
        index.discard(two)
        self.assertEqual(index.entries(KEY), (one, three))
        index.discard(one)
        self.assertEqual(index.entries(KEY), (three,))
        index.discard(three)
        self.assertEqual((index.entries(KEY), len(index)), ((), 0))
        index.discard(three)
        self.assertEqual(len(index), 0)

    def test_leases(self) -> None:
        """The claim of this node is found by its lease, alone or beside other claims."""
        index = Index()
        leases = [Lease(each, 10.0) for each in (claim(1), claim(1, 2, key=KEY + "0"))]
        self.assertIsNone(index.lease(KEY))
        index.add(leases[0])
        self.assertIs(index.lease(KEY), leases[0])
        self.assertEqual(index.entries(KEY), (leases[0].entry,))
        for each in (claim(2), claim(3)):
            index.add(each)
        self.assertIs(index.lease(KEY), leases[0])
        index.discard(leases[0].entry)
        self.assertIsNone(index.lease(KEY))
        index.add(leases[0])
        self.assertIs(index.lease(KEY), leases[0])
        self.assertEqual(len(index.entries(KEY)), 3)

    def test_no_lease(self) -> None:
        """A key with a single claim of another node has no lease."""
        index = Index()
        index.add(claim(2))
        self.assertIsNone(index.lease(KEY))
