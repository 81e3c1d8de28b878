"""Keep Python's garbage collector from blocking the node.

Now and then the collector examines all objects of the process. With a million registrations or ten thousand watchers,
that takes 50 ms and usually finds nothing. So after each slow collection, the objects that are left are frozen
(`gc.freeze`): they are still freed when nothing refers to them, but later collections do not examine them.

Later collections find new cycles, except those that contain a frozen object, such as a connection that was open at the
time. Such objects must not accumulate for an hour. So all objects are unfrozen and examined at intervals, which are the
shorter, the less time a collection takes.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Processor time of one collection, in seconds, above which objects are frozen.
SLOW_S = 0.003

#: Time between two collections of all objects, as a multiple of the time that the last one took. It takes 50 ms of
#: processor time in a node with a million registrations, and some milliseconds in a small one.
INTERVAL_MULTIPLE = 20_000

#: The shortest and the longest of these intervals, in seconds.
INTERVAL_S_MIN = 60.0
INTERVAL_S_MAX = 3600.0

#: The oldest of the collector's three generations: its collections examine all objects that are not frozen.
_OLDEST = 2


class GcTuning(Service):
    """Freezes objects after slow collections. `cpu_s` returns the processor time of this thread in seconds."""

    def __init__(self, reactor: IReactorTime, cpu_s: Callable[[], float]) -> None:
        self._cpu_s = cpu_s
        self._began_s = 0.0
        self._reactor = reactor
        self._next: IDelayedCall | None = None

    def privilegedStartService(self) -> None:
        """Freeze all objects of the loaded program, before any connection is accepted."""
        super().privilegedStartService()
        _collect_all()

    def startService(self) -> None:
        super().startService()
        gc.callbacks.append(self._freeze_if_slow)
        self._next = self._reactor.callLater(INTERVAL_S_MIN, self._collect_and_time)

    def stopService(self) -> None:
        super().stopService()
        gc.callbacks.remove(self._freeze_if_slow)
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _collect_and_time(self) -> None:
        began_s = self._cpu_s()
        _collect_all()
        took_s = self._cpu_s() - began_s
        interval_s = min(max(INTERVAL_MULTIPLE * took_s, INTERVAL_S_MIN), INTERVAL_S_MAX)
        self._next = self._reactor.callLater(interval_s, self._collect_and_time)

    def _freeze_if_slow(self, phase: str, info: Mapping[str, int]) -> None:
        if info["generation"] != _OLDEST:
            return
        if phase == "start":
            self._began_s = self._cpu_s()
        elif self._cpu_s() - self._began_s > SLOW_S:
            gc.freeze()


def _collect_all() -> None:
    gc.unfreeze()
    gc.collect()
    gc.freeze()
