"""Requests of clients over HTTP: counted by route, method and status, with the time that their answers took.

The routes, methods and statuses are few, whatever clients send: a path without a route, and a method that no route
has, are counted under one name.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from bender.metrics.histogram import BOUNDS_S, FIRST_S, Histogram

#: The route of requests for paths that have none. No route is called so, because each begins with a slash.
UNKNOWN_ROUTE = "unknown"

#: Methods under their own names, and the name of all others.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
OTHER_METHOD = "OTHER"


class RequestTally:
    """The requests for one route by one method; `by_status` has a histogram for each status.

    Without `timed`, the times say nothing, such as that of a stream of events, and are not to be shown.
    """

    __slots__ = ("by_status", "method", "route", "timed")

    def __init__(self, route: str, method: str, *, timed: bool) -> None:
        self.route = route
        self.method = method
        self.timed = timed
        self.by_status: dict[int, Histogram] = {}

    def note(self, status: int, took_s: float) -> None:
        """Count an answer."""
        try:
            histogram = self.by_status[status]
        except KeyError:
            histogram = self.by_status[status] = Histogram()
        # As `Histogram.observe`, whose call takes as long as all of this: it is done for each request.
        histogram.sum_s += took_s
        if took_s <= FIRST_S:
            histogram.counts[0] += 1
        else:
            histogram.counts[bisect_left(BOUNDS_S, took_s)] += 1

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
