"""Freezing objects, so that the garbage collector does not examine them."""

from __future__ import annotations

import gc
import itertools
import weakref

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.daemon.gc_tuning import INTERVAL_MULTIPLE, INTERVAL_S_MAX, INTERVAL_S_MIN, SLOW_S, GcTuning


class Cycle:
    """A frozen object that refers to itself."""

    def __init__(self) -> None:
        self.me = self


class Freezing(SynchronousTestCase):
    def setUp(self) -> None:
        self.addCleanup(gc.unfreeze)
        gc.unfreeze()
        self.now_s = 0.0
        self.clock = Clock()
        self.collector = GcTuning(self.clock, lambda: self.now_s)

    def start(self) -> None:
        self.collector.startService()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        if self.collector.running:
            self.collector.stopService()

    def frozen_after(self, generation: int, took_s: float) -> bool:
        """Return True if objects were frozen after a collection of this duration."""
        before = gc.get_freeze_count()
        for callback in gc.callbacks:
            callback("start", {"generation": generation})
        self.now_s += took_s
        for callback in gc.callbacks:
            callback("stop", {"generation": generation})
        return gc.get_freeze_count() > before

    def test_at_the_start(self) -> None:
        """The objects of the loaded program are frozen at the start."""
        self.collector.privilegedStartService()
        self.assertGreater(gc.get_freeze_count(), 1000)

    def test_after_long_looks(self) -> None:
        """Objects are frozen after a slow collection of the oldest generation, and after no other."""
        self.start()
        looks = ((2, SLOW_S / 2), (1, 1.0), (0, 1.0), (2, 2 * SLOW_S))
        self.assertEqual([self.frozen_after(*look) for look in looks], [False, False, False, True])

    def cycle(self) -> weakref.ref[Cycle]:
        """Return a reference to a frozen cycle that is garbage."""
        cycle = weakref.ref(Cycle())
        gc.freeze()
        gc.collect()
        self.assertIsNotNone(cycle())
        return cycle

    def test_now_and_then(self) -> None:
        """Frozen cycles are freed, too: every minute, if a full collection takes no time."""
        self.start()
        for _ in range(3):
            cycle = self.cycle()
            self.clock.advance(INTERVAL_S_MIN)
            self.assertIsNone(cycle())

    def test_less_often_where_it_takes_long(self) -> None:
        """The time until the next full collection is a multiple of the last one's, and at most an hour."""
        for look_s, apart_s in (
            (0.01, 0.01 * INTERVAL_MULTIPLE),
            (0.05, 0.05 * INTERVAL_MULTIPLE),
            (1.0, INTERVAL_S_MAX),
        ):
            clock, times = Clock(), itertools.count()
            collector = GcTuning(clock, lambda look_s=look_s, times=times: look_s * next(times))  # type: ignore[misc]
            collector._collect_and_time()
            (call,) = clock.getDelayedCalls()
            self.assertAlmostEqual(call.getTime(), apart_s)

    def test_stopped(self) -> None:
        """A stopped service has no callback of the collector and no timer."""
        self.start()
        self.collector.stopService()
        self.assertFalse(self.frozen_after(2, 1.0))
        self.assertEqual(self.clock.getDelayedCalls(), [])
