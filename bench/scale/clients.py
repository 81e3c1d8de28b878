"""The clients of a simulated cluster: they register, renew, deregister, and come and go."""

from __future__ import annotations

from collections.abc import Sequence

from bench.nodes import id_of, instance
from bench.scale.cluster import INTERVAL_S, TIMING, Cluster, Spreading
from bender.core.model import RegistrationRequest
from bender.core.registration_update import RegistrationUpdate
from bender.core.ttl_limits import TTL_INTERVALS_MIN

RENEW_EVERY_S = 3.0

#: About the time of the first registration; only its length matters.
REGISTERED_MS = 1_795_447_942_248

#: Instances that come and go: the number in a second, and how long each stays. Each leaves an end that is kept for a
#: while; the shortest possible ttl keeps that short.
COMING_PER_S = 20
STAY_S = 15.0
COMING_TTL_S = TTL_INTERVALS_MIN * INTERVAL_S
END_KEPT_S = COMING_TTL_S + TIMING.end_kept_s


class Instance:
    """A client that registers and renews: at one node or, if `rotating`, at the next one every time."""

    def __init__(self, number: int, node: int, *, rotating: bool = False) -> None:
        self.number = number
        self.key = id_of(number)
        self.node = node
        self.rotating = rotating
        self.over = False


class Clients:
    """All clients that register."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._numbers = 0
        self._coming = False

    def register(
        self, node: int, *, rotating: bool = False, watched: bool = True, ttl_s: float = TIMING.ttl_s
    ) -> Instance:
        """Register a new instance. If `watched`, measure the time until the last of the other nodes lists it."""
        cluster = self._cluster
        new = Instance(self._numbers, node % len(cluster.nodes), rotating=rotating)
        self._numbers += 1
        at = cluster.nodes[new.node]
        cluster.alive.add(new.key)
        if watched:
            cluster.spreading[new.key] = Spreading(at, cluster.now, len(cluster.up) - 1)
        terms = RegistrationUpdate(body(new.number, at.identity.name, ttl_s), ttl_s)
        at.replica.register(at.clock(cluster.now), new.key, lambda *_: terms)
        cluster.drain(at)
        cluster.after(RENEW_EVERY_S, self._renew, new)
        return new

    def _renew(self, known: Instance) -> None:
        cluster = self._cluster
        if known.over:
            return
        while known.rotating or not cluster.nodes[known.node].up:
            known.node = (known.node + 1) % len(cluster.nodes)
            if cluster.nodes[known.node].up:
                break
        node = cluster.nodes[known.node]
        if node.replica.renew(node.clock(cluster.now), known.key) is None:
            raise SystemExit(f"{len(cluster.nodes)} nodes: {node.identity.name} refuses to renew {known.key}.")
        cluster.drain(node)
        cluster.after(RENEW_EVERY_S, self._renew, known)

    def deregister(self, known: Instance) -> None:
        cluster, node = self._cluster, self._cluster.nodes[known.node]
        known.over = True
        cluster.alive.discard(known.key)
        if not node.replica.deregister(node.clock(cluster.now), known.key):
            raise SystemExit(f"{node.identity.name} refuses to deregister {known.key}.")
        cluster.drain(node)

    def register_many(self, count: int, nodes: Sequence[int]) -> None:
        """Register several instances at once."""
        for i in range(count):
            self.register(nodes[i * len(nodes) // count], watched=False)

    def register_over(self, duration_s: float, count: int, nodes: Sequence[int], *, watched: bool) -> None:
        """Register several instances, spread over a duration, at `nodes` in turn."""
        for i in range(count):
            self._cluster.after(duration_s * i / count, self._register_later, nodes[i % len(nodes)], watched)

    def _register_later(self, node: int, watched: bool) -> None:
        self.register(node, watched=watched)

    def rotate(self, count: int) -> list[Instance]:
        """Register rotating instances, evenly over the time between two renewals."""
        rotating: list[Instance] = []
        for i in range(count):
            later = RENEW_EVERY_S * i / count
            self._cluster.after(later, lambda i=i: rotating.append(self.register(i, rotating=True, watched=False)))
        return rotating

    def come_and_go(self) -> None:
        """Start the coming and going of instances, in the state that it has after a long time."""
        self._coming = True
        random = self._cluster.random
        for _ in range(int(COMING_PER_S * STAY_S)):
            new = self.register(random.randrange(len(self._cluster.nodes)), watched=False, ttl_s=COMING_TTL_S)
            self._cluster.after(random.uniform(0, STAY_S), self._go, new)
        self._come()

    def stay(self) -> None:
        """Stop the coming and going of instances."""
        self._coming = False

    def _come(self) -> None:
        if self._coming:
            new = self.register(self._cluster.random.randrange(len(self._cluster.nodes)), ttl_s=COMING_TTL_S)
            self._cluster.after(STAY_S, self._go, new)
            self._cluster.after(1 / COMING_PER_S, self._come)

    def _go(self, known: Instance) -> None:
        if self._coming:
            self.deregister(known)


def body(number: int, node: str, ttl_s: float = TIMING.ttl_s) -> bytes:
    """Return the terms of an instance, as the node where it registers encodes them."""
    app, version, host, port = instance(number)
    wanted = RegistrationRequest(app, version, host, port, meta={"zone": "a"})
    terms = wanted.applied_to(None, ttl_s=ttl_s, node=node, now_ms=REGISTERED_MS + number)
    return terms.encode(wanted.key)
