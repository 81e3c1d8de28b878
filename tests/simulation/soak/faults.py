"""The faults of a day: the same kinds as in seeds, but few of them.

Two nodes run all day, and are paused and cut off now and then. They do not restart, because everything that a process
keeps ends with it. The other nodes crash, leave and start again, mostly as another incarnation and sometimes at
another address. Machines with new names join for a while and do not come back.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.clients import Reach
from tests.simulation.cluster import Node
from tests.simulation.faults import Faults
from tests.simulation.soak.world import SoakCluster

#: The seconds between two faults, for which new machines stay, and after which a stopped node is started in any case.
APART_S = (60.0, 500.0)
VISIT_S = (120.0, 1800.0)
OFF_S_MAX = 300.0

#: The seconds for which messages are lost, doubled and late.
ROUGH_S = (5.0, 60.0)

#: The nodes that run all day.
LASTING = ("n0", "n1")


class DayOfFaults(Faults):
    """Draws one fault after the other."""

    def __init__(self, cluster: SoakCluster, reach: Reach, seeds: tuple[str, ...]) -> None:
        super().__init__(cluster, reach, seeds)
        self.moving = 0.3
        self._soak = cluster
        self._visitors = 0

    def begin(self) -> None:
        """Cause a fault, and the next one later."""
        kinds: list[Callable[[], None]] = [
            self.partition, self.cut, self.cut_one_way, self.crash, self.crash, self.leave,
            self.pause, self.pause_long, self.blink, self.visit, self.roughen,
        ]  # fmt: skip
        self.cluster.random.choice(kinds)()
        self.cluster.after(self.cluster.random.uniform(*APART_S), self.begin)

    def watch_over(self) -> None:
        """Start nodes that are still stopped after a fault."""
        for name in self.seeds:
            self._restart(self.cluster.nodes[name])
        self.cluster.after(OFF_S_MAX, self.watch_over)

    def crash(self) -> None:
        """Kill a node that need not run all day."""
        node = self._mortal()
        if node is not None:
            self.cluster.crash(node.name, refuses=self.cluster.random.random() < 0.6)
            self.cluster.after(self._lasting(0.1, 30), self._restart, node)

    def leave(self) -> None:
        """Stop a node that need not run all day, as SIGTERM does."""
        node = self._mortal()
        if node is not None:
            self.cluster.leave(node.name, stops_after_s=0.3 * self.cluster.interval_s)
            self.cluster.after(self._lasting(1, 20), self._restart, node)

    def _mortal(self) -> Node | None:
        node = self._some()
        return None if node is None or node.name in LASTING else node

    def visit(self) -> None:
        """Let a new machine join for a while."""
        self._visitors += 1
        name = f"v{self._visitors}"
        self.cluster.start(name, self.seeds)
        self.cluster.after(self.cluster.random.uniform(*VISIT_S), self._end_visit, name)

    def _end_visit(self, name: str) -> None:
        node = self.cluster.nodes[name]
        if not node.up:
            self._soak.forget_machine(name)
        elif node.paused_at is None and not node.left and self.cluster.random.random() < 0.5:
            self.cluster.leave(name)
            self.cluster.after(1.0, self._end_visit, name)
        elif node.paused_at is not None or node.left:
            self.cluster.after(30.0, self._end_visit, name)
        else:
            self.cluster.crash(name)
            self._soak.forget_machine(name)

    def _restart(self, node: Node) -> None:
        if node.name in self.seeds:  # These machines do not come back.
            super()._restart(node)

    def roughen(self) -> None:
        """Lose, double and delay messages for a while."""
        random, weather = self.cluster.random, self.cluster.weather
        weather.loss, weather.doubling, weather.slow = random.choice([0.02, 0.1, 0.3]), 0.05, 0.1
        weather.very_slow = random.choice([0, 0.01])
        self.cluster.after(random.uniform(*ROUGH_S), lambda: weather.settle(self.cluster.now))
