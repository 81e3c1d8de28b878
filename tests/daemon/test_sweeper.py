"""The sweeper. The tests control its clock and its node."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.core.timing import Timing
from bender.daemon.sweeper import Sweeper
from bender.node.counters import Counters


class Swept:
    """A node that records its sweeps, and returns the results of `answers` in turn."""

    timing = Timing(interval_s=1.0, ttl_s=10.0)

    def __init__(self, clock: Clock, answers: list[Callable[[], bool]]) -> None:
        self.counters = Counters()
        self.sweeps: list[float] = []
        self.unheard_s: list[float] = []
        self._clock = clock
        self._answers = answers

    def sweep(self, unheard_s: float = 0.0) -> bool:
        self.unheard_s.append(unheard_s)
        self.sweeps.append(self._clock.seconds())
        return self._answers.pop(0)() if self._answers else False


def more() -> bool:
    return True


def done() -> bool:
    return False


def raises() -> bool:
    raise RuntimeError("a fault")


class ExpiryCase(SynchronousTestCase):
    """A sweeper with a clock, started at 0 s."""

    def start(self, *answers: Callable[[], bool]) -> tuple[Clock, Swept, Sweeper]:
        clock = Clock()
        node = Swept(clock, list(answers))
        expiry = Sweeper(clock, node)
        expiry.startService()
        return clock, node, expiry


class RegularSweeps(ExpiryCase):
    def test_it_sweeps_every_quarter_of_an_interval(self) -> None:
        """With an interval of one second a node is swept four times a second."""
        clock, node, _ = self.start()
        clock.pump([0.25] * 4)
        self.assertEqual(node.sweeps, [0, 0.25, 0.5, 0.75, 1.0])

    def test_the_node_is_told_how_long_requests_have_waited(self) -> None:
        """Each sweep gets the present waiting time of requests, which is 0 without a measurement."""
        clock, node = Clock(), Swept(Clock(), [])
        waited_s = [0.0, 0.5]
        Sweeper(clock, node, lambda: waited_s.pop(0)).startService()
        clock.advance(0.25)
        self.assertEqual(node.unheard_s, [0.0, 0.5])
        _, other, _ = self.start()
        self.assertEqual(other.unheard_s, [0.0])

    def test_it_ends_with_the_service(self) -> None:
        """A stopped service sweeps no more and leaves no timer behind."""
        clock, node, expiry = self.start()
        expiry.stopService()
        clock.pump([0.25] * 4)
        self.assertEqual(node.sweeps, [0])
        self.assertEqual(clock.getDelayedCalls(), [])


class SlicedSweeps(ExpiryCase):
    def test_requests_get_their_turn_between_two_slices(self) -> None:
        """A long sweep has several slices, and requests are handled between two slices."""
        clock = Clock()
        order: list[str] = []

        def slice_while_a_request_comes_in() -> bool:
            order.append("slice")
            clock.callLater(0, order.append, "request")
            return len(order) < 4

        expiry = Sweeper(clock, Swept(clock, [slice_while_a_request_comes_in] * 3))
        expiry.startService()
        clock.advance(0)
        self.assertEqual(order, ["slice", "request", "slice", "request", "slice", "request"])

    def test_a_sweep_that_takes_long_is_not_begun_twice(self) -> None:
        """While a sweep has more slices, the regular tick begins no other sweep."""
        clock, node, _ = self.start(more, more, done)
        clock.advance(0.25)  # the second slice, the tick that is due, the third slice
        self.assertEqual(node.sweeps, [0, 0.25, 0.25])

    def test_it_goes_back_to_the_regular_sweeps_after_the_last_slice(self) -> None:
        """After the last slice, the next sweep begins at the next tick."""
        clock, node, _ = self.start(more, done)
        clock.advance(0)
        clock.pump([0.125] * 2)
        self.assertEqual(node.sweeps, [0, 0, 0.25])

    def test_the_rest_of_a_sweep_ends_with_the_service(self) -> None:
        """A service that is stopped between two slices does not do the next one."""
        clock, node, expiry = self.start(more)
        expiry.stopService()
        clock.advance(1)
        self.assertEqual(node.sweeps, [0])


class SweepsThatFail(ExpiryCase):
    def test_the_sweeps_go_on_after_one_that_raised(self) -> None:
        """An error is logged and counted, and the next sweep takes place as usual."""
        clock, node, _ = self.start(raises, done, raises)
        clock.pump([0.25] * 3)
        self.assertEqual(node.sweeps, [0, 0.25, 0.5, 0.75])
        self.assertEqual(node.counters.sweeps_failed, 2)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_a_slice_that_raises_ends_its_sweep_alone(self) -> None:
        """An error in a later slice ends this sweep only."""
        clock, node, _ = self.start(more, raises)
        clock.advance(0)
        clock.pump([0.25] * 2)
        self.assertEqual(node.sweeps, [0, 0, 0.25, 0.5])
        self.assertEqual(node.counters.sweeps_failed, 1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
