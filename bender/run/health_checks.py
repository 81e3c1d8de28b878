"""Check whether the command serves: it accepts connections to its port, or answers requests for its health page."""

from __future__ import annotations

from typing import Any, Protocol, cast

from attrs import frozen
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refusal
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as Connection
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool

from bender.net.addresses import NoAnswer, host_port
from bender.net.endpoints import endpoint_of, root_cause, wait_for_answer
from bender.net.http_client import EndpointFactory
from bender.net.reactor import Reactor

#: Limit for the bytes that are read of a page, whose content does not matter.
PAGE_BYTES_MAX = 1024 * 1024


class CheckFailed(Exception):
    """The instance does not serve. The message is a clause that follows the name of the instance."""


class RefusesConnections(CheckFailed):
    """No process listens at the address and port of the instance."""

    def __init__(self) -> None:
        super().__init__("refuses connections")


class Check(Protocol):
    """A kind of check. `check` raises `CheckFailed` if the instance does not serve."""

    async def check(self) -> None: ...


@frozen
class TcpCheck:
    """Check that the instance accepts a connection."""

    reactor: Reactor
    host: str
    port: int
    within_s: float

    async def check(self) -> None:
        factory = Factory.forProtocol(Connection)
        factory.noisy = False
        connecting = endpoint_of(self.reactor, self.host, self.port, self.within_s).connect(factory)
        connection: Any = await _wait_for_connection(connecting, self.within_s, self.reactor)
        connection.transport.loseConnection()  # an aborted connection might make the service log an error each time


@frozen
class HttpCheck:
    """Check that the instance answers a request for a page with a status from 200 to 399."""

    reactor: Reactor
    host: str
    port: int
    path: str
    within_s: float

    async def check(self) -> None:
        pool = HTTPConnectionPool(self.reactor, persistent=False)
        client = HTTPClient(
            Agent.usingEndpointFactory(self.reactor, EndpointFactory(self.reactor, self.within_s), pool)
        )
        url = f"http://{host_port(self.host, self.port)}{self.path}"
        asking = client.get(url, allow_redirects=False, unbuffered=True, reactor=cast(Any, self.reactor))
        response: Any = await _wait_for_connection(asking, self.within_s, self.reactor)
        response.deliverBody(_PageReader(self.reactor, self.within_s))
        if not 200 <= response.code <= 399:
            raise CheckFailed(f"answers {self.path} with {response.code}")


async def _wait_for_connection(waiting: Deferred[Any], within_s: float, reactor: Reactor) -> Any:
    try:
        return await wait_for_answer(reactor, waiting, within_s)
    except NoAnswer as no_answer:
        if isinstance(root_cause(no_answer.__cause__ or no_answer), Refusal):
            raise RefusesConnections from no_answer
        raise CheckFailed(str(no_answer)) from no_answer


class _PageReader(Connection):
    """Read a page to its end, but at most `PAGE_BYTES_MAX`. Otherwise the service might log an error each time."""

    def __init__(self, reactor: Reactor, within_s: float) -> None:
        self._bytes_left = PAGE_BYTES_MAX
        self._time_limit = reactor.callLater(within_s, self._give_up)

    def dataReceived(self, data: bytes) -> None:
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            self._give_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        del reason
        if self._time_limit.active():
            self._time_limit.cancel()

    def _give_up(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()
