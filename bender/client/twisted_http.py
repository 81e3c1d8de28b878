"""The transport on Twisted's reactor: send one request to one node, in bounded time.

Connections are kept for further requests. No request is sent twice, because only the caller knows whether that does
harm.
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
    WARNINGS_HEADER,
    ConnectionSecurity,
    body_bytes_max,
    parse_warnings,
    too_long_error,
)
from bender.client.types import Reply
from bender.net.eager_write import EagerBody
from bender.net.encrypted import EncryptedEndpoint
from bender.net.endpoints import ReadyURL, wait_for_answer
from bender.net.http_client import BodyCollector, EndpointFactory, connection_pool
from bender.net.reactor import Reactor
from bender.tls.connections import NodeTls

#: Idle connections that are kept to one node, for a client that sends several requests at once.
IDLE_CONNECTIONS_MAX = 8

#: Seconds for which idle connections are kept. Nodes keep them longer.
IDLE_S_MAX = 30

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class Http:
    """Send requests to nodes on Twisted's reactor. `agent` replaces the default agent, such as in a test.

    Raises `ValueError` if the certificates in `security` cannot be read.
    """

    def __init__(self, reactor: Reactor, security: ConnectionSecurity, agent: IAgent | None = None) -> None:
        self._reactor = reactor
        self._security = security
        self._pool = connection_pool(reactor, IDLE_CONNECTIONS_MAX, IDLE_S_MAX)
        if agent is None:
            endpoints = EndpointFactory(reactor, CONNECT_S_MAX, _tls_wrapper(security.ca))
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
        """Send a request to a node, and return its whole answer: see `Transport`."""
        asking = Deferred.fromCoroutine(self._ask(node, method, path, body, headers, bytes_max))
        reply: Reply = await wait_for_answer(self._reactor, asking, within_s, CONNECT_S_MAX)
        return reply

    async def follow(self, node: str, path: str, receiver: Protocol, within_s: float) -> Any:
        """Request an endless answer, whose body goes to `receiver`: see `Transport`.

        The `code` of the returned answer is its status. An answer with a status other than 200 ends.
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
        collecting = BodyCollector(longest, lambda: too_long_error(longest))
        response.deliverBody(collecting)
        content = await collecting.content
        etag = response.headers.getRawHeaders("ETag", [None])[0]
        warnings = parse_warnings(response.headers.getRawHeaders(WARNINGS_HEADER, [None])[0])
        return Reply(node, response.code, content, etag, warnings)

    async def _send(self, node: str, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Any:
        return await self._client.request(
            method,
            ReadyURL.from_text(self._security.url(node, path)),
            data=body,
            headers=Headers({name: [value] for name, value in {**headers, **self._security.headers(node)}.items()}),
            allow_redirects=False,
            unbuffered=True,
            reactor=cast(Any, self._reactor),
        )

    def use_token(self, token: str | None) -> None:
        """Send this token from now on."""
        self._security = evolve(self._security, token=token)

    async def close(self) -> None:
        """Close the idle connections."""
        await cast("Deferred[None]", self._pool.closeCachedConnections())


def _tls_wrapper(ca: bytes | None) -> Callable[[URI, IStreamClientEndpoint], IStreamClientEndpoint]:
    """Return a function that adds TLS to the endpoints of `https` URLs.

    A node is trusted if an authority in `ca` has signed its certificate; without `ca`, if the system trusts it.
    """
    authorities = None if ca is None else _certificates_in(ca)

    def wrap(uri: URI, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
        if uri.scheme == b"https":
            host = uri.host.decode("ascii")
            creator = optionsForClientTLS(host) if authorities is None else NodeTls(host, authorities)
            endpoint = EncryptedEndpoint(creator, endpoint)
        return _QuietEndpoint(endpoint)

    return wrap


@implementer(IStreamClientEndpoint)
@frozen
class _QuietEndpoint:
    """An endpoint that logs nothing: each attempt to reach an unreachable node would log two lines."""

    endpoint: IStreamClientEndpoint

    def connect(self, protocolFactory: Any) -> Deferred[IProtocol]:
        protocolFactory.noisy = False
        connecting: Deferred[IProtocol] = self.endpoint.connect(protocolFactory)
        return connecting


def _certificates_in(pem: bytes) -> list[Certificate]:
    """Return all certificates in a PEM file. Raises `ValueError` if it has none, or one that cannot be read."""
    try:
        found = [Certificate.loadPEM(each) for each in _CERTIFICATE.findall(pem)]
    except CryptographyError as error:
        raise ValueError("holds a certificate that cannot be read") from error
    if not found:
        raise ValueError("holds no certificate (PEM)")
    return found
