"""Whole nodes on a network in memory, and clients of them: real HTTP in both directions, on a clock moved by hand."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Request

from bender.access.tokens import Tokens
from bender.api import site
from bender.client import Client, Event, Watch
from bender.core.timing import Timing
from bender.daemon.sweeper import Sweeper
from bender.exchange import Exchange
from bender.node.node import Node
from bender.node.sources import Sources
from tests.exchange.network import Network

ONE, TWO, THREE = "10.0.0.1", "10.0.0.2", "10.0.0.3"
ALL = (ONE, TWO, THREE)

_T = TypeVar("_T")


class Machine:
    """A node with its servers at an address. `kill` ends it without a trace, and `leave` ends it as on SIGTERM."""

    def __init__(self, network: Network, host: str, incarnation: int) -> None:
        self.host = host
        self._network = network
        self.tokens = Tokens()
        sources = Sources(network.seconds, lambda: int(network.seconds() * 1000), lambda: incarnation)
        seeds = tuple(f"{each}:1730" for each in ALL)
        address = f"{host}:1730"
        endpoint = f"tcp:1730:interface={host}"
        self.node = Node(
            network,
            sources,
            name=f"n{host[-1]}",
            address=address,
            api_port=1729,
            timing=Timing(),
            seeds=seeds,
            exchange=partial(Exchange, network, endpoint=endpoint, cluster="c", seeds=seeds, chance=lambda: 0.5),
        )
        assert isinstance(self.node.exchange, Exchange)
        self._exchange = self.node.exchange
        self._expiry = Sweeper(network, self.node)
        self._api = network.listenTCP(1729, site(self.node, network, tokens=self.tokens), interface=host)
        self._exchange.startService()
        self._expiry.startService()

    def leave(self) -> None:
        """End the node as SIGTERM does."""
        self._api.stopListening()
        self.node.journal.close()
        self._network.settle()
        self.node.leave()
        self._end()

    def kill(self, *, settle: bool = True) -> None:
        """End the node as SIGKILL does; without `settle`, no other node has noticed it yet."""
        self._api.stopListening()
        self._end(settle=settle)

    def _end(self, *, settle: bool = True) -> None:
        self._expiry.stopService()
        self._exchange.stopService()
        for end in self._network.server_ends:
            if end.hostAddress.host == self.host:
                end.abortConnection()
        if settle:
            self._network.settle()


class ClientCase(SynchronousTestCase):
    """Three nodes that know each other."""

    def setUp(self) -> None:
        self.network = Network()
        self.incarnations = iter(range(1, 1000))
        self.machines = {host: Machine(self.network, host, next(self.incarnations)) for host in ALL}
        self.network.pass_time(1)
        self.problems: list[tuple[str, str]] = []

    def node(self, host: str) -> Node:
        return self.machines[host].node

    def start(self, host: str) -> None:
        """Start a new node in the place of one that has ended."""
        self.machines[host] = Machine(self.network, host, next(self.incarnations))

    def client(self, *hosts: str, **options: Any) -> Client:
        """Return a client that tries these hosts in this order."""
        client = Client(self.network, [f"{host}:1729" for host in hosts], shuffle=lambda _: None, **options)
        client.on_problem = lambda node, problem: self.problems.append((node, problem))
        return client

    def result(self, coroutine: Coroutine[Any, Any, _T], within_s: float = 0) -> _T:
        """Return the result of a coroutine within this number of seconds."""
        deferred = Deferred.fromCoroutine(coroutine)
        self.network.settle()
        if not deferred.called:
            self.network.pass_time(within_s)
        result: _T = self.successResultOf(deferred)
        return result

    def failure(self, coroutine: Coroutine[Any, Any, Any], kind: type[_T], within_s: float = 0) -> _T:
        deferred = Deferred.fromCoroutine(coroutine)
        self.network.pass_time(within_s)
        self.network.settle()
        error = self.failureResultOf(deferred, kind).value
        assert isinstance(error, kind)
        return error


class Page(Resource):
    """Answers all requests in the same way, as no node does."""

    isLeaf = True

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__()
        self._status = status
        self._body = body

    def render(self, request: Request) -> bytes:
        request.setResponseCode(self._status)
        return self._body


class Watcher:
    """Reads all events of a watch until the watch is closed."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.events: list[Event] = []
        self.taking = Deferred.fromCoroutine(self._take())

    async def _take(self) -> None:
        async for event in self.watch:
            self.events.append(event)

    def named(self) -> list[str]:
        """Return the events since the last call, in short."""
        events, self.events = self.events, []
        return [f"{event.event} {event.id.rpartition('/')[2]} {event.reason}".replace("  ", " ") for event in events]
