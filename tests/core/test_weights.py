"""The share of a canary, for any numbers of members."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.core.model import WEIGHT_MAX
from bender.core.weights import shared_weights

members = st.lists(st.integers(0, WEIGHT_MAX), max_size=30)
equals = st.integers(1, 40).map(lambda count: [1] * count)
percents = st.integers(1, 99).map(Fraction)


def part(stable: list[int], canary: list[int]) -> Fraction:
    return Fraction(sum(canary), sum(stable) + sum(canary))


class Shares(SynchronousTestCase):
    def test_examples(self) -> None:
        """The shares are those of the sums of weights, whatever the numbers of members."""
        for stable, canary, percent, weights in (
            ([1, 1, 1], [1], 25, ([256, 256, 256], [256])),
            ([1], [1], 10, ([252], [28])),
            ([1, 1, 1], [1, 1], 40, ([256, 256, 256], [256, 256])),
            ([2, 1], [1], 50, ([171, 85], [256])),
        ):
            self.assertEqual(shared_weights(stable, canary, Fraction(percent)), weights)

    def test_the_nearest(self) -> None:
        """If no whole numbers are exact, the larger side has the largest weight, and the other the nearest one."""
        for percent, weights in (
            ("0.003", ([256], [1])),
            ("0.78", ([256], [2])),
            ("30.01", ([256], [110])),
            ("40.01", ([256], [171])),
            ("69.99", ([110], [256])),
            ("99.99", ([1], [256])),
            ("10100/301", ([200], [101])),
        ):
            self.assertEqual(shared_weights([1], [1], Fraction(percent)), weights)

    @given(equals, equals, percents)
    def test_they_are_exact(self, stable: list[int], canary: list[int], percent: Fraction) -> None:
        """Every whole percentage is exact, with any numbers of members of equal weight."""
        weights = shared_weights(stable, canary, percent)
        self.assertEqual(part(*weights), percent / 100)
        for group in weights:
            self.assertLessEqual(max(group) - min(group), 1)

    @given(members, members, st.fractions(0, 100, max_denominator=1000))
    def test_they_are_weights(self, stable: list[int], canary: list[int], percent: Fraction) -> None:
        """Each weight is in the range of load balancers, and a member of weight 0 keeps it."""
        for asked, got in zip((stable, canary), shared_weights(stable, canary, percent), strict=True):
            self.assertEqual(len(got), len(asked))
            for one, other in zip(asked, got, strict=True):
                self.assertTrue(0 <= other <= WEIGHT_MAX)
                if one == 0:
                    self.assertEqual(other, 0)

    @given(members.filter(any), members.filter(any), percents)
    def test_they_are_as_near_as_can_be(self, stable: list[int], canary: list[int], percent: Fraction) -> None:
        """Shares are within one percent also for small or uneven groups."""
        weights = shared_weights(stable, canary, percent)
        self.assertLessEqual(abs(part(*weights) - percent / 100), Fraction(1, 100))

    @given(members.filter(any), members.filter(any), percents)
    def test_within_a_group_they_are_as_asked_for(
        self, stable: list[int], canary: list[int], percent: Fraction
    ) -> None:
        """Within a group, weights are proportional to the registered ones, with a difference below one."""
        for asked, got in zip((stable, canary), shared_weights(stable, canary, percent), strict=True):
            for one, other in zip(asked, got, strict=True):
                self.assertLess(abs(other - Fraction(one * sum(got), sum(asked))), 1)

    def test_one_of_them_alone(self) -> None:
        """A group alone gets everything with its registered weights; 0 % and 100 % are exact."""
        ten = Fraction(10)
        self.assertEqual(shared_weights([], [3, 1], ten), ([], [3, 1]))
        self.assertEqual(shared_weights([3, 1], [], ten), ([3, 1], []))
        self.assertEqual(shared_weights([0, 0], [3], ten), ([0, 0], [3]))
        self.assertEqual(shared_weights([3, 1], [2], Fraction(0)), ([3, 1], [0]))
        self.assertEqual(shared_weights([3, 1], [2], Fraction(100)), ([0, 0], [2]))
