"""The storm: the schedule of the hostile peer, the checks during and after it, and its figures.

First the peer invents peers, instances and settings, and tells the truth about the honest nodes. Then it lies in the
names of honest nodes and about their registrations. Then it brings a crowd. Then it is silent.
"""

from __future__ import annotations

import gc
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from bender.core.peers import PEERS_MAX
from bender.core.timing import LEDGER_KEPT_S, Timing
from bender.core.ttl_limits import TTL_S_MAX
from bender.exchange.connection_problems import FORGOTTEN_INTERVALS
from bender.exchange.transport import CLAIMS_PATH, CONSUMERS_PATH, DIAGNOSIS_PATH, NODES_PATH, Unreachable
from bender.exchange.wire import BODY_BYTES_MAX, Wire
from bender.exchange.wire_errors import MessageRefused
from tests.hostile.clients import Api, Clients, Watcher, listed
from tests.hostile.cluster import STEPS, Cluster, Honest, Stranger
from tests.hostile.peer import Peer, Scene

#: Steps for which the check waits until no node waits for an answer.
STEPS_MAX = 200

#: Rounds in which the honest nodes have to agree after the hostile peer is silent and they are ready.
ROUNDS_TO_AGREE = 2

#: Intervals for which lies can circulate among honest nodes.
LIES_UNDER_WAY = 1.5

#: Intervals until a node is ready again at the latest (P8).
INTERVALS_TO_READY = 5

#: The time for which this is checked.
ROUNDS_TO_AGREE_MAX = 12


@define
class Plan:
    """The size and the parts of a storm."""

    messages: int = 2000
    seed: int = 1
    shapes: int = 40
    instances: int = 30
    interval_s: float = 1.0
    #: The longest ttl that the peer sends.
    ttl_max_s: float = 3 * TTL_S_MAX
    per_interval: int = 320
    #: Messages of the crowd at its end.
    crowd: int = 2500
    #: Parts of the storm without lies, and with them.
    honest_part: float = 0.45
    on_progress: Callable[[str], None] = Factory(lambda: lambda _line: None)


@define
class Figures:
    """The results of a storm."""

    requests: int = 0
    answers: int = 0
    others: int = 0
    kinds: Counter[str] = Factory(Counter)
    distinct: set[int] = Factory(set)
    peers: int = 0
    to_strangers: Counter[str] = Factory(Counter)
    began_anew: Counter[str] = Factory(Counter)
    unready: int = 0
    absences: Counter[str] = Factory(Counter)
    looks: Counter[str] = Factory(Counter)
    rounds_to_agree: list[float] = Factory(list)
    memory: dict[str, tuple[int, int]] = Factory(dict)
    seconds: float = 0.0

    @property
    def messages(self) -> int:
        return self.requests + self.answers


class Hostile(Stranger):
    """The hostile peer, which answers at all addresses that are not of honest nodes."""

    def __init__(self, peer: Peer, note: Callable[[bytes], None], number: int) -> None:
        self._peer = peer
        self._note = note
        self._random = random.Random(number)
        self.silent = True

    def answer(self, address: str, path: str) -> bytes | None:
        share = self._random.random()
        if self.silent or share < 0.2:
            if share < 0.1:
                return None
            raise Unreachable("refuses connections")
        if path == DIAGNOSIS_PATH:
            return self._peer.account()
        if path == CLAIMS_PATH:
            return self._peer.leases()
        if path == NODES_PATH:
            return self._peer.report()
        if path == CONSUMERS_PATH:
            return self._peer.consumers()
        message = self._peer.message(at=address, answers=True)
        self._note(message)
        return message


class Storm:
    """One storm on one cluster."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.figures = Figures()
        self.cluster = Cluster(Timing(plan.interval_s, 10.0 if plan.interval_s <= 2.5 else 4 * plan.interval_s))
        self.faults = self.cluster.faults
        self.api = Api(self.cluster)
        self.clients = Clients(self.cluster, self.api, plan.instances, plan.seed)
        self.peer = Peer(plan.seed, plan.shapes, plan.interval_s)
        self.peer.ttl_max_s = plan.ttl_max_s
        self._random = random.Random(plan.seed)
        self._wire = Wire("bender", plan.interval_s)
        self._hostile = Hostile(self.peer, self._note_answer, plan.seed)
        self.cluster.network.stranger = self._hostile
        self.watchers: list[Watcher] = []
        self._strict = False
        self._until = 0
        self._steps = 0
        self._incarnations: list[int] = []
        self._ends: list[float] = []

    def run(self) -> Figures:
        began_at = time.monotonic()
        try:
            self._run()
        finally:
            self.cluster.close()
            for watcher in self.watchers:
                watcher.close()
        self.figures.seconds = time.monotonic() - began_at
        return self.figures

    def _run(self) -> None:
        plan, cluster = self.plan, self.cluster
        cluster.each_step.append(self._each_step)
        cluster.pass_intervals(8)
        for honest in cluster.nodes:
            self.watchers += [
                Watcher(cluster, honest, snapshot=True),
                Watcher(cluster, honest, snapshot=True, app="web"),
            ]
        cluster.pass_intervals(10)
        self._incarnations = [honest.incarnation for honest in cluster.nodes]
        before = self._memory()
        self._hostile.silent = False
        self._strict = True
        self._rain(int(plan.messages * plan.honest_part), "without lies")
        self._strict = False
        self.peer.lies = True
        self._rain(max(plan.messages - plan.crowd, plan.messages // 2), "with lies")
        self._agree(["ready", "digest", "listed", "settings"])
        self.peer.crowds = plan.crowd > 0
        self._rain(plan.messages, "a crowd")
        self.peer.crowds = False
        # Beyond the limit, nodes keep different incarnations, and so different entries of theirs.
        self._agree(["ready", "instances", "settings"])
        self._hostile.silent, self.clients.busy, self._strict = True, False, True
        self._look_at_everything()
        self._recover(before)

    # The storm.

    def _rain(self, until: int, what: str) -> None:
        plan, nodes = self.plan, self.cluster.nodes
        self._until = until
        told_at = self.figures.messages
        while self.figures.messages < until:
            for _ in range(max(1, plan.per_interval // STEPS)):
                self._scene()
                self._send(self._random.choice(nodes))
            self.cluster.step()
            if self.figures.messages - told_at >= 10_000:
                told_at = self.figures.messages
                peers = max(map(_peers, nodes))
                plan.on_progress(f"{what}: {told_at} messages, peers {peers}, wrong {dict(self.faults.counts)}")
            if self._steps % (STEPS * 20) == 0:
                self.api.everything(self._random.choice(nodes))

    def _scene(self) -> None:
        if self._random.random() < 0.1 or not self.peer.scene.nodes:
            keys = [instance.key for instance in self.clients.instances]
            bodies = {key: claim.body for key in keys for claim in [self.cluster.nodes[0].node.claim(key)] if claim}
            self.peer.scene = Scene(self.cluster.nodes, keys, bodies)

    def _send(self, honest: Honest) -> None:
        share = self._random.random()
        if share < 0.01:
            self._others(honest)
            return
        body = self.peer.message()
        self.figures.requests += 1
        self._note(body)
        self.figures.kinds[f"requests answered with {honest.take(body, '10.6.6.6')}"] += 1

    def _others(self, honest: Honest) -> None:
        """Send the other requests of peers: diagnosis, claims, nodes and consumers."""
        self.figures.others += 1
        peer = self.peer
        for make, path in (
            (peer.inquiry, DIAGNOSIS_PATH),
            (peer.claims_inquiry, CLAIMS_PATH),
            (peer.question, NODES_PATH),
            (peer.awaited, CONSUMERS_PATH),
        ):
            Deferred.fromCoroutine(honest.answer_peer(make(), path)).addErrback(self._not_answered)

    def _not_answered(self, failure: Failure) -> None:
        if failure.check(MessageRefused):
            self.figures.kinds["another request is refused"] += 1
        else:
            self.faults.raised("another request", failure)

    def _note_answer(self, body: bytes) -> None:
        self.figures.answers += 1
        self._note(body)

    def _note(self, body: bytes) -> None:
        self.figures.distinct.add(hash(body))
        if self.figures.messages % 8:  # one of eight, because this takes as long as all other checks
            return
        try:
            self._wire.decode(body)
        except MessageRefused as refused:
            self.figures.kinds[str(refused).partition("(")[0][:60]] += 1
        else:
            self.figures.kinds["taken"] += 1

    # Checks during the storm.

    def _each_step(self) -> None:
        before, self._steps = self._steps, self._steps + self.cluster.steps_at_once
        if before // 4 != self._steps // 4:
            self.clients.act()
        if before // STEPS != self._steps // STEPS:
            self._each_interval()

    def _each_interval(self) -> None:
        network, figures, nodes = self.cluster.network, self.figures, self.cluster.nodes
        peers = max(map(_peers, nodes))
        figures.peers = max(figures.peers, peers)
        if peers > PEERS_MAX:
            self.faults.add("more peers than may be", str(peers))
        for path, count in network.to_strangers.items():
            figures.to_strangers[path] = max(figures.to_strangers[path], count)
        network.to_strangers.clear()
        if network.longest > BODY_BYTES_MAX:
            self.faults.add("a message is too long", str(network.longest))
        for i, honest in enumerate(nodes):
            if self._incarnations and honest.incarnation != self._incarnations[i]:
                self._incarnations[i] = honest.incarnation
                figures.began_anew["without lies" if self._strict else "with lies"] += 1
            if self._incarnations and not honest.node.ready:
                figures.unready += 1
                if self._strict:
                    self.faults.add("a node is not ready, and nobody lied of it", honest.name)
        self._look_for_instances()

    def _look_for_instances(self) -> None:
        """Check that all renewed instances are listed at all nodes, which must hold without lies."""
        now = self.cluster.clock.seconds()
        for honest in self.cluster.nodes:
            if not honest.node.ready:
                continue
            shown = listed(honest)
            for instance in self.clients.instances:
                if instance.since is None or now < instance.since + 3 * self.plan.interval_s:
                    continue
                self.figures.looks["without lies" if self._strict else "with lies"] += 1
                if instance.key not in shown:
                    self.figures.absences["without lies" if self._strict else "with lies"] += 1
                    if self._strict:
                        self.faults.add("an instance that is renewed is not listed", f"{instance.key} at {honest.name}")

    # Checks after the storm.

    def _agree(self, on: list[str]) -> None:
        """Check that all nodes are ready within 5·I after the peer falls silent, and agree two rounds later.

        The last lies about a node reach it with the next round of a node that believes them, and it starts a new
        incarnation.
        """
        nodes, plan = self.cluster.nodes, self.plan
        self._hostile.silent = True
        self._strict = self.clients.busy = False
        self.cluster.pass_intervals(LIES_UNDER_WAY)
        waited = 0
        while not all(honest.node.ready for honest in nodes) and waited < INTERVALS_TO_READY * 4 * STEPS:
            self.cluster.step()
            waited += 1
        if waited > INTERVALS_TO_READY * STEPS:
            self.faults.add("a node is not ready within 5·I of silence", f"after {waited / STEPS:.2f}·I")
        rounds = -1.0
        for steps in range(0, ROUNDS_TO_AGREE_MAX * STEPS, 4):
            if not self._differences(on):
                rounds = steps / STEPS
                break
            self.cluster.pass_intervals(4 / STEPS)
        plan.on_progress(f"silence: ready after {waited / STEPS:.2f}·I, agreed after {rounds} rounds")
        self.figures.rounds_to_agree.append(rounds)
        if not 0 <= rounds <= ROUNDS_TO_AGREE + 0.5:
            self.faults.add("honest nodes do not agree in time", f"{rounds}: {self._differences(on)}")
        self.cluster.pass_intervals(self.cluster.timing.ttl_s / plan.interval_s + 4)
        self._strict = True
        self.cluster.pass_intervals(4)
        self.clients.busy, self._strict, self._hostile.silent = True, False, False

    def _differences(self, on: list[str]) -> list[str]:
        """Return everything that differs among the nodes."""
        nodes, keys = self.cluster.nodes, {instance.key for instance in self.clients.instances}
        kinds: dict[str, Callable[[Honest], Any]] = {
            "ready": lambda honest: honest.node.ready,
            "digest": lambda honest: honest.node.replica.digest(),
            "listed": listed,
            "instances": lambda honest: listed(honest) & keys,
            "settings": lambda honest: (
                honest.node.replica.configuration.digest,
                [
                    (each.key, each.rank)
                    for kind in ("backend", "frontend")
                    for each in honest.node.replica.settings(kind)
                ],
            ),
        }
        return [name for name in on if any(kinds[name](node) != kinds[name](nodes[0]) for node in nodes[1:])]

    def _look_at_everything(self) -> None:
        for honest in self.cluster.nodes:
            statuses = self.api.everything(honest)
            self.plan.on_progress(f"{honest.name} answers {dict(statuses)}")
        for watcher in self.watchers:
            watcher.check()

    def _recover(self, before: dict[str, int]) -> None:
        """Check that the nodes' memory is back where it was when all that they received may be forgotten."""
        plan, timing = self.plan, self.cluster.timing
        longest_s = max(timing.ttl_s, min(self.plan.ttl_max_s, TTL_S_MAX))
        intervals = (longest_s + LEDGER_KEPT_S) / plan.interval_s + 3 + FORGOTTEN_INTERVALS + 10
        self.cluster.steps_at_once = 4
        self.cluster.pass_intervals(intervals)
        self.cluster.steps_at_once = 1
        after = self._memory()
        self.figures.memory = {name: (before[name], after[name]) for name in before}
        # Entries that were adjacent when all were new are not any more: a row holds 64, and takes 600 bytes.
        rows = after["rows of entries"] - before["rows of entries"]
        for name, (old, new) in self.figures.memory.items():
            room = old // 4 + 640 * rows if name == "bytes" else 60  # clients register and go meanwhile
            if new > old + room and name != "settings":
                self.faults.add(f"{name} are more than before", f"{old} before, {new} after")
        for watcher in self.watchers:
            watcher.check()

    def _memory(self) -> dict[str, int]:
        """Return the memory that the nodes use while no request of theirs is pending."""
        counts: Counter[str] = Counter()
        for _ in range(STEPS_MAX):
            if not any(honest.client._under_way for honest in self.cluster.nodes):
                break
            self.cluster.step()
        for honest in self.cluster.nodes:
            replica, claims, node = honest.node.replica, honest.node.replica.claims, honest.node
            counts["peers"] += len(replica.peers)
            counts["heads of peers"] += sum(len(peer.shown_versions) for peer in replica.peers)
            counts["ledgers"] += len(claims.ledgers)
            counts["entries"] += sum(len(ledger.entries) for ledger in claims.ledgers.values())
            counts["rows of entries"] += sum(len(ledger.entries._rows) for ledger in claims.ledgers.values())
            counts["indexed keys"] += len(claims.index)
            counts["hidden"] += len(replica.view._hidden)
            counts["links"] += len([*replica.links])
            counts["unsent settings"] += sum(len(link.unsent_settings) for link in replica.links)
            counts["conditions"] += len(honest.conditions._conditions)
            counts["problems"] += (
                sum(map(len, node.peer_problems.values()))
                + len(replica.gossip.invalid_settings)
                + len(claims.copies.invalid_entries)
            )
            counts["waiting"] += len(claims.stale_keys) + len(claims._forgotten) + len(claims._inherited)
            counts["started over"] += len(claims.copies._started_over_at)
            counts["under way"] += len(honest.client._under_way)
            counts["statuses"] += len(replica.view._statuses)
            counts["settings"] += len(replica.configuration)
        gc.collect()
        counts["bytes"] = sum(_size(honest) for honest in self.cluster.nodes)
        return dict(counts)


def _peers(honest: Honest) -> int:
    return len(honest.node.replica.peers)


def _size(honest: Honest) -> int:
    """Return the bytes that a node keeps, without its journal, configuration and histories.

    Histories (of checksums, removals, asks and versions), and the values that the wire shares, have their own bounds,
    and grow up to these with any peers.
    """
    replica = honest.node.replica
    seen: set[int] = {id(honest.node.journal), id(replica.configuration), id(replica.view._settings)}
    seen |= {id(honest.wire), id(honest.node.consumers), id(honest.node.listings), id(replica._marks)}
    kept = _reached([replica, honest.conditions._conditions, honest.node.peer_problems], seen)
    # Dictionaries and sets keep the memory of removed items.
    return sum(64 + 104 * len(each) if isinstance(each, dict | set) else sys.getsizeof(each) for each in kept)


def _reached(roots: list[Any], seen: set[int]) -> Iterator[Any]:
    while roots:
        each = roots.pop()
        if id(each) in seen or isinstance(each, type | deque) or callable(each):
            continue
        seen.add(id(each))
        yield each
        roots += gc.get_referents(each)
