"""Keeps Python's collector of cycles from holding the node up.

Now and then it looks at everything that a program has made, and with a million registrations or ten thousand watchers
that takes 50 ms, though it finds nothing. So whenever it has taken long, what it has just left over is set aside: it is
freed as ever when nobody refers to it any more, but not looked at again. Cycles that are made later are found, unless
something that was set aside is a part of them, such as a connection that was open then; for the sake of those,
everything is looked at now and then, which is the more often the less time it takes: connections that have ended must
not pile up for an hour.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Processor time of one look, in seconds, above which it is not to grow.
LONG_S = 0.003

#: Seconds between two looks at everything: this many times as long as the last one took, within these limits. Looks
#: take 50 ms of processor time in a node with a million registrations, and some ms in a small one.
ALL_TIMES = 20_000
ALL_S_MIN = 60.0
ALL_S_MAX = 3600.0

#: Of the collector's three generations, the one that has everything in it that was not set aside.
_OLDEST = 2


class GcTuning(Service):
    """Watches over the collector. `cpu_s` is a clock of this thread's processor time."""

    def __init__(self, reactor: IReactorTime, cpu_s: Callable[[], float]) -> None:
        self._cpu_s = cpu_s
        self._began_s = 0.0
        self._reactor = reactor
        self._next: IDelayedCall | None = None

    def privilegedStartService(self) -> None:
        """Set aside what was loaded, before any connection is accepted."""
        super().privilegedStartService()
        _look_at_everything()

    def startService(self) -> None:
        super().startService()
        gc.callbacks.append(self._watch)
        self._next = self._reactor.callLater(ALL_S_MIN, self._look)

    def stopService(self) -> None:
        super().stopService()
        gc.callbacks.remove(self._watch)
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _look(self) -> None:
        began_s = self._cpu_s()
        _look_at_everything()
        took_s = self._cpu_s() - began_s
        self._next = self._reactor.callLater(min(max(ALL_TIMES * took_s, ALL_S_MIN), ALL_S_MAX), self._look)

    def _watch(self, phase: str, about: Mapping[str, int]) -> None:
        if about["generation"] != _OLDEST:
            return
        if phase == "start":
            self._began_s = self._cpu_s()
        elif self._cpu_s() - self._began_s > LONG_S:
            gc.freeze()


def _look_at_everything() -> None:
    gc.unfreeze()
    gc.collect()
    gc.freeze()
