"""What a node costs in clusters of 5, 20 and 100, and how soon they agree: simulated, in this one process.

Each node is a replica as it runs in `bender.node.node`, and every message is encoded and decoded by
`bender.exchange.wire`, so bytes are those that a network would carry; the heads of HTTP are added, TCP's own bytes are
not. Time is virtual: a message takes 0.2 to 2 ms and work takes none, so times to converge are those of idle machines.
Rounds and sweeps come as in `bender.exchange.client` and `bender.daemon.sweeper`. Processor time is that of replicas
and messages at both ends, with this simulation's share (a few percent) and without that of HTTP; where others use the
machine, it is rough.

The same cluster goes through all of it, as in `phases`. What is listed is checked after each of them, and whatever
goes offline that is alive ends the measurement.

The last table has two real replicas that were told of as many nodes as it says, and what a round and a push between
them take. That shows what grows with the number of nodes, also where a whole cluster would take too long. What follows
for each node is the number of rounds that it begins, times their cost, and its sweeps.
"""

from __future__ import annotations

import gc
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from itertools import groupby, pairwise
from random import Random
from statistics import mean, median
from typing import Any

from attrs import frozen

from bench.figures import Target, arguments, print_table, say, spread, write
from bench.nodes import id_of, instance
from bender.core.claims import RegistrationUpdate
from bender.core.ledger import Claim, Delta, Head
from bender.core.links import partners
from bender.core.messages import Counter, Message, OutgoingMessage, Sender
from bender.core.model import RegistrationRequest
from bender.core.replica import Replica
from bender.core.timing import TTL_INTERVALS_MIN, Timing
from bender.core.view import ViewEvent
from bender.daemon.sweeper import SWEEPS_PER_INTERVAL
from bender.exchange.client import JITTER
from bender.exchange.wire import Wire

SIZES = (5, 20, 100)

TIMING = Timing()
INTERVAL_S = TIMING.interval_s
SWEEP_S = INTERVAL_S / SWEEPS_PER_INTERVAL

#: One way, also of what is not answered; there is no loss.
TRANSIT_S = (0.0002, 0.002)

#: Bytes of HTTP before the bodies of a request and of its answer: as treq and Twisted write them for a round and what
#: follows it, and as `bender.exchange.push` does for a push. Counted on a connection between two nodes.
ROUND_HEADS = (94, 139)
PUSH_HEADS = (105, 75)

#: Of so many nodes all others are told, as with `--peers`; they learn of the rest.
SEEDS = 3

#: After everybody is ready, until the steady state.
SETTLE_S = 2 * INTERVAL_S

RENEW_EVERY_S = 3.0

STICKY = 1000
STICKING = f"{STICKY:,} sticky"

#: About the time of the first registration; only its length matters.
REGISTERED_MS = 1_795_447_942_248

#: Those that come and go: so many in a second, which stay for so long. An end is kept of each, and its going is the
#: third change that it makes. The shortest ttl there can be makes that soon.
COMING_PER_S = 20
STAY_S = 15.0
COMING_TTL_S = TTL_INTERVALS_MIN * INTERVAL_S
END_KEPT_S = COMING_TTL_S + TIMING.end_kept_s

#: Clients that renew at another node every time. What each of them costs grows with the square of the number of nodes,
#: so there are fewer where these are more than `ROTATING_NODES_MAX`.
ROTATING = 1000
ROTATING_IN_LARGE = 20
ROTATING_NODES_MAX = 20

CUT_S = 5.0
MADE_ON_EACH_SIDE = 50
MADE_AFTER = 100

#: What ends together with its node.
DOOMED = 100

#: Between two looks at whether something has come about, and at the ages of heartbeats.
LOOK_S = 0.01
AGES_S = 0.05

#: What is under way does not age, so the last heartbeat of who dies may seem that much younger.
UNDER_WAY_S = 0.05

#: What P1 and P6 promise: two rounds, each of which may be late, and `heard_at + ttl + 3·I`, which a sweep finds.
HEAL_S_MAX = 2 * (1 + JITTER) * INTERVAL_S
SILENT_S_MAX = TIMING.silent_s + UNDER_WAY_S
OFFLINE_S_MAX = TIMING.ttl_s + TIMING.silent_s + UNDER_WAY_S + SWEEP_S
AGE_INTERVALS_MAX = 3.0

#: Twice that is long enough for anything to come about.
PATIENCE_S = 2 * OFFLINE_S_MAX

#: Nodes of which two real ones are told, and how often it is measured what those two say to each other.
TOLD_OF = (20, 100, 1000)
EXCHANGES = 10


class Node:
    """A replica, its language, and the bytes that passed."""

    def __init__(self, number: int, random: Random) -> None:
        self.identity = _sender(number, random)
        self.wire = Wire("bender", INTERVAL_S)
        self.up = True
        self.sent_bytes = 0
        self.received_bytes = 0
        self._encoded: tuple[Message, bytes] | None = None
        self._offset_s = random.uniform(0, 1e6)
        seeds = [_address(other) for other in range(SEEDS)]
        self.replica = Replica(self.identity, TIMING, self.clock(0.0), seeds)
        for seed in seeds:
            self.replica.located(seed, [seed])

    def clock(self, at: float) -> float:
        return self._offset_s + at

    def encode(self, message: Message) -> bytes:
        """A request's body. What goes to several in a row is encoded once, as by `bender.exchange.client`."""
        if self._encoded is None or self._encoded[0] is not message:
            self._encoded = (message, self.wire.encode(message))
        return self._encoded[1]


class Instance:
    """A client that registers and renews: at one node, or at the next one every time."""

    def __init__(self, number: int, node: int, *, rotating: bool = False) -> None:
        self.number = number
        self.key = id_of(number)
        self.node = node
        self.rotating = rotating
        self.over = False


class Spreading:
    """A registration on its way to the others."""

    def __init__(self, node: Node, at: float, missing: int) -> None:
        self.node = node
        self.at = at
        self.missing = missing


@frozen(eq=False)
class Exchange:
    """A request under way, from whom and since when."""

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


class Cluster:
    """Nodes, the network between them, and everything that will happen.

    `alive` are the keys that must be listed everywhere, `doomed` those that are to go with their node, each with the
    time of its last `offline` and how many nodes have told it.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 - the same seed has to give the same run
        self.now = 0.0
        self.nodes = [Node(number, self.random) for number in range(size)]
        self.alive: set[str] = set()
        self.doomed: dict[str, tuple[float, int]] = {}
        self.spreading: dict[str, Spreading] = {}
        self.spread_s: list[float] = []
        self.requests: Tally[str] = Tally()
        self.body_bytes_max: dict[str, int] = {}
        self._side: frozenset[str] = frozenset()
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0
        self._by_address = {node.identity.address: node for node in self.nodes}
        for node in self.nodes:
            start_at = self.random.uniform(0, INTERVAL_S)
            self._at(start_at, self._round, node)
            self._at(start_at + INTERVAL_S, self._tick, node)
            self._at(start_at, self._sweep, node)

    @property
    def up(self) -> list[Node]:
        return [node for node in self.nodes if node.up]

    # Time.

    def _at(self, at: float, call: Callable[..., None], *arguments: Any) -> None:
        self._sequence += 1
        heappush(self._heap, (at, self._sequence, call, arguments))

    def after(self, delay_s: float, call: Callable[..., None], *arguments: Any) -> None:
        self._at(self.now + delay_s, call, *arguments)

    def run_for(self, duration_s: float) -> None:
        until = self.now + duration_s
        while self._heap[0][0] <= until:
            self.now, _, call, arguments = heappop(self._heap)
            call(*arguments)
        self.now = until

    def wait_until(self, what: str, there: Callable[[], bool]) -> float:
        """How long that takes, which is looked at every `LOOK_S`."""
        began = self.now
        while not there():
            if self.now - began > PATIENCE_S:
                raise SystemExit(f"With {len(self.nodes)} nodes it is not so after {PATIENCE_S:g} s that {what}.")
            self.run_for(LOOK_S)
        return self.now - began

    # What nodes do by themselves.

    def _tick(self, node: Node) -> None:
        if node.up:
            self.after(INTERVAL_S, self._tick, node)
            self.after(self.random.random() * JITTER * INTERVAL_S, self._round, node)

    def _round(self, node: Node) -> None:
        if node.up:
            node.replica.round(node.clock(self.now), partners(node.replica.addresses(), self.random.random))
            self.drain(node)

    def _sweep(self, node: Node) -> None:
        if not node.up:
            return
        while node.replica.sweep(node.clock(self.now)):
            self.drain(node)
        self.drain(node)
        self.after(SWEEP_S, self._sweep, node)

    def drain(self, node: Node) -> None:
        """Carry away what a replica has made."""
        for event in node.replica.take_events():
            self._note(node, event)
        for request in node.replica.take_requests():
            self._send(Exchange(node, request, self.now))

    def _note(self, node: Node, event: ViewEvent) -> None:
        if event.what == "offline" and event.key in self.alive:
            raise SystemExit(
                f"With {len(self.nodes)} nodes, {node.identity.name} says that {event.key} is offline "
                f"({event.reason}), which is alive."
            )
        if event.what == "offline" and event.key in self.doomed:
            self.doomed[event.key] = (self.now, self.doomed[event.key][1] + 1)
        spreading = self.spreading.get(event.key)
        if event.what == "online" and spreading is not None and spreading.node is not node:
            spreading.missing -= 1
            if not spreading.missing:
                self.spread_s.append(self.now - spreading.at)
                del self.spreading[event.key]

    # The network.

    def cut(self, side: Iterable[Node]) -> None:
        """From now on nothing passes between these nodes and the others; between nobody and all, everything does."""
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
            self._at(exchange.sent_at + INTERVAL_S, self._fail, exchange)
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
            self._at(exchange.sent_at + INTERVAL_S, self._fail, exchange)
            return
        node.received_bytes += len(content) + exchange.heads_bytes[1]
        node.replica.answered(node.clock(self.now), exchange.request, node.wire.decode(content).message)
        self.drain(node)

    def _fail(self, exchange: Exchange) -> None:
        if exchange.node.up:
            exchange.node.replica.failed(exchange.node.clock(self.now), exchange.request)
            self.drain(exchange.node)

    def _count(self, what: str, body: bytes) -> None:
        self.body_bytes_max[what] = max(len(body), self.body_bytes_max.get(what, 0))

    # What can be seen from outside.

    def oldest_heartbeat_s(self) -> float:
        """The largest age, at this moment, of what anybody has heard of anybody."""
        return max(node.clock(self.now) - contact.heard_at for node in self.up for contact in node.replica.contacts)

    def agrees(self) -> bool:
        first, *others = self.up
        digest = first.replica.digest()
        return all(node.replica.digest() == digest for node in others)

    def require_lists(self, when: str) -> None:
        """Everybody lists what is alive, and nothing else."""
        where = f"With {len(self.nodes)} nodes, {when},"
        if self.spreading:
            raise SystemExit(f"{where} {len(self.spreading)} registrations are not listed everywhere.")
        for node in self.up:
            listed = {*node.replica.view.shown()}
            if listed != self.alive:
                name = node.identity.name
                raise SystemExit(
                    f"{where} {name} lists {len(listed)} registrations, of which {len(listed - self.alive)} should not "
                    f"be there, and {len(self.alive - listed)} are missing."
                )


class Clients:
    """Everybody who registers."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._numbers = 0
        self._coming = False

    def register(
        self, node: int, *, rotating: bool = False, watched: bool = True, ttl_s: float = TIMING.ttl_s
    ) -> Instance:
        """A new instance; if it is watched, the time until the last of the others lists it is taken."""
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
            raise SystemExit(
                f"With {len(cluster.nodes)} nodes, {node.identity.name} does not know {known.key}, which renews there."
            )
        cluster.drain(node)
        cluster.after(RENEW_EVERY_S, self._renew, known)

    def deregister(self, known: Instance) -> None:
        cluster, node = self._cluster, self._cluster.nodes[known.node]
        known.over = True
        cluster.alive.discard(known.key)
        if not node.replica.deregister(node.clock(cluster.now), known.key):
            raise SystemExit(f"{node.identity.name} does not know {known.key}, which deregisters there.")
        cluster.drain(node)

    def register_many(self, count: int, nodes: Sequence[int]) -> None:
        """All at once."""
        for i in range(count):
            self.register(nodes[i * len(nodes) // count], watched=False)

    def register_over(self, duration_s: float, count: int, nodes: Sequence[int], *, watched: bool) -> None:
        """Each at a moment of its own, at one of `nodes`."""
        for i in range(count):
            self._cluster.after(duration_s * i / count, self._register_later, nodes[i % len(nodes)], watched)

    def _register_later(self, node: int, watched: bool) -> None:
        self.register(node, watched=watched)

    def rotate(self, count: int) -> list[Instance]:
        """Begin with instances that rotate, evenly over the time between two renewals."""
        rotating: list[Instance] = []
        for i in range(count):
            later = RENEW_EVERY_S * i / count
            self._cluster.after(later, lambda i=i: rotating.append(self.register(i, rotating=True, watched=False)))
        return rotating

    def come_and_go(self) -> None:
        """Begin with what comes and goes, as if it had done so for long."""
        self._coming = True
        random = self._cluster.random
        for _ in range(int(COMING_PER_S * STAY_S)):
            new = self.register(random.randrange(len(self._cluster.nodes)), watched=False, ttl_s=COMING_TTL_S)
            self._cluster.after(random.uniform(0, STAY_S), self._go, new)
        self._come()

    def stay(self) -> None:
        """From now on nobody comes, and nobody goes."""
        self._coming = False

    def _come(self) -> None:
        if self._coming:
            new = self.register(self._cluster.random.randrange(len(self._cluster.nodes)), ttl_s=COMING_TTL_S)
            self._cluster.after(STAY_S, self._go, new)
            self._cluster.after(1 / COMING_PER_S, self._come)

    def _go(self, known: Instance) -> None:
        if self._coming:
            self.deregister(known)


@frozen
class Cost:
    """Of the mean node in a second, but for the busiest's bytes, sent and received; and the oldest heartbeat."""

    requests_per_s: float
    pushes_per_s: float
    sent_bytes_per_s: float
    received_bytes_per_s: float
    busiest_bytes_per_s: float
    cpu_ms_per_s: float
    oldest_heartbeat_intervals: float


@frozen
class Start:
    """Of the mean node, from the start of all within an interval until the last of them was ready."""

    ready_s: float
    requests: float
    sent_bytes: float
    cpu_ms: float


@frozen
class Run:
    """One cluster's life. Times of spreading are until the last other node lists a registration."""

    nodes: int
    seed: int
    start: Start
    costs: dict[str, Cost]
    spread_ms: list[float]
    spread_after_heal_ms: list[float]
    agreed_s: float
    silent_s: float
    offline_s: float
    body_bytes_max: dict[str, int]

    @property
    def oldest_heartbeat_intervals(self) -> float:
        return max(cost.oldest_heartbeat_intervals for cost in self.costs.values())


def observe(cluster: Cluster, seconds: float) -> Cost:
    """Let a cluster go on for that long. The time that looking at heartbeats takes is not counted."""
    nodes = cluster.up
    before = [(node.sent_bytes, node.received_bytes) for node in nodes]
    requests = Tally(cluster.requests)
    oldest_s = cpu_s = 0.0
    for _ in range(round(seconds / AGES_S)):
        began = time.process_time()
        cluster.run_for(AGES_S)
        cpu_s += time.process_time() - began
        oldest_s = max(oldest_s, cluster.oldest_heartbeat_s())
    requests = cluster.requests - requests
    passed = [(n.sent_bytes - sent, n.received_bytes - got) for n, (sent, got) in zip(nodes, before, strict=True)]
    each = len(nodes) * seconds
    return Cost(
        requests.total() / each,
        requests["push"] / each,
        sum(sent for sent, _ in passed) / each,
        sum(got for _, got in passed) / each,
        max(map(sum, passed)) / seconds,
        cpu_s * 1000 / each,
        oldest_s / INTERVAL_S,
    )


def start(cluster: Cluster) -> Start:
    """All at once, each of them told of the first few."""
    began, size = time.process_time(), len(cluster.nodes)
    cluster.run_for(INTERVAL_S)
    ready_s = cluster.now + cluster.wait_until(
        "everybody is ready", lambda: all(node.replica.ready for node in cluster.nodes)
    )
    started = Start(
        ready_s,
        cluster.requests.total() / size,
        sum(node.sent_bytes for node in cluster.nodes) / size,
        (time.process_time() - began) * 1000 / size,
    )
    cluster.run_for(SETTLE_S)
    for node in cluster.nodes:
        if len(node.replica.contacts) != size - 1:
            raise SystemExit(f"With {size} nodes, {node.identity.name} knows {len(node.replica.contacts)} others.")
    gc.unfreeze()
    gc.collect()
    gc.freeze()  # as a node does when it has started
    return started


def phases(size: int, seed: int, seconds: float, rotating: int) -> Run:
    """A cluster's life: nothing, sticky clients, rotating ones, comings and goings, a partition, a death."""
    cluster = Cluster(size, seed)
    clients = Clients(cluster)
    started = start(cluster)
    costs = {"nothing registered": observe(cluster, seconds)}
    clients.register_many(STICKY, range(size))
    cluster.run_for(SETTLE_S)
    costs[STICKING] = observe(cluster, seconds)
    cluster.require_lists("with sticky clients")
    if rotating:
        costs[f"{rotating:,} rotating"] = rotate(cluster, clients, rotating, seconds)
    clients.come_and_go()
    cluster.run_for(END_KEPT_S + SWEEP_S)
    costs[f"{COMING_PER_S}/s come and go"] = observe(cluster, seconds)
    clients.stay()
    spread_ms = settled(cluster, "after comings and goings")
    agreed_s = heal(cluster, clients)
    clients.register_over(SETTLE_S, MADE_AFTER, range(size), watched=True)
    cluster.run_for(SETTLE_S)
    spread_after_heal_ms = settled(cluster, "after a partition")
    silent_s, offline_s = die(cluster, clients)
    largest = dict(sorted(cluster.body_bytes_max.items()))
    return Run(size, seed, started, costs, spread_ms, spread_after_heal_ms, agreed_s, silent_s, offline_s, largest)


def settled(cluster: Cluster, when: str) -> list[float]:
    """Wait and check what is listed; the times in ms that registrations took since this was last asked."""
    cluster.run_for(SETTLE_S)
    cluster.require_lists(when)
    spread_s, cluster.spread_s = cluster.spread_s, []
    return [each_s * 1000 for each_s in spread_s]


def heal(cluster: Cluster, clients: Clients) -> float:
    """How long it takes after a partition into halves until all are the same. Old ends go first, or it never is."""
    cluster.run_for(END_KEPT_S - SETTLE_S - CUT_S)
    sides = [*range(len(cluster.nodes))]
    cluster.random.shuffle(sides)
    middle = len(sides) // 2
    cluster.cut(cluster.nodes[i] for i in sides[:middle])
    for side in (sides[:middle], sides[middle:]):
        clients.register_over(CUT_S, MADE_ON_EACH_SIDE, side, watched=False)
    cluster.run_for(CUT_S)
    if cluster.agrees():
        raise SystemExit("There was a partition, and nobody has noticed.")
    cluster.cut(())
    agreed_s = cluster.wait_until("all digests are the same after a partition", cluster.agrees)
    cluster.require_lists("agreeing after a partition")
    return agreed_s


def rotate(cluster: Cluster, clients: Clients, count: int, seconds: float) -> Cost:
    """Clients that renew elsewhere each time: the cost once claims lapse, for nobody came back. Later they stick."""
    rotating = clients.rotate(count)
    cluster.run_for(RENEW_EVERY_S + TIMING.ttl_s)
    cost = observe(cluster, seconds)
    cluster.require_lists("with rotating clients")
    for each in rotating:
        each.rotating = False
    return cost


def die(cluster: Cluster, clients: Clients) -> tuple[float, float]:
    """A machine dies with all that runs on it: until all others say that it is silent, and list nothing of it.

    Other clients of the node go on elsewhere.
    """
    victim = cluster.random.randrange(SEEDS, len(cluster.nodes))
    doomed = [clients.register(victim, watched=False) for _ in range(DOOMED)]
    cluster.run_for(SETTLE_S + cluster.random.random() * INTERVAL_S)
    cluster.require_lists("before a death")
    died_at = cluster.now
    node = cluster.nodes[victim]
    node.up = False
    for each in doomed:
        each.over = True
        cluster.alive.discard(each.key)
        cluster.doomed[each.key] = (died_at, 0)

    def all_hold_it_silent() -> bool:
        contacts = [(each, each.replica.contacts.get(node.identity.incarnation)) for each in cluster.up]
        return all(
            contact is not None and each.replica.contacts.silent(contact, each.clock(cluster.now))
            for each, contact in contacts
        )

    silent_s = cluster.wait_until("everybody holds a dead node for silent", all_hold_it_silent)
    others = len(cluster.up)
    cluster.wait_until("nobody lists what died", lambda: all(told == others for _, told in cluster.doomed.values()))
    offline_s = max(at for at, _ in cluster.doomed.values()) - died_at
    cluster.require_lists("after a death")
    return silent_s, offline_s


# What grows with the number of nodes.


@frozen
class Pair:
    """Of two replicas that were told of `nodes`, all with something registered.

    Bytes are those of a request and its answer, with the heads of HTTP. Times are those of both ends of a round; of a
    sweep; of a change at the node where it happens, with the pushes to all and their answers; and where it is heard of.
    """

    nodes: int
    greeting_bytes: float
    round_bytes: float
    round_cpu_ms: float
    sweep_cpu_ms: float
    push_bytes: float
    change_cpu_ms: float
    heard_cpu_ms: float

    @property
    def rounds_per_s(self) -> float:
        """How many each node begins, as many as it answers."""
        return len(partners(["somebody"] * (self.nodes - 1), lambda: 0.0)) / INTERVAL_S

    @property
    def sent_bytes_per_s(self) -> float:
        """What a node sends where nothing changes."""
        return self.rounds_per_s * self.round_bytes

    @property
    def cpu_ms_per_s(self) -> float:
        """What it works then."""
        return self.rounds_per_s * self.round_cpu_ms + self.sweep_cpu_ms / SWEEP_S


class Acquainted:
    """Two replicas that know of as many nodes, each of which has a registration, and have found all of them."""

    def __init__(self, size: int, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - the same seed has to give the same bytes
        self._now = 0.0
        self._beats = 0
        self._registered = size
        self._senders = [_sender(number, self._random) for number in range(size)]
        self._by_address = {each.address: each for each in self._senders}
        self._wires = [Wire("bender", INTERVAL_S) for _ in range(2)]
        self._pair = [Replica(identity, TIMING, self._now) for identity in self._senders[:2]]
        self._hear([self._ledger(number) for number in range(2, size)])
        for node in self._pair:
            for other in self._senders:
                if other is not node.identity:
                    node.links.answered(other.address, other.incarnation)
            self._register(node)
            self._answer_all(node)
        self.round()  # what the one lacks of the other
        self.round()

    def _ledger(self, number: int) -> Delta:
        """All of a node that has one registration."""
        who = self._senders[number]
        claim = Claim(who.incarnation, 1, id_of(number), body(number, who.name), TIMING.ttl_s, 1, who.incarnation, 1)
        return Delta(who.incarnation, 0, 0, 1, 1, (claim,))

    def _register(self, node: Replica) -> None:
        self._registered += 1
        terms = RegistrationUpdate(body(self._registered, node.identity.name), TIMING.ttl_s)
        node.register(self._now, id_of(self._registered), lambda *_: terms)

    def pass_on(self) -> None:
        """A second passes, and the others' heartbeats go on."""
        self._now += 1.0
        self._hear(())

    def _hear(self, deltas: Sequence[Delta]) -> None:
        """One of the others tells both of all others."""
        self._beats += 1
        counters = [
            Counter(each.incarnation, each.name, each.address, self._beats, self._random.uniform(0, 1.5 * INTERVAL_S))
            for each in self._senders[2:]
        ]
        heads = {each.incarnation: Head(1, 1) for each in self._senders[2:]}
        for node in self._pair:
            node.receive(self._now, Message(self._senders[2], heads, tuple(counters), tuple(deltas)))
            self._answer_all(node)

    def _answer_all(self, node: Replica) -> None:
        """Whatever a replica asks is answered, by others who have nothing to say."""
        for request in node.take_requests():
            self._answer(node, request)

    def _answer(self, node: Replica, request: OutgoingMessage) -> None:
        heads = request.message.heads or {node.identity.incarnation: node.claims.ledger.head}
        node.answered(self._now, request, Message(self._by_address[request.address], heads))

    def round(self) -> tuple[int, float]:
        """The bytes of a round's request and answer, and the processor time of both ends."""
        node, other = self._pair
        began = time.process_time()
        node.round(self._now, [other.identity.address])
        size = sum(self._exchange(request) for request in node.take_requests())
        took_s = time.process_time() - began
        for each in self._pair:
            self._answer_all(each)
        return size, took_s

    def sweep(self) -> float:
        """The processor time of a sweep."""
        began = time.process_time()
        self._pair[0].sweep(self._now)
        return time.process_time() - began

    def push(self) -> tuple[int, float, float]:
        """The bytes of a push and its answer; the processor time of a change here, and of hearing of it."""
        node, other = self._pair
        began = time.process_time()
        self._register(node)
        pushes = {request.address: request for request in node.take_requests()}
        for _, same in groupby(pushes.values(), lambda request: id(request.message)):
            self._wires[0].encode(next(same).message)  # once, as a node does
        tell_s = time.process_time() - began
        push = pushes.pop(other.identity.address)
        size, heard_s, answered_s = self._carry(push)
        for request in pushes.values():
            self._answer(node, request)
        self._answer_all(other)
        return size, tell_s + answered_s * (1 + len(pushes)), heard_s

    def _exchange(self, request: OutgoingMessage) -> int:
        size, _, _ = self._carry(request)
        return size

    def _carry(self, request: OutgoingMessage) -> tuple[int, float, float]:
        """Carry a request from the one to the other, and its answer back; the times that the other and the one take."""
        node, other = self._pair
        wire, other_wire = self._wires
        body = wire.encode(request.message)
        times_s = [time.process_time()]
        content = other_wire.encode(other.receive(self._now, other_wire.decode(body).message))
        times_s.append(time.process_time())
        node.answered(self._now, request, wire.decode(content).message)
        times_s.append(time.process_time())
        heard_s, answered_s = (after - before for before, after in pairwise(times_s))
        return len(body) + len(content), heard_s, answered_s


def pair(size: int, seed: int) -> Pair:
    """Measure that."""
    two = Acquainted(size, seed)
    rounds, sweeps, pushes = [], [], []
    for _ in range(EXCHANGES):
        two.pass_on()
        rounds.append(two.round())
        sweeps.append(two.sweep())
        pushes.append(two.push())
    greetings_bytes = mean(size for size, _ in rounds)
    return Pair(
        size,
        greetings_bytes / 2,
        greetings_bytes + sum(ROUND_HEADS),
        median(took_s for _, took_s in rounds) * 1000,
        median(sweeps) * 1000,
        mean(size for size, _, _ in pushes) + sum(PUSH_HEADS),
        median(change_s for _, change_s, _ in pushes) * 1000,
        median(heard_s for _, _, heard_s in pushes) * 1000,
    )


def _sender(number: int, random: Random) -> Sender:
    return Sender(random.getrandbits(64), f"node-{number:03}", _address(number))


def _address(number: int) -> str:
    return f"10.0.{number >> 8}.{number & 255}:1730"


def body(number: int, node: str, ttl_s: float = TIMING.ttl_s) -> bytes:
    """The terms of an instance, as the node where it registers encodes them."""
    app, version, host, port = instance(number)
    wanted = RegistrationRequest(app, version, host, port, meta={"zone": "a"})
    terms = wanted.applied_to(None, ttl_s=ttl_s, node=node, now_ms=REGISTERED_MS + number)
    return terms.encode(wanted.key)


# What comes of it.


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(repetitions=1)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="of clusters, from 5 (default: 5 20 100)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each phase that counts (default: %(default)s)")
    parser.add_argument("--rotating", type=int, help="clients that do so (default: 1000; with over 20 nodes 20)")
    parser.add_argument("--seed", type=int, default=1, help="of the first repetition (default: %(default)s)")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.repetitions)
    runs: dict[int, list[Run]] = {}
    for size in options.sizes:
        rotating = ROTATING if size <= ROTATING_NODES_MAX else ROTATING_IN_LARGE
        rotating = rotating if options.rotating is None else options.rotating
        runs[size] = [phases(size, seed, options.seconds, rotating) for seed in seeds]
        print_costs(size, runs[size], options.seconds)
    pairs = [pair(size, options.seed) for size in TOLD_OF]
    print_times(runs)
    print_pairs(pairs, runs)
    figures = {"seconds": options.seconds, "runs": [run for done in runs.values() for run in done], "pairs": pairs}
    write("scale", options.json, figures, targets(runs[max(runs)]))


def print_costs(size: int, runs: Sequence[Run], seconds: float) -> None:
    rows = []
    for what in runs[0].costs:
        costs = [run.costs[what] for run in runs]
        rows.append(
            [
                what,
                spread([cost.requests_per_s for cost in costs], 1),
                spread([cost.pushes_per_s for cost in costs], 1),
                spread([cost.sent_bytes_per_s / 1000 for cost in costs], 1),
                spread([cost.received_bytes_per_s / 1000 for cost in costs], 1),
                spread([cost.busiest_bytes_per_s / 1000 for cost in costs], 1),
                spread([cost.cpu_ms_per_s for cost in costs], 1),
                spread([cost.oldest_heartbeat_intervals for cost in costs]),
            ]
        )
    title = f"{size} nodes, per node and second of {seconds:g} s, median of {len(runs)} runs"
    columns = ["", "requests", "of these pushes", "kB sent", "kB received", "both, busiest"]
    columns += ["CPU ms", "oldest heartbeat"]
    print_table(title, columns, rows)


def print_times(runs: dict[int, list[Run]]) -> None:
    rows: list[tuple[str, Callable[[Run], float], int]] = [
        ("registration until the last node lists it, ms: median", lambda run: median(run.spread_ms), 1),
        ("the same: largest", lambda run: max(run.spread_ms), 1),
        ("within 2 s after agreeing after a partition, ms: median", lambda run: median(run.spread_after_heal_ms), 1),
        ("the same: largest", lambda run: max(run.spread_after_heal_ms), 1),
        ("partition heals until all digests are equal, s", lambda run: run.agreed_s, 2),
        (f"death until all say silent, s (at most {SILENT_S_MAX:g})", lambda run: run.silent_s, 2),
        (f"until all that died is offline, s (at most {OFFLINE_S_MAX:g})", lambda run: run.offline_s, 2),
        ("oldest heartbeat between any two, in intervals (below 3)", lambda run: run.oldest_heartbeat_intervals, 2),
        ("start of all at once: until all are ready, s", lambda run: run.start.ready_s, 2),
        ("the same: requests of each", lambda run: run.start.requests, 0),
        ("the same: kB sent by each", lambda run: run.start.sent_bytes / 1000, 0),
        ("the same: CPU ms of each", lambda run: run.start.cpu_ms, 0),
        ("largest message, bytes", lambda run: max(run.body_bytes_max.values()), 0),
        ("largest push, bytes", lambda run: run.body_bytes_max["push"], 0),
    ]
    cells = [
        [what, *(spread([get(run) for run in done], digits) for done in runs.values())] for what, get, digits in rows
    ]
    print_table("How long it takes, and what is largest", ["nodes", *map(str, runs)], cells)


def print_pairs(pairs: Sequence[Pair], runs: dict[int, list[Run]]) -> None:
    """What was measured between two, what follows for a cluster, and what a whole one of that size was seen to do."""
    rows = []
    for each in pairs:
        costs = [run.costs[STICKING] for run in runs.get(each.nodes, ())]
        rows.append(
            [
                str(each.nodes),
                f"{each.greeting_bytes:,.0f}",
                f"{each.round_cpu_ms:,.2f}",
                f"{each.rounds_per_s:,.0f}",
                f"{each.sent_bytes_per_s / 1000:,.0f}",
                spread([cost.sent_bytes_per_s / 1000 for cost in costs], 0) if costs else "",
                f"{each.cpu_ms_per_s:,.1f}",
                spread([cost.cpu_ms_per_s for cost in costs], 1) if costs else "",
                f"{each.push_bytes:,.0f}",
                f"{each.change_cpu_ms:,.1f}",
                f"{each.heard_cpu_ms:,.2f}",
            ]
        )
    columns = ["nodes", "greeting bytes", "round CPU ms", "rounds/s", "kB/s sent", "seen", "CPU ms/s", "seen"]
    columns += ["push bytes", "change CPU ms", "heard of CPU ms"]
    title = f"Two that know of as many nodes, what follows for each of these, and what was seen with {STICKING}"
    print_table(title, columns, rows)
    few, many = pairs[0], pairs[-1]
    per_counter = (many.greeting_bytes - few.greeting_bytes) / (many.nodes - few.nodes)
    say(f"Each node more makes a greeting {per_counter:.1f} bytes longer.")


def targets(runs: Sequence[Run]) -> list[Target]:
    """Of the largest cluster."""
    size = runs[0].nodes
    return [
        Target(
            f"{size} nodes: oldest heartbeat between any two",
            [run.oldest_heartbeat_intervals for run in runs],
            "intervals",
            most=AGE_INTERVALS_MAX,
        ),
        Target(f"{size} nodes: agreement after a partition", [run.agreed_s for run in runs], "s", most=HEAL_S_MAX),
        Target(f"{size} nodes: a death is seen by all", [run.silent_s for run in runs], "s", most=SILENT_S_MAX),
        Target(f"{size} nodes: what died is offline", [run.offline_s for run in runs], "s", most=OFFLINE_S_MAX),
    ]


if __name__ == "__main__":
    main()
