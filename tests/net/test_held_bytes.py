"""The bytes that all connections hold together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.net.held_bytes import HeldBytes


class Holding(SynchronousTestCase):
    def setUp(self) -> None:
        self.held: HeldBytes[int] = HeldBytes(100)

    def test_one_client(self) -> None:
        """A single client may hold the maximum; above it, the client loses its largest connection."""
        self.assertEqual([self.held.note(1, "a", 60), self.held.note(2, "a", 40)], [(), ()])
        self.assertEqual(self.held.note(3, "a", 1), [1])
        self.assertEqual((self.held.used, self.held.peak, self.held.refused), (41, 101, 1))

    def test_the_client_with_the_most_loses(self) -> None:
        """The client with the largest sum loses, even if another client has the largest connection."""
        for holder in range(7):
            self.assertEqual(self.held.note(holder, "greedy", 10), ())
        self.assertEqual(self.held.note(10, "other", 30), ())
        self.assertEqual(self.held.note(10, "other", 31), [6])
        self.assertEqual(self.held.used, 91)

    def test_it_comes_completely(self) -> None:
        """After a complete request, no bytes are held. Forgetting a holder twice changes nothing."""
        self.held.note(1, "a", 60)
        self.held.note(1, "a", 0)
        self.held.forget(1)
        self.assertEqual((self.held.used, self.held._held, self.held._sums), (0, {}, {}))

    def test_the_only_one(self) -> None:
        """A single holder may exceed the maximum."""
        self.assertEqual(self.held.note(1, "a", 500), [])
        self.assertEqual(self.held.note(2, "b", 1), [1])

    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60)), max_size=60))
    def test_the_sum_is_right(self, steps: list[tuple[int, int]]) -> None:
        """The sum is always right, and never above the maximum after a loss."""
        held: HeldBytes[int] = HeldBytes(100)
        sizes: dict[int, int] = {}
        for holder, size in steps:
            losers = held.note(holder, "abc"[holder % 3], size)
            sizes[holder] = size
            for loser in losers:
                self.assertGreater(sizes.pop(loser), 0)
            self.assertEqual(held.used, sum(sizes.values()))
            self.assertLessEqual(held.used, 100)  # no single holder is above the maximum here
