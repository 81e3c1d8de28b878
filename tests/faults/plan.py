"""The plan of a seed: its nodes, clients and faults, computed from the seed alone.

A plan has intended faults, with times in seconds after all nodes are ready. The real faults, with their times, are
recorded as facts (`tests.faults.facts`), and only facts are judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Literal

from attrs import field, frozen

Kind = Literal[
    "kill",
    "stop",
    "pause",
    "rolling restart",
    "upgrade",
    "islands",
    "bridge",
    "one-way cut",
    "one-way cut of requests",
    "loss",
    "relay",
    "clock",
    "disk full",
    "no descriptors",
    "no memory",
]

#: The release that nodes run: this checkout, or the newest release in NEWS.md.
Release = Literal["this", "previous"]

#: Faults of the network. Only one of them is active at a time, so that a plan is easy to read.
NETWORK: tuple[Kind, ...] = ("islands", "bridge", "one-way cut", "one-way cut of requests", "loss", "relay")

#: The frequency of each kind, relative to the others.
WEIGHTS: dict[Kind, int] = {
    "kill": 4,
    "stop": 3,
    "pause": 5,
    "rolling restart": 1,
    "upgrade": 1,
    "islands": 3,
    "bridge": 2,
    "one-way cut": 2,
    "one-way cut of requests": 2,
    "loss": 2,
    "relay": 3,
    "clock": 3,
    "disk full": 1,
    "no descriptors": 1,
    "no memory": 1,
}

#: The numbers of hours by which a wall clock may be moved.
CLOCK_HOURS = (-5, -1, 1, 3, 24)


@frozen
class Step:
    """One fault: its begin, its duration (0 if the fault has no end of its own), and its nodes.

    `nodes` are numbers of the affected nodes. A cut goes from the first to the second node, a bridge is the first node,
    and islands are the nodes on one side. `values` depend on the kind: percentages, seconds or hours.
    """

    at: float
    kind: Kind
    nodes: tuple[int, ...] = ()
    lasting_s: float = 0.0
    values: tuple[float, ...] = ()

    def __str__(self) -> str:
        where = f" {', '.join(f'n{number + 1}' for number in self.nodes)}" if self.nodes else ""
        lasting = f" for {self.lasting_s:.2f} s" if self.lasting_s else ""
        values = f" ({', '.join(f'{value:g}' for value in self.values)})" if self.values else ""
        return f"{self.at:7.2f} {self.kind}{where}{lasting}{values}"


@frozen
class Plan:
    """The random choices of a seed."""

    seed: int
    nodes: int
    interval_s: float
    ttl_s: float
    clients: int
    registrars: int
    runs: int
    #: Seconds of faults, after which everything heals.
    faults_s: float
    release: Release
    relayed: bool
    steps: tuple[Step, ...] = field(repr=False)

    def lines(self) -> Iterator[str]:
        """Yield the plan as text."""
        yield (
            f"seed {self.seed}: {self.nodes} nodes of {self.release} release, interval {self.interval_s:g} s, ttl "
            f"{self.ttl_s:g} s, {self.clients} clients, {self.registrars} registrars, {self.runs} bender run, "
            f"{'with' if self.relayed else 'without'} a relay, faults for {self.faults_s:g} s"
        )
        yield from map(str, self.steps)


def plan_of(seed: int, *, faults_s: float = 45.0, interval_s: float = 0.5, previous: bool = True) -> Plan:
    """Return the plan of a seed. If `previous` is false, all nodes run this release."""
    random = Random(f"faults {seed}")
    nodes = random.choice([3, 3, 3, 4, 4, 5])
    ttl_s = random.choice([6, 6, 8]) * interval_s
    release: Release = "previous" if random.random() < 0.25 and previous else "this"
    relayed = random.random() < 0.5
    clients = random.choice([40, 60, 60]) if nodes < 5 else 40
    steps = _Drawing(random, nodes, interval_s, ttl_s, faults_s, release=release, relayed=relayed).steps()
    return Plan(seed, nodes, interval_s, ttl_s, clients, 2, 1, faults_s, release, relayed, steps)


def upgrade_plan(seed: int, *, faults_s: float = 45.0, interval_s: float = 0.5) -> Plan:
    """Return the plan of an upgrade under load: nodes of the previous release are replaced by this one, in turn."""
    step = Step(0.2 * faults_s, "upgrade", tuple(range(4)), values=(0.1 * faults_s,))
    return Plan(seed, 4, interval_s, 6 * interval_s, 60, 2, 1, faults_s, "previous", relayed=False, steps=(step,))


class _Drawing:
    """Draws the steps of a plan one after another; some steps overlap."""

    def __init__(
        self,
        random: Random,
        nodes: int,
        interval_s: float,
        ttl_s: float,
        faults_s: float,
        *,
        release: Release,
        relayed: bool,
    ) -> None:
        self.random = random
        self.nodes = nodes
        self.interval_s = interval_s
        self.ttl_s = ttl_s
        self.faults_s = faults_s
        self.kinds = [
            kind
            for kind, weight in WEIGHTS.items()
            for _ in range(weight)
            if (kind != "upgrade" or release == "previous") and (kind != "relay" or relayed)
        ]

    def steps(self) -> tuple[Step, ...]:
        steps: list[Step] = []
        at, network_free_at, node_free_at = self._some(2, 4), 0.0, [0.0] * self.nodes
        while at < self.faults_s:
            step = self._step(at, self.random.choice(self.kinds))
            ends_at = step.at + step.lasting_s
            free = all(node_free_at[number] <= step.at for number in step.nodes) or step.kind in NETWORK
            if step.kind in NETWORK:
                free = network_free_at <= step.at
                network_free_at = max(network_free_at, ends_at) if free else network_free_at
            if free:
                steps.append(step)
                for number in step.nodes if step.kind not in NETWORK else ():
                    node_free_at[number] = ends_at + 4 * self.interval_s
                # Half of all steps begin during the step before, and the others some time after its end.
                at = ends_at + self._some(6, 16) if self.random.random() < 0.5 else step.at + self._some(2, 8)
            else:
                at += self._some(1, 4)
        return tuple(steps)

    def _some(self, least: float, most: float) -> float:
        """Return a random number of intervals, in seconds."""
        return self.random.uniform(least, most) * self.interval_s

    def _step(self, at: float, kind: Kind) -> Step:
        draw = {
            "kill": self._down,
            "stop": self._down,
            "pause": self._pause,
            "rolling restart": self._rolling,
            "upgrade": self._rolling,
            "loss": self._loss,
            "relay": self._relay,
            "clock": self._clock,
        }
        if kind in NETWORK[:4]:
            return self._cut(at, kind)
        return draw.get(kind, self._hindered)(at, kind)

    def _node(self) -> tuple[int, ...]:
        return (self.random.randrange(self.nodes),)

    def _down(self, at: float, kind: Kind) -> Step:
        down_s = self.random.choice([self._some(0, 1), self._some(1, 4), self._some(4, 3 * self.ttl_s)])
        return Step(at, kind, self._node(), min(down_s, 12.0))

    def _pause(self, at: float, kind: Kind) -> Step:
        """Draw a pause of at most a second, below a ttl, or up to three ttls, each equally often."""
        below, above = self.random.uniform(0.1, 0.95 * self.ttl_s), self.random.uniform(self.ttl_s, 3 * self.ttl_s)
        return Step(at, kind, self._node(), self.random.choice([self.random.uniform(0.1, 1.0), below, above]))

    def _rolling(self, at: float, kind: Kind) -> Step:
        apart_s = self._some(6, 10)
        return Step(at, kind, tuple(range(self.nodes)), apart_s * self.nodes, (round(apart_s, 3),))

    def _cut(self, at: float, kind: Kind) -> Step:
        numbers = self.random.sample(range(self.nodes), self.nodes)
        struck = {
            "islands": numbers[: self.random.randint(1, self.nodes - 1)],
            "bridge": numbers[:1],
            "one-way cut": numbers[:2],
            "one-way cut of requests": numbers[:2],
        }[kind]
        lasting_s = self.random.choice([self._some(1, 6), self._some(6, 30)])
        return Step(at, kind, tuple(struck), lasting_s)

    def _loss(self, at: float, kind: Kind) -> Step:
        return Step(at, kind, (), self._some(8, 24), (self.random.choice([1, 2, 5]),))

    def _relay(self, at: float, kind: Kind) -> Step:
        """Draw delay up to a number of seconds, and percentages of doubled and of late doubled requests."""
        delay_s = round(self._some(0.02, 0.4), 3)
        return Step(at, kind, (), self._some(8, 24), (delay_s, self.random.choice([0, 5, 20]), 5))

    def _clock(self, at: float, kind: Kind) -> Step:
        """Move the wall clock of a node, or (without a node) of all programs that are clients."""
        where = self.random.choice([self._node(), self._node(), ()])
        return Step(at, kind, where, 0.0, (self.random.choice(CLOCK_HOURS),))

    def _hindered(self, at: float, kind: Kind) -> Step:
        return Step(at, kind, self._node(), self._some(4, 16))
