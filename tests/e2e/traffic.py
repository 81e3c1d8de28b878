"""Clients of a load balancer that send requests continuously, and record the result of each."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from attrs import define, field, frozen
from twisted.internet import defer, reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure

from tests.e2e.nodes import pause, until

#: The time limit for a page.
TIMEOUT_S = 5.0

#: The beginning of a response, and the length of its body.
_HEAD = re.compile(rb"HTTP/1\.1 (\d+) .*?\r\n(?:.*\r\n)*?Content-Length: (\d+)\r\n(?:.*\r\n)*?\r\n", re.IGNORECASE)


@frozen
class SentRequest:
    """A request. `answer` is the name of the instance, or the reason if there was no answer and no `status`."""

    began_at_s: float
    ended_at_s: float
    status: int | None
    answer: str

    @property
    def failed(self) -> bool:
        return self.status != 200


class _Connection(Protocol):
    transport: Any

    def __init__(self) -> None:
        self.is_lost = False
        #: True if the connection, already used before, was closed without any byte of the answer.
        self.was_idle = False
        self._request_count = 0
        self._answered: Deferred[tuple[int, str]] | None = None
        self._received = b""

    def ask(self, path: str, headers: str) -> Deferred[tuple[int, str]]:
        """Return status and body of the answer."""
        self._answered, self._received = Deferred(), b""
        self._request_count += 1
        self.transport.write(f"GET {path} HTTP/1.1\r\nHost: shop.example\r\n{headers}\r\n".encode())
        return self._answered

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        head = _HEAD.match(self._received)
        if head and len(self._received) >= head.end() + int(head[2]):
            self._answer((int(head[1]), self._received[head.end() :].decode()))
        elif b"\r\n\r\n" in self._received and head is None:  # HAProxy closes the connection after its own pages
            self._answer((int(self._received[9:12]), "without a length"))
            self.transport.abortConnection()

    def _answer(self, answer: tuple[int, str]) -> None:
        answered, self._answered = self._answered, None
        if answered is not None and not answered.called:
            answered.callback(answer)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_lost = True
        self.was_idle = self._request_count > 1 and not self._received
        answered, self._answered = self._answered, None
        if answered is not None and not answered.called:
            answered.errback(ConnectionLost())


@define(eq=False)
class Traffic:
    """Several clients, each with an open connection, on which it sends a request `apart_s` after each answer.

    With `retrying` they retry like all HTTP clients. If a connection that was used before is closed without any byte of
    the answer, the server has closed it while it was idle, and the client repeats the request on a new connection (RFC
    9112, 9.3.1). A reload of HAProxy closes such connections.
    """

    port: int
    clients: int = 8
    apart_s: float = 0.01
    path: str = "/"
    #: Headers, each with a line end.
    headers: str = ""
    retrying: bool = False
    #: The trusted CA of servers; without it, TLS is not used.
    trusting: Any = None
    requests: list[SentRequest] = field(factory=list)
    _over: bool = False
    _running: list[Deferred[None]] = field(factory=list)

    @property
    def failed(self) -> list[SentRequest]:
        return [request for request in self.requests if request.failed]

    def since(self, at_s: float) -> list[SentRequest]:
        """Return the requests that began after this time."""
        return [request for request in self.requests if request.began_at_s > at_s]

    def answers(self, since_s: float = 0.0) -> Counter[str]:
        """Count requests by the instance that answered."""
        return Counter(request.answer for request in self.since(since_s) if not request.failed)

    async def until_sent(self, number: int) -> None:
        """Wait until this number of further requests has been sent."""
        until = len(self.requests) + number
        while len(self.requests) < until:
            await pause(0.02)

    async def until_answered(self, number: int, since_s: float) -> None:
        """Wait until this number of requests that began after this time has been answered by instances."""
        await until(f"{number} requests are answered", lambda: self.answers(since_s).total() >= number)

    def failing_s(self, since_s: float = 0.0) -> float:
        """Return for how long after this time requests failed; 0 if none did."""
        return max((request.ended_at_s - since_s for request in self.since(since_s) if request.failed), default=0.0)

    def start(self) -> None:
        self._running = [Deferred.fromCoroutine(self._ask()) for _ in range(self.clients)]

    async def stop(self) -> None:
        self._over = True
        for running in self._running:
            await running

    async def _ask(self) -> None:
        endpoint: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port, timeout=TIMEOUT_S)
        if self.trusting is not None:
            endpoint = wrapClientTLS(optionsForClientTLS("shop.example", self.trusting), endpoint)
        connection: _Connection | None = None
        while not self._over:
            began_at_s = time.monotonic()
            status: int | None = None
            try:
                if connection is None or connection.is_lost:
                    connection = await connectProtocol(endpoint, _Connection())
                answering = connection.ask(self.path, self.headers)
                status, answer = await answering.addTimeout(TIMEOUT_S, reactor)
            except (ConnectError, ConnectionLost, defer.TimeoutError) as error:
                if self.retrying and connection is not None and connection.was_idle:
                    connection = None
                    continue
                answer = type(error).__name__
                if connection is not None:
                    connection.transport.abortConnection()
                connection = None
            self.requests.append(SentRequest(began_at_s, time.monotonic(), status, answer))
            await pause(self.apart_s)


@asynccontextmanager
async def traffic(port: int, **options: Any) -> AsyncIterator[Traffic]:
    """Send requests to a port during this context."""
    asking = Traffic(port, **options)
    asking.start()
    try:
        yield asking
    finally:
        await asking.stop()
