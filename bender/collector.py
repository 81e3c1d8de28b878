"""Keeps Python's collector of cycles from looking through everything that is registered.

It looks at all that a program has made, and with a million registrations that takes 50 ms, though there is no cycle
among them. So it is told from time to time that what is there stays. What is let go of is freed all the same, and
cycles that are made later are found; those that are garbage at such a moment are not, some twenty times in a life.
"""

from __future__ import annotations

import gc
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

#: Seconds between two looks at how much there is.
LOOKS_APART_S = 5.0

#: With fewer registrations the collector takes less than 3 ms.
WORTH_IT = 50_000

#: How much more there has to be than the last time.
GROWTH = 1.3


class Listing(Protocol):
    """What a node offers here."""

    @property
    def listed(self) -> int: ...


class Collector(Service):
    """Sees to it that the collector leaves a growing node alone."""

    def __init__(self, reactor: IReactorTime, node: Listing) -> None:
        self._node = node
        self._spared = WORTH_IT / GROWTH
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor

    def privilegedStartService(self) -> None:
        """All that was loaded stays as well. This time garbage is collected before, for nobody is listened to yet."""
        super().privilegedStartService()
        gc.collect()
        gc.freeze()

    def startService(self) -> None:
        super().startService()
        self._loop.start(LOOKS_APART_S, now=False)

    def stopService(self) -> None:
        super().stopService()
        self._loop.stop()

    def _look(self) -> None:
        if self._node.listed > self._spared * GROWTH:
            self._spared = self._node.listed
            gc.freeze()
