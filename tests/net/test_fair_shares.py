"""Places that clients share."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.net.fair_shares import FairShares, NoPlace


class Sharing(SynchronousTestCase):
    def setUp(self) -> None:
        self.shares: FairShares[int] = FairShares(4)

    def take(self, client: str, *holders: int) -> list[int | None]:
        return [self.shares.take(holder, client) for holder in holders]

    def test_one_busy_client(self) -> None:
        """A client that is alone has all places, and gets no more than that."""
        self.assertEqual(self.take("a", 1, 2, 3, 4), [None] * 4)
        self.assertRaises(NoPlace, self.take, "a", 5)
        self.assertEqual((self.shares.used, self.shares.peak, self.shares.refused), (4, 4, 1))

    def test_another_client(self) -> None:
        """A second client gets the newest places of the first, until both have the same number."""
        self.take("a", 1, 2, 3, 4)
        self.assertEqual(self.take("b", 5, 6), [4, 3])
        self.assertRaises(NoPlace, self.take, "b", 7)
        self.assertRaises(NoPlace, self.take, "a", 8)
        self.assertEqual([holder for holder in range(1, 9) if holder in self.shares], [1, 2, 5, 6])

    def test_the_client_with_the_most_loses(self) -> None:
        """A modest client keeps its place, whatever two greedy ones do."""
        self.take("modest", 1)
        self.take("a", 2, 3, 4)
        self.assertEqual(self.take("b", 5), [4])
        self.assertRaises(NoPlace, self.take, "b", 6)
        self.assertIn(1, self.shares)

    def test_many_modest_clients(self) -> None:
        """If every client has one place, no client loses its place."""
        for number, client in enumerate("abcd"):
            self.take(client, number)
        self.assertRaises(NoPlace, self.take, "e", 5)

    def test_released(self) -> None:
        """A free place is free for all; releasing it again changes nothing."""
        self.take("a", 1, 2, 3, 4)
        self.shares.release(2)
        self.shares.release(2)
        self.assertEqual(self.shares.used, 3)
        self.assertEqual(self.take("a", 5), [None])

    def test_the_maximum_changes(self) -> None:
        """If the maximum becomes smaller, holders keep their places, and count."""
        self.take("a", 1, 2, 3, 4)
        self.shares.maximum = 2
        self.assertRaises(NoPlace, self.take, "a", 5)
        self.assertEqual((self.take("b", 6), self.shares.used), ([4], 4))
        self.shares.maximum = 5
        self.assertEqual(self.take("a", 7), [None])

    def test_no_places(self) -> None:
        self.shares.maximum = 0
        self.assertRaises(NoPlace, self.take, "a", 1)

    @given(
        st.integers(1, 6),
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20), st.booleans()), max_size=60),
    )
    def test_like_a_plain_count(self, maximum: int, steps: list[tuple[str, int, bool]]) -> None:
        """The number of places equals an exact count, and a place is always lost by the client with the most places."""
        shares: FairShares[int] = FairShares(maximum)
        taken: dict[int, str] = {}
        for client, holder, takes in steps:
            if not takes:
                shares.release(holder)
                taken.pop(holder, None)
            elif holder not in taken:
                numbers = Counter(taken.values())
                most = max(numbers.values(), default=0)
                try:
                    loser = shares.take(holder, client)
                except NoPlace:
                    self.assertEqual(len(taken), maximum)
                    self.assertGreaterEqual(numbers[client] + 1, most)
                    continue
                if loser is not None:
                    lost_of = taken.pop(loser)
                    self.assertEqual((numbers[lost_of], len(taken)), (most, maximum - 1))
                    self.assertLess(numbers[client] + 1, most)
                taken[holder] = client
            self.assertEqual({each for each in range(21) if each in shares}, {*taken})
