"""A limited number of places, such as connections, shared among clients so that no client can exclude the others.

While places are free, a client may take any number: a busy host, a proxy or the address of a network behind NAT is not
limited. When all places are taken, the client with the most places loses its newest place to a client with fewer. A
client gets no place if it would then have as many as the client with the most. So the client with the most connections
loses its newest ones first, and keeps the older ones, over which instances renew.

Every call takes constant time, because an attacker can cause a call for each connection.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from twisted.logger import Logger

_Holder = TypeVar("_Holder")

#: Connections to one port that have no place and stay open until their clients are sent the reason. Further ones are
#: closed at once.
REFUSED_AT_ONCE_MAX = 100


class NoPlace(Exception):
    """All places are taken, and no client has enough places to lose one."""


class FairShares(Generic[_Holder]):
    """The taken places, by holder (such as a connection) and client."""

    def __init__(self, maximum: int) -> None:
        #: The number of places. It may be changed at any time; holders keep their places if it becomes too small.
        self.maximum = maximum
        #: The largest number of places that were taken at the same time.
        self.peak = 0
        #: How often a client was refused, or lost a place.
        self.refused = 0
        self._clients: dict[_Holder, str] = {}
        self._held: dict[str, dict[_Holder, None]] = {}
        # The clients by their number of places, and the largest of these numbers.
        self._by_number: dict[int, dict[str, None]] = {}
        self._most = 0

    @property
    def used(self) -> int:
        """The number of taken places."""
        return len(self._clients)

    def __contains__(self, holder: _Holder) -> bool:
        return holder in self._clients

    def take(self, holder: _Holder, client: str) -> _Holder | None:
        """Give `holder`, which belongs to `client`, a place. Return the holder that loses its place, if any.

        Raises `NoPlace`.
        """
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

    def release(self, holder: _Holder) -> None:
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
        """Update the counts of places: that of a client has changed by one, from `before` to `after`."""
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


_AnyConnection = TypeVar("_AnyConnection", bound=Connection)

_log = Logger()


def admit(connection: _AnyConnection, places: FairShares[_AnyConnection], listener: str) -> _AnyConnection | None:
    """Return `connection` if it gets a place, else None. Another connection may lose its place, and is then aborted.

    A refused and a lost connection are logged. `listener` is a name for the port in the log, such as `--dns over TCP`.
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
