"""The lag of a reactor, measured with its own timers."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.net.reactor_lag import MEASURING_INTERVAL_S, ReactorLag


class Measuring(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Clock()
        self.noted: list[float] = []
        self.lag = ReactorLag(self.reactor, self.noted.append)
        self.lag.startService()

    def test_a_reactor_in_time(self) -> None:
        """The lag of a reactor in time is measured regularly, and is 0."""
        self.reactor.pump([MEASURING_INTERVAL_S] * 3)
        self.assertEqual([round(lag, 9) for lag in self.noted], [0.0] * 3)

    def test_a_reactor_that_is_held_up(self) -> None:
        """The lag is the time by which the timer was late."""
        self.reactor.advance(MEASURING_INTERVAL_S + 0.7)
        self.assertEqual([round(lag, 9) for lag in self.noted], [0.7])

    def test_it_ends(self) -> None:
        """A stopped measurement leaves no timer."""
        self.lag.stopService()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
