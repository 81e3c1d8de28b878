"""The faults of the design, at times and places that are drawn from the cluster's own random numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation.clients import Reach
from tests.simulation.weather import Cut

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster, Node, Snapshot

#: The largest number of nodes in a cluster of the simulation, including nodes that join.
NODES_MAX = 7


class Faults:
    """Draws faults, and ends them when the run ends."""

    def __init__(self, cluster: Cluster, reach: Reach, seeds: tuple[str, ...]) -> None:
        self.cluster = cluster
        self.reach = reach
        self.seeds = seeds
        self._cuts: list[Cut] = []
        self._over = False
        #: The factor by which partitions and pauses last longer than usual.
        self.stretched = 1.0
        #: The probability that a node starts again at another address.
        self.moving = 0.0
        self._moves = 0
        # The addresses from which nodes have moved away.
        self._vacant: list[str] = []

    def plan(self, count: int, until: float) -> None:
        """Plan this number of faults before the time `until`."""
        random = self.cluster.random
        kinds: list[Callable[[], None]] = [
            self.partition, self.partition, self.cut, self.cut_one_way, self.crash, self.crash,
            self.pause, self.pause, self.pause_long, self.blink, self.leave, self.join,
        ]  # fmt: skip
        for _ in range(count):
            self.cluster.at(random.uniform(6 * self.cluster.interval_s, until), random.choice(kinds))

    def plan_copies(self, count: int, until: float) -> None:
        """Plan this number of snapshots and clones of machines before the time `until`."""
        random = self.cluster.random
        for _ in range(count):
            at = random.uniform(6 * self.cluster.interval_s, until)
            self.cluster.at(at, random.choice([self.set_back, self.clone]))

    def end(self) -> None:
        """End all faults that can be ended: heal cuts, resume paused processes, and stop loss."""
        self._over = True
        cluster = self.cluster
        for cut in [*self._cuts]:
            self._heal(cut)
        self.reach.sides = None
        for node in cluster.nodes.values():
            if node.up and node.paused_at is not None:
                cluster.resume(node.name, inputs_first=bool(cluster.random.getrandbits(1)))
        cluster.weather.settle(cluster.now)

    def _some(self) -> Node | None:
        """Return any running node except clones, which end by themselves."""
        node = self.cluster.random.choice([node for node in self.cluster.nodes.values() if not node.is_clone])
        return node if node.serving and not self._over else None

    def _lasting(self, least: float, most: float) -> float:
        return self.cluster.random.uniform(least, most) * self.cluster.interval_s

    # The network.

    def partition(self) -> None:
        """Divide the cluster into two parts; each client is on one side."""
        random, names = self.cluster.random, [*self.cluster.nodes]
        if len(names) < 2 or self.reach.sides is not None or self._over:
            return
        side = frozenset(random.sample(names, random.randint(1, len(names) - 1)))
        others = frozenset(names) - side
        cut = Cut(frozenset((a, b) for a in names for b in names if (a in side) != (b in side)))
        self.reach.sides = (side, others)
        self.cluster.say(f"partition {sorted(side)} from {sorted(others)}")
        self._make(cut)
        lasting_s = random.choice([self._lasting(0.5, 5), self._lasting(5, 40)]) * self.stretched
        self.cluster.after(lasting_s, self._end_partition, cut)

    def _end_partition(self, cut: Cut) -> None:
        self.reach.sides = None
        self._heal(cut)

    def cut(self) -> None:
        """Cut the link between two nodes."""
        self._cut_pair(both=True, initiating=False)

    def cut_one_way(self) -> None:
        """Cut one direction between two nodes: of requests only, or of all messages."""
        self._cut_pair(both=False, initiating=self.cluster.random.random() < 0.7)

    def _cut_pair(self, *, both: bool, initiating: bool) -> None:
        names = [*self.cluster.nodes]
        if len(names) < 2 or self._over:
            return
        one, other = self.cluster.random.sample(names, 2)
        pairs = {(one, other), (other, one)} if both else {(one, other)}
        cut = Cut(frozenset(pairs), initiating)
        self.cluster.say(f"cut {sorted(pairs)}{' for asking' if initiating else ''}")
        self._make(cut)
        self.cluster.after(self._lasting(1, 30) * self.stretched, self._heal, cut)

    def _make(self, cut: Cut) -> None:
        self._cuts.append(cut)
        self.cluster.weather.cut(cut, self.cluster.now)

    def _heal(self, cut: Cut) -> None:
        if cut in self._cuts:
            self._cuts.remove(cut)
            self.cluster.say(f"heal {sorted(cut.pairs)}")
            self.cluster.weather.heal(cut, self.cluster.now)

    # Processes.

    def crash(self) -> None:
        """End a node's process without warning, or its whole machine. Most of them start again."""
        node = self._some()
        if node is None:
            return
        random = self.cluster.random
        self.cluster.crash(node.name, refuses=random.random() < 0.6)
        if random.random() < 0.8:
            interval_s = self.cluster.interval_s
            delay_s = random.choice([0.1 * interval_s, interval_s, 3 * interval_s, self._lasting(1, 30)])
            self.cluster.after(delay_s, self._restart, node)

    def leave(self) -> None:
        """Stop a node as SIGTERM does. Most of them start again."""
        node = self._some()
        if node is None:
            return
        self.cluster.leave(node.name, stops_after_s=0.3 * self.cluster.interval_s)
        if self.cluster.random.random() < 0.7:
            self.cluster.after(self._lasting(1, 20), self._restart, node)

    def join(self) -> None:
        """Start a node that is not a seed of any other node."""
        if len(self.cluster.nodes) < NODES_MAX and not self._over and self.reach.sides is None:
            name = f"n{len(self.cluster.nodes)}"
            self.cluster.start(name, self.seeds)

    def _restart(self, node: Node) -> None:
        cluster, random = self.cluster, self.cluster.random
        if node.up or self._over:
            return
        address = node.address
        if random.random() < self.moving:
            self._moves += 1
            reuses = self._vacant and random.random() < 0.4
            address = self._vacant.pop(0) if reuses else f"{node.name}@{self._moves}"
            self._vacant.append(node.address)
        cluster.start(node.name, node.seeds, address)
        if address != node.name:  # Nodes do not resolve a name again at once.
            cluster.after(random.choice([0.0, self._lasting(0, 3)]), cluster.locate, node.name)

    # Copies of a machine.

    def set_back(self) -> None:
        """Set a machine back to a snapshot of its memory."""
        node = self._some()
        if node is not None and node.replica.is_ready and not node.life.doubled:
            kept = self.cluster.snapshot(node.name)
            self.cluster.after(self._lasting(0.5, 8), self._set_back, node, node.boot, kept)

    def _set_back(self, node: Node, boot: int, kept: Snapshot) -> None:
        if node.boot == boot and node.serving and node.life.incarnation == kept.life.incarnation and not self._over:
            self.cluster.set_back(node.name, kept, clock_jumps=self.cluster.random.random() < 0.5)

    def clone(self) -> None:
        """Run a copy of a machine's memory beside the machine for a while."""
        node, name = self._some(), f"clone{len(self.cluster.nodes)}"
        if node is not None and node.replica.is_ready and not node.life.doubled and self.reach.sides is None:
            clone = self.cluster.clone(node.name, name)
            # The address leads to the other machine, so no node can send this one a request.
            cut = Cut(frozenset((other, name) for other in self.cluster.nodes if other != name), initiating=True)
            self.cluster.weather.cut(cut, self.cluster.now)
            self.cluster.after(self._lasting(1, 20), self._end_clone, clone, cut)

    def _end_clone(self, clone: Node, cut: Cut) -> None:
        self.cluster.weather.heal(cut, self.cluster.now)
        if clone.up:
            self.cluster.crash(clone.name)

    def pause(self) -> None:
        """Pause a process for less than T."""
        ttl = self.cluster.timing.ttl_s / self.cluster.interval_s
        self._pause(self._lasting(0.5, 0.97 * ttl))

    def blink(self) -> None:
        """Pause a process for about the shortest time that it can notice."""
        self._pause(self._lasting(1.0, 2.5))

    def pause_long(self) -> None:
        """Pause a process for longer than T."""
        ttl = self.cluster.timing.ttl_s / self.cluster.interval_s
        self._pause(self._lasting(ttl, 3 * ttl) * self.stretched)

    def _pause(self, lasting_s: float) -> None:
        node = self._some()
        if node is not None:
            self.cluster.pause(node.name)
            self.cluster.after(lasting_s, self._resume, node, node.boot)

    def _resume(self, node: Node, boot: int) -> None:
        if node.boot == boot and node.up and node.paused_at is not None:
            self.cluster.resume(node.name, inputs_first=self.cluster.random.random() < 0.5)
