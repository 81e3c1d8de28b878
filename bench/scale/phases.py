"""The life of a simulated cluster, phase by phase, with the cost of each."""

from __future__ import annotations

import gc
import time
from collections import Counter

from attrs import frozen

from bench.scale.clients import COMING_PER_S, END_KEPT_S, RENEW_EVERY_S, Clients
from bench.scale.cluster import INTERVAL_S, SEEDS, SWEEP_S, TIMING, Cluster

#: Seconds from the readiness of all nodes to the steady state.
SETTLE_S = 2 * INTERVAL_S
STICKY = 1000
STICKING = f"{STICKY:,} sticky"
CUT_S = 5.0
MADE_ON_EACH_SIDE = 50
MADE_AFTER = 100

#: The number of instances that die with their node.
DOOMED = 100
AGES_S = 0.05


@frozen
class Cost:
    """Costs of the mean node per second; the busiest node's bytes, sent and received; and the oldest heartbeat."""

    requests_per_s: float
    pushes_per_s: float
    sent_bytes_per_s: float
    received_bytes_per_s: float
    busiest_bytes_per_s: float
    cpu_ms_per_s: float
    oldest_heartbeat_intervals: float


@frozen
class Start:
    """Costs of the mean node, from the start of all nodes within an interval until all were ready."""

    ready_s: float
    requests: float
    sent_bytes: float
    cpu_ms: float


@frozen
class Run:
    """The results of one cluster. `spread_ms` are times until the last other node lists a registration."""

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
    """Run a cluster for `seconds` and return the cost, without the cost of measuring the age of heartbeats."""
    nodes = cluster.up
    before = [(node.sent_bytes, node.received_bytes) for node in nodes]
    requests = Counter(cluster.requests)
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
    """Start all nodes at once, each with the first few as seeds."""
    began, size = time.process_time(), len(cluster.nodes)
    cluster.run_for(INTERVAL_S)
    ready_s = cluster.now + cluster.wait_until(
        "all nodes are ready", lambda: all(node.replica.is_ready for node in cluster.nodes)
    )
    started = Start(
        ready_s,
        cluster.requests.total() / size,
        sum(node.sent_bytes for node in cluster.nodes) / size,
        (time.process_time() - began) * 1000 / size,
    )
    cluster.run_for(SETTLE_S)
    for node in cluster.nodes:
        if len(node.replica.peers) != size - 1:
            raise SystemExit(f"{size} nodes: {node.identity.name} knows {len(node.replica.peers)} others.")
    gc.unfreeze()
    gc.collect()
    gc.freeze()  # as a node does when it has started
    return started


def phases(size: int, seed: int, seconds: float, rotating: int) -> Run:
    """Run all phases: no clients, sticky clients, rotating clients, replaced instances, a partition, a death."""
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
    """Wait, check all lists, and return the spread times in ms of registrations since the last call."""
    cluster.run_for(SETTLE_S)
    cluster.require_lists(when)
    spread_s, cluster.spread_s = cluster.spread_s, []
    return [each_s * 1000 for each_s in spread_s]


def heal(cluster: Cluster, clients: Clients) -> float:
    """Return the time from the end of a partition into halves to agreement. Old ends must be forgotten before."""
    cluster.run_for(END_KEPT_S - SETTLE_S - CUT_S)
    sides = [*range(len(cluster.nodes))]
    cluster.random.shuffle(sides)
    middle = len(sides) // 2
    cluster.cut(cluster.nodes[i] for i in sides[:middle])
    for side in (sides[:middle], sides[middle:]):
        clients.register_over(CUT_S, MADE_ON_EACH_SIDE, side, watched=False)
    cluster.run_for(CUT_S)
    if cluster.agrees():
        raise SystemExit("The partition has had no effect.")
    cluster.cut(())
    agreed_s = cluster.wait_until("all digests are the same after a partition", cluster.agrees)
    cluster.require_lists("agreeing after a partition")
    return agreed_s


def rotate(cluster: Cluster, clients: Clients, count: int, seconds: float) -> Cost:
    """Return the cost of clients that renew at another node each time, once claims lapse. They stick afterwards."""
    rotating = clients.rotate(count)
    cluster.run_for(RENEW_EVERY_S + TIMING.ttl_s)
    cost = observe(cluster, seconds)
    cluster.require_lists("with rotating clients")
    for each in rotating:
        each.rotating = False
    return cost


def die(cluster: Cluster, clients: Clients) -> tuple[float, float]:
    """Let a machine die with all that runs on it; return the times until all hold it silent, and list none of it.

    Other clients of the node renew elsewhere.
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
        peers = [(each, each.replica.peers.get(node.identity.incarnation)) for each in cluster.up]
        return all(
            peer is not None and each.replica.peers.is_silent(peer, each.clock(cluster.now)) for each, peer in peers
        )

    silent_s = cluster.wait_until("all nodes hold a dead node silent", all_hold_it_silent)
    others = len(cluster.up)
    cluster.wait_until("no node lists the dead", lambda: all(count == others for _, count in cluster.doomed.values()))
    offline_s = max(at for at, _ in cluster.doomed.values()) - died_at
    cluster.require_lists("after a death")
    return silent_s, offline_s
