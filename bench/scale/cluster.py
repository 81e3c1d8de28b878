"""A simulated cluster: replicas, the network between them, and virtual time.

Each node is a replica as it runs in `bender.node.node`, and every message is encoded and decoded by
`bender.exchange.wire`. Rounds and sweeps come as in `bender.exchange.client` and `bender.daemon.sweeper`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from random import Random

from attrs import frozen

from bender.core.gossip_targets import partners
from bender.core.messages import Message, OutgoingMessage, Sender
from bender.core.replica import Replica
from bender.core.timing import Timing
from bender.core.view import ViewEvent
from bender.daemon.sweeper import SWEEPS_PER_INTERVAL
from bender.exchange.client import JITTER
from bender.exchange.wire import Wire
from tests.simulation.virtual_time import VirtualTime

TIMING = Timing()
INTERVAL_S = TIMING.interval_s
SWEEP_S = INTERVAL_S / SWEEPS_PER_INTERVAL

#: Transit time, one way. There is no loss.
TRANSIT_S = (0.0002, 0.002)

#: Bytes of HTTP before the bodies of a request and of its answer: as treq and Twisted write them for a round and its
#: second request, and as `bender.exchange.push` does for a push. Counted on a connection between two nodes.
ROUND_HEADS = (94, 139)
PUSH_HEADS = (105, 75)

#: The number of nodes that all know at the start, as with `--peers`; they learn of the rest.
SEEDS = 3

#: Between two looks at whether something has come about, and at the ages of heartbeats.
LOOK_S = 0.01

#: A message under way does not age, so the last heartbeat of a dead node may seem younger by this.
UNDER_WAY_S = 0.05

#: The bound on the time until all that died with a node is offline.
OFFLINE_S_MAX = TIMING.ttl_s + TIMING.silent_s + UNDER_WAY_S + SWEEP_S


#: Time limit for any condition: twice the longest.
PATIENCE_S = 2 * OFFLINE_S_MAX


class Node:
    """A replica, its wire format, and the bytes that it sent and received."""

    def __init__(self, number: int, random: Random) -> None:
        self.identity = sender(number, random)
        self.wire = Wire("bender", INTERVAL_S)
        self.up = True
        self.sent_bytes = 0
        self.received_bytes = 0
        self._encoded: tuple[Message, bytes] | None = None
        self._offset_s = random.uniform(0, 1e6)
        seeds = [_address(other) for other in range(SEEDS)]
        self.replica = Replica(self.identity, TIMING, self.clock(0.0), seeds)
        for seed in seeds:
            self.replica.set_seed_addresses(seed, [seed])

    def clock(self, at: float) -> float:
        return self._offset_s + at

    def encode(self, message: Message) -> bytes:
        """Return a request's body. A message to several nodes is encoded once, as by `bender.exchange.client`."""
        if self._encoded is None or self._encoded[0] is not message:
            self._encoded = (message, self.wire.encode(message))
        return self._encoded[1]


class Spreading:
    """A registration that `missing` other nodes do not list yet."""

    def __init__(self, node: Node, at: float, missing: int) -> None:
        self.node = node
        self.at = at
        self.missing = missing


@frozen(eq=False)
class Exchange:
    """A request that was sent and not yet answered: its sender, and when it was sent."""

    node: Node
    request: OutgoingMessage
    sent_at: float

    @property
    def heads_bytes(self) -> tuple[int, int]:
        return PUSH_HEADS if self.request.push else ROUND_HEADS

    @property
    def kind(self) -> str:
        if self.request.push:
            return "push"
        return "second request" if self.request.message.heads is None else "round"


class Cluster(VirtualTime):
    """Nodes and the network between them.

    `alive` are the keys that must be listed everywhere; `doomed` those that die with their node, each with the time of
    its last `offline` event and the number of nodes that had one.
    """

    def __init__(self, size: int, seed: int) -> None:
        super().__init__()
        self.random = Random(seed)  # noqa: S311 - the same seed has to give the same run
        self.nodes = [Node(number, self.random) for number in range(size)]
        self.alive: set[str] = set()
        self.doomed: dict[str, tuple[float, int]] = {}
        self.spreading: dict[str, Spreading] = {}
        self.spread_s: list[float] = []
        self.requests: Counter[str] = Counter()
        self.body_bytes_max: dict[str, int] = {}
        self._side: frozenset[str] = frozenset()
        self._by_address = {node.identity.address: node for node in self.nodes}
        for node in self.nodes:
            start_at = self.random.uniform(0, INTERVAL_S)
            self.at(start_at, self._round, node)
            self.at(start_at + INTERVAL_S, self._tick, node)
            self.at(start_at, self._sweep, node)

    @property
    def up(self) -> list[Node]:
        return [node for node in self.nodes if node.up]

    # Time.

    def run_for(self, duration_s: float) -> None:
        self.advance(self.now + duration_s)

    def wait_until(self, what: str, there: Callable[[], bool]) -> float:
        """Run until a condition is true, checked every `LOOK_S`; return the time until then."""
        began = self.now
        while not there():
            if self.now - began > PATIENCE_S:
                raise SystemExit(f"{len(self.nodes)} nodes: after {PATIENCE_S:g} s it is still not true that {what}.")
            self.run_for(LOOK_S)
        return self.now - began

    # Periodic work of nodes.

    def _tick(self, node: Node) -> None:
        if node.up:
            self.after(INTERVAL_S, self._tick, node)
            self.after(self.random.random() * JITTER * INTERVAL_S, self._round, node)

    def _round(self, node: Node) -> None:
        if node.up:
            node.replica.start_round(node.clock(self.now), partners(node.replica.addresses(), self.random.random))
            self.drain(node)

    def _sweep(self, node: Node) -> None:
        if not node.up:
            return
        while node.replica.sweep(node.clock(self.now)):
            self.drain(node)
        self.drain(node)
        self.after(SWEEP_S, self._sweep, node)

    def drain(self, node: Node) -> None:
        """Process the events and send the requests of a replica."""
        for event in node.replica.take_events():
            self._note(node, event)
        for request in node.replica.take_requests():
            self._send(Exchange(node, request, self.now))

    def _note(self, node: Node, event: ViewEvent) -> None:
        if event.change == "offline" and event.key in self.alive:
            raise SystemExit(
                f"{len(self.nodes)} nodes: {node.identity.name} reports {event.key} as offline "
                f"({event.reason}), but it is alive."
            )
        if event.change == "offline" and event.key in self.doomed:
            self.doomed[event.key] = (self.now, self.doomed[event.key][1] + 1)
        spreading = self.spreading.get(event.key)
        if event.change == "online" and spreading is not None and spreading.node is not node:
            spreading.missing -= 1
            if not spreading.missing:
                self.spread_s.append(self.now - spreading.at)
                del self.spreading[event.key]

    # The network.

    def cut(self, side: Iterable[Node]) -> None:
        """Cut the network between these nodes and the others; an empty set heals it."""
        self._side = frozenset(node.identity.address for node in side)

    def _reaches(self, node: Node, other: Node) -> bool:
        same_side = (node.identity.address in self._side) == (other.identity.address in self._side)
        return other.up and same_side

    def _send(self, exchange: Exchange) -> None:
        body = exchange.node.encode(exchange.request.message)
        self._count(exchange.kind, body)
        self.requests[exchange.kind] += 1
        exchange.node.sent_bytes += len(body) + exchange.heads_bytes[0]
        self.after(self.random.uniform(*TRANSIT_S), self._arrive, exchange, body)

    def _arrive(self, exchange: Exchange, body: bytes) -> None:
        node, other = exchange.node, self._by_address[exchange.request.address]
        if not self._reaches(node, other):
            self.at(exchange.sent_at + INTERVAL_S, self._fail, exchange)
            return
        other.received_bytes += len(body) + exchange.heads_bytes[0]
        answer = other.replica.receive(other.clock(self.now), other.wire.decode(body).message)
        content = other.wire.encode(answer)
        self._count(f"answer to a {exchange.kind}", content)
        other.sent_bytes += len(content) + exchange.heads_bytes[1]
        self.drain(other)
        self.after(self.random.uniform(*TRANSIT_S), self._return, exchange, other, content)

    def _return(self, exchange: Exchange, other: Node, content: bytes) -> None:
        node = exchange.node
        if not node.up:
            return
        if not self._reaches(other, node):
            self.at(exchange.sent_at + INTERVAL_S, self._fail, exchange)
            return
        node.received_bytes += len(content) + exchange.heads_bytes[1]
        node.replica.receive_answer(node.clock(self.now), exchange.request, node.wire.decode(content).message)
        self.drain(node)

    def _fail(self, exchange: Exchange) -> None:
        if exchange.node.up:
            exchange.node.replica.note_failure(exchange.node.clock(self.now), exchange.request)
            self.drain(exchange.node)

    def _count(self, what: str, body: bytes) -> None:
        self.body_bytes_max[what] = max(len(body), self.body_bytes_max.get(what, 0))

    # Observations.

    def oldest_heartbeat_s(self) -> float:
        """Return the largest age of the last heartbeat of any node at any other."""
        return max(node.clock(self.now) - peer.heard_at for node in self.up for peer in node.replica.peers)

    def agrees(self) -> bool:
        first, *others = self.up
        digest = first.replica.digest()
        return all(node.replica.digest() == digest for node in others)

    def require_lists(self, when: str) -> None:
        """Check that every node lists the instances that are alive, and no others."""
        where = f"{len(self.nodes)} nodes, {when}:"
        if self.spreading:
            raise SystemExit(f"{where} {len(self.spreading)} registrations are not listed everywhere.")
        for node in self.up:
            listed = {*node.replica.view.listed_keys()}
            if listed != self.alive:
                name = node.identity.name
                raise SystemExit(
                    f"{where} {name} lists {len(listed)} registrations, {len(listed - self.alive)} wrongly, and "
                    f"lacks {len(self.alive - listed)}."
                )


def sender(number: int, random: Random) -> Sender:
    return Sender(random.getrandbits(64), f"node-{number:03}", _address(number))


def _address(number: int) -> str:
    return f"10.0.{number >> 8}.{number & 255}:1730"
