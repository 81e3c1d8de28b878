"""Listening with TLS: the factory around another one, with an answer for clients that do not use TLS."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall, IOpenSSLServerConnectionCreator, IProtocolFactory, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

#: Seconds that a client has for the handshake.
HANDSHAKE_S_MAX = 10

#: The first byte that a client sends with TLS: a record of the handshake (RFC 8446, 5.1).
_HANDSHAKE = b"\x16"


class _ListeningTls(TLSMemoryBIOProtocol):
    """One connection, whose first byte tells if the client uses TLS."""

    factory: ListeningTls
    _begun = False
    _due: IDelayedCall | None = None

    def makeConnection(self, transport: Any) -> None:
        super().makeConnection(transport)
        self._due = self.factory.clock.callLater(HANDSHAKE_S_MAX, self._too_late)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_waiting()
        super().connectionLost(reason)

    def _too_late(self) -> None:
        self._due = None
        self.abortConnection()

    def _stop_waiting(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def dataReceived(self, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            if not data.startswith(_HANDSHAKE):
                transport: Any = self.transport
                transport.write(self.factory.plain_answer)
                transport.loseConnection()
                return
        super().dataReceived(data)
        if self._handshakeDone:
            self._stop_waiting()


class ListeningTls(TLSMemoryBIOFactory):
    """Makes the connections of `factory` with TLS; `plain_answer` is what a client gets that does not use it."""

    protocol = _ListeningTls
    noisy = False

    def __init__(
        self,
        creator: IOpenSSLServerConnectionCreator,
        factory: IProtocolFactory,
        reactor: IReactorTime,
        plain_answer: bytes,
    ) -> None:
        super().__init__(creator, False, factory, reactor)
        self.plain_answer = plain_answer
        self.clock = reactor
