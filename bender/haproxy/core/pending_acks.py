"""How far HAProxy has got with what bender said, and who is still busy because of it.

bender waits, for whoever deregisters an instance, until no request goes there any more. So the place of an event that
took a server away is told only when that has no request, or has kept one for long enough: its own end is what it waits
for then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from attrs import define, field

#: How long requests at a server that was taken away are waited for.
BUSY_S_MAX = 0.25

#: How often it is looked whether it still has some, for so long and afterwards.
LOOK_S = 0.005
LOOK_LATER_S = 0.25

#: A server, by HAProxy's names of its pool and itself.
Place = tuple[str, str]

_Stand = TypeVar("_Stand")


@define
class _Pending(Generic[_Stand]):
    stand: _Stand
    until: float
    busy: set[Place]


@define
class Leaving:
    """Servers that get no new requests and are to be deleted: since when, and whether they have requests."""

    since: dict[Place, float] = field(factory=dict)
    busy: set[Place] = field(factory=set)

    def update(self, pools: Iterable[str], leaving: Iterable[Place], busy: Iterable[Place], now: float) -> None:
        """In these pools these are leaving, and of them these are busy."""
        looked_at = {*pools}
        kept = {place: since for place, since in self.since.items() if place[0] not in looked_at}
        self.since = kept | {place: self.since.get(place, now) for place in leaving}
        self.busy = {place for place in self.busy if place[0] not in looked_at} | {*busy}

    def forget(self) -> None:
        """HAProxy is another one."""
        self.since, self.busy = {}, set()

    @property
    def pools(self) -> set[str]:
        return {pool for pool, _ in self.since}

    def next_look_at(self, now: float) -> float | None:
        """When to look again; None if nobody leaves."""
        if not self.since:
            return None
        fresh = any(now < since + BUSY_S_MAX for since in self.since.values())
        return now + (LOOK_S if fresh else LOOK_LATER_S)


@define
class PendingAcks(Generic[_Stand]):
    """Places in bender's events, oldest first, of which all is done but for requests at servers taken away."""

    _pending: deque[_Pending[_Stand]] = field(factory=deque)

    def add(self, stand: _Stand, drained: Iterable[Place], now: float) -> None:
        """HAProxy has answered all that the events up to here led to, and `drained` were taken away by that."""
        self._pending.append(_Pending(stand, now + BUSY_S_MAX, {*drained}))

    def take_done(self, busy: Iterable[Place], now: float) -> _Stand | None:
        """The last place of which all is done; None if there is no new one. `busy` have requests now."""
        still = {*busy}
        done = None
        while self._pending:
            first = self._pending[0]
            first.busy &= still
            if first.busy and now < first.until:
                break
            done = self._pending.popleft().stand
        return done

    @property
    def waiting(self) -> bool:
        return bool(self._pending)

    def due_at(self) -> float | None:
        """When waiting ends, whoever is busy."""
        return self._pending[0].until if self._pending else None
