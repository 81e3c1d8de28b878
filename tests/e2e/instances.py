"""Instances as careful clients would keep them registered: they renew, and turn to the next node where one fails.

The promises hold for who renews in time. So an instance takes down when each renewal was sent and accepted, and a test
that loses one can tell whether its client kept its side.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import treq
from attrs import define, field, frozen
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.web.client import HTTPConnectionPool, ResponseFailed

from tests.e2e.nodes import Node, pause

#: Short, to be quick; and yet a busy machine's pauses stay well below 1.5 intervals.
INTERVAL_S = 0.25
TTL_S = 2.5

#: How often a careful client renews, and how long it waits for an answer before it turns to another node.
EVERY_S = 0.4 * TTL_S
TIMEOUT_S = 0.2 * TTL_S

#: Between two tries where no node answers at all.
AGAIN_S = 0.05

#: What a node that dies, stands still or is not there does to a request.
FAILURES = (ConnectError, ConnectionClosed, ResponseFailed, CancelledError, TimeoutError)


@frozen
class Renewal:
    """One that a node accepted."""

    sent_at_s: float
    accepted_at_s: float
    node: str


@define(eq=False)
class Instance:
    """Registered at one of `nodes`, the first at first, and renewed every `every_s` until it is stopped.

    It stays with a node for as long as that answers in time, or with `rotates` goes on to the next with each renewal.
    """

    id: str
    nodes: Sequence[Node]
    pool: HTTPConnectionPool
    every_s: float = EVERY_S
    rotates: bool = False
    renewals: list[Renewal] = field(factory=list)
    _at: int = 0
    _running: Deferred[None] | None = None
    _stopped: bool = False

    async def start(self) -> None:
        """Register, and keep registered from then on."""
        await self.renew()
        self._running = Deferred.fromCoroutine(self._run())

    async def stop(self) -> Renewal:
        """Renew no more, after a last time now."""
        await self.die()
        self._stopped = False
        await self.renew()
        return self.renewals[-1]

    async def die(self) -> None:
        """Renew no more."""
        self._stopped = True
        if self._running is not None:
            self._running.cancel()
            await self._running
            self._running = None

    async def renew(self) -> None:
        """Renew once, at whichever node accepts it first."""
        while not await self._renew_at(self.nodes[self._at % len(self.nodes)]):
            self._at += 1
            if self._at % len(self.nodes) == 0:
                await pause(AGAIN_S)
        self._at += self.rotates

    @property
    def path(self) -> str:
        return f"/{self.id.replace('registration', 'registrations', 1)}"

    def gap_s_max(self) -> float:
        """The longest that the nodes may have had to wait for a renewal."""
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
        sent_at_s = time.monotonic()
        try:
            response = await treq.post(node.api_url + self.path, pool=self.pool, timeout=TIMEOUT_S, reactor=reactor)
            await response.content()
        except FAILURES:
            if self._stopped:
                raise CancelledError from None
            return False
        if response.code != 200:
            return False
        self.renewals.append(Renewal(sent_at_s, time.monotonic(), node.name))
        return True


@define
class Crowd:
    """Instances that share their connections; all are stopped when the test ends."""

    nodes: Sequence[Node]
    pool: HTTPConnectionPool
    instances: list[Instance] = field(factory=list)

    async def add(
        self, name: str, *, first: int = 0, nodes: Sequence[Node] = (), every_s: float = EVERY_S, rotates: bool = False
    ) -> Instance:
        """Start one more instance, at the node with number `first`; with `nodes` it knows only those."""
        known = [*(nodes or self.nodes)]
        port = 1 + len(self.instances)
        instance = Instance(
            f"registration/{name}/1.0/10.0.0.1/{port}", known[first:] + known[:first], self.pool, every_s, rotates
        )
        self.instances.append(instance)
        await instance.start()
        return instance

    @property
    def ids(self) -> set[str]:
        return {instance.id for instance in self.instances}

    def assert_kept_their_side(self) -> None:
        """Each of them got a renewal in within every ttl, or the test says nothing about the nodes."""
        late = {i.id: i.gap_s_max() for i in self.instances if i.gap_s_max() >= TTL_S}
        assert not late, f"these clients did not renew in time, the machine may be overloaded: {late}"


@asynccontextmanager
async def crowd(nodes: Sequence[Node]) -> AsyncIterator[Crowd]:
    """Instances that live as long as this context."""
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = 20
    crowd = Crowd(nodes, pool)
    try:
        yield crowd
    finally:
        for instance in crowd.instances:
            await instance.die()
        await pool.closeCachedConnections()
