"""Reactors that do not follow the wall clock."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.base import ReactorBase
from twisted.internet.testing import MemoryReactorClock
from twisted.python import runtime
from twisted.trial.unittest import SynchronousTestCase

from bender.client import Client
from bender.process.steady_clock import make_steady


class Reactor(ReactorBase):
    """A reactor of Twisted that has only timers."""

    def installWaker(self) -> None:
        """Do nothing: no thread wakes this reactor."""


class Steady(SynchronousTestCase):
    """Timers while the wall clock is set back, or forward, by an hour."""

    def setUp(self) -> None:
        self.wall = 1_800_000_000.0
        self.monotonic = 500.0
        self.patch(runtime, "seconds", lambda: self.wall)
        self.reactor = Reactor()
        self.reactor.seconds = runtime.seconds
        self.called: list[str] = []

    def make_steady(self) -> None:
        make_steady(self.reactor, lambda: self.monotonic)

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds
        self.reactor.runUntilCurrent()

    def test_timers_end_in_time_whatever_the_wall_clock_does(self) -> None:
        """Timers are neither late nor early when the wall clock is set."""
        for jump in (-3600, 3600):
            self.make_steady()
            self.reactor.callLater(10, self.called.append, "later")
            self.wall += jump
            self.pass_time(9)
            self.assertEqual(self.called, [])
            self.pass_time(1)
            self.assertEqual(self.called, ["later"])
            self.called.clear()

    def test_timers_that_were_set_before_end_in_time(self) -> None:
        """Timers from before the change end in time, including timers that are reset after it."""
        self.reactor.callLater(10, self.called.append, "before")
        again = self.reactor.callLater(10, self.called.append, "again")
        self.make_steady()
        self.wall -= 3600
        self.pass_time(5)
        again.reset(10)
        self.pass_time(5)
        self.assertEqual(self.called, ["before"])
        self.pass_time(5)
        self.assertEqual(self.called, ["before", "again"])

    def test_time_goes_on_from_where_it_was(self) -> None:
        """The time of the reactor continues from its present value."""
        self.make_steady()
        self.assertEqual(self.reactor.seconds(), 1_800_000_000.0)

    def test_it_is_done_once(self) -> None:
        """A second call changes neither the time nor the timers."""
        self.make_steady()
        seconds = self.reactor.seconds
        self.wall -= 3600
        self.make_steady()
        self.assertIs(self.reactor.seconds, seconds)

    def test_a_client_does_it(self) -> None:
        """A `Client` makes its reactor steady, so users of the library need not do so."""
        Client(cast(Any, self.reactor))  # this client connects to no node
        self.wall -= 3600
        self.assertGreaterEqual(self.reactor.seconds(), 1_800_000_000.0)


class Others(SynchronousTestCase):
    """Reactors that do not follow the wall clock stay unchanged."""

    def test_a_clock_of_a_test(self) -> None:
        """The clock of a test stays unchanged."""
        reactor = MemoryReactorClock()
        make_steady(reactor)
        Client(reactor)
        reactor.advance(5)
        self.assertEqual(reactor.seconds(), 5)

    def test_a_reactor_with_a_clock_of_its_own(self) -> None:
        """A reactor with a replaced clock stays unchanged."""
        reactor = Reactor()

        def seconds() -> float:
            return 1.0

        reactor.seconds = seconds
        make_steady(reactor)
        self.assertIs(reactor.seconds, seconds)
