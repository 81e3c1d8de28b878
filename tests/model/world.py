"""A few nodes that run the real core on virtual time, and the steps of a schedule.

A step is a word and the node or link where it happens: `("change", "a")`, `("deliver", "ab")`. A command takes effect
at once. The messages that it causes are on their way until a `deliver` step or a `wait` step delivers them. Messages
over a cut link fail at once. There is one key. `promises` checks what must hold after each step.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations

from bender.core.ledger import Claim
from bender.core.messages import OutgoingMessage, Sender
from bender.core.replica import Replica
from tests.core.cluster import update
from tests.model.promises import INTERVAL_S, KEY, SHORT_TTL_S, TIMING, TTL_S, Promises

Step = tuple[str, str]

#: The interval of sweeps. Every fourth sweep begins a round.
TICK_S = INTERVAL_S / 4

#: Virtual time begins here. So a float above `DURATION_S_MAX` is a time, and any other float a duration.
STARTED_AT, DURATION_S_MAX = 2.0**20, 2.0**19

#: The lengths of a `wait` in seconds: until the next round, and until a ttl is nearly over.
WAITS = (f"{INTERVAL_S:g}", f"{TTL_S - TICK_S:g}")

#: The effect of each kind of step, in the order in which steps are tried. `{}` is the node or link where it happens.
STEPS = {
    "register": "a client registers at {}",
    "change": "a client changes its registration at {}",
    "shorten": "a client changes its registration at {} to a shorter ttl",
    "renew": "a client renews at {}",
    "deregister": "a client deregisters at {}",
    "stay": "a client renews at {} every interval for a ttl and four intervals, and all is delivered at once",
    "restart": "{} crashes and starts again",
    "deliver": "what is under way from {} to {} is delivered",
    "cut": "the link between {} and {} is cut",
    "heal": "the link between {} and {} is healed",
    "tick": "a quarter of an interval passes, and what is under way stays under way",
    "wait": "{} s pass, and all is delivered at once",
}


def told(step: Step) -> str:
    kind, where = step
    return STEPS[kind].format(*[where] if kind == "wait" else where)


class Node:
    """A replica, and its requests that are on their way, each with the time at which it was sent."""

    def __init__(self, incarnation: int, name: str, names: str, now: float) -> None:
        peers = [peer for peer in names if peer != name]
        self.name = name
        self.under_way: list[tuple[float, OutgoingMessage]] = []
        self.replica = Replica(Sender(incarnation, name, name), TIMING, now, peers)
        for peer in peers:
            self.replica.set_seed_addresses(peer, [peer])

    def requests(self, address: str) -> list[tuple[float, OutgoingMessage]]:
        return [sent for sent in self.under_way if sent[1].address == address]


class World:
    """All nodes, and the promises that they must keep."""

    def __init__(self, names: str) -> None:
        """Start nodes in the order of their names, which is that of their incarnations, until they know each other."""
        self.now = STARTED_AT
        self.names = "".join(sorted(names))
        self.cut_links: set[str] = set()
        self.starts = 0
        self.nodes: dict[str, Node] = {}
        for name in names:
            self._start(name)
        self.promises = Promises(names)
        self.pass_time(TTL_S + 8 * INTERVAL_S)

    def _start(self, name: str) -> None:
        self.starts += 1
        self.nodes[name] = Node(self.starts, name, self.names, self.now)

    @property
    def is_over(self) -> bool:
        """Return True if no node lists the key or has a claim of its own, and no request is on its way."""
        replicas = [node.replica for node in self.nodes.values()]
        is_held = any(replica.claims.index.lease(KEY) for replica in replicas)
        return not (is_held or self.promises.shown or any(node.under_way for node in self.nodes.values()))

    # Steps.

    def steps(self) -> Iterator[Step]:
        """Return all steps that are possible now."""
        for name, node in self.nodes.items():
            if node.replica.is_ready and node.replica.winner(self.now, KEY) is None:
                yield "register", name
            elif node.replica.is_ready:
                yield from ((kind, name) for kind in ("change", "shorten", "renew", "deregister", "stay"))
            yield "restart", name
        for sender, receiver in permutations(self.names, 2):
            if self.nodes[sender].requests(receiver):
                yield "deliver", sender + receiver
        for link in map("".join, combinations(self.names, 2)):
            yield "heal" if link in self.cut_links else "cut", link
        yield "tick", ""
        yield from (("wait", wait) for wait in WAITS)

    def take(self, step: Step) -> None:
        """Take a step. Raises `Broken` if it breaks a promise."""
        kind, where = step
        if kind in ("register", "change", "shorten"):
            self._post(where, SHORT_TTL_S if kind == "shorten" else TTL_S)
        elif kind == "wait":
            self.pass_time(float(where))
        else:
            getattr(self, kind)(*where)
        self.promises.check(self.now)

    def _post(self, name: str, ttl_s: float) -> None:
        replica = self.nodes[name].replica
        body = self.promises.next_body(name, replica.winner(self.now, KEY), ttl_s)
        replica.register(self.now, KEY, update(body, ttl_s))
        self.promises.accepted(name, body, self.now)
        self._collect(name)

    def renew(self, name: str) -> None:
        body = self.nodes[name].replica.renew(self.now, KEY)
        if body is not None:
            self.promises.accepted(name, body, self.now)
        self._collect(name)

    def deregister(self, name: str) -> None:
        replica = self.nodes[name].replica
        known = [entry.body for entry in replica.claims.index.entries(KEY) if isinstance(entry, Claim)]
        replica.deregister(self.now, KEY)
        self.promises.deregistered(name, known, self.now)
        self._collect(name)

    def stay(self, name: str) -> None:
        for _ in range(int(TTL_S / INTERVAL_S) + 4):
            self.renew(name)
            self.pass_time(INTERVAL_S)

    def restart(self, name: str) -> None:
        self._start(name)
        self.promises.restarted(name, self.now)

    def cut(self, one: str, other: str) -> None:
        self.cut_links.add(one + other)
        self.promises.disturbed(self.now)
        self._fail_what_is_lost()

    def heal(self, one: str, other: str) -> None:
        self.cut_links.remove(one + other)

    def deliver(self, sender: str, receiver: str) -> None:
        """Deliver the messages from one node to another, those that follow in this direction, and the answers."""
        node, peer = self.nodes[sender], self.nodes[receiver]
        while requests := node.requests(receiver):
            node.under_way.remove(requests[0])
            request = requests[0][1]
            answer = peer.replica.receive(self.now, request.message)
            self._collect(receiver)
            node.replica.receive_answer(self.now, request, answer)
            self._collect(sender)

    def tick(self) -> None:
        self.pass_time(TICK_S, delivers=False)

    # Time and messages.

    def pass_time(self, duration_s: float, *, delivers: bool = True) -> None:
        """Let all nodes sweep, and begin rounds when it is time for them."""
        for _ in range(int(duration_s / TICK_S)):
            if delivers:
                self._deliver_all()
            self.now += TICK_S
            with_round = self.now % INTERVAL_S == 0
            for name, node in self.nodes.items():
                while node.replica.sweep(self.now):
                    pass
                if with_round:
                    node.replica.start_round(self.now)
                self._collect(name)
                if delivers:
                    self._deliver_all()
            self._fail_what_is_lost()
            ready = [name for name, node in self.nodes.items() if node.replica.is_ready]
            calm = delivers and not self.cut_links and len(ready) == len(self.nodes)
            self.promises.passed(self.now, self._groups(ready), calm=calm, exchanged=delivers and with_round)

    def _groups(self, names: list[str]) -> list[set[str]]:
        """Return the groups of nodes that are connected, directly or through others."""
        groups = [{name} for name in names]
        for link in {*map("".join, combinations(sorted(names), 2))} - self.cut_links:
            joined = [group for group in groups if group & {*link}]
            groups = [group for group in groups if group not in joined] + [set[str]().union(*joined)]
        return groups

    def _deliver_all(self) -> None:
        while senders := [node for node in self.nodes.values() if node.under_way]:
            for node in senders:
                for _, request in [*node.under_way]:
                    self.deliver(node.name, request.address)

    def _collect(self, name: str) -> None:
        """Take the events and the requests that a replica has made."""
        node = self.nodes[name]
        for event in node.replica.take_events():
            self.promises.happened(name, event, self.now)
        node.under_way += [(self.now, request) for request in node.replica.take_requests()]
        self._fail_what_is_lost()

    def _fail_what_is_lost(self) -> None:
        """Let the requests fail that go over a cut link, or that were sent too long ago."""
        for node in self.nodes.values():
            while lost := [sent for sent in node.under_way if self._is_lost(node, *sent)]:
                node.under_way.remove(lost[0])
                node.replica.note_failure(self.now, lost[0][1])
                self._collect(node.name)

    def _is_lost(self, node: Node, sent_at: float, request: OutgoingMessage) -> bool:
        link = "".join(sorted(node.name + request.address))
        return link in self.cut_links or self.now >= sent_at + request.limit_s
