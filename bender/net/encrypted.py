"""Connections with TLS, for clients and servers, on which small messages are not delayed.

Twisted collects what is written until its next turn, encrypts it, and sends the result in the turn after that. Here,
data are encrypted and sent at once, as `bender.net.eager_write` sends them without TLS.

A small request is usually one whole record. For such a record, this module reads from OpenSSL once. Twisted would read
a second time, and also ask for data to send, which takes a tenth of the time of a renewal with TLS.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, cast

from attrs import frozen
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from bender.net.client_address import host_of
from bender.net.eager_write import eager_writer
from bender.tls.connections import tls_clause

#: Seconds in which a client must complete the handshake.
HANDSHAKE_S_MAX = 10

#: Seconds in which a client must close its side, after all data are sent and this side is closed.
CLOSING_S_MAX = 60

#: Bytes of plaintext in a record (RFC 8446, 5.1).
RECORD_BYTES_MAX = 16 * 1024

#: Bytes of the header of a record; the last two are the length of the rest (RFC 8446, 5.1).
_HEAD_BYTES = 5

#: The first byte that a client sends with TLS: a record of the handshake (RFC 8446, 5.1).
_HANDSHAKE = b"\x16"


class RecordBounds:
    """Finds the bounds of TLS records in the data of a connection, from its first byte on."""

    def __init__(self) -> None:
        # Bytes of the present record that have not arrived; None after a header arrived in two parts, which is rare.
        self._missing: int | None = 0

    def completes_one_record(self, data: bytes) -> bool:
        """Return True if `data`, the next data received, are exactly one record or the rest of one record.

        False if they are not, or if the bounds are not known any more.
        """
        if self._missing is None:
            return False
        at, records = self._missing, int(self._missing > 0)
        while at + _HEAD_BYTES <= len(data):
            at += _HEAD_BYTES + int.from_bytes(data[at + 3 : at + _HEAD_BYTES])
            records += 1
        self._missing = None if at < len(data) else at - len(data)
        return self._missing == 0 and records == 1


class _EagerTls(TLSMemoryBIOProtocol):
    """A connection that sends at once what is written, and reads whole records in one step."""

    def makeConnection(self, transport: Any) -> None:
        self._bounds = RecordBounds()
        transport.write = eager_writer(transport)
        super().makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        if (
            not self._bounds.completes_one_record(data)
            or not self._handshakeDone
            or self._appSendBuffer
            or self._aborted
        ):
            super().dataReceived(data)
            return
        self._tlsConnection.bio_write(data)
        try:
            received = self._tlsConnection.recv(RECORD_BYTES_MAX)
        except (SSL.WantReadError, SSL.ZeroReturnError):  # no data for the wrapped protocol, or the end of TLS
            self._flushReceiveBIO()
        except SSL.Error:
            self._tlsShutdownFinished(Failure())
        else:
            ProtocolWrapper.dataReceived(self, received)


class _ListeningTls(_EagerTls):
    """A connection of a client. Its first byte shows if the client uses TLS."""

    factory: ListeningTls
    _has_received = False
    #: Set for a client without TLS that is served nevertheless. The wrapped protocol does not notice this, and its data
    #: do not pass through OpenSSL.
    _is_plain = False
    #: Set during the handshake.
    _handshake_timer: IDelayedCall | None = None
    #: Set after this side was closed, until the client closes its own.
    _closing_timer: IDelayedCall | None = None

    def makeConnection(self, transport: Any) -> None:
        super().makeConnection(transport)
        self._handshake_timer = self.factory.clock.callLater(HANDSHAKE_S_MAX, self._handshake_timed_out)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._cancel_handshake_timer()
        if self._closing_timer is not None:
            self._closing_timer.cancel()
            self._closing_timer = None
        if self._is_plain:
            self.connected = False
            ProtocolWrapper.connectionLost(self, reason)
            return
        if not self._handshakeDone:
            failure: Any = self._reason or reason
            clause, transport = tls_clause(failure.value), cast(Any, self.transport)
            if clause is not None:
                self.factory.note_refusal(host_of(transport.getPeer()), clause)
        super().connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:
        if not self._has_received:
            self._has_received = True
            if not data.startswith(_HANDSHAKE) and not self._serves_plain():
                return
        if self._is_plain:
            self._note_client(encrypted=False)
            ProtocolWrapper.dataReceived(self, data)
            return
        super().dataReceived(data)
        if self._handshakeDone:
            if self._handshake_timer is not None:
                self._cancel_handshake_timer()
            if self.factory.note_encryption is not None and self.connected:
                self._note_client(encrypted=True)

    def _serves_plain(self) -> bool:
        """Return True if the connection continues without TLS; else answer the client and close the connection."""
        transport: Any = self.transport
        if self.factory.note_encryption is None:
            self.factory.note_refusal(host_of(transport.getPeer()), "it does not use TLS")
            transport.write(self.factory.plain_answer)
            transport.loseConnection()
            return False
        self._is_plain = True
        self._cancel_handshake_timer()
        written, self._appSendBuffer = self._appSendBuffer, []
        transport.writeSequence(written)
        return True

    def _note_client(self, *, encrypted: bool) -> None:
        transport: Any = self.transport
        if self.factory.note_encryption is not None:
            self.factory.note_encryption(host_of(transport.getPeer()), encrypted)

    def write(self, data: bytes) -> None:
        if self._is_plain:
            ProtocolWrapper.write(self, data)
        else:
            super().write(data)

    def loseConnection(self) -> None:
        if self._is_plain:
            ProtocolWrapper.loseConnection(self)
        else:
            super().loseConnection()

    def abortConnection(self) -> None:
        if self._is_plain:
            self.disconnecting = True
            transport: Any = self.transport
            transport.abortConnection()
        else:
            super().abortConnection()

    def _shutdownTLS(self) -> None:
        """Close this side, as Twisted does, but limit the time in which the client must close the other side."""
        super()._shutdownTLS()
        if self.connected and self._closing_timer is None:
            self._closing_timer = self.factory.clock.callLater(CLOSING_S_MAX, self._closing_timed_out)

    def _closing_timed_out(self) -> None:
        self._closing_timer = None
        transport: Any = self.transport
        transport.abortConnection()

    def _handshake_timed_out(self) -> None:
        self._handshake_timer = None
        self.abortConnection()

    def _cancel_handshake_timer(self) -> None:
        if self._handshake_timer is not None:
            self._handshake_timer.cancel()
            self._handshake_timer = None


class ListeningTls(TLSMemoryBIOFactory):
    """Makes the connections of `factory` with TLS. A client without TLS is sent `plain_answer`.

    `note_refusal` is called for each client whose connection fails, with its host and a clause that gives the reason.
    If `note_encryption` is set, clients without TLS are served as well. It is then called each time a client sends
    data, with the host of the client and whether the client uses TLS.
    """

    protocol = _ListeningTls
    noisy = False

    def __init__(
        self,
        creator: IOpenSSLServerConnectionCreator,
        factory: IProtocolFactory,
        reactor: IReactorTime,
        plain_answer: bytes,
        note_refusal: Callable[[str, str], None] = lambda _host, _clause: None,
        note_encryption: Callable[[str, bool], None] | None = None,
    ) -> None:
        super().__init__(creator, False, factory, reactor)
        self.plain_answer = plain_answer
        self.clock = reactor
        self.note_refusal = note_refusal
        self.note_encryption = note_encryption


class _ConnectingTls(TLSMemoryBIOFactory):
    """Makes connections to servers with TLS."""

    protocol = _EagerTls
    noisy = False


@implementer(IStreamClientEndpoint)
@frozen
class EncryptedEndpoint:
    """An endpoint whose connections use TLS, as `creator` sets it up. It connects before the handshake takes place."""

    creator: IOpenSSLClientConnectionCreator
    endpoint: IStreamClientEndpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        connecting: Deferred[Any] = self.endpoint.connect(_ConnectingTls(self.creator, True, protocolFactory))
        return connecting.addCallback(attrgetter("wrappedProtocol"))
