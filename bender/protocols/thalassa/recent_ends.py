"""The instances that went offline in the last ten minutes, for subscribers that come back.

Aqueduct removes an instance only when it gets an `offline` event, and never requests the list again. It may miss events
while its connection is cut, and does not send the time of the cut. So each new subscriber gets the `offline` events of
the last minutes.
"""

from __future__ import annotations

from collections.abc import Callable

from bender.core.view import ViewEvent

#: Seconds for which a subscriber may be disconnected and still miss nothing.
KEPT_S = 600.0

#: Instances that are remembered, each in some 150 bytes: enough for 80 ends per second in ten minutes.
KEPT_MAX = 50_000


class RecentEnds:
    """The instances that are offline now and were online in the last `KEPT_S`.

    Call `observe` for each event of the node's journal. `seconds` is a clock that does not jump.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        # In order of time.
        self._ended_at: dict[str, float] = {}

    def observe(self, event: ViewEvent) -> None:
        """Record an event. Events of backends and frontends never end an instance."""
        self._ended_at.pop(event.key, None)
        if event.change == "offline":
            self._ended_at[event.key] = self._seconds()
            self._forget_oldest()

    def keys(self) -> list[str]:
        """Return the ids of these instances, in the order in which they went offline."""
        self._forget_oldest()
        return [*self._ended_at]

    def _forget_oldest(self) -> None:
        since = self._seconds() - KEPT_S
        while self._ended_at:
            oldest = next(iter(self._ended_at))
            if self._ended_at[oldest] >= since and len(self._ended_at) <= KEPT_MAX:
                return
            del self._ended_at[oldest]
