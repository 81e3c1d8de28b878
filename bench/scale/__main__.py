"""What a node costs in clusters of 5, 20 and 100, and how soon they agree: simulated, in this one process.

Each node is a replica as it runs in `bender.node.node`, and every message is encoded and decoded by
`bender.exchange.wire`, so bytes are those of a real network; the heads of HTTP are added, TCP's own bytes are not. Time
is virtual: a message takes 0.2 to 2 ms and work takes none, so times to converge are those of idle machines. Processor
time is that of replicas and messages at both ends, with a few percent for the simulation and without HTTP; where other
programs use the machine, it is rough.

One cluster goes through all phases. After each phase the lists of all nodes are checked. An instance that goes offline
while it is alive ends the measurement.

The last table measures two real replicas that know of the given number of nodes: a round and a push between them. It
shows what grows with the number of nodes, also where a whole cluster would take too long. The cost of a node follows
from it: the number of rounds that it begins, times their cost, and its sweeps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from bench.figures import Target, arguments, print_line, print_table, spread, write
from bench.scale.cluster import INTERVAL_S, OFFLINE_S_MAX, TIMING, UNDER_WAY_S
from bench.scale.pair import KNOWN_NODES, Pair, pair
from bench.scale.phases import STICKING, Run, phases
from bender.exchange.client import JITTER

SIZES = (5, 20, 100)

#: Clients that renew at another node every time. What each of them costs grows with the square of the number of nodes,
#: so there are fewer where these are more than `ROTATING_NODES_MAX`.
ROTATING = 1000
ROTATING_IN_LARGE = 20
ROTATING_NODES_MAX = 20

#: What P1 and P6 promise: two rounds, each of which may be late, and `heard_at + ttl + 3·I`, which a sweep finds.
HEAL_S_MAX = 2 * (1 + JITTER) * INTERVAL_S
SILENT_S_MAX = TIMING.silent_s + UNDER_WAY_S
AGE_INTERVALS_MAX = 3.0


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(repetitions=1)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="of clusters, from 5 (default: 5 20 100)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measured phase (default: %(default)s)")
    parser.add_argument(
        "--rotating",
        type=int,
        help="clients that renew at another node each time (default: 1000; with over 20 nodes 20)",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the first repetition (default: %(default)s)")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.repetitions)
    runs: dict[int, list[Run]] = {}
    for size in options.sizes:
        rotating = ROTATING if size <= ROTATING_NODES_MAX else ROTATING_IN_LARGE
        rotating = rotating if options.rotating is None else options.rotating
        runs[size] = [phases(size, seed, options.seconds, rotating) for seed in seeds]
        print_costs(size, runs[size], options.seconds)
    pairs = [pair(size, options.seed) for size in KNOWN_NODES]
    print_times(runs)
    print_pairs(pairs, runs)
    figures = {"seconds": options.seconds, "runs": [run for done in runs.values() for run in done], "pairs": pairs}
    write("scale", options.json, figures, targets(runs[max(runs)]))


def print_costs(size: int, runs: Sequence[Run], seconds: float) -> None:
    rows = []
    for what in runs[0].costs:
        costs = [run.costs[what] for run in runs]
        rows.append(
            [
                what,
                spread([cost.requests_per_s for cost in costs], 1),
                spread([cost.pushes_per_s for cost in costs], 1),
                spread([cost.sent_bytes_per_s / 1000 for cost in costs], 1),
                spread([cost.received_bytes_per_s / 1000 for cost in costs], 1),
                spread([cost.busiest_bytes_per_s / 1000 for cost in costs], 1),
                spread([cost.cpu_ms_per_s for cost in costs], 1),
                spread([cost.oldest_heartbeat_intervals for cost in costs]),
            ]
        )
    title = f"{size} nodes, per node and second of {seconds:g} s, median of {len(runs)} runs"
    columns = ["", "requests", "of these pushes", "kB sent", "kB received", "both, busiest"]
    columns += ["CPU ms", "oldest heartbeat"]
    print_table(title, columns, rows)


def print_times(runs: dict[int, list[Run]]) -> None:
    rows: list[tuple[str, Callable[[Run], float], int]] = [
        ("registration until the last node lists it, ms: median", lambda run: median(run.spread_ms), 1),
        ("the same: largest", lambda run: max(run.spread_ms), 1),
        ("the same within 2 s after a healed partition: median", lambda run: median(run.spread_after_heal_ms), 1),
        ("the same: largest", lambda run: max(run.spread_after_heal_ms), 1),
        ("end of a partition until all digests are equal, s", lambda run: run.agreed_s, 2),
        (f"death until all nodes hold it silent, s (at most {SILENT_S_MAX:g})", lambda run: run.silent_s, 2),
        (f"death until its instances are offline, s (at most {OFFLINE_S_MAX:g})", lambda run: run.offline_s, 2),
        ("oldest heartbeat between any two, in intervals (below 3)", lambda run: run.oldest_heartbeat_intervals, 2),
        ("start of all nodes at once: until all are ready, s", lambda run: run.start.ready_s, 2),
        ("the same: requests of each node", lambda run: run.start.requests, 0),
        ("the same: kB sent by each node", lambda run: run.start.sent_bytes / 1000, 0),
        ("the same: CPU ms of each node", lambda run: run.start.cpu_ms, 0),
        ("largest message, bytes", lambda run: max(run.body_bytes_max.values()), 0),
        ("largest push, bytes", lambda run: run.body_bytes_max["push"], 0),
    ]
    cells = [
        [what, *(spread([get(run) for run in done], digits) for done in runs.values())] for what, get, digits in rows
    ]
    print_table("Times, and the largest messages", ["nodes", *map(str, runs)], cells)


def print_pairs(pairs: Sequence[Pair], runs: dict[int, list[Run]]) -> None:
    """Print the measurements of two replicas, the costs of a cluster that follow, and those of a simulated cluster."""
    rows = []
    for each in pairs:
        costs = [run.costs[STICKING] for run in runs.get(each.nodes, ())]
        rows.append(
            [
                str(each.nodes),
                f"{each.greeting_bytes:,.0f}",
                f"{each.round_cpu_ms:,.2f}",
                f"{each.rounds_per_s:,.0f}",
                f"{each.sent_bytes_per_s / 1000:,.0f}",
                spread([cost.sent_bytes_per_s / 1000 for cost in costs], 0) if costs else "",
                f"{each.cpu_ms_per_s:,.1f}",
                spread([cost.cpu_ms_per_s for cost in costs], 1) if costs else "",
                f"{each.push_bytes:,.0f}",
                f"{each.change_cpu_ms:,.1f}",
                f"{each.heard_cpu_ms:,.2f}",
            ]
        )
    columns = ["nodes", "greeting bytes", "round CPU ms", "rounds/s", "kB/s sent", "seen", "CPU ms/s", "seen"]
    columns += ["push bytes", "change CPU ms", "received CPU ms"]
    title = f"Two replicas that know of N nodes, what follows for each node, and what was seen with {STICKING}"
    print_table(title, columns, rows)
    few, many = pairs[0], pairs[-1]
    per_counter = (many.greeting_bytes - few.greeting_bytes) / (many.nodes - few.nodes)
    print_line(f"Each further node makes a greeting {per_counter:.1f} bytes longer.")


def targets(runs: Sequence[Run]) -> list[Target]:
    """Return the targets, for the largest cluster."""
    size = runs[0].nodes
    return [
        Target(
            f"{size} nodes: oldest heartbeat between any two",
            [run.oldest_heartbeat_intervals for run in runs],
            "intervals",
            most=AGE_INTERVALS_MAX,
        ),
        Target(f"{size} nodes: agreement after a partition", [run.agreed_s for run in runs], "s", most=HEAL_S_MAX),
        Target(f"{size} nodes: all hold a dead node silent", [run.silent_s for run in runs], "s", most=SILENT_S_MAX),
        Target(f"{size} nodes: the dead are offline", [run.offline_s for run in runs], "s", most=OFFLINE_S_MAX),
    ]


if __name__ == "__main__":
    main()
