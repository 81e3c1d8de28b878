"""Two replicas that know of many nodes: the cost of a round, a sweep and a push between them.

This shows what grows with the number of nodes, also where a whole cluster would take too long to simulate.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby, pairwise
from random import Random
from statistics import mean, median

from attrs import frozen

from bench.nodes import id_of
from bench.scale.clients import body
from bench.scale.cluster import INTERVAL_S, PUSH_HEADS, ROUND_HEADS, SWEEP_S, TIMING, sender
from bender.core.gossip_targets import partners
from bender.core.ledger import Claim, Delta, Head
from bender.core.messages import Counter, Message, OutgoingMessage
from bender.core.registration_update import RegistrationUpdate
from bender.core.replica import Replica
from bender.exchange.wire import Wire

#: The numbers of nodes that two replicas know of, and how many exchanges between the two are measured.
KNOWN_NODES = (20, 100, 1000)
EXCHANGES = 10


@frozen
class Pair:
    """Measurements of two replicas that know of `nodes`, each with a registration.

    Bytes are those of a request and its answer, with the heads of HTTP. Times are those of both ends of a round; of a
    sweep; of a change at its own node, with the pushes to all and their answers; and of receiving it at another.
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
        """The number of rounds that each node begins. It answers the same number."""
        return len(partners(["peer"] * (self.nodes - 1), lambda: 0.0)) / INTERVAL_S

    @property
    def sent_bytes_per_s(self) -> float:
        """The bytes that a node sends while nothing changes."""
        return self.rounds_per_s * self.round_bytes

    @property
    def cpu_ms_per_s(self) -> float:
        """The processor time of a node while nothing changes."""
        return self.rounds_per_s * self.round_cpu_ms + self.sweep_cpu_ms / SWEEP_S


class Acquainted:
    """Two replicas that know of `size` nodes, each of which has a registration."""

    def __init__(self, size: int, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - the same seed has to give the same bytes
        self._now = 0.0
        self._beats = 0
        self._registered = size
        self._senders = [sender(number, self._random) for number in range(size)]
        self._by_address = {each.address: each for each in self._senders}
        self._wires = [Wire("bender", INTERVAL_S) for _ in range(2)]
        self._pair = [Replica(identity, TIMING, self._now) for identity in self._senders[:2]]
        self._hear([self._ledger(number) for number in range(2, size)])
        for node in self._pair:
            for other in self._senders:
                if other is not node.identity:
                    node.links.note_answer(other.address, other.incarnation)
            self._register(node)
            self._answer_all(node)
        self.round()  # one fetches what it lacks from the other
        self.round()

    def _ledger(self, number: int) -> Delta:
        """Return the full ledger of a node that has one registration."""
        who = self._senders[number]
        claim = Claim(who.incarnation, 1, id_of(number), body(number, who.name), TIMING.ttl_s, 1, who.incarnation, 1)
        return Delta(who.incarnation, 0, 0, 1, 1, (claim,))

    def _register(self, node: Replica) -> None:
        self._registered += 1
        terms = RegistrationUpdate(body(self._registered, node.identity.name), TIMING.ttl_s)
        node.register(self._now, id_of(self._registered), lambda *_: terms)

    def pass_on(self) -> None:
        """Advance by a second, with new heartbeats of the other nodes."""
        self._now += 1.0
        self._hear(())

    def _hear(self, deltas: Sequence[Delta]) -> None:
        """Send both replicas the heartbeats of all others, from one of them."""
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
        """Answer all requests of a replica, with no news."""
        for request in node.take_requests():
            self._answer(node, request)

    def _answer(self, node: Replica, request: OutgoingMessage) -> None:
        heads = request.message.heads or {node.identity.incarnation: node.claims.ledger.head}
        node.receive_answer(self._now, request, Message(self._by_address[request.address], heads))

    def round(self) -> tuple[int, float]:
        """Return the bytes of a round's request and answer, and the processor time of both ends."""
        node, other = self._pair
        began = time.process_time()
        node.start_round(self._now, [other.identity.address])
        size = sum(self._exchange(request) for request in node.take_requests())
        took_s = time.process_time() - began
        for each in self._pair:
            self._answer_all(each)
        return size, took_s

    def sweep(self) -> float:
        """Return the processor time of a sweep."""
        began = time.process_time()
        self._pair[0].sweep(self._now)
        return time.process_time() - began

    def push(self) -> tuple[int, float, float]:
        """Return the bytes of a push and its answer; the processor time of a change here, and of receiving it."""
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
        """Deliver a request and its answer; return the processor times of the receiver and the sender."""
        node, other = self._pair
        wire, other_wire = self._wires
        body = wire.encode(request.message)
        times_s = [time.process_time()]
        content = other_wire.encode(other.receive(self._now, other_wire.decode(body).message))
        times_s.append(time.process_time())
        node.receive_answer(self._now, request, wire.decode(content).message)
        times_s.append(time.process_time())
        heard_s, answered_s = (after - before for before, after in pairwise(times_s))
        return len(body) + len(content), heard_s, answered_s


def pair(size: int, seed: int) -> Pair:
    """Measure two replicas that know of `size` nodes."""
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
