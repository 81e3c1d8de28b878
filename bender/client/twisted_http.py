"""Send one request to one node on Twisted's reactor, in bounded time.

Connections are kept. Nothing is sent twice here, because only the caller knows whether that is right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from attrs import evolve, frozen
from OpenSSL.crypto import Error as CryptographyError
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.web.client import URI, Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
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
from bender.net.eager_write import EagerBody
from bender.net.encrypted import EncryptedEndpoint
from bender.net.endpoints import ReadyURL, wait_for_answer
from bender.net.http_client import BodyCollector, EndpointFactory, connection_pool
from bender.net.reactor import Reactor
from bender.tls.connections import NodeTls

#: Connections to one node, for a client that sends several requests at once.
CONNECTIONS_KEPT = 8

#: Seconds for which idle connections are kept, less than nodes keep them.
KEPT_S = 30

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class Http:
    """Requests to nodes. `agent` replaces the default agent, such as in a test."""

    def __init__(self, reactor: Reactor, safety: ConnectionSecurity, agent: IAgent | None = None) -> None:
        self._reactor = reactor
        self._safety = safety
        self._pool = connection_pool(reactor, CONNECTIONS_KEPT, KEPT_S)
        if agent is None:
            endpoints = EndpointFactory(reactor, CONNECT_S_MAX, _wrapped(safety.ca))
            agent = Agent.usingEndpointFactory(reactor, endpoints, self._pool)
        self._client = HTTPClient(agent, IndexableCookieJar(), data_to_body_producer=EagerBody)

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
        """Return the whole answer, of at most `bytes_max`, within `within_s` seconds. Raises `NoAnswer`."""
        asking = Deferred.fromCoroutine(self._ask(node, method, path, body, headers, bytes_max))
        reply: Reply = await wait_for_answer(self._reactor, asking, within_s, CONNECT_S_MAX)
        return reply

    async def follow(self, node: str, path: str, receiver: Protocol, within_s: float) -> Any:
        """Begin an answer without an end, whose body goes to `receiver`. Raises `NoAnswer` if it does not begin.

        Returns the answer, of which `code` is the status; any but 200 has an end.
        """
        headers = {"Accept": "text/event-stream"}
        beginning = Deferred.fromCoroutine(self._send(node, "GET", path, None, headers))
        response = await wait_for_answer(self._reactor, beginning, within_s, CONNECT_S_MAX)
        response.deliverBody(receiver)
        return response

    async def _ask(
        self, node: str, method: str, path: str, body: bytes | None, headers: Mapping[str, str], bytes_max: int
    ) -> Reply:
        response = await self._send(node, method, path, body, headers)
        longest = body_bytes_max(response.code, bytes_max)
        collecting = BodyCollector(longest, lambda: too_long(longest))
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
            headers=Headers({name: [value] for name, value in {**headers, **self._safety.headers(node)}.items()}),
            allow_redirects=False,
            unbuffered=True,
            reactor=cast(Any, self._reactor),
        )

    def use_token(self, token: str | None) -> None:
        """Send this token from now on."""
        self._safety = evolve(self._safety, token=token)

    async def close(self) -> None:
        """End the idle connections."""
        await cast("Deferred[None]", self._pool.closeCachedConnections())


def _wrapped(ca: bytes | None) -> Callable[[URI, IStreamClientEndpoint], IStreamClientEndpoint]:
    """Return what adds TLS to an endpoint: nodes are trusted that `ca` has signed, or else those the system trusts."""
    authorities = None if ca is None else _authorities(ca)

    def wrap(uri: URI, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
        if uri.scheme == b"https":
            host = uri.host.decode("ascii")
            creator = optionsForClientTLS(host) if authorities is None else NodeTls(host, authorities)
            endpoint = EncryptedEndpoint(creator, endpoint)
        return _Quiet(endpoint)

    return wrap


@implementer(IStreamClientEndpoint)
@frozen
class _Quiet:
    """An endpoint that logs nothing: each attempt to reach an unreachable node would be two lines."""

    endpoint: IStreamClientEndpoint

    def connect(self, protocolFactory: Any) -> Deferred[IProtocol]:
        protocolFactory.noisy = False
        connecting: Deferred[IProtocol] = self.endpoint.connect(protocolFactory)
        return connecting


def _authorities(pem: bytes) -> list[Certificate]:
    """Return all certificates in a file. Raises `ValueError`."""
    try:
        found = [Certificate.loadPEM(each) for each in _CERTIFICATE.findall(pem)]
    except CryptographyError as error:
        raise ValueError("holds a certificate that cannot be read") from error
    if not found:
        raise ValueError("holds no certificate (PEM)")
    return found
