"""One seed: a cluster, its clients and its faults. Then all faults end, all clients end, and the end is checked."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from time import process_time

from attrs import frozen

from bender.core.timing import Timing
from tests.simulation.clients import Client, Operator, Reach, Tokens
from tests.simulation.cluster import Cluster
from tests.simulation.ending import check_equal, check_forgotten, check_memory, check_writes, keeps
from tests.simulation.faults import Faults
from tests.simulation.oracle.history import Broken, Delay

#: Rounds are told apart by intervals, so long times are simulated with long intervals. Ten minutes, after which rule
#: 8 forgets, are then 20 rounds, and eight hours are 960.
LONG_INTERVAL_S = 30.0


@frozen
class Outcome:
    """The outcome of a seed."""

    seed: int
    hard: bool
    broken: tuple[Broken, ...]
    delays: tuple[Delay, ...]
    counts: dict[str, int]
    virtual_s: float
    cpu_s: float


@frozen
class Settings:
    """The settings that are drawn for a seed before anything else."""

    size: int
    timing: Timing
    long: bool
    days: bool
    guard_s: float
    #: The time at which an operator lifts the guard, and the number of a node where this happens.
    lifted: tuple[tuple[float, int], ...]
    clients: int
    #: The number of clients that have the same instance as another client.
    sharing: int
    page_entries_max: int
    #: The probability that a node starts again at another address.
    moving: float
    #: The number of times that a machine is set back to a snapshot or cloned.
    copies: int
    #: Whether instances have tokens and may hand over to others.
    tokens: bool

    @classmethod
    def drawn(cls, random: Random, chance: Random, *, hard: bool) -> Settings:
        """Return the settings of a seed.

        `chance` is used only for settings that were added later, so that all others of each seed stay as they were.
        """
        long = random.random() < 0.06
        interval_s = LONG_INTERVAL_S if long else 1.0
        ttl = random.choice([10.0, 10.0, 10.0, 6.0, 4.0] if hard else [10.0])
        size = random.choice([1, 2, 2, 3, 3, 3, 4, 5, 5, 7])
        days = random.random() < 0.15
        guard_s = chance.choice([0, 0, 0, 2, 8, 30]) * interval_s
        lifted = [
            (chance.uniform(15, 60) * interval_s, chance.randrange(8)) for _ in range(chance.choice([0, 0, 1, 3]))
        ]
        timing = Timing(interval_s, ttl * interval_s)
        large = not long and chance.random() < 0.01
        return cls(
            min(size, 3) if long else chance.randint(8, 15) if large else size,
            timing,
            long,
            days,
            guard_s,
            tuple(lifted) if guard_s else (),
            clients=chance.choice([24] * 9 + [80]) if not (large or long) else 24,
            sharing=chance.choice([0, 0, 4]),
            page_entries_max=1000 if long else chance.choice([1000, 1000, 10, 3]),
            moving=chance.choice([0.0, 0.3]),
            copies=0 if long else chance.choice([0, 0, 0, 0, 0, 1, 2]),
            tokens=chance.choice([False, True, True]),
        )


class Simulation:
    """A run of a seed that can be watched."""

    def __init__(self, seed: int, *, hard: bool, trace: Callable[[str], None] | None = None) -> None:
        random = Random(f"settings {seed} {hard}")
        self.seed, self.hard = seed, hard
        self.settings = Settings.drawn(random, Random(f"what came later {seed} {hard}"), hard=hard)
        names = tuple(f"n{i}" for i in range(self.settings.size))
        self.cluster = Cluster(
            seed,
            timing=self.settings.timing,
            guard_s=self.settings.guard_s,
            page_entries_max=self.settings.page_entries_max,
        )
        self.cluster.trace = trace
        for name in names:
            self.cluster.start(name, names)
        self.reach = Reach()
        self.faults = Faults(self.cluster, self.reach, names)
        numbers = [*range(self.settings.clients), *range(self.settings.sharing)]
        tokens = Tokens(Random(f"tokens {seed} {hard}")) if self.settings.tokens else None
        self.clients = [Client(self.cluster, self.reach, number, hard=hard, tokens=tokens) for number in numbers]
        self.operator = Operator(self.cluster)
        self._prepare()

    def _prepare(self) -> None:
        cluster, random, weather = self.cluster, self.cluster.random, self.cluster.weather
        interval_s = cluster.interval_s
        weather.loss = random.choice([0.02, 0.1] if self.hard else [0, 0, 0.02, 0.1])
        weather.doubling = random.choice([0, 0.05])
        weather.slow = 0.1 if self.hard else random.choice([0, 0, 0.02, 0.1])
        weather.very_slow = random.choice([0, 0, 0.01])
        for client in self.clients:
            cluster.at(random.uniform(1, 15) * interval_s, client.begin)
        self.faults.stretched = random.uniform(1, 3) if self.settings.long else 1.0
        self.faults_until = random.uniform(25, 50) * interval_s
        self.faults.plan(random.choice([5, 8, 12] if self.hard else [0, 0, 1, 2, 4, 6]), self.faults_until)
        self.faults.moving = self.settings.moving
        self.faults.plan_copies(self.settings.copies, self.faults_until)
        for _ in range(3):
            cluster.at(random.uniform(2, 50) * interval_s, self.operator.write, random.choice([1, 1, 1, 30]))
        for at, number in self.settings.lifted:
            cluster.at(at, self.operator.lift_guard, number)

    def run(self) -> None:
        """Run to the end, or until the first broken promise."""
        cluster, interval_s = self.cluster, self.cluster.interval_s
        cluster.run_until(self.faults_until + 22 * interval_s)
        if self.settings.long and self.settings.days:
            cluster.run_for(8 * 3600.0)
        for client in self.clients:
            client.end()
        self.operator.over = True
        self.faults.end()
        cluster.run_for(2.3 * interval_s)
        check_equal(cluster)
        # Leases of up to twice T end. Then the claims that were ended are removed, and then the ends. Mostly this
        # takes less time than allowed here.
        until = cluster.now + 6 * self.cluster.timing.ttl_s + 30 * interval_s + cluster.guard_s
        while cluster.now < until and keeps(cluster):
            cluster.run_for(2 * interval_s)
        check_memory(cluster)
        check_writes(cluster)
        if self.settings.long:
            cluster.run_for(700.0 + 20 * interval_s)
            check_forgotten(cluster)


def simulate(seed: int, *, hard: bool) -> Outcome:
    """Run a seed."""
    began_at = process_time()
    simulation = Simulation(seed, hard=hard)
    simulation.run()
    cluster, history = simulation.cluster, simulation.cluster.history
    counts = {**history.counts, "requests": cluster.network.sent, "lives": len(history.lives)}
    return Outcome(seed, hard, (*history.broken,), (*history.delays,), counts, cluster.now, process_time() - began_at)
