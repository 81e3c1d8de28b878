"""Who waits until nodes have what one of them did, such as whoever deregisters an instance before stopping it.

It is looked at after everything that may have brought the others on, and what it costs then does not grow with the
number of those who wait.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from bender.core.contacts import Contact
from bender.core.replica import Replica


@frozen
class Reached:
    """The peers that have it, and those that did not say so; `unanswered` are configured ones that were never found."""

    having: tuple[Contact, ...]
    lacking: tuple[Contact, ...]
    unanswered: tuple[str, ...]


class Spreading:
    """Those who wait for one replica's peers."""

    def __init__(self, replica: Replica, clock: IReactorTime, monotonic: Callable[[], float]) -> None:
        self._replica = replica
        self._clock = clock
        self._monotonic = monotonic
        # By the version waited for; the number keeps those in order that wait for the same one.
        self._waiting: list[tuple[int, int, Deferred[None]]] = []
        self._numbers = count()
        # By the incarnation and version of another node's ledger that is to come.
        self._expecting: list[tuple[int, int, Deferred[None]]] = []

    async def until_reached(self, version: int, within_s: float) -> Reached:
        """Wait until all peers have this node's ledger up to `version`, but for those that are silent."""
        if self._reached() < version and within_s > 0:
            waiting: Deferred[None] = Deferred()
            heappush(self._waiting, (version, next(self._numbers), waiting))
            await self._wait(waiting, within_s)
        return self._split(version)

    async def until_here(self, incarnation: int, version: int, within_s: float) -> bool:
        """Wait until this node shows what the ledger of another one was at `version`; whether it does."""
        if not self._is_here(incarnation, version) and within_s > 0:
            waiting: Deferred[None] = Deferred()
            self._expecting.append((incarnation, version, waiting))
            await self._wait(waiting, within_s)
        return self._is_here(incarnation, version)

    async def _wait(self, waiting: Deferred[None], within_s: float) -> None:
        giving_up = self._clock.callLater(within_s, _wake, waiting)
        try:
            await waiting
        finally:
            if giving_up.active():
                giving_up.cancel()

    def note(self) -> None:
        """Call this after everything that may have changed what this node has and the peers, or who is heard."""
        if self._expecting:
            came = [each for each in self._expecting if each[2].called or self._is_here(each[0], each[1])]
            self._expecting = [each for each in self._expecting if each not in came]
            for _, _, waiting in came:
                _wake(waiting)
        if not self._waiting:
            return
        reached = self._reached()
        while self._waiting and (self._waiting[0][0] <= reached or self._waiting[0][2].called):
            _wake(heappop(self._waiting)[2])

    def end(self) -> None:
        """Let nobody wait any longer, for this node stops."""
        for _, _, waiting in (*self._waiting, *self._expecting):
            _wake(waiting)
        self._waiting, self._expecting = [], []

    def _is_here(self, incarnation: int, version: int) -> bool:
        return self._replica.ready and self._replica.shows(incarnation, version)

    def _reached(self) -> float:
        """The version up to which all peers have this node's ledger that are heard."""
        return self._replica.reached(self._monotonic())

    def _split(self, version: int) -> Reached:
        replica = self._replica
        having, lacking = replica.split(version)
        return Reached(tuple(having), tuple(lacking), tuple(replica.links.unanswered()))


def _wake(waiting: Deferred[None]) -> None:
    if not waiting.called:
        waiting.callback(None)
