"""Listening with TLS: the factory around another one, with an answer for clients that do not use TLS."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolFactory, IReactorTime
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

#: The first byte that a client sends with TLS: a record of the handshake (RFC 8446, 5.1).
_HANDSHAKE = b"\x16"


class _ListeningTls(TLSMemoryBIOProtocol):
    """One connection, whose first byte tells if the client uses TLS."""

    factory: ListeningTls
    _begun = False

    def dataReceived(self, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            if not data.startswith(_HANDSHAKE):
                transport: Any = self.transport
                transport.write(self.factory.plain_answer)
                transport.loseConnection()
                return
        super().dataReceived(data)


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
