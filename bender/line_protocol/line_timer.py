"""The time for a line to be complete: a client may be silent between two lines, but not in the middle of one."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class LineTimer:
    """Calls `too_late` when a line has begun and its end has not come in time."""

    def __init__(self, clock: IReactorTime, seconds: Callable[[], float], too_late: Callable[[], None]) -> None:
        """`seconds` returns the time for a line that begins now."""
        self._clock = clock
        self._seconds = seconds
        self._too_late = too_late
        self._due: IDelayedCall | None = None
        self._received = False

    def begin(self) -> None:
        """Note that a line has begun and is not complete, or that more of it has come."""
        self._received = True
        if self._due is None:
            self._due = self._clock.callLater(self._seconds(), self._over)

    def end(self) -> None:
        """Note that no line is incomplete, or that the connection is lost."""
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _over(self) -> None:
        # More of it may have come while this node was paused, or busy, and is read next.
        self._received = False
        self._due = self._clock.callLater(0, self._decide)

    def _decide(self) -> None:
        self._due = None
        if self._received:
            self.begin()
        else:
            self._too_late()
