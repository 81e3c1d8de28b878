"""Parts that all HTTP clients share: connection pools, the endpoints of URLs, and the bounded reading of bodies."""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, HTTPConnectionPool, ResponseDone
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from bender.net.endpoints import CONNECT_S_MAX, endpoint_of
from bender.net.reactor import Reactor

#: Endpoints that one client caches: making one for a host name takes 20 µs. Nodes are few, but may change addresses.
ENDPOINTS_KEPT_MAX = 1000

_Wrap = Callable[[URI, IStreamClientEndpoint], IStreamClientEndpoint]


def connection_pool(reactor: Reactor, idle_max: int, idle_s_max: float) -> HTTPConnectionPool:
    """Return a pool that keeps up to `idle_max` idle connections to one address for `idle_s_max` seconds.

    It never repeats a failed request: only the caller knows whether this is safe.
    """
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = idle_max
    pool.cachedConnectionTimeout = idle_s_max  # type: ignore[assignment]  # any number of seconds
    pool.retryAutomatically = False
    return pool


@implementer(IAgentEndpointFactory)
@frozen
class EndpointFactory:
    """Returns the endpoint of a URL to an agent. `wrap` may add a layer to the endpoint, such as TLS."""

    reactor: Reactor
    connect_s_max: float = CONNECT_S_MAX
    wrap: _Wrap = lambda _uri, endpoint: endpoint
    _kept: dict[tuple[bytes, bytes, int], IStreamClientEndpoint] = field(factory=dict, init=False)

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        place = (uri.scheme, uri.host, uri.port)
        endpoint = self._kept.get(place)
        if endpoint is None:
            if len(self._kept) >= ENDPOINTS_KEPT_MAX:
                self._kept.clear()
            plain = endpoint_of(self.reactor, uri.host.decode("ascii"), uri.port, self.connect_s_max)
            endpoint = self._kept[place] = self.wrap(uri, plain)
        return endpoint


class BodyCollector(Protocol):
    """Collects the body of a response, and fires `content` with it.

    `content` fails with the result of `too_long` if the body has more than `bytes_max` bytes. Cancelling `content`
    closes the connection.
    """

    def __init__(self, bytes_max: int, too_long: Callable[[], Exception]) -> None:
        self.content: Deferred[bytes] = Deferred(lambda _: self._give_up())
        self._too_long = too_long
        self._left = bytes_max
        self._pieces: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left >= 0:
            self._pieces.append(data)
        elif not self.content.called:
            self._pieces.clear()
            self.content.errback(self._too_long())
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
