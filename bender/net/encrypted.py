"""Connections with TLS, in both directions, on which small messages do not wait.

Twisted gathers what is written with TLS until its next turn, and what comes of that until the one after. Here it is
encrypted and sent at once, as `bender.net.eager_write` does it without TLS.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, cast

from attrs import frozen
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
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from bender.net.client_address import host_of
from bender.net.eager_write import prompt_writer
from bender.tls.connections import tls_clause

#: Seconds that a client has for the handshake.
HANDSHAKE_S_MAX = 10

#: Seconds that a client has to close its side, once all is sent and this side is closed.
CLOSING_S_MAX = 60

#: The first byte that a client sends with TLS: a record of the handshake (RFC 8446, 5.1).
_HANDSHAKE = b"\x16"


class _PromptTls(TLSMemoryBIOProtocol):
    """A connection that sends what is written at once."""

    def makeConnection(self, transport: Any) -> None:
        transport.write = prompt_writer(transport)
        super().makeConnection(transport)


class _ListeningTls(_PromptTls):
    """A connection of a client, whose first byte tells if the client uses TLS."""

    factory: ListeningTls
    _begun = False
    #: Set during the handshake, and while this side is closed.
    _due: IDelayedCall | None = None
    _closing: IDelayedCall | None = None

    def makeConnection(self, transport: Any) -> None:
        super().makeConnection(transport)
        self._due = self.factory.clock.callLater(HANDSHAKE_S_MAX, self._too_late)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_waiting()
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if not self._handshakeDone:
            failure: Any = self._reason or reason
            clause, transport = tls_clause(failure.value), cast(Any, self.transport)
            if clause is not None:
                self.factory.refused(host_of(transport.getPeer()), clause)
        super().connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            if not data.startswith(_HANDSHAKE):
                transport: Any = self.transport
                self.factory.refused(host_of(transport.getPeer()), "it does not use TLS")
                transport.write(self.factory.plain_answer)
                transport.loseConnection()
                return
        super().dataReceived(data)
        if self._due is not None and self._handshakeDone:
            self._stop_waiting()

    def _shutdownTLS(self) -> None:
        """Close this side, as Twisted does. It would wait for the client to close the other side for ever."""
        super()._shutdownTLS()
        if self.connected and self._closing is None:
            self._closing = self.factory.clock.callLater(CLOSING_S_MAX, self._too_late_to_close)

    def _too_late_to_close(self) -> None:
        self._closing = None
        transport: Any = self.transport
        transport.abortConnection()

    def _too_late(self) -> None:
        self._due = None
        self.abortConnection()

    def _stop_waiting(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None


class ListeningTls(TLSMemoryBIOFactory):
    """Makes the connections of `factory` with TLS; `plain_answer` is what a client gets that does not use it.

    `refused` is called with the host of a client with which no connection is made, and a clause that says why.
    """

    protocol = _ListeningTls
    noisy = False

    def __init__(
        self,
        creator: IOpenSSLServerConnectionCreator,
        factory: IProtocolFactory,
        reactor: IReactorTime,
        plain_answer: bytes,
        refused: Callable[[str, str], None] = lambda _host, _clause: None,
    ) -> None:
        super().__init__(creator, False, factory, reactor)
        self.plain_answer = plain_answer
        self.clock = reactor
        self.refused = refused


class _ConnectingTls(TLSMemoryBIOFactory):
    """Makes connections to servers."""

    protocol = _PromptTls
    noisy = False


@implementer(IStreamClientEndpoint)
@frozen
class EncryptedEndpoint:
    """An endpoint whose connections use TLS, as `creator` makes it. They are there before the handshake is."""

    creator: IOpenSSLClientConnectionCreator
    endpoint: IStreamClientEndpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        connecting: Deferred[Any] = self.endpoint.connect(_ConnectingTls(self.creator, True, protocolFactory))
        return connecting.addCallback(attrgetter("wrappedProtocol"))
