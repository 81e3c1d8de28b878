"""One seed of a soak: whole nodes, their clients and faults, and the sizes of their structures at regular times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from time import process_time

from attrs import frozen

from bender.api.responses import STATUS_OF_CODE
from bender.api.routes import ROUTES
from bender.core.address_conflicts import SHARDS
from bender.core.diagnosis import MARKS_MAX
from bender.core.last_writer_wins import SETTINGS_PER_KEY_MAX
from bender.core.ledger import REMOVALS_REMEMBERED_MAX
from bender.exchange.connection_problems import ADDRESSES_MAX
from bender.metrics.histogram import BOUNDS_S
from bender.node.consumer_limits import CONSUMERS_MAX
from bender.node.journal import BYTES_MAX, EVENTS_MAX
from bender.node.listings import CACHE_BYTES_MAX, CACHED_MAX
from bender.node.request_counts import BATCH, METHODS
from tests.simulation.clients import Reach
from tests.simulation.soak.clients import BACKENDS, Instance, Operators, Town, Watcher
from tests.simulation.soak.faults import LASTING, DayOfFaults
from tests.simulation.soak.growth import Growth, Limited, Sample, growing
from tests.simulation.soak.sizes import sizes
from tests.simulation.soak.world import Process, SoakCluster

INSTANCES = 20
WATCHERS = 8

#: The virtual seconds between two measurements.
LOOK_S = 150.0

JOURNAL_BYTES = "node.journal (bytes)"
LIST_BYTES = "node.listings (bytes)"
LONGEST_HISTORY = "node.replica.configuration (longest history)"

#: The largest number of settings of all names at once: those of backends, and the states of some instances.
SETTINGS_MAX = SETTINGS_PER_KEY_MAX * BACKENDS + 60

#: The largest number of nodes that are known at once, including those that ended less than ten minutes ago.
LEDGERS_MAX = 15

#: The largest number of counted routes with methods and statuses, whatever clients request. Each route has its own
#: methods, HEAD, and a few that it does not support, and each of these has some statuses.
ROUTE_COUNTS_MAX = (len(ROUTES) + 1) * (len(METHODS) + 1)
STATUSES_MAX = ROUTE_COUNTS_MAX * len(STATUS_OF_CODE)

#: The documented limits of structures that may fill up, by path. `*` matches all paths with this beginning.
LIMITS: Mapping[str, Limited] = {
    "node.journal._entries": Limited(EVENTS_MAX, "events of the journal"),
    "node.journal._entries*": Limited(2 * EVENTS_MAX, "events of the journal, and when they were"),
    LIST_BYTES: Limited(CACHE_BYTES_MAX, "bytes of lists"),
    "node.listings._cache*": Limited(2 * CACHED_MAX, "lists, each by app and version"),
    JOURNAL_BYTES: Limited(BYTES_MAX, "bytes of the journal"),
    LONGEST_HISTORY: Limited(SETTINGS_PER_KEY_MAX, "settings of one name"),
    "node.replica.configuration.*": Limited(3 * SETTINGS_MAX, "settings of all names, each with up to three parts"),
    "node.consumers._table._by_name": Limited(CONSUMERS_MAX, "consumers of a node"),
    "problems._conditions": Limited(ADDRESSES_MAX, "addresses with problems"),
    # Each shard exists, as two parts, from its first address on.
    "node.conflicts._index._shards[]": Limited(2 * SHARDS, "shards of addresses"),
    "node.requests._by_route": Limited(ROUTE_COUNTS_MAX, "requests by route and method"),
    "node.requests._by_route{}": Limited(2 * ROUTE_COUNTS_MAX, "names of routes and methods"),
    "node.requests._by_route[].by_status": Limited(STATUSES_MAX, "requests by route, method and status"),
    "node.requests._by_route[].by_status[].counts": Limited(
        (len(BOUNDS_S) + 1) * STATUSES_MAX, "numbers of requests by the time that they took"
    ),
    "node.requests._by_route[]._durations_s": Limited(STATUSES_MAX, "requests by route, method and status"),
    "node.requests._by_route[]._durations_s[]": Limited(BATCH * STATUSES_MAX, "times that are not in a histogram yet"),
    "node.replica._marks.*": Limited(MARKS_MAX, "times of versions of the ledger"),
    "node.replica.claims.ledger._*": Limited(2 * REMOVALS_REMEMBERED_MAX, "removals, each of two numbers"),
    "node.replica.claims.copies.ledgers[]._*": Limited(
        2 * REMOVALS_REMEMBERED_MAX * LEDGERS_MAX, "removals of all nodes, each of two numbers"
    ),
}


@frozen
class DayOutcome:
    """The outcome of a seed: what grew, by node, and counts of what happened."""

    seed: int
    nodes: int
    growths: Mapping[str, Sequence[Growth]]
    samples: Mapping[str, Sequence[Sample]]
    counts: Mapping[str, int]
    virtual_s: float
    cpu_s: float


class Day:
    """A run of a seed that can be watched."""

    def __init__(
        self, seed: int, *, nodes: int = 0, instances: int = INSTANCES, watchers: int = WATCHERS, look_s: float = LOOK_S
    ) -> None:
        """`nodes` is drawn if it is 0. All structures are measured every `look_s` seconds."""
        random = Random(f"day {seed}")
        self.seed = seed
        self._look_s = look_s
        names = tuple(f"n{i}" for i in range(nodes or random.choice([3, 3, 4, 5])))
        self.cluster = SoakCluster(seed, guard_s=random.choice([0.0, 8.0, 30.0]))
        for name in names:
            self.cluster.start(name, names)
        self.samples: dict[str, list[Sample]] = {name: [] for name in LASTING}
        reach = Reach()
        faults = DayOfFaults(self.cluster, reach, names)
        self.town = Town(self.cluster, reach)
        later: list[Callable[[], None]] = [Instance(self.town, number).begin for number in range(instances)]
        later += [Watcher(self.town).begin for _ in range(watchers)]
        later += [Operators(self.town).act, faults.begin, faults.watch_over]
        for call in later:
            self.cluster.after(random.uniform(5, 60), call)
        self.cluster.after(self._look_s, self._look)

    def _look(self) -> None:
        for name, samples in self.samples.items():
            process = self.cluster.processes[name]
            samples.append(Sample(self.cluster.now, process.node.listed_count, measured(process)))
        self.cluster.after(self._look_s, self._look)

    def run(self, hours: float) -> None:
        """Run for this many hours."""
        self.cluster.run_for(hours * 3600)

    def growths(self) -> dict[str, list[Growth]]:
        """Return the structures that grow, by node."""
        return {name: growing(samples, LIMITS) for name, samples in self.samples.items()}


def measured(process: Process) -> Counter[str]:
    """Return the sizes of everything that a process keeps."""
    found = sizes(
        node=process.node,
        api=process.site,
        events=process.events,
        timers=process.clock,
        problems=process.problems,
    )
    journal, replica = process.node.journal, process.node.replica
    found[JOURNAL_BYTES] = journal._bytes
    found[LIST_BYTES] = process.node.listings._cache_bytes
    found[LONGEST_HISTORY] = max((len(replica.history(key)) for key in replica.configuration), default=0)
    return found


def live(seed: int, hours: float) -> DayOutcome:
    """Run a seed for this many hours of virtual time."""
    began_at = process_time()
    day = Day(seed)
    day.run(hours)
    cluster = day.cluster
    events = {f"events of {name}": cluster.processes[name].node.journal.last_number for name in LASTING}
    counts = {
        "requests": cluster.network.sent,
        "clients": day.town.serial,
        "lives": len(cluster.history.lives),
        **events,
    }
    return DayOutcome(
        seed, len(cluster.nodes), day.growths(), day.samples, counts, cluster.now, process_time() - began_at
    )


def report(outcome: DayOutcome) -> Iterator[str]:
    """Yield the lines of a report: what grew in a seed, or how it went if nothing grew."""
    for node, growths in outcome.growths.items():
        for growth in growths:
            yield f"seed {outcome.seed}, {node} grows: {growth}"
    structures = {path for samples in outcome.samples.values() for sample in samples for path in sample.sizes}
    looks = sum(map(len, outcome.samples.values()))
    figures = ", ".join(f"{count:,} {what}" for what, count in outcome.counts.items())
    yield (
        f"seed {outcome.seed}: {outcome.virtual_s / 3600:g} h of {outcome.nodes} nodes, {len(structures)} structures "
        f"looked at {looks:,} times, {figures}; {outcome.cpu_s:.0f} s of CPU"
    )
