"""A few nodes that run the real core on virtual time, and what each step of a schedule does to them.

A step is a word and where it happens: `("change", "a")`, `("deliver", "ab")`. A command happens at once. The messages
that it makes are under way until a `deliver` step or a `wait` step delivers them; those over a cut link fail at once.
There is one key and one ttl, and one shorter ttl. What must hold after all this is the business of `promises`.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from itertools import combinations, permutations

from bender.core.ledger import Claim
from bender.core.messages import Request, Sender
from bender.core.replica import Replica
from tests.model.promises import I, KEY, SHORT_TTL_S, TIMING, TTL_S, Promises

Step = tuple[str, str]

#: How often nodes sweep; a round comes with every fourth sweep.
TICK_S = I / 4

#: How long a `wait` may be, in intervals: until the next round, and until a ttl is nearly over.
WAITS = ("1", f"{(TTL_S - TICK_S) / I:g}")

#: Nodes start at this time. Whatever is larger than `LONG_S` is a time, and what is smaller a duration.
STARTED_AT, LONG_S = 2.0**20, 2.0**19

#: What each kind of step stands for, in the order in which steps are tried. `{}` is where it happens.
STEPS = {
    "register": "a client registers at {}",
    "change": "a client changes its registration at {}",
    "shorten": "a client changes its registration at {} to a shorter ttl",
    "renew": "a client renews at {}",
    "deregister": "a client deregisters at {}",
    "deliver": "what is under way from {} to {} is delivered",
    "tick": "a quarter of an interval passes; what is under way stays under way",
    "wait": "{} intervals pass; all is delivered at once",
    "stay": "a client renews at {} every interval, for a ttl and four intervals; all is delivered at once",
    "cut": "the link between {} and {} is cut",
    "heal": "the link between {} and {} is there again",
    "restart": "{} crashes and starts again",
}


class Node:
    """A replica, and the requests that it has made and that are under way, each with the time when it was sent."""

    def __init__(self, incarnation: int, name: str, names: str, now: float) -> None:
        peers = [peer for peer in names if peer != name]
        self.name = name
        self.under_way: list[tuple[float, Request]] = []
        self.replica = Replica(Sender(incarnation, name, name), TIMING, now, peers)
        for peer in peers:
            self.replica.located(peer, [peer])


class World:
    """All nodes, and what is expected of them."""

    def __init__(self, names: str) -> None:
        """Start the nodes of these names, and let them get to know each other."""
        self.now = STARTED_AT
        self.names = names
        self.cut_links: set[str] = set()
        self.starts = 0
        self.nodes: dict[str, Node] = {}
        for name in names:
            self._start(name)
        self.promises = Promises(names)
        self.pass_time(TTL_S + 8 * I)

    def freeze(self) -> bytes:
        return pickle.dumps(self, pickle.HIGHEST_PROTOCOL)

    @staticmethod
    def thaw(frozen: bytes) -> World:
        world = pickle.loads(frozen)
        assert isinstance(world, World)
        return world

    def is_over(self) -> bool:
        """Whether the key must be gone, and no node has a claim of its own any more."""
        is_held = any(node.replica.claims.index.lease(KEY) for node in self.nodes.values())
        return not is_held and self.now >= self.promises.gone_by(self.now)

    # Steps.

    def steps(self) -> Iterator[Step]:
        """All steps that can be taken now and do something."""
        for name, node in self.nodes.items():
            if node.replica.ready and node.replica.winner(self.now, KEY) is None:
                yield "register", name
            elif node.replica.ready:
                yield from ((kind, name) for kind in ("change", "shorten", "renew", "deregister", "stay"))
            yield "restart", name
        for sender, receiver in permutations(self.names, 2):
            if self._requests(sender, receiver):
                yield "deliver", sender + receiver
        for link in map("".join, combinations(self.names, 2)):
            yield ("heal" if link in self.cut_links else "cut"), link
        yield from (("tick", ""), *(("wait", wait) for wait in WAITS))

    def take(self, step: Step) -> None:
        """Raises `Broken` if a promise is broken by the step."""
        kind, where = step
        if kind in ("wait", "tick"):
            self.pass_time(float(where) * I if where else TICK_S, delivers=kind == "wait")
        else:
            getattr(self, kind)(*where)
        self.promises.check(self.now)

    def register(self, name: str) -> None:
        self._post(name, TTL_S)

    def change(self, name: str) -> None:
        self._post(name, TTL_S)

    def shorten(self, name: str) -> None:
        self._post(name, SHORT_TTL_S)

    def _post(self, name: str, ttl_s: float) -> None:
        replica = self.nodes[name].replica
        body = self.promises.next_body(name, replica.winner(self.now, KEY), ttl_s)
        replica.register(self.now, KEY, body, ttl_s)
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
        for _ in range(int(TTL_S / I) + 4):
            self.renew(name)
            self.pass_time(I)

    def cut(self, one: str, other: str) -> None:
        self.cut_links.add(one + other)
        self.promises.disturbed(self.now)
        self._fail_what_is_lost()

    def heal(self, one: str, other: str) -> None:
        self.cut_links.remove(one + other)

    def restart(self, name: str) -> None:
        self._start(name)
        self.promises.restarted(name, self.now)

    def _start(self, name: str) -> None:
        # An incarnation is larger than all before it: of two registrations the later start's has the larger root.
        self.starts += 1
        self.nodes[name] = Node(self.starts, name, self.names, self.now)

    # Time.

    def pass_time(self, duration_s: float, *, delivers: bool = True) -> None:
        """Let all nodes sweep and begin rounds when it is time."""
        for _ in range(int(duration_s / TICK_S)):
            if delivers:
                self._deliver_all()
            self.now += TICK_S
            for name, node in self.nodes.items():
                while node.replica.sweep(self.now):
                    pass
                self._collect(name)
            if self.now % I == 0:
                self._rounds(delivers=delivers)
            if delivers:
                self._deliver_all()
            self._fail_what_is_lost()
            ready = [name for name, node in self.nodes.items() if node.replica.ready]
            exchanged = delivers and self.now % I == 0
            calm = delivers and not self.cut_links and len(ready) == len(self.nodes)
            self.promises.passed(self.now, self._groups(ready), calm=calm, exchanged=exchanged)

    def _rounds(self, *, delivers: bool) -> None:
        for name, node in self.nodes.items():
            node.replica.round(self.now)
            self._collect(name)
            if delivers:
                self._deliver_all()

    def _groups(self, names: list[str]) -> list[set[str]]:
        """The nodes that are connected, directly or by way of others."""
        groups = [{name} for name in names]
        for one, other in combinations(names, 2):
            if one + other not in self.cut_links:
                joined = [group for group in groups if one in group or other in group]
                groups = [group for group in groups if group not in joined] + [set[str]().union(*joined)]
        return groups

    # Messages.

    def deliver(self, sender: str, receiver: str) -> None:
        """Deliver what is under way from one node to another, what follows it the same way, and the answers."""
        node, peer = self.nodes[sender], self.nodes[receiver]
        while requests := self._requests(sender, receiver):
            node.under_way.remove(requests[0])
            request = requests[0][1]
            answer = peer.replica.receive(self.now, request.message)
            self._collect(receiver)
            node.replica.answered(self.now, request, answer)
            self._collect(sender)

    def _deliver_all(self) -> None:
        while senders := [node for node in self.nodes.values() if node.under_way]:
            for node in senders:
                for _, request in [*node.under_way]:
                    self.deliver(node.name, request.address)

    def _requests(self, sender: str, receiver: str) -> list[tuple[float, Request]]:
        return [sent for sent in self.nodes[sender].under_way if sent[1].address == receiver]

    def _collect(self, name: str) -> None:
        """Take what a replica has made, its events and its requests."""
        node = self.nodes[name]
        for event in node.replica.take_events():
            self.promises.happened(name, event, self.now)
        node.under_way += [(self.now, request) for request in node.replica.take_requests()]
        self._fail_what_is_lost()

    def _fail_what_is_lost(self) -> None:
        """Let requests fail that are under way over a cut link, or for too long."""
        for node in self.nodes.values():
            while lost := [sent for sent in node.under_way if self._is_lost(node, sent)]:
                node.under_way.remove(lost[0])
                node.replica.failed(self.now, lost[0][1])
                self._collect(node.name)

    def _is_lost(self, node: Node, sent: tuple[float, Request]) -> bool:
        sent_at, request = sent
        link = "".join(sorted(node.name + request.address))
        return link in self.cut_links or self.now >= sent_at + request.limit_s
