"""HTTP with peers, as lean as treq and Twisted allow, and bounded.

A push passes here between a change at one node and its event at another, two hundred times a second and more; what
each request would do without being asked for (cookies, redirects, parsing its URL anew) is left out. Measured without
the network: treq's own part of a request takes 15 µs that way instead of 46.

This module knows nothing of messages. It must never keep a connection whose last request was not answered in full, and
never read without end.
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

#: The path for asking a node what it knows of one id.
ACCOUNT_PATH = "/account"

#: The path for asking it for its claims of many ids, with the time that each has left.
CLAIMS_PATH = "/claims"

#: The path for asking it what it reports about itself.
NODES_PATH = "/nodes"

#: The path for asking it for its consumers, when they have acted on something.
CONSUMERS_PATH = "/consumers"

#: Media types of messages, and of the sentence that says why one is refused.
MEDIA_TYPE = b"application/msgpack"
REFUSAL_TYPE = b"application/json"

#: Status line and headers, of which ours have 150 bytes.
HEADERS_BYTES_MAX = 16 * 1024

#: A refusal says why in one sentence; more than this is not from a node.
REFUSAL_BYTES_MAX = 1024

#: Idle connections kept to one peer: for the rounds, and for the pushes that come between.
IDLE_CONNECTIONS_MAX = 2

#: How long. It is less than the time after which the other side closes them, so that no request meets a closing door.
IDLE_S_MAX = 30


class Unanswered(Exception):
    """A request got no answer that could be used.

    `kind` says what was wrong in a word, the same as long as the same is wrong, and the text is a clause about the
    peer that begins with a verb.
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
    """Why a node does not answer a request, and what it is itself."""

    code: str
    message: str
    wire: int | None = None
    cluster: str | None = None


class RefusedByPeer(Exception):
    """The peer gave a reason for not answering."""

    def __init__(self, refusal: PeerRefusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Endless(Exception):
    """More bytes came in answer to one request than any node sends."""


class PeerTransport:
    """Posts bodies to peers at `host:port`, and brings back theirs. It keeps connections that are in order."""

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
        """Send a body and return that of the answer. Raises `Unanswered` or `RefusedByPeer`, with the reason.

        Cancelled at any time, or failing, it ends the connection: nothing is sent after what was not answered.
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
        """Send a small body in a tenth of the time; the answer is expected to be small and in order."""
        return self._pushes.post(address, _PATH, MEDIA_TYPE, body).addErrback(_failed_push)

    async def _content(self, response: Any) -> bytes:
        bytes_max = self._bytes_max(response)
        if not bytes_max:
            response.deliverBody(_Unwanted())
            what = f"status {response.code} and {_shown(_header(response, b'Content-Type')) or 'no content'}"
            raise Unanswered(f"status {response.code}", f"answers with {what}")
        received = BodyCollector(bytes_max, Endless)
        response.deliverBody(received)
        content = await received.content
        if response.code != OK:
            raise RefusedByPeer(_refusal(content))
        return content

    def _bytes_max(self, response: Any) -> int:
        """Return how many bytes of an answer are read; 0 if it cannot be one of a node."""
        if isinstance(response.original, GzipDecoder) or _header(response, b"Content-Encoding"):
            return 0  # no node does that, and treq would inflate without bounds
        media_type = _header(response, b"Content-Type")
        if response.code == OK:
            return self._response_bytes_max if media_type == MEDIA_TYPE else 0
        return REFUSAL_BYTES_MAX if media_type == REFUSAL_TYPE else 0

    def close(self) -> None:
        """End the idle connections."""
        self._pushes.close()
        self._pool.closeCachedConnections()


class _Unwanted(Protocol):
    """Ends the connection instead of reading the body."""

    def connectionMade(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


class _NoCookies(IndexableCookieJar):
    """Peers set no cookies; those of another server would be kept, and sent back to it."""

    def add_cookie_header(self, request: object) -> None:
        pass

    def extract_cookies(self, response: object, request: object) -> None:
        pass


class _Connection(ProtocolWrapper):
    """A connection to a peer, which ends when more comes back to a request than can be an answer."""

    def __init__(self, factory: _Connections, protocol: IProtocol) -> None:
        super().__init__(factory, protocol)
        self._bytes_max = factory.bytes_max
        self._left = factory.bytes_max

    def write(self, data: bytes) -> None:
        """A part of a request."""
        self._left = self._bytes_max
        super().write(data)

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left >= 0:
            super().dataReceived(data)
        else:
            self.loseConnection()

    def loseConnection(self) -> None:
        """At once: what still waits to be sent is for a request that failed, and a peer that hangs never reads it."""
        self.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason if self._left >= 0 else Failure(Endless()))


class _Connections(WrappingFactory[_Connection]):
    """Makes such connections."""

    protocol = _Connection
    noisy = False

    def __init__(self, factory: Any, bytes_max: int) -> None:
        super().__init__(factory)
        factory.noisy = False  # or each attempt to reach a peer that is down would be two lines of the log
        self.bytes_max = bytes_max


@implementer(IStreamClientEndpoint)
@frozen
class _Endpoint:
    """The endpoint at which a peer listens."""

    endpoint: IStreamClientEndpoint
    bytes_max: int

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Fires with the protocol that `protocolFactory` makes, because that is what the pool keeps."""
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
    cluster = None if refusal.cluster is None else _shown(refusal.cluster)
    return PeerRefusal(_shown(refusal.code), _shown(refusal.message), refusal.wire, cluster)


def _header(response: Any, name: bytes) -> bytes:
    values: list[bytes] = response.headers.getRawHeaders(name, [b""])
    return values[0]


def _shown(text: str | bytes) -> str:
    """Return text of a peer, made fit for a line of the log."""
    decoded = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return "".join(character if character.isprintable() else "?" for character in decoded[:200])


def _unanswered(error: BaseException) -> Exception:
    """Return the error that describes a failure in terms of the peer."""
    cause = root_cause(error)
    if isinstance(cause, (CancelledError, ConnectingCancelledError)):
        return CancelledError()
    if isinstance(cause, Endless):
        return Unanswered("endless", "sends an answer that does not end")
    if isinstance(cause, PotentialDataLoss):
        return Unanswered("rubbish", "does not give the length of its answer")
    clause = tls_clause(cause)
    if clause is not None:
        return Unanswered(f"tls: {clause}", f"cannot be reached with TLS: {_shown(clause)}")
    if cause is error or isinstance(cause, ConnectionClosed):
        return Unreachable(f"does not answer ({_shown(failure_clause(cause))})")
    return Unanswered("rubbish", "does not speak HTTP")
