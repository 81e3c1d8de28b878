"""The time limit for a line: a client may be silent between two lines, but not in the middle of a line."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class LineTimer:
    """Calls `on_late` if a line has begun and is not complete in time."""

    def __init__(self, clock: IReactorTime, seconds: Callable[[], float], on_late: Callable[[], None]) -> None:
        """Create a timer; `seconds()` returns the time limit of a line that begins now."""
        self._clock = clock
        self._seconds = seconds
        self._on_late = on_late
        self._due: IDelayedCall | None = None
        self._received = False

    def begin(self) -> None:
        """Note that a line is incomplete: it has just begun, or more of it was received."""
        self._received = True
        if self._due is None:
            self._due = self._clock.callLater(self._seconds(), self._over)

    def end(self) -> None:
        """Stop the timer, because no line is incomplete, or the connection is lost."""
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _over(self) -> None:
        # More of the line may have arrived while this node was paused or busy. It is read before `_decide` is called.
        self._received = False
        self._due = self._clock.callLater(0, self._decide)

    def _decide(self) -> None:
        self._due = None
        if self._received:
            self.begin()
        else:
            self._on_late()
