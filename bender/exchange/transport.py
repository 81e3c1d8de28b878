"""HTTP with peers, as lean as treq and Twisted allow, and bounded.

A node sends two hundred requests a second and more, and events at other nodes wait for them. So everything that treq
would do without being asked (cookies, redirects, parsing the URL again) is left out. Measured without the network,
treq's part of a request takes 15 µs this way instead of 46.

This module does not know the content of messages. It must never keep a connection whose last request was not answered
completely, and must never read without a limit.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, NoReturn, cast

import msgspec
from attrs import frozen
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionClosed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import Agent, GzipDecoder
from twisted.web.http import OK, PotentialDataLoss
from zope.interface import implementer

from bender.exchange.push import PushConnections, UnexpectedAnswer
from bender.net.addresses import split_host_port
from bender.net.eager_write import EagerBody
from bender.net.encrypted import EncryptedEndpoint
from bender.net.endpoints import ReadyURL, endpoint_of, failure_clause, root_cause
from bender.net.http_client import BodyCollector, EndpointFactory, connection_pool
from bender.net.reactor import Reactor
from bender.tls.connections import PeersTls, tls_clause

PATH = "/exchange"
_PATH = PATH.encode()

#: The path of the question what a node knows about one id.
DIAGNOSIS_PATH = "/account"

#: The path of the question for its claims of many ids, with the time that each has left.
CLAIMS_PATH = "/claims"

#: The path of the question for its report about itself.
NODES_PATH = "/nodes"

#: The path of the question for its consumers, when they have applied a change.
CONSUMERS_PATH = "/consumers"

#: The media types of messages, and of refusals.
MEDIA_TYPE = b"application/msgpack"
REFUSAL_TYPE = b"application/json"

#: The most bytes of a status line with headers. A node sends 150.
HEADERS_BYTES_MAX = 16 * 1024

#: The most bytes of a refusal, which has one sentence as its reason.
REFUSAL_BYTES_MAX = 1024

#: The most idle connections to one peer that are kept.
IDLE_CONNECTIONS_MAX = 2

#: Seconds that they are kept. The other end keeps them longer, so that it closes none when a request arrives.
IDLE_S_MAX = 30


class Unanswered(Exception):
    """A request got no usable answer.

    `kind` identifies the problem, and `text` describes it in a clause about the peer that begins with a verb.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


class Unreachable(Unanswered):
    """The request got no answer at all."""

    def __init__(self, text: str) -> None:
        super().__init__("unreachable", text)


class PeerRefusal(msgspec.Struct, omit_defaults=True):
    """The reason why a node refuses a request, with its own wire version and cluster."""

    code: str
    message: str
    wire: int | None = None
    cluster: str | None = None


class RefusedByPeer(Exception):
    """The peer refused a request, and gave a reason."""

    def __init__(self, refusal: PeerRefusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Endless(Exception):
    """A peer sent more bytes after one request than any answer has."""


class PeerTransport:
    """Posts bodies to peers at `host:port`, and returns the bodies of their answers. Good connections stay open."""

    def __init__(self, reactor: Reactor, response_bytes_max: int, tls: PeersTls | None = None) -> None:
        self._response_bytes_max = response_bytes_max
        self._pool = connection_pool(reactor, IDLE_CONNECTIONS_MAX, IDLE_S_MAX)
        self._cookies = _NoCookies()
        self._reactor = reactor
        bytes_max = HEADERS_BYTES_MAX + response_bytes_max

        def secured(endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
            return endpoint if tls is None else EncryptedEndpoint(tls, endpoint)

        endpoints = EndpointFactory(reactor, wrap=lambda _uri, endpoint: _Endpoint(secured(endpoint), bytes_max))
        self._pushes = PushConnections(
            reactor.seconds, lambda address: secured(endpoint_of(reactor, *split_host_port(address)))
        )
        agent = Agent.usingEndpointFactory(reactor, endpoints, self._pool)
        self._client = HTTPClient(agent, self._cookies, data_to_body_producer=EagerBody)

    async def post(self, address: str, body: bytes, path: str = PATH) -> bytes:
        """Send a body and return the body of the answer. Raises `Unanswered` or `RefusedByPeer`, with the reason.

        Failure or cancellation closes the connection, so that nothing is sent after an unanswered request.
        """
        try:
            response = await self._client.post(
                ReadyURL.from_text(f"http://{address}{path}"),
                data=body,
                cookies=self._cookies,
                allow_redirects=False,
                unbuffered=True,
                reactor=cast(Any, self._reactor),
            )
            return await self._content(response)
        except (CancelledError, Unanswered, RefusedByPeer):
            raise
        except Exception as error:
            raise _unanswered(error) from error

    def push(self, address: str, body: bytes) -> Deferred[bytes]:
        """Send a small body in a tenth of the time of `post`. The answer must be small and have the usual form."""
        return self._pushes.post(address, _PATH, MEDIA_TYPE, body).addErrback(_failed_push)

    async def _content(self, response: Any) -> bytes:
        bytes_max = self._bytes_max(response)
        if not bytes_max:
            response.deliverBody(_Unwanted())
            what = f"status {response.code} and {_printable(_header(response, b'Content-Type')) or 'no content'}"
            raise Unanswered(f"status {response.code}", f"answers with {what}")
        received = BodyCollector(bytes_max, Endless)
        response.deliverBody(received)
        content = await received.content
        if response.code != OK:
            raise RefusedByPeer(_refusal(content))
        return content

    def _bytes_max(self, response: Any) -> int:
        """Return the most bytes of an answer to read; 0 if it cannot be the answer of a node."""
        if isinstance(response.original, GzipDecoder) or _header(response, b"Content-Encoding"):
            return 0  # no node does that, and treq would inflate without bounds
        media_type = _header(response, b"Content-Type")
        if response.code == OK:
            return self._response_bytes_max if media_type == MEDIA_TYPE else 0
        return REFUSAL_BYTES_MAX if media_type == REFUSAL_TYPE else 0

    def close(self) -> None:
        """Close the idle connections."""
        self._pushes.close()
        self._pool.closeCachedConnections()


class _Unwanted(Protocol):
    """Closes the connection instead of reading the body."""

    def connectionMade(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


class _NoCookies(IndexableCookieJar):
    """A cookie jar that stays empty. Peers set no cookies, and those of other servers must not be kept."""

    def add_cookie_header(self, request: object) -> None:
        pass

    def extract_cookies(self, response: object, request: object) -> None:
        pass


class _Connection(ProtocolWrapper):
    """A connection to a peer that is closed if more bytes arrive after a request than any answer has."""

    def __init__(self, factory: _Connections, protocol: IProtocol) -> None:
        super().__init__(factory, protocol)
        self._bytes_max = factory.bytes_max
        self._left = factory.bytes_max

    def write(self, data: bytes) -> None:
        """Write a part of a request, and allow the bytes of a new answer."""
        self._left = self._bytes_max
        super().write(data)

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left >= 0:
            super().dataReceived(data)
        else:
            self.loseConnection()

    def loseConnection(self) -> None:
        """Close at once: unsent bytes are those of a failed request, and a peer that hangs never reads them."""
        self.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason if self._left >= 0 else Failure(Endless()))


class _Connections(WrappingFactory[_Connection]):
    """The factory of `_Connection`."""

    protocol = _Connection
    noisy = False

    def __init__(self, factory: Any, bytes_max: int) -> None:
        super().__init__(factory)
        factory.noisy = False  # otherwise each attempt to reach a peer that is down would log two lines
        self.bytes_max = bytes_max


@implementer(IStreamClientEndpoint)
@frozen
class _Endpoint:
    """The endpoint of a peer, whose connections have a limit for each answer."""

    endpoint: IStreamClientEndpoint
    bytes_max: int

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; the result is the protocol that `protocolFactory` makes, because the pool keeps that."""
        connected: Deferred[Any] = self.endpoint.connect(_Connections(protocolFactory, self.bytes_max))
        return connected.addCallback(attrgetter("wrappedProtocol"))


def _failed_push(failure: Failure) -> NoReturn:
    error = failure.value
    if isinstance(error, UnexpectedAnswer):
        raise Unanswered("astray", str(error)) from error
    if error is None or isinstance(error, CancelledError):
        raise CancelledError
    raise _unanswered(error) from error


def _refusal(content: bytes) -> PeerRefusal:
    try:
        refusal = msgspec.json.decode(content, type=PeerRefusal)
    except (ValueError, RecursionError):
        return PeerRefusal("UNKNOWN", "without a reason")
    cluster = None if refusal.cluster is None else _printable(refusal.cluster)
    return PeerRefusal(_printable(refusal.code), _printable(refusal.message), refusal.wire, cluster)


def _header(response: Any, name: bytes) -> bytes:
    values: list[bytes] = response.headers.getRawHeaders(name, [b""])
    return values[0]


def _printable(text: str | bytes) -> str:
    """Return the first 200 characters of a peer's text; those that could damage the log are replaced by `?`."""
    decoded = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return "".join(character if character.isprintable() else "?" for character in decoded[:200])


def _unanswered(error: BaseException) -> Exception:
    """Return the `Unanswered` or `CancelledError` that describes a failure."""
    cause = root_cause(error)
    if isinstance(cause, (CancelledError, ConnectingCancelledError)):
        return CancelledError()
    if isinstance(cause, Endless):
        return Unanswered("endless", "sends an answer that does not end")
    if isinstance(cause, PotentialDataLoss):
        return Unanswered("rubbish", "does not give the length of its answer")
    clause = tls_clause(cause)
    if clause is not None:
        return Unanswered(f"tls: {clause}", f"cannot be reached with TLS: {_printable(clause)}")
    if cause is error or isinstance(cause, ConnectionClosed):
        return Unreachable(f"does not answer ({_printable(failure_clause(cause))})")
    return Unanswered("rubbish", "does not speak HTTP")
