"""The short path for pushes: HTTP requests and answers of one fixed form, without general HTTP code at either end.

Events at the other nodes wait for a push, and all its CPU time delays them, also at the next peer. A push is a normal
`POST`, which any HTTP server can answer. But it is written in one piece, on a connection of its own, and always has the
same form, and so do most answers. Measured at 200 registrations a second: treq and Twisted's web take 0.2 ms each for a
push, this module 0.04 and 0.02 ms.

This module handles no other form: a server leaves other requests to Twisted, and a client gives up on other answers,
because the next round sends the same through the general code within an interval. Rounds also find problems of peers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from bender.net.eager_write import eager_writer

#: The most bytes of an answer to a push. It has the versions of a few ledgers, in some hundred bytes.
ANSWER_BYTES_MAX = 64 * 1024

#: Seconds that a connection is kept without a push. The other end closes it after twice as long.
IDLE_S_MAX = 30

_REQUEST = b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
_ANSWER = b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"

_LOOKS_LIKE_A_REQUEST = re.compile(
    rb"POST ([!-~]+) HTTP/1\.1\r\nHost: [!-~]+\r\nContent-Type: [!-~]+\r\nContent-Length: ([0-9]{1,9})\r\n\r\n"
)
# Answers of the general HTTP code have other headers as well.
_LOOKS_LIKE_AN_ANSWER = re.compile(
    rb"HTTP/1\.1 200 OK\r\n(?:[^\r\n]+\r\n)*?Content-Length: ([0-9]{1,9})\r\n(?:[^\r\n]+\r\n)*\r\n"
)


class UnexpectedAnswer(Exception):
    """The answer does not have the form of a node's answer to a push."""


def parse_push(read: bytes, at: int, path: bytes) -> tuple[bytes, int] | None:
    """Return the body of the push to `path` that begins at `at`, and its end; None if there is no complete push.

    Other requests are for the general HTTP code.
    """
    head = _LOOKS_LIKE_A_REQUEST.match(read, at)
    if head is None or head[1] != path or len(read) < (end := head.end() + int(head[2])):
        return None
    return read[head.end() : end], end


def encode_answer(status: int, reason: bytes, media_type: bytes, body: bytes) -> bytes:
    """Return an HTTP answer as bytes."""
    return _ANSWER % (status, reason, media_type, len(body), body)


class PushConnection(Protocol):
    """A connection for one request at a time. It calls `on_end` with itself when it is closed or lost."""

    def __init__(self, on_end: Callable[[PushConnection], None]) -> None:
        self._on_end = on_end
        self._answer: Deferred[bytes] | None = None
        self._read = b""
        self.used_at = 0.0

    def connectionMade(self) -> None:
        tcp = ITCPTransport(self.transport, None)
        if tcp is not None:
            tcp.setTcpNoDelay(True)
        self._write = eager_writer(self.transport)

    def ask(self, request: bytes) -> Deferred[bytes]:
        """Send a request; the result is the body of its answer. Failure or cancellation ends the connection."""
        self._read = b""
        self._answer = Deferred(lambda _: self.end())
        self._write(request)
        return self._answer

    def end(self) -> None:
        """Close the connection at once: unsent bytes are those of a failed request."""
        transport: Any = self.transport
        self._answer = None
        transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        self._read += data
        head = _LOOKS_LIKE_AN_ANSWER.match(self._read)
        missing = head.end() + int(head[1]) - len(self._read) if head else ANSWER_BYTES_MAX - len(self._read)
        waiting, self._answer = self._answer, None
        if waiting and head and not missing:
            waiting.callback(self._read[head.end() :])
        elif waiting is None or missing < 0 or (b"\r\n\r\n" in self._read and head is None):
            self.end()
            if waiting:
                waiting.errback(UnexpectedAnswer("sends an unexpected answer to a push"))
        else:
            self._answer = waiting

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        answer, self._answer = self._answer, None
        self._on_end(self)
        if answer is not None:
            answer.errback(reason)


class PushConnections:
    """The connections for pushes, one to each peer's `host:port`."""

    def __init__(self, seconds: Callable[[], float], endpoint: Callable[[str], IStreamClientEndpoint]) -> None:
        self._seconds = seconds
        self._endpoint = endpoint
        self._connections: dict[str, PushConnection] = {}

    def post(self, address: str, path: bytes, media_type: bytes, body: bytes) -> Deferred[bytes]:
        """Send a request; the result is the body of its answer, or `UnexpectedAnswer` or the connection's error.

        If there is a connection already, the request has been written when this returns.
        """
        request = _REQUEST % (path, address.encode("ascii"), media_type, len(body), body)
        connection = self._connections.pop(address, None)
        if connection is not None and self._seconds() - connection.used_at <= IDLE_S_MAX:
            return connection.ask(request).addCallback(self._keep, address, connection)
        if connection is not None:
            connection.end()
        return Deferred.fromCoroutine(self._open_and_post(address, request))

    async def _open_and_post(self, address: str, request: bytes) -> bytes:
        connection = await self._open(address)
        return self._keep(await connection.ask(request), address, connection)

    def _keep(self, answer: bytes, address: str, connection: PushConnection) -> bytes:
        """Keep a connection, whose answer is complete, for the next request; return the answer."""
        connection.used_at = self._seconds()
        self._connections[address] = connection
        return answer

    async def _open(self, address: str) -> PushConnection:
        factory = Factory.forProtocol(lambda: PushConnection(partial(self._forget, address)))
        factory.noisy = False
        connection: Any = await self._endpoint(address).connect(factory)
        return cast(PushConnection, connection)

    def _forget(self, address: str, connection: PushConnection) -> None:
        if self._connections.get(address) is connection:
            del self._connections[address]

    def close(self) -> None:
        """Close the idle connections."""
        for connection in list(self._connections.values()):
            connection.end()
