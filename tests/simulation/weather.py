"""The effects of faults on the cluster: the cuts of this moment, and the history of all disturbances.

The oracle asks two questions: whether nodes were connected during a whole span of time, and whether a span was calm,
so that the strict bounds of P3 hold. Two nodes are linked if they can complete an exchange in at least one direction.
So two opposite one-way cuts end the link.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Hashable
from math import inf
from typing import Literal

from attrs import frozen

from tests.simulation.knowledge import Life

Kind = Literal["crash", "start", "leave", "pause", "cut", "unlucky"]

#: This number of requests in a row to the same node without an answer is not 10 % loss any more, but a failing peer.
UNLUCKY_ROW = 3

#: The same holds if this number of requests between two nodes, in either direction, got no answer within half an
#: interval, while news had to get from one of them to the other.
UNLUCKY_COUNT = 3


@frozen(eq=False)
class Cut:
    """Ordered pairs of nodes between which messages do not get through.

    With `initiating` only requests are lost: the first node of a pair cannot ask the second, but can answer it.
    """

    pairs: frozenset[tuple[str, str]]
    initiating: bool = False


class Disturbance:
    """A disturbance from `begin` until `over`. By `end` its effects are over too."""

    __slots__ = ("begin", "end", "kind", "over")

    def __init__(self, kind: Kind, begin: float, over: float = inf, aftermath_s: float = 0.0) -> None:
        self.kind = kind
        self.begin = begin
        self.over = over
        self.end = over + aftermath_s


class Weather:
    """Cuts, probabilities of loss, and the history of disturbances."""

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        #: The probabilities that a message is lost, doubled, late, and very late (after its sender's time limit).
        self.loss = 0.0
        self.doubling = 0.0
        self.slow = 0.0
        self.very_slow = 0.0
        #: The seconds by which each message takes longer than usual.
        self.transit_s = 0.0
        self.disturbances: list[Disturbance] = []
        self._settled_at = -inf
        self._stopped: Counter[tuple[str, str]] = Counter()
        self._unasked: Counter[tuple[str, str]] = Counter()
        self._present: dict[str, Life] = {}
        self._open: dict[Hashable, Disturbance] = {}
        self._rows: dict[tuple[str, str], tuple[int, float]] = {}
        # By the two nodes: the times at which the last requests were made that got no answer, or a late one.
        self._unlucky: dict[frozenset[str], deque[float]] = defaultdict(lambda: deque(maxlen=4 * UNLUCKY_COUNT))
        # By the two nodes: the times at which the present open requests were made.
        self._under_way: dict[frozenset[str], list[float]] = defaultdict(list)
        self._epochs: list[tuple[float, dict[int, int]]] = [(-inf, {})]

    # Queries: what gets through at this moment.

    def passes(self, sender: str, receiver: str) -> bool:
        """Return True if an answer gets from one node to another."""
        return not self._stopped[sender, receiver]

    def can_ask(self, sender: str, receiver: str) -> bool:
        """Return True if a request gets from one node to another."""
        return not self._stopped[sender, receiver] and not self._unasked[sender, receiver]

    def linked(self, one: str, other: str) -> bool:
        """Return True if two nodes can complete an exchange."""
        if self._stopped[one, other] or self._stopped[other, one]:
            return False
        return not (self._unasked[one, other] and self._unasked[other, one])

    def rough(self, since: float) -> bool:
        """Return True if messages got lost or late by chance, now or at any time since `since`."""
        return bool(self.loss or self.slow or self.very_slow or self.transit_s) or self._settled_at > since

    # Changes by faults.

    def cut(self, cut: Cut, now: float) -> None:
        (self._unasked if cut.initiating else self._stopped).update(cut.pairs)
        self._begin(cut, "cut", now)
        self._turn(now)

    def settle(self, now: float) -> None:
        """Stop loss, doubling and delay from now on."""
        if self.rough(now):
            self._settled_at = now
        self.loss = self.doubling = self.slow = self.very_slow = self.transit_s = 0.0

    def heal(self, cut: Cut, now: float) -> None:
        (self._unasked if cut.initiating else self._stopped).subtract(cut.pairs)
        self._end(cut, now, 3 * self.interval_s)
        self._turn(now)

    def began(self, name: str, life: Life, now: float) -> None:
        self._present[name] = life
        self.disturbances.append(Disturbance("start", now, now, 3 * self.interval_s))
        self._turn(now)

    def ended(self, name: str, now: float) -> None:
        self._end(("pause", name), now, 0.0)
        self._present.pop(name, None)
        # Requests to it fail until no node has received anything from it for 8·I.
        self.disturbances.append(Disturbance("crash", now, now + 9 * self.interval_s))
        self._turn(now)

    def left(self, name: str, now: float) -> None:
        self._present.pop(name, None)
        self.disturbances.append(Disturbance("leave", now, now, 3 * self.interval_s))
        self._turn(now)

    def paused(self, name: str, now: float) -> None:
        self._present.pop(name, None)
        self._begin(("pause", name), "pause", now)
        self._turn(now)

    def resumed(self, name: str, life: Life, now: float) -> None:
        self._present[name] = life
        self._end(("pause", name), now, 6 * self.interval_s)
        self._turn(now)

    # Changes by chance.

    def asked(self, sender: str, receiver: str, sent_at: float) -> None:
        self._under_way[frozenset({sender, receiver})].append(sent_at)

    def unanswered(self, sender: str, receiver: str, sent_at: float) -> None:
        pair = frozenset({sender, receiver})
        self._under_way[pair].remove(sent_at)
        self._unlucky[pair].append(sent_at)
        row, since = self._rows.get((sender, receiver), (0, sent_at))
        self._rows[sender, receiver] = (row + 1, since)
        if row + 1 == UNLUCKY_ROW:
            self._begin((sender, receiver), "unlucky", since)

    def answered(self, sender: str, receiver: str, sent_at: float, now: float) -> None:
        pair = frozenset({sender, receiver})
        self._under_way[pair].remove(sent_at)
        if now > sent_at + self.interval_s / 2:
            self._unlucky[pair].append(sent_at)
        if self._rows.pop((sender, receiver), (0, now))[0] >= UNLUCKY_ROW:
            self._end((sender, receiver), now, self.interval_s)

    # The history.

    def calm(self, begin: float, end: float) -> bool:
        """Return True if nothing but the usual loss disturbed the cluster in a span of time."""
        return not any(each.begin < end and each.end > begin for each in self.disturbances)

    def lucky(self, begin: float, end: float) -> bool:
        """Return True if loss did not hit the same direction too often in a row in a span of time."""
        return not any(each.kind == "unlucky" and each.begin < end and each.end > begin for each in self.disturbances)

    def lucky_between(self, one: str, other: str, begin: float, now: float) -> bool:
        """Return True if few enough requests between two nodes that were made since `begin` got lost or late."""
        pair = frozenset({one, other})
        late = [sent_at for sent_at in self._under_way[pair] if sent_at < now - self.interval_s / 2]
        return sum(sent_at > begin for sent_at in (*self._unlucky[pair], *late)) < UNLUCKY_COUNT

    def undisturbed(self, begin: float, end: float) -> bool:
        """Return True if nothing happened in a span of time. Earlier disturbances may still have effects."""
        return not any(each.begin < end and each.over > begin for each in self.disturbances)

    def connected(self, one: Life, other: Life, begin: float, end: float) -> bool:
        """Return True if, during a whole span, two lives ran and messages got through, directly or indirectly."""
        for since, groups in reversed(self._epochs):
            if since >= end and since > begin:
                continue
            group = groups.get(one.number)
            if group is None or group != groups.get(other.number):
                return False
            if since <= begin:
                return True
        return False

    def stable_since(self) -> float:
        """Return the time since which no node was cut off, came or went."""
        return self._epochs[-1][0]

    def groups(self) -> list[list[Life]]:
        """Return the running nodes in groups that can reach one another at this moment."""
        found: dict[int, list[Life]] = {}
        for life in self._present.values():
            found.setdefault(self._epochs[-1][1][life.number], []).append(life)
        return [*found.values()]

    def _begin(self, what: Hashable, kind: Kind, now: float) -> None:
        if what not in self._open:
            self._open[what] = Disturbance(kind, now)
            self.disturbances.append(self._open[what])

    def _end(self, what: Hashable, over: float, aftermath_s: float) -> None:
        disturbance = self._open.pop(what, None)
        if disturbance is not None:
            disturbance.over = over
            disturbance.end = over + aftermath_s

    def _turn(self, now: float) -> None:
        """Begin an epoch: number the groups of nodes that can reach one another."""
        groups: dict[int, int] = {}
        for name, life in self._present.items():
            if life.number in groups:
                continue
            groups[life.number] = life.number
            reached = [name]
            for one in reached:
                for other, its_life in self._present.items():
                    if its_life.number not in groups and self.linked(one, other):
                        groups[its_life.number] = life.number
                        reached.append(other)
        self._epochs.append((now, groups))
