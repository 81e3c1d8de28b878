"""When the collector is told to leave alone what there is."""

from __future__ import annotations

import gc

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.collector import GROWTH, LOOKS_APART_S, WORTH_IT, Collector


class Node:
    listed = 0


class Growing(SynchronousTestCase):
    def setUp(self) -> None:
        self.addCleanup(gc.unfreeze)
        gc.unfreeze()
        self.clock = Clock()
        self.node = Node()
        self.collector = Collector(self.clock, self.node)

    def frozen_after(self, listed: float) -> bool:
        """Whether more is left alone after the next look than before."""
        kept = [[] for _ in range(10)]  # type: ignore[var-annotated]
        before = gc.get_freeze_count()
        self.node.listed = int(listed)
        self.clock.advance(LOOKS_APART_S)
        return len(kept) == 10 and gc.get_freeze_count() > before

    def test_at_the_start(self) -> None:
        """What was loaded is left alone from the beginning."""
        self.collector.privilegedStartService()
        self.assertGreater(gc.get_freeze_count(), 0)

    def test_as_it_grows(self) -> None:
        """Each time there is a good deal more than the last time, and not before it is worth it."""
        self.collector.startService()
        looks = (10, WORTH_IT, WORTH_IT + 1, WORTH_IT * GROWTH, WORTH_IT * 1.5, WORTH_IT, WORTH_IT * 1.6, WORTH_IT * 2)
        frozen = [self.frozen_after(listed) for listed in looks]
        self.assertEqual(frozen, [False, False, True, False, True, False, False, True])

    def test_stopped(self) -> None:
        """No timer is left."""
        self.collector.startService()
        self.collector.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
