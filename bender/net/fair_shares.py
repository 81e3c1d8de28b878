"""A limited number of places, such as connections, shared among clients so that none can keep the others out.

As long as there are free places, a client may take as many as it likes: a busy host, a proxy or the address of a whole
network behind NAT is never limited alone. Where all are taken, a client with fewer places gets the newest place of the
client with the most; a client that would then have as many as that one gets none. So the greediest loses first, and of
what it has, what it took last: its older connections, over which instances renew, stay.

Every call takes constant time, because it is made for each connection of an attacker.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from twisted.logger import Logger

_T = TypeVar("_T")

#: Connections without a place whose clients are sent the reason, on one port; any further one is closed at once.
REFUSED_AT_ONCE_MAX = 100


class NoPlace(Exception):
    """All places are taken, and no client has enough of them to lose one."""


class FairShares(Generic[_T]):
    """The places that are taken, by holder and client."""

    def __init__(self, maximum: int) -> None:
        #: Places; it may be changed at any time, and holders stay where there are more than that.
        self.maximum = maximum
        #: The most places that were taken at a time, and how often one was refused or taken away.
        self.peak = 0
        self.refused = 0
        self._clients: dict[_T, str] = {}
        self._held: dict[str, dict[_T, None]] = {}
        # The clients by the number of their places, and the largest of these numbers.
        self._by_number: dict[int, dict[str, None]] = {}
        self._most = 0

    @property
    def used(self) -> int:
        """The number of places that are taken."""
        return len(self._clients)

    def __contains__(self, holder: _T) -> bool:
        return holder in self._clients

    def take(self, holder: _T, client: str) -> _T | None:
        """Give a client a place; return the holder that has lost its own for that, if any. Raises `NoPlace`."""
        loser = None
        if len(self._clients) >= self.maximum:
            self.refused += 1
            if len(self._held.get(client, ())) + 1 >= self._most:
                raise NoPlace
            loser = next(reversed(self._held[next(iter(self._by_number[self._most]))]))
            self.release(loser)
        self._clients[holder] = client
        held = self._held.setdefault(client, {})
        held[holder] = None
        self._count(client, len(held) - 1, len(held))
        self.peak = max(self.peak, len(self._clients))
        return loser

    def release(self, holder: _T) -> None:
        """Free the place of a holder, if it has one."""
        client = self._clients.pop(holder, None)
        if client is None:
            return
        held = self._held[client]
        del held[holder]
        self._count(client, len(held) + 1, len(held))
        if not held:
            del self._held[client]

    def _count(self, client: str, before: int, after: int) -> None:
        """Note that the number of a client's places has changed by one."""
        if before:
            clients = self._by_number[before]
            del clients[client]
            if not clients:
                del self._by_number[before]
        if after:
            self._by_number.setdefault(after, {})[client] = None
        self._most = max(self._most, after)
        if self._most and self._most not in self._by_number:
            self._most -= 1


class Connection(Protocol):
    """A connection that has a place."""

    @property
    def client(self) -> str: ...
    def abort(self) -> None: ...


_C = TypeVar("_C", bound=Connection)

_log = Logger()


def admit(connection: _C, places: FairShares[_C], listener: str) -> _C | None:
    """Return a new connection if it has got a place, which may end another one; None if it is refused.

    Both are logged. `listener` is what the client has connected to, such as `--dns over TCP`.
    """
    try:
        loser = places.take(connection, connection.client)
    except NoPlace:
        _log.warn(
            "All {places} connections to {listener} are in use (--max-connections): refusing one of {client}.",
            places=places.maximum,
            listener=listener,
            client=connection.client,
        )
        return None
    if loser is not None:
        _log.warn(
            "All {places} connections to {listener} are in use (--max-connections): closing the newest of {client}, "
            "which has the most.",
            places=places.maximum,
            listener=listener,
            client=loser.client,
        )
        loser.abort()
    return connection
