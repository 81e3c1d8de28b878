"""One request to one node, in bounded time.

Connections are kept; nothing is ever sent twice here, for whether that is right the caller must know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from attrs import frozen
from OpenSSL.crypto import Error as CryptographyError
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory
from zope.interface import implementer

from bender.client.transport import (
    ANSWER_BYTES_MAX,
    CONNECT_S_MAX,
    WARNINGS,
    ConnectionSecurity,
    body_bytes_max,
    too_long,
    warnings_in,
)
from bender.client.types import Reply
from bender.net.eager_write import PromptBody
from bender.net.endpoints import ReadyURL, endpoint_of, in_time
from bender.net.reactor import Reactor

#: Connections to one node: those of a client that asks for several things at once.
CONNECTIONS_KEPT = 8

#: How long they are kept when nobody asks, which is less than nodes keep them.
KEPT_S = 30

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class Http:
    """Requests to nodes. `agent` is for who has one already, such as a test."""

    def __init__(self, reactor: Reactor, safety: ConnectionSecurity, agent: IAgent | None = None) -> None:
        self._reactor = reactor
        self._safety = safety
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = CONNECTIONS_KEPT
        self._pool.cachedConnectionTimeout = KEPT_S
        self._pool.retryAutomatically = False
        if agent is None:
            agent = Agent.usingEndpointFactory(reactor, _Endpoints(reactor, safety.ca), self._pool)
        self._client = HTTPClient(agent, IndexableCookieJar(), data_to_body_producer=PromptBody)

    async def ask(
        self,
        node: str,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        within_s: float,
        bytes_max: int = ANSWER_BYTES_MAX,
    ) -> Reply:
        """The answer to a request, all of it in so long, and of at most so many bytes. Raises `NoAnswer`."""
        asking = Deferred.fromCoroutine(self._ask(node, method, path, body, headers, bytes_max))
        reply: Reply = await in_time(self._reactor, asking, within_s, CONNECT_S_MAX)
        return reply

    async def follow(self, node: str, path: str, receiver: Protocol, within_s: float) -> Any:
        """Begin an answer without an end, whose body goes to `receiver`. Raises `NoAnswer` if it does not begin.

        Returns the answer, of which `code` is the status; any but 200 has an end.
        """
        headers = {"Accept": "text/event-stream"}
        beginning = Deferred.fromCoroutine(self._send(node, "GET", path, None, headers))
        response = await in_time(self._reactor, beginning, within_s, CONNECT_S_MAX)
        response.deliverBody(receiver)
        return response

    async def _ask(
        self, node: str, method: str, path: str, body: bytes | None, headers: Mapping[str, str], bytes_max: int
    ) -> Reply:
        response = await self._send(node, method, path, body, headers)
        collecting = BodyCollector(body_bytes_max(response.code, bytes_max))
        response.deliverBody(collecting)
        content = await collecting.content
        etag = response.headers.getRawHeaders("ETag", [None])[0]
        warnings = warnings_in(response.headers.getRawHeaders(WARNINGS, [None])[0])
        return Reply(node, response.code, content, etag, warnings)

    async def _send(self, node: str, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Any:
        return await self._client.request(
            method,
            ReadyURL.from_text(self._safety.url(node, path)),
            data=body,
            headers=Headers({name: [value] for name, value in {**headers, **self._safety.headers()}.items()}),
            allow_redirects=False,
            unbuffered=True,
            reactor=cast(Any, self._reactor),
        )

    async def close(self) -> None:
        """End the idle connections."""
        await cast("Deferred[None]", self._pool.closeCachedConnections())


class BodyCollector(Protocol):
    """The body of an answer that has an end, as `content`; that fails with `TooLong` if it has more than so much."""

    def __init__(self, bytes_max: int = ANSWER_BYTES_MAX) -> None:
        self.content: Deferred[bytes] = Deferred(lambda _: self._give_up())
        self._pieces: list[bytes] = []
        self._bytes_max = bytes_max
        self._left = bytes_max

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left >= 0:
            self._pieces.append(data)
        elif not self.content.called:
            self._pieces.clear()
            self.content.errback(too_long(self._bytes_max))
            self._give_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.content.called:
            return
        if reason.check(ResponseDone):
            self.content.callback(b"".join(self._pieces))
        else:
            self.content.errback(reason)

    def _give_up(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Where nodes listen. By TLS those are trusted that one authority has signed, or else those the system trusts."""

    def __init__(self, reactor: Reactor, ca: bytes | None) -> None:
        self._reactor = reactor
        self._root = None if ca is None else trustRootFromCertificates(_authorities(ca))

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        host = uri.host.decode("ascii")
        endpoint = endpoint_of(self._reactor, host, uri.port, CONNECT_S_MAX)
        if uri.scheme == b"https":
            trust = {} if self._root is None else {"trustRoot": self._root}
            endpoint = wrapClientTLS(optionsForClientTLS(host, **trust), endpoint)
        return _Quiet(endpoint)


@implementer(IStreamClientEndpoint)
@frozen
class _Quiet:
    """An endpoint of which the log tells nothing: each attempt to reach a node that is away would be two lines."""

    endpoint: IStreamClientEndpoint

    def connect(self, protocolFactory: Any) -> Deferred[IProtocol]:
        protocolFactory.noisy = False
        connecting: Deferred[IProtocol] = self.endpoint.connect(protocolFactory)
        return connecting


def _authorities(pem: bytes) -> list[Certificate]:
    """All certificates in a file. Raises `ValueError`."""
    try:
        found = [Certificate.loadPEM(each) for each in _CERTIFICATE.findall(pem)]
    except CryptographyError as error:
        raise ValueError("holds a certificate that cannot be read") from error
    if not found:
        raise ValueError("holds no certificate (PEM)")
    return found
