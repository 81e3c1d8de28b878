"""Durations are counted in the buckets that Prometheus expects."""

from __future__ import annotations

from math import inf

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.metrics.histogram import BOUNDS_S, PEAK_S, Histogram, RecentPeak, cumulative_buckets
from bender.node.request_counts import RouteCounts


class Buckets(SynchronousTestCase):
    def test_a_bound_is_in_its_bucket(self) -> None:
        """A duration above a bound is in the next bucket."""
        for at, bound in enumerate(BOUNDS_S):
            histogram = Histogram()
            histogram.observe(bound)
            histogram.observe(bound * 1.001)
            self.assertEqual((histogram.counts[at], histogram.counts[at + 1]), (1, 1))

    def test_ends(self) -> None:
        """Any duration has a bucket."""
        histogram = Histogram()
        for duration_s in (0.0, 1e-9, 1e9):
            histogram.observe(duration_s)
        self.assertEqual((histogram.counts[0], histogram.counts[-1], histogram.count), (2, 1, 3))
        self.assertEqual(histogram.sum_s, 1e9 + 1e-9)

    def test_cumulated(self) -> None:
        """A cumulative bucket includes all buckets before it."""
        histogram = Histogram()
        for duration_s in (0.00001, 0.003, 0.004, 20.0):
            histogram.observe(duration_s)
        buckets = dict(cumulative_buckets(histogram))
        self.assertEqual((buckets[0.0025], buckets[0.005], buckets[10.0], buckets[inf]), (1, 3, 3, 4))
        self.assertEqual([*buckets], [*BOUNDS_S, inf])

    def test_bounds_are_in_order(self) -> None:
        self.assertEqual([*BOUNDS_S], sorted({*BOUNDS_S}))

    def test_route_counts_count_as_a_histogram_does(self) -> None:
        """Route counts use the same buckets as a histogram; their own code is faster."""
        counts, histogram = RouteCounts("/", "GET", timed=True), Histogram()
        for duration_s in (0.0, *BOUNDS_S, *(bound * 1.5 for bound in BOUNDS_S)):
            counts.note(200, duration_s)
            histogram.observe(duration_s)
        self.assertEqual(counts.by_status[200].counts, histogram.counts)
        self.assertEqual(counts.by_status[200].sum_s, histogram.sum_s)

    def test_a_total_has_all_statuses(self) -> None:
        counts = RouteCounts("/", "GET", timed=True)
        counts.note(200, 0.5)
        counts.note(404, 0.001)
        total = counts.total()
        self.assertEqual((total.count, total.sum_s), (2, 0.501))
        self.assertEqual(counts.by_status[200].count, 1)


class Peak(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.peak = RecentPeak(self.clock.seconds)

    def test_the_largest(self) -> None:
        for value in (0.1, 0.3, 0.2):
            self.peak.note(value)
        self.assertEqual(self.peak.value, 0.3)

    def test_it_is_forgotten(self) -> None:
        """A peak is forgotten after one minute at least, and two at most."""
        self.peak.note(0.3)
        self.clock.advance(PEAK_S)
        self.peak.note(0.1)
        self.assertEqual(self.peak.value, 0.3)
        self.clock.advance(PEAK_S)
        self.assertEqual(self.peak.value, 0.1)

    def test_nothing_was_measured_for_long(self) -> None:
        """After a long time without values, the peak is 0."""
        self.peak.note(0.3)
        self.clock.advance(2 * PEAK_S)
        self.assertEqual(self.peak.value, 0.0)
