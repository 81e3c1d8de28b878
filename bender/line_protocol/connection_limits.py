"""The limited number of connections of the line protocol, which are places that clients share.

A client without a place gets the reason in a line, and its connection is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from twisted.internet import protocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from bender.net.fair_shares import REFUSED_AT_ONCE_MAX, FairShares, NoPlace
from bender.net.held_bytes import HeldBytes
from bender.node.journal import event_line
from bender.node.limits import NodeLimits

#: The most bytes of all incomplete lines: 256 of the longest.
INCOMPLETE_BYTES_MAX = 64 * 1024 * 1024


class PlacedConnection(Protocol):
    """A connection that may have a place. It must call `on_lost` when it is lost; `displace` ends it."""

    on_lost: Callable[[], None] | None
    client: str

    def displace(self, reason: str) -> None: ...


_C = TypeVar("_C", bound=PlacedConnection)


class LinePlaces:
    """The places for connections to one port."""

    _log = Logger()

    def __init__(self, limits: NodeLimits) -> None:
        self._places: FairShares[PlacedConnection] = FairShares(limits.values.connections)
        self._refused: set[RefusedConnection] = set()
        self._held: HeldBytes[PlacedConnection] = HeldBytes(INCOMPLETE_BYTES_MAX)
        limits.bind_connections("line_connections", self._places)
        limits.show_held("line_bytes", self._held)

    def place(self, connection: _C, client: str) -> _C | RefusedConnection:
        """Give a new connection a place, which another connection may lose for it, and return the connection.

        Without a place, return a connection that refuses the client.
        """
        try:
            loser = self._places.take(connection, client)
        except NoPlace:
            return self._refuse(client)
        connection.on_lost, connection.client = partial(self._places.release, connection), client
        if loser is not None:
            self._log.warn(
                "{places} connections to --events are open, the maximum, most of them of {client}: closing its newest.",
                places=self._places.maximum,
                client=loser.client,
            )
            loser.displace(
                f"{self._places.maximum} connections to --events of this node are open, the maximum "
                f"(--max-connections), most of them from {loser.client}: this connection is closed to make room for "
                "another client"
            )
        return connection

    def note_held(self, connection: PlacedConnection, client: str, size: int) -> None:
        """Note the bytes of a connection's incomplete lines. End connections if all together hold too many."""
        for loser in self._held.note(connection, client, size):
            loser.displace(
                f"incomplete lines (without a newline) take more than {self._held.maximum} bytes at this node, the "
                "maximum: send shorter lines, or complete them sooner"
            )

    def _refuse(self, client: str) -> RefusedConnection:
        self._log.warn(
            "All {places} connections to --events are in use: refusing one of {client}.",
            places=self._places.used,
            client=client,
        )
        text = (
            f"{self._places.used} connections to --events of this node are open, the maximum (--max-connections): "
            "use another node, or try again"
        )
        refused = RefusedConnection(event_line("error", code="BUSY", message=text), self._refused)
        self._refused.add(refused)
        return refused


class RefusedConnection(protocol.Protocol):
    """A connection without a place: it sends `line` with the reason, and closes."""

    transport: Any

    def __init__(self, line: bytes, refused: set[RefusedConnection]) -> None:
        self._line = line
        self._refused = refused

    def connectionMade(self) -> None:
        if len(self._refused) > REFUSED_AT_ONCE_MAX:
            self.transport.abortConnection()
            return
        self.transport.write(self._line)
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        del reason
        self._refused.discard(self)
