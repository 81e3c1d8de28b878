"""DNS over TCP (RFC 7766): each message follows its length, and a connection may have any number of messages.

Queries are answered in their order. While a client does not read its answers, the node reads no more queries from it. A
client that does not send a complete query within `--client-timeout` is disconnected.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, ServerFactory
from zope.interface import implementer

from bender.net.client_address import client_at, host_of
from bender.net.eager_write import close_when_unresponsive, eager_writer, limit_unsent, unsent_bytes
from bender.net.fair_shares import FairShares, admit
from bender.net.fair_turns import Turns, Urgency
from bender.net.held_bytes import HeldBytes
from bender.node.node import Node
from bender.protocols.dns.message import Rcode
from bender.protocols.dns.responder import Responder

#: Bytes of the longest query. A name has at most 255, and clients add little to it.
QUERY_BYTES_MAX = 4096

#: Bytes of waiting queries up to which a connection reads more.
HELD_BYTES_MAX = 16 * 1024

#: Bytes of unread answers on all connections together.
UNREAD_BYTES_MAX = 64 * 1024 * 1024

_LENGTH_BYTES = 2


class DnsConnections(ServerFactory):
    """Makes the connections to one port, and limits them."""

    noisy = False

    def __init__(self, node: Node, responder: Responder, turns: Turns, clock: IReactorTime) -> None:
        self.node = node
        self.responder = responder
        self.turns = turns
        self.clock = clock
        self._places: FairShares[DnsConnection] = FairShares(node.limits.values.connections)
        self._open: set[DnsConnection] = set()
        self._unread: HeldBytes[DnsConnection] = HeldBytes(UNREAD_BYTES_MAX)
        node.limits.bind_connections("dns_connections", self._places)
        node.limits.show_held("dns_answer_bytes", self._unread)

    def logPrefix(self) -> str:
        return "--dns over TCP"

    def buildProtocol(self, addr: IAddress | None) -> DnsConnection | None:
        connection = admit(DnsConnection(self, client_at(host_of(addr))), self._places, self.logPrefix())
        if connection is not None:
            self._open.add(connection)
        return connection

    def forget(self, connection: DnsConnection) -> None:
        """Free the place and the bytes of a connection that is lost."""
        self._places.release(connection)
        self._unread.forget(connection)
        self._open.discard(connection)

    def note_unread(self, connection: DnsConnection, client: str, size: int) -> None:
        """Record the bytes that a client has not read, and close connections if the limit is exceeded."""
        for loser in self._unread.note(connection, client, size):
            loser.abort()

    def end(self) -> None:
        """Close each connection after its answers are sent."""
        for connection in [*self._open]:
            connection.end()


@implementer(IHalfCloseableProtocol, IPushProducer)
class DnsConnection(Protocol):
    """One connection of a client."""

    urgency = Urgency.QUERY
    transport: Any

    def __init__(self, factory: DnsConnections, client: str) -> None:
        self._connections = factory
        self._held = bytearray()
        self._idle_timer: IDelayedCall | None = None
        self.client = client
        self._answering = False  # a query waits for its answer
        self._working = False  # `work` is running
        self._is_write_blocked = False  # the client does not read
        self._has_eof = False  # the client sends no more
        self._closed = False  # the connection is lost or closing

    # What Twisted calls.

    def connectionMade(self) -> None:
        tcp = ITCPTransport(self.transport, None)
        if tcp is not None:
            tcp.setTcpNoDelay(True)
        limit_unsent(self.transport)
        timeout_s = self._connections.node.limits.values.client_timeout_s
        close_when_unresponsive(self.transport, timeout_s)
        self._write = eager_writer(self.transport)
        self._idle_timer = self._connections.clock.callLater(timeout_s, self._idle_timed_out)
        self.transport.registerProducer(self, streaming=True)

    def dataReceived(self, data: bytes) -> None:
        self._held += data
        self._connections.turns.run(self)
        if len(self._held) > HELD_BYTES_MAX:
            self.transport.pauseProducing()

    def readConnectionLost(self) -> None:
        """Close the connection after the last answer: the client sends no more, but may still read."""
        self._has_eof = True
        self._connections.turns.run(self)

    def writeConnectionLost(self) -> None:
        """Never called, because this side never closes its sending direction alone."""

    def connectionLost(self, reason: object = None) -> None:
        del reason
        self._close()
        self._connections.forget(self)

    # What the transport calls, as for any producer: when the client does not read fast enough, and when it reads again.

    def pauseProducing(self) -> None:
        self._is_write_blocked = True
        self.transport.pauseProducing()
        self._connections.note_unread(self, self.client, unsent_bytes(self.transport))

    def resumeProducing(self) -> None:
        self._is_write_blocked = False
        self._connections.note_unread(self, self.client, 0)
        if not self._closed:
            self.transport.resumeProducing()
            self._connections.turns.run(self)

    def stopProducing(self) -> None:
        """Do nothing: `connectionLost` is called, too."""

    # What the factory calls.

    def end(self) -> None:
        """Close the connection after its answers are sent."""
        self._close()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close the connection at once."""
        self._close()
        self.transport.abortConnection()

    # What the turns call.

    def work(self) -> bool:
        """Answer one query."""
        if self._closed or self._answering or self._is_write_blocked:
            return False
        query = self._next_query()
        if query is None:
            self._continue_or_close()
            return False
        self._reset_idle_timer()
        self._connections.node.counters.dns_queries += 1
        self._answering = self._working = True
        if self._connections.node.limits.rate.take(self.client):
            self._answer(self._connections.responder.over_rate_answer(query, Rcode.REFUSED))
        else:
            self._connections.responder.respond(query, self._answer)
        self._working = False
        return not self._answering

    def idle(self) -> None:
        """Do nothing: all queries are answered, or wait."""

    # The rest.

    def _next_query(self) -> bytes | None:
        """Return the next complete query; None if there is none."""
        held = self._held
        if len(held) < _LENGTH_BYTES:
            return None
        length = int.from_bytes(held[:_LENGTH_BYTES], "big")
        if length > QUERY_BYTES_MAX:
            self.abort()
            return None
        end = _LENGTH_BYTES + length
        if len(held) < end:
            return None
        query = bytes(held[_LENGTH_BYTES:end])
        del held[:end]
        return query

    def _answer(self, answer: bytes | None) -> None:
        self._answering = False
        if self._closed:
            return
        if answer is None:
            self._connections.node.counters.dns_dropped += 1
            self.abort()
            return
        self._write(len(answer).to_bytes(_LENGTH_BYTES, "big") + answer)
        if not self._working:
            self._connections.turns.run(self)

    def _continue_or_close(self) -> None:
        """Read more queries, or close the connection if the client sends no more and has all answers."""
        if self._closed:
            return
        if self._has_eof:
            self.end()
        elif not self._is_write_blocked:
            self.transport.resumeProducing()

    def _reset_idle_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.reset(self._connections.node.limits.values.client_timeout_s)

    def _idle_timed_out(self) -> None:
        self._idle_timer = None
        self.abort()

    def _close(self) -> None:
        self._closed = True
        self._held.clear()
        self._connections.turns.forget(self)
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
