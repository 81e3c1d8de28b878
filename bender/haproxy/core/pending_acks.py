"""The positions in bender's events that HAProxy has applied, except that removed servers may still have requests.

A client that deregisters an instance can wait until no request goes to it any more. So an event that has removed a
server is confirmed only when the server has no requests, or a time limit is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from attrs import define, field

#: Time limit for waiting for the requests at a server that was removed.
BUSY_S_MAX = 0.25

#: Seconds between two checks of these requests: within that limit, and afterwards.
LOOK_S = 0.005
LOOK_LATER_S = 0.25

#: A server, by HAProxy's names of its pool and itself.
ServerKey = tuple[str, str]

_Stand = TypeVar("_Stand")


@define
class _Pending(Generic[_Stand]):
    stand: _Stand
    until: float
    busy: set[ServerKey]


@define
class LeavingServers:
    """The servers that get no new requests and are to be deleted: since when, and which of them have requests."""

    since: dict[ServerKey, float] = field(factory=dict)
    busy: set[ServerKey] = field(factory=set)

    def update(self, pools: Iterable[str], leaving: Iterable[ServerKey], busy: Iterable[ServerKey], now: float) -> None:
        """Set the leaving servers of these pools, and those of them that have requests."""
        looked_at = {*pools}
        kept = {place: since for place, since in self.since.items() if place[0] not in looked_at}
        self.since = kept | {place: self.since.get(place, now) for place in leaving}
        self.busy = {place for place in self.busy if place[0] not in looked_at} | {*busy}

    def forget(self) -> None:
        """Forget all, because HAProxy is a new process."""
        self.since, self.busy = {}, set()

    @property
    def pools(self) -> set[str]:
        return {pool for pool, _ in self.since}

    def next_look_at(self, now: float) -> float | None:
        """Return when to check the requests again; None if no server is leaving."""
        if not self.since:
            return None
        fresh = any(now < since + BUSY_S_MAX for since in self.since.values())
        return now + (LOOK_S if fresh else LOOK_LATER_S)


@define
class PendingAcks(Generic[_Stand]):
    """The applied positions in bender's events that wait for requests at removed servers, oldest first."""

    _pending: deque[_Pending[_Stand]] = field(factory=deque)

    def add(self, stand: _Stand, drained: Iterable[ServerKey], now: float) -> None:
        """Note that HAProxy has applied all events up to this position. They have removed the servers `drained`."""
        self._pending.append(_Pending(stand, now + BUSY_S_MAX, {*drained}))

    def take_done(self, busy: Iterable[ServerKey], now: float) -> _Stand | None:
        """Return the last position that can be confirmed; None if there is no new one.

        The servers `busy` have requests now.
        """
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
        """Return when the time limit of the oldest position is over; None if no position waits."""
        return self._pending[0].until if self._pending else None
