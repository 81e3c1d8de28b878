"""Schedules that chance does not find: one for each rule whose absence only such a schedule shows.

A scenario raises `AssertionError` if the core does not behave as its name says. Most scenarios run on a `Stage`, with
real time between nodes, and the oracle watches. Scenarios that need a message at a certain moment deliver it by hand.
Each module has the scenarios of a few rules, as the modules of mutations do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bender.core.ledger import DELTA_ENTRIES_MAX
from bender.core.messages import OutgoingMessage
from bender.core.timing import Timing
from tests.core.cluster import Cluster as ByHand
from tests.simulation import front
from tests.simulation.cluster import Cluster, Node, Snapshot
from tests.simulation.front import Wanted
from tests.simulation.weather import Cut

Scenario = Callable[[], None]

KEY = "registration/web/1.0/10.0.0.5/80"
OTHER_KEY = "registration/web/1.0/10.0.0.6/80"

#: With rounds this far apart, the ten minutes after which nodes are forgotten are only 20 rounds.
LONG_INTERVAL_S = 30.0


class Stage:
    """A few nodes that know one another, a network without loss, and an instance that a scenario controls.

    Times are in intervals. They count from the moment at which all nodes are ready.
    """

    def __init__(self, names: str, *, interval_s: float = 1.0, guard_s: float = 0.0) -> None:
        timing = Timing(interval_s, 10 * interval_s)
        self.cluster = Cluster(1, names, timing=timing, drifting=False, guard_s=guard_s)
        self.interval_s = interval_s
        self.began_at = 0.0
        self.run(3)
        self.began_at = self.cluster.now

    def __getitem__(self, name: str) -> Node:
        return self.cluster.nodes[name]

    def run(self, intervals: float) -> None:
        self.cluster.run_for(intervals * self.interval_s)
        assert not self.cluster.oracle.broken, self.cluster.oracle.broken[0]

    def run_until(self, intervals: float) -> None:
        self.run(intervals - (self.cluster.now - self.began_at) / self.interval_s)

    # Requests of the instance.

    def register(self, name: str, key: str = KEY, *, meta: int = 0, ttl: float = 10.0, instance: int = 0) -> None:
        front.register(self.cluster, self[name], key, Wanted(ttl * self.interval_s, meta, instance))

    def renew(self, name: str, key: str = KEY) -> None:
        assert front.renew(self.cluster, self[name], key), f"{name} knows nothing of it"

    def renew_when_ready(self, name: str) -> None:
        """Renew as a client does whose request waits until the node is ready after a pause."""
        front.when_ready(self.cluster, self[name], partial(self._renew, name))

    def _renew(self, name: str, ready: bool) -> None:
        assert ready, f"{name} was not ready in time"
        self.renew(name)

    def deregister(self, name: str, key: str = KEY, *, instance: int = 0, reason: str | None = None) -> None:
        assert front.deregister(self.cluster, self[name], key, instance, reason), f"{name} knows nothing of it"

    # Faults.

    def cut(self, *pairs: str, asking: bool = False) -> Cut:
        """Cut the direction from the first to the second node of each pair; with `asking` only for requests."""
        cut = Cut(frozenset((pair[0], pair[1]) for pair in pairs), asking)
        self.cluster.weather.cut(cut, self.cluster.now)
        return cut

    def heal(self, cut: Cut) -> None:
        self.cluster.weather.heal(cut, self.cluster.now)

    def crash(self, name: str) -> None:
        self.cluster.crash(name)

    def start(self, name: str) -> None:
        self.cluster.start(name, self[name].seeds)

    def set_back(self, name: str, snapshot: Snapshot) -> None:
        """Set a node back to a snapshot of its memory and of its clock."""
        self.cluster.set_back(name, snapshot, clock_jumps=False)

    def leave(self, name: str) -> None:
        self.cluster.leave(name)

    def pause(self, name: str) -> None:
        self.cluster.pause(name)

    def resume(self, name: str, *, inputs_first: bool = False) -> None:
        self.cluster.resume(name, inputs_first=inputs_first)

    # Results.

    def happened(self, name: str, key: str = KEY) -> list[str]:
        return [f"{event.change} {event.reason}" for event in self[name].life.events if event.key == key]

    def listed(self, key: str = KEY) -> str:
        """Return the names of the running nodes that list a key."""
        running = (name for name, node in self.cluster.nodes.items() if node.serving)
        return "".join(name for name in running if self[name].replica.view.claim(key) is not None)

    def expect(self, *expected: str) -> None:
        """Check that each node announced just these events in this order: `a: online registered, offline expired`."""
        for line in expected:
            name, _, events = line.partition(": ")
            assert self.happened(name) == events.split(", "), f"{name}: {', '.join(self.happened(name))}"


class Lossy(ByHand):
    """A cluster whose messages are delivered by hand, and in which some requests get lost."""

    def __init__(self, names: str, *, page_entries_max: int = DELTA_ENTRIES_MAX) -> None:
        self.loses: Callable[[str, OutgoingMessage], bool] = lambda asker, request: False
        super().__init__(names, page_entries_max=page_entries_max)

    def carry(self, name: str, request: OutgoingMessage) -> None:
        if self.loses(name, request):
            self.replicas[name].note_failure(self.now, request)
        else:
            super().carry(name, request)

    def lose(self, name: str) -> None:
        """Lose all requests that a node has to send at this moment."""
        for request in self.replicas[name].take_requests():
            self.replicas[name].note_failure(self.now, request)
