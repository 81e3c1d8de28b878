"""Regular sweeps of a node, which find claims that have lapsed, peers that are silent, and state to forget.

The node decides what to do; the sweeper only calls it. The sweeper must never stop by itself: it logs and counts a
sweep that raises, and makes the next one as usual, because without sweeps no dead instance would go offline. It must
not block the reactor either: the node sweeps in slices, and requests have their turn between two slices.
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

    `unheard_s` is the number of seconds for which requests of clients, maybe renewals, have waited.
    """

    @property
    def counters(self) -> Counters: ...

    @property
    def timing(self) -> Timing: ...

    def sweep(self, unheard_s: float = 0.0) -> bool: ...


class Sweeper(Service):
    """Sweeps `node` every quarter of its interval, and while there is more to do, at every turn of the reactor.

    `unheard_s` returns the number of seconds for which requests of clients have waited at the node.
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
        # The Deferred of the loop is not needed: a tick never raises, so only `stopService` ends the loop.
        self._loop.start(self._node.timing.interval_s / SWEEPS_PER_INTERVAL)

    def stopService(self) -> None:
        super().stopService()
        self._loop.stop()
        if self._more is not None:
            self._more.cancel()
            self._more = None

    def _tick(self) -> None:
        if self._more is None:  # otherwise the sweep before this one is not complete
            self._sweep_slice()

    def _sweep_slice(self) -> None:
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
            self._more = self._reactor.callLater(0, self._sweep_slice)
