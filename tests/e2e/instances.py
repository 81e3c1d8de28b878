"""Instances that careful clients keep registered: they renew, and use the next node if one fails.

The promises hold for clients that renew in time. So an instance records when each renewal was sent and accepted, and a
test can check whether the client of a lost instance was in time.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

from attrs import define, field, frozen
from twisted.internet import defer, reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionLost
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from tests.e2e.nodes import PATIENCE_S, Node, pause

#: Short times, for quick tests; but pauses of a busy machine stay well below 1.5 intervals.
INTERVAL_S = 0.4
TTL_S = 6.0

#: The time between renewals of a careful client, and its time limit for a node.
EVERY_S = 0.4 * TTL_S
TIMEOUT_S = 0.2 * TTL_S

#: The pause between two attempts while no node answers.
AGAIN_S = 0.05

#: Errors of a request to a node that dies, is stopped or is not running.
FAILURES = (ConnectError, ConnectingCancelledError, ConnectionLost, defer.TimeoutError)

#: The beginning of a response: its status, and the length of its body.
HEAD = re.compile(rb"HTTP/1.1 (\d+) .*?\r\nContent-Length: (\d+)(?=\r\n).*?\r\n\r\n", re.DOTALL | re.IGNORECASE)


class Connection(Protocol):
    """A client's connection to a node, for one request at a time. Hundreds of them cost very little."""

    transport: Any

    def __init__(self) -> None:
        self.is_lost = False
        self._answered: Deferred[int] | None = None
        self._received = b""

    def request(self, method: str, path: str) -> Deferred[int]:
        """Send a request without a body; return the status of the answer."""
        self._answered = Deferred()
        self._received = b""
        self.transport.write(f"{method} {path} HTTP/1.1\r\nHost: bender\r\nContent-Length: 0\r\n\r\n".encode())
        return self._answered

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        head = HEAD.match(self._received)
        if head and len(self._received) == head.end() + int(head[2]) and self._answered is not None:
            answered, self._answered = self._answered, None
            answered.callback(int(head[1]))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_lost = True
        if self._answered is not None:
            answered, self._answered = self._answered, None
            answered.errback(ConnectionLost())


@frozen
class Renewal:
    """A renewal that a node accepted."""

    sent_at_s: float
    accepted_at_s: float
    node: str


@define(eq=False)
class Instance:
    """An instance, registered at the first of `nodes`, and renewed every `every_s` until it is stopped.

    Its client stays with a node that answers in time; with `rotates`, each renewal goes to the next node. `method` is
    PUT, for which the node must know the instance, or POST, as for a registration. `forgotten` are the nodes that
    answered 404.
    """

    id: str
    nodes: Sequence[Node]
    every_s: float = EVERY_S
    rotates: bool = False
    method: str = "POST"
    renewals: list[Renewal] = field(factory=list)
    forgotten: list[str] = field(factory=list)
    _connections: dict[str, Connection] = field(factory=dict)
    _at: int = 0
    _running: Deferred[None] | None = None
    _stopped: bool = False

    async def start(self) -> None:
        """Register the instance, and renew it from now on."""
        await self.renew()
        self._running = Deferred.fromCoroutine(self._run())

    async def stop(self) -> Renewal:
        """Renew once more now, and then stop renewing; return the last renewal."""
        await self.die()
        self._stopped = False
        await self.renew()
        return self.renewals[-1]

    async def die(self) -> None:
        """Stop renewing."""
        self._stopped = True
        if self._running is not None:
            self._running.cancel()
            await self._running
            self._running = None
        for connection in self._connections.values():
            connection.transport.abortConnection()

    async def renew(self) -> None:
        """Renew once, at the first node that accepts it. Raises `AssertionError` if no node does."""
        ends_at_s = time.monotonic() + PATIENCE_S
        while not await self._renew_at(self.nodes[self._at % len(self.nodes)]):
            self._at += 1
            assert time.monotonic() < ends_at_s, f"no node lets {self.id} renew"
            if self._at % len(self.nodes) == 0:
                await pause(AGAIN_S)
        self._at += self.rotates

    @property
    def path(self) -> str:
        return f"/{self.id.replace('registration', 'registrations', 1)}"

    def gap_s_max(self) -> float:
        """Return the longest time that the nodes may have waited for a renewal."""
        return max((after.accepted_at_s - before.sent_at_s for before, after in pairwise(self.renewals)), default=0.0)

    async def _run(self) -> None:
        due_at_s = self.renewals[-1].sent_at_s
        try:
            while True:
                due_at_s += self.every_s
                await pause(max(0.0, due_at_s - time.monotonic()))
                await self.renew()
        except CancelledError:
            return

    async def _renew_at(self, node: Node) -> bool:
        """Renew at this node; return True if the node accepts the renewal in time."""
        sent_at_s = time.monotonic()
        try:
            status = await Deferred.fromCoroutine(self._post(node)).addTimeout(TIMEOUT_S, reactor)
        except FAILURES:
            connection = self._connections.pop(node.name, None)
            if connection is not None:
                connection.transport.abortConnection()
            if self._stopped:
                raise CancelledError from None
            return False
        if status == 200:
            self.renewals.append(Renewal(sent_at_s, time.monotonic(), node.name))
        elif status == 404:
            self.forgotten.append(node.name)
        return status == 200

    async def _post(self, node: Node) -> int:
        connection = self._connections.get(node.name)
        if connection is None or connection.is_lost:
            endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", node.api_port)
            connection = self._connections[node.name] = await connectProtocol(endpoint, Connection())
        return await connection.request(self.method if self.renewals else "POST", self.path)


@define
class Crowd:
    """The instances of one test."""

    nodes: Sequence[Node]
    instances: list[Instance] = field(factory=list)

    async def add(
        self, name: str, *, first: int = 0, nodes: Sequence[Node] = (), every_s: float = EVERY_S, rotates: bool = False
    ) -> Instance:
        """Start an instance at the node with number `first` of `nodes`, which are by default all nodes."""
        known = [*(nodes or self.nodes)]
        port = 1 + len(self.instances)
        id_ = f"registration/{name}/1.0/10.0.0.1/{port}"
        method = "PUT" if port % 2 else "POST"
        instance = Instance(id_, known[first:] + known[:first], every_s, rotates, method)
        self.instances.append(instance)
        await instance.start()
        return instance

    @property
    def ids(self) -> set[str]:
        return {instance.id for instance in self.instances}

    def assert_kept_their_side(self, ttl_s: float = TTL_S) -> None:
        """Check that each instance renewed within every ttl; otherwise the test shows nothing about the nodes."""
        late = {i.id: i.gap_s_max() for i in self.instances if i.gap_s_max() >= ttl_s}
        assert not late, f"these clients did not renew in time, the machine may be overloaded: {late}"


@asynccontextmanager
async def crowd(nodes: Sequence[Node]) -> AsyncIterator[Crowd]:
    """Instances during this context, which every node must know when they renew there."""
    crowd = Crowd(nodes)
    try:
        yield crowd
    finally:
        for instance in crowd.instances:
            await instance.die()
    assert [(each.id, each.forgotten) for each in crowd.instances if each.forgotten] == []
