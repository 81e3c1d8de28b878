"""Counts of clients' HTTP requests by route, method and status, with the time until their answers.

The number of counts is bounded, whatever clients send: all paths without a route are counted under one name, and so
are all methods that no route has.
"""

from __future__ import annotations

from collections.abc import Iterator

from bender.metrics.histogram import Histogram

#: Durations that are added to a histogram together.
BATCH = 128

#: The name for all paths without a route. No route has this name, because each begins with a slash.
UNKNOWN_ROUTE = "unknown"

#: Methods under their own names, and the name of all others.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
OTHER_METHOD = "OTHER"


class RouteCounts:
    """Counts of the requests for one route by one method.

    If `timed` is False, the durations are not exported, because they mean nothing: those of event streams, for example.
    """

    __slots__ = ("_by_status", "_durations_s", "method", "route", "timed")

    def __init__(self, route: str, method: str, *, timed: bool) -> None:
        self.route = route
        self.method = method
        self.timed = timed
        self._by_status: dict[int, Histogram] = {}
        # Durations that are not in the histograms yet, by status. Adding them in batches takes a tenth of the time.
        self._durations_s: dict[int, list[float]] = {}

    def note(self, status: int, duration_s: float) -> None:
        """Count an answer that was given after `duration_s`."""
        try:
            times = self._durations_s[status]
        except KeyError:
            times = self._durations_s[status] = []
        times.append(duration_s)
        if len(times) >= BATCH:
            self._flush(status, times)

    def _flush(self, status: int, times: list[float]) -> None:
        histogram = self._by_status.get(status)
        if histogram is None:
            histogram = self._by_status[status] = Histogram()
        histogram.observe_all(times)
        times.clear()

    @property
    def by_status(self) -> dict[int, Histogram]:
        """A histogram for each status."""
        for status, times in self._durations_s.items():
            if times:
                self._flush(status, times)
        return self._by_status

    def total(self) -> Histogram:
        """Return a histogram of all answers, whatever their status."""
        total = Histogram()
        for histogram in self.by_status.values():
            total.add(histogram)
        return total


class RequestCounts:
    """The counts of all routes of one node."""

    def __init__(self) -> None:
        self._by_route: dict[tuple[str, str], RouteCounts] = {}

    def __iter__(self) -> Iterator[RouteCounts]:
        """Iterate over the counts that are not empty."""
        return (counts for counts in [*self._by_route.values()] if counts.by_status)

    def counts_of(self, route: str, method: str, *, timed: bool = True) -> RouteCounts:
        """Return the counts of a method of a route, which is named as in the table of routes."""
        method = method if method in METHODS else OTHER_METHOD
        found = self._by_route.get((route, method))
        if found is None:
            found = self._by_route[route, method] = RouteCounts(route, method, timed=timed)
        return found

    def counts_of_unknown_route(self, method: str) -> RouteCounts:
        """Return the counts of requests for paths without a route."""
        return self.counts_of(UNKNOWN_ROUTE, method, timed=False)
