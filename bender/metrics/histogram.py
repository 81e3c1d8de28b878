"""Histograms of durations, and the peak of a value. This module is independent of Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

#: Upper bounds of the buckets in seconds. A request of the fast path takes some 10 µs, a long list tens of ms, and a
#: client that waits for other nodes up to a minute.
BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

#: The first bound. Nearly all requests are below it, and are counted without a search.
FIRST_S = BOUNDS_S[0]

#: `RecentPeak` covers at least this many seconds, and at most twice as many.
PEAK_S = 60.0


class Histogram:
    """Counts of durations by bucket. The last count is for durations above the last bound. `sum_s` is their sum."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, took_s: float) -> None:
        """Count a duration in seconds."""
        self.sum_s += took_s
        if took_s <= FIRST_S:
            self.counts[0] += 1
        else:
            self.counts[bisect_left(BOUNDS_S, took_s)] += 1

    def observe_all(self, times_s: Sequence[float]) -> None:
        """Count several durations in seconds, at least one."""
        if max(times_s) <= FIRST_S:
            self.counts[0] += len(times_s)
            self.sum_s += sum(times_s)
            return
        for took_s in times_s:
            self.observe(took_s)

    @property
    def count(self) -> int:
        """The number of durations."""
        return sum(self.counts)

    def add(self, other: Histogram) -> None:
        """Count all durations of another histogram."""
        self.sum_s += other.sum_s
        for at, count in enumerate(other.counts):
            self.counts[at] += count


class RecentPeak:
    """The largest value of the last minute or two."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        """`seconds` is a clock that does not jump."""
        self._seconds = seconds
        self._began_at = seconds()
        self._present = self._before = 0.0

    def note(self, value: float) -> None:
        """Record a value."""
        self._pass_time()
        self._present = max(self._present, value)

    @property
    def value(self) -> float:
        """The largest value."""
        self._pass_time()
        return max(self._present, self._before)

    def _pass_time(self) -> None:
        now = self._seconds()
        if now >= self._began_at + PEAK_S:
            self._before = self._present if now < self._began_at + 2 * PEAK_S else 0.0
            self._present = 0.0
            self._began_at = now


def cumulative_buckets(histogram: Histogram, bounds: Sequence[float] = BOUNDS_S) -> list[tuple[float, int]]:
    """Return each bound with the number of durations up to this bound; the last bound is infinite."""
    total, buckets = 0, []
    for bound, count in zip((*bounds, float("inf")), histogram.counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets
