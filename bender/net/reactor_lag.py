"""Measure how late the timers of the reactor are. All data that arrive at this process wait for as long."""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds between two measurements.
MEASURING_INTERVAL_S = 0.05


class ReactorLag(Service):
    """Calls `note` with the lag in seconds, every `MEASURING_INTERVAL_S`."""

    def __init__(self, reactor: IReactorTime, note: Callable[[float], None]) -> None:
        self._reactor = reactor
        self._note = note
        self._due_at = 0.0
        self._next: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()
        self._schedule()

    def stopService(self) -> None:
        super().stopService()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _schedule(self) -> None:
        self._due_at = self._reactor.seconds() + MEASURING_INTERVAL_S
        self._next = self._reactor.callLater(MEASURING_INTERVAL_S, self._measure)

    def _measure(self) -> None:
        self._note(self._reactor.seconds() - self._due_at)
        self._schedule()
