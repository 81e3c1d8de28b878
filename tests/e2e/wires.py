"""Wires between nodes that can be cut, in pure Python and without privileges.

Each node gets a separate address for each of its peers, at which this process listens and forwards all bytes to that
peer. The addresses that nodes advertise do not exist, so that nodes have no other way to each other. A cut wire carries
nothing and closes nothing, like a network that loses all packets; after the heal, delayed bytes arrive late. A long
wire delays all bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import permutations
from typing import Any

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from tests.e2e.nodes import Cluster, Node


class Relay(Protocol):
    """One end of a connection over a wire: that of the caller, or the far end with the caller's end as `other`."""

    transport: Any

    def __init__(self, wire: Wire, other: Relay | None = None) -> None:
        self._wire = wire
        self._other = other
        self._under_way: deque[Callable[[], None]] = deque()
        self._held = b""
        self._lost = False

    def connectionMade(self) -> None:
        self._wire.relays.append(self)
        if self._other is None:
            self.transport.pauseProducing()
            self._wire.call(self)
        else:
            self._other._other = self
            self._other.transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        self._send(partial(self._arrive, data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._send(self._end)

    def _send(self, arrives: Callable[[], None]) -> None:
        """Deliver bytes at the other end of the wire, after all earlier bytes."""
        self._under_way.append(arrives)
        reactor.callLater(self._wire.delay_s, self._deliver)

    def _deliver(self) -> None:
        arrives = self._under_way.popleft()
        arrives()

    def _arrive(self, data: bytes) -> None:
        self._held += data
        self.carry()

    def _end(self) -> None:
        self._lost = True
        self.carry()

    def carry(self) -> None:
        """Forward received bytes, unless the wire is cut."""
        if self._wire.is_cut or self._other is None:
            return
        self._other.transport.write(self._held)
        self._held = b""
        if self._lost:
            self._other.transport.loseConnection()
            self._wire.relays.remove(self)


@define(eq=False)
class Wire:
    """The connection from one node to another: the first node connects to `port`. Bytes take `delay_s`."""

    source: Node
    target: Node
    port: int
    delay_s: float = 0.0
    is_cut: bool = False
    relays: list[Relay] = field(factory=list)
    _calls: list[Relay] = field(factory=list)
    _listening: Any = None

    async def lay(self) -> None:
        """Start listening."""
        endpoint = TCP4ServerEndpoint(reactor, self.port, interface="127.0.0.1")
        self._listening = await endpoint.listen(Factory.forProtocol(lambda: Relay(self)))

    def call(self, relay: Relay) -> None:
        """Connect the far end of a call when the wire is not cut."""
        if self.is_cut:
            self._calls.append(relay)
        else:
            Deferred.fromCoroutine(self._reach(relay))

    async def _reach(self, relay: Relay) -> None:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.target.exchange_port)
        try:
            await connectProtocol(endpoint, Relay(self, relay))
        except ConnectError:
            relay.transport.loseConnection()

    def heal(self) -> None:
        self.is_cut = False
        for relay in tuple(self.relays):
            relay.carry()
        calls, self._calls = self._calls, []
        for relay in calls:
            self.call(relay)

    async def remove(self) -> None:
        await self._listening.stopListening()
        for relay in self.relays:
            relay.transport.abortConnection()


@define(eq=False)
class Wires:
    """All wires of a cluster."""

    wires: list[Wire]

    def cut(self, one_side: Sequence[Node], other_side: Sequence[Node]) -> None:
        """Cut all wires between two sides."""
        for wire in self.wires:
            ends = (wire.source, wire.target)
            wire.is_cut = any(node in one_side for node in ends) and any(node in other_side for node in ends)

    def heal(self) -> None:
        """Restore all wires."""
        for wire in self.wires:
            wire.heal()


@asynccontextmanager
async def wired(
    cluster: Cluster, count: int, *, delay_s: float = 0.0, **options: Any
) -> AsyncIterator[tuple[list[Node], Wires]]:
    """Start nodes that are connected only over wires, and wait until all are ready."""
    # These addresses are of this machine, but nothing listens at them.
    nodes = [cluster.node(advertise=f"127.0.9.{number}", **options) for number in range(1, count + 1)]
    wires = [Wire(source, target, cluster.ports.take(), delay_s) for source, target in permutations(nodes, 2)]
    try:
        for wire in wires:
            await wire.lay()
        for node in nodes:
            node.options["peers"] = ",".join(f"127.0.0.1:{wire.port}" for wire in wires if wire.source is node)
            node.start()
        for node in nodes:
            await node.ready()
        yield nodes, Wires(wires)
    finally:
        for wire in wires:
            await wire.remove()
