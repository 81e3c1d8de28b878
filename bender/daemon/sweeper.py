"""The sweeps of a node: at regular times it looks for what has lapsed, is silent or can be forgotten.

It decides nothing, the node does. It must never stop by itself: a sweep that raises is logged and counted, and the
next one comes all the same, because without sweeps nothing dead would ever go offline. It must not hold up the reactor
either: the node sweeps in slices, and requests get their turn between them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from bender.core.timing import Timing
from bender.node.counters import Counters

#: Sweeps in one interval. A lapse is noticed a quarter of an interval late at the most, and an idle sweep is cheap.
SWEEPS_PER_INTERVAL = 4


class SweptNode(Protocol):
    """The methods of a node that are used here. `sweep` does one slice; it returns True if there is more to do.

    Its argument is how many seconds requests of clients have waited, which may be renewals.
    """

    @property
    def counters(self) -> Counters: ...

    @property
    def timing(self) -> Timing: ...

    def sweep(self, unheard_s: float = 0.0) -> bool: ...


class Sweeper(Service):
    """Sweeps `node` every quarter of its interval, and while there is more to do, at every turn of the reactor.

    `unheard_s` returns how many seconds requests of clients have waited at the node.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorTime, node: SweptNode, unheard_s: Callable[[], float] = lambda: 0.0) -> None:
        self._reactor = reactor
        self._node = node
        self._unheard_s = unheard_s
        self._more: IDelayedCall | None = None
        self._loop = LoopingCall(self._tick)
        self._loop.clock = reactor

    def startService(self) -> None:
        super().startService()
        # The loop ends only when it is stopped, for a tick never raises; so there is nothing to hear from its Deferred.
        self._loop.start(self._node.timing.interval_s / SWEEPS_PER_INTERVAL)

    def stopService(self) -> None:
        super().stopService()
        self._loop.stop()
        if self._more is not None:
            self._more.cancel()
            self._more = None

    def _tick(self) -> None:
        if self._more is None:  # otherwise the sweep before this one is still at it
            self._slice()

    def _slice(self) -> None:
        self._more = None
        try:
            more = self._node.sweep(self._unheard_s())
        except Exception:
            self._node.counters.sweeps_failed += 1
            failed = self._node.counters.sweeps_failed
            self._log.failure(
                "Removing expired registrations failed; retrying as usual. Failures so far: {failed}.", failed=failed
            )
            return
        if more:
            self._more = self._reactor.callLater(0, self._slice)
