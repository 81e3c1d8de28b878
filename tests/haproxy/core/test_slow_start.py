"""The weight of a new server in a backend with `slow_start`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy.core.slow_start import Ramps
from tests.haproxy.events import server


class Growing(SynchronousTestCase):
    """The weight of a new member in a backend with `slow_start`."""

    def setUp(self) -> None:
        self.ramps = Ramps()
        self.old = server("a")
        self.ramps.start_at_full_weight("shop", [self.old])

    def weights(self, now: float, slow_start_s: float = 10, weight: int = 1) -> tuple[list[int], float | None]:
        both = [self.old, server("b", weight=weight)]
        ramped, next_at = self.ramps.ramp("shop", both, slow_start_s, now)
        return [each.weight for each in ramped], next_at

    def test_it_grows_in_steps(self) -> None:
        """A new member's weight grows in steps to the full weight; a member from the beginning has it at once."""
        self.assertEqual(self.weights(100), ([256, 25], 101))
        self.assertEqual(self.weights(100.9), ([256, 25], 101))
        self.assertEqual(self.weights(104), ([256, 128], 105))
        self.assertEqual(self.weights(108.9999999), ([256, 256], None))
        self.assertEqual(self.weights(1e9), ([256, 256], None))

    def test_every_time_that_is_named_changes_something(self) -> None:
        """The weight changes at every returned time, because otherwise a timer would fire without end."""
        now: float | None = 1795661893.1
        seen = []
        while now is not None:
            weights, now = self.weights(now, slow_start_s=0.7)
            seen.append(weights[1])
        self.assertEqual(seen, [25, 51, 76, 102, 128, 153, 179, 204, 230, 256])

    def test_a_slow_start_that_is_none(self) -> None:
        """No weight exceeds the maximum, even if the slow start is extremely short."""
        for slow_start_s in (5e-324, 1e-300, 1e-7, 1e-6, 9.9e-6):
            self.ramps.ramp("shop", [self.old], 10, 0)
            self.assertLessEqual(max(self.weights(0, slow_start_s)[0]), 256, slow_start_s)

    def test_without_slow_start(self) -> None:
        """Members have the weights of their registrations."""
        self.assertEqual(self.weights(0, slow_start_s=0), ([1, 1], None))

    def test_one_that_gets_nothing(self) -> None:
        """A member with weight 0 gets no requests."""
        self.assertEqual(self.weights(0, weight=0)[0], [256, 0])

    def test_one_that_went_and_came_back(self) -> None:
        """A member that comes back starts slowly again."""
        self.weights(0)
        self.ramps.ramp("shop", [self.old], 10, 20)
        self.assertEqual(self.weights(30)[0], [256, 25])
