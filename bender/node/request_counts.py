"""Requests of clients over HTTP: counted by route, method and status, with the time that their answers took.

The routes, methods and statuses are few, whatever clients send: a path without a route, and a method that no route
has, are counted under one name.
"""

from __future__ import annotations

from collections.abc import Iterator

from bender.metrics.histogram import Histogram

#: Durations that are added to a histogram together.
BATCH = 128

#: The route of requests for paths that have none. No route is called so, because each begins with a slash.
UNKNOWN_ROUTE = "unknown"

#: Methods under their own names, and the name of all others.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
OTHER_METHOD = "OTHER"


class RequestTally:
    """The requests for one route by one method.

    If `timed` is False, the durations say nothing, such as those of event streams, and are not exported.
    """

    __slots__ = ("_by_status", "_took_s", "method", "route", "timed")

    def __init__(self, route: str, method: str, *, timed: bool) -> None:
        self.route = route
        self.method = method
        self.timed = timed
        self._by_status: dict[int, Histogram] = {}
        # Durations that are not in the histograms yet, by status. To add them in batches costs a tenth of adding each.
        self._took_s: dict[int, list[float]] = {}

    def note(self, status: int, took_s: float) -> None:
        """Count an answer."""
        try:
            times = self._took_s[status]
        except KeyError:
            times = self._took_s[status] = []
        times.append(took_s)
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
        for status, times in self._took_s.items():
            if times:
                self._flush(status, times)
        return self._by_status

    def total(self) -> Histogram:
        """Return the times of all answers, whatever their status."""
        total = Histogram()
        for histogram in self.by_status.values():
            total.add(histogram)
        return total


class RequestCounts:
    """The tallies of one node."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str], RequestTally] = {}

    def __iter__(self) -> Iterator[RequestTally]:
        """Yield those that have counted something."""
        return (tally for tally in [*self._tallies.values()] if tally.by_status)

    def tally(self, route: str, method: str, *, timed: bool = True) -> RequestTally:
        """Return the tally of a route, as it is in the table of routes, and a method."""
        method = method if method in METHODS else OTHER_METHOD
        found = self._tallies.get((route, method))
        if found is None:
            found = self._tallies[route, method] = RequestTally(route, method, timed=timed)
        return found

    def unknown(self, method: str) -> RequestTally:
        """Return the tally of requests without a route."""
        return self.tally(UNKNOWN_ROUTE, method, timed=False)
