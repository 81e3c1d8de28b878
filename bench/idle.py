"""The cost of five nodes whose registrations are only renewed.

Each host renews its 50 instances with one `POST /renewals` every few seconds: always at the node where they registered
(sticky), or at the next node every time (rotating). The results for a node are its processor time, its bytes exchanged
with peers, and its bytes exchanged with clients. With sticky clients, the bytes among peers must not depend on the
number of renewals, so compare them with the row without registrations.

The nodes are instrumented (see `bench.instrumented`), which costs them about a microsecond for each turn and each read.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import mean
from typing import Any

from attrs import frozen

from bench.figures import Target, arguments, print_table, spread, write
from bench.nodes import Connection, Node, cluster, longest_turn_ms, register_request, renew_request

NODES = 5
INSTANCES_PER_HOST = 50

#: With the default ttl of 10 s, two renewals of a host may fail.
RENEW_EVERY_S = 3.0

#: Seconds from the registrations to the measurement: more than a ttl.
SETTLE_S = 15.0

TARGET_CPU_PERCENT = 5.0

#: The difference in bytes among peers that a hundred times as many registrations may cause.
TARGET_PERCENT = 10.0


@frozen
class Case:
    """The number of registrations, and the way in which clients renew them."""

    name: str
    registrations: int
    rotating: bool = False


CASES = (
    Case("none", 0),
    Case("1,000 sticky", 1_000),
    Case("2,000 sticky", 2_000),
    Case("20,000 sticky", 20_000),
    Case("100,000 sticky", 100_000),
    Case("2,000 rotating", 2_000, rotating=True),
    Case("20,000 rotating", 20_000, rotating=True),
)

#: The cases of the targets.
FEW, MANY, USUAL = "1,000 sticky", "100,000 sticky", "2,000 sticky"


@frozen
class Run:
    """The means of all nodes per second: percent of a processor, bytes with peers and bytes with clients, both ways."""

    cpu_percent: float
    busiest_cpu_percent: float
    exchange_bytes_per_s: float
    api_bytes_per_s: float
    longest_turn_ms: float


class Hosts:
    """Hosts that renew their instances, one request per host, evenly spread over time."""

    def __init__(self, nodes: Sequence[Node], case: Case) -> None:
        self._rotating = case.rotating
        self._connections = [Connection(node.api) for node in nodes]
        hosts = range(0, case.registrations, INSTANCES_PER_HOST)
        self._requests = [renew_request(range(first, first + INSTANCES_PER_HOST)) for first in hosts]
        self._due = 0
        self._begin = time.monotonic()

    def register(self) -> None:
        """Register the instances of each host at the node to which it will stick."""
        for i, connection in enumerate(self._connections):
            for host in range(i, len(self._requests), len(self._connections)):
                first = host * INSTANCES_PER_HOST
                connection.ask_all([register_request(number) for number in range(first, first + INSTANCES_PER_HOST)])
            for host, request in enumerate(self._requests):  # none may expire while the others register
                if host % len(self._connections) <= i:
                    self._connections[host % len(self._connections)].ask(request)
        self._begin = time.monotonic()

    def renew(self, seconds: float) -> None:
        """Renew for a time. Each node must know each instance."""
        until = time.monotonic() + seconds
        while self._requests and (due_at := self._begin + self._due * RENEW_EVERY_S / len(self._requests)) < until:
            time.sleep(max(0.0, due_at - time.monotonic()))
            turn, host = divmod(self._due, len(self._requests))
            node = (host + turn if self._rotating else host) % len(self._connections)
            status, body = self._connections[node].ask(self._requests[host])
            if status != 200 or b'"unknown":[]' not in body:
                raise SystemExit(f"A renewal was answered {status}: {body[:200]!r}")
            self._due += 1
        time.sleep(max(0.0, until - time.monotonic()))


def measure(case: Case, seconds: float) -> Run:
    with cluster(NODES, instrumented=True) as nodes:
        hosts = Hosts(nodes, case)
        hosts.register()
        hosts.renew(SETTLE_S)
        for node in nodes:
            node.take_figures()
        cpu_s, began = [node.cpu_s for node in nodes], time.monotonic()
        hosts.renew(seconds)
        took_s = time.monotonic() - began
        percents = [(node.cpu_s - before_s) / took_s * 100 for node, before_s in zip(nodes, cpu_s, strict=True)]
        figures = [node.take_figures() for node in nodes]
        for node in nodes:
            if node.registration_count != case.registrations:
                raise SystemExit(
                    f"A node lists {node.registration_count} registrations, and should list {case.registrations}."
                )
    api_bytes = [sum(each["passed"].get(str(node.api), (0, 0))) for node, each in zip(nodes, figures, strict=True)]
    all_bytes = [sum(map(sum, each["passed"].values())) for each in figures]
    return Run(
        mean(percents),
        max(percents),
        (mean(all_bytes) - mean(api_bytes)) / took_s,
        mean(api_bytes) / took_s,
        max(map(longest_turn_ms, figures)),
    )


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(repetitions=1)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of one run (default: %(default)s)")
    names = [case.name for case in CASES]
    parser.add_argument("--only", nargs="+", choices=names, metavar="CASE", help=f"of: {', '.join(names)}")
    options = parser.parse_args()
    cases = [case for case in CASES if not options.only or case.name in options.only]
    runs: dict[str, list[Run]] = {case.name: [] for case in cases}
    for _ in range(options.repetitions):
        for case in cases:
            runs[case.name].append(measure(case, options.seconds))
    _print(runs, options)
    targets = [
        Target(f"CPU of a node, {name}", [run.cpu_percent for run in done], "%", most=TARGET_CPU_PERCENT)
        for name, done in runs.items()
        if name == USUAL
    ]
    if runs.get(FEW) and runs.get(MANY):
        grown = [
            abs(many.exchange_bytes_per_s / few.exchange_bytes_per_s - 1) * 100
            for few, many in zip(runs[FEW], runs[MANY], strict=True)
        ]
        what = f"idle bytes/s to peers: difference of {FEW} and {MANY}"
        targets.append(Target(what, grown, "%", most=TARGET_PERCENT))
    turns_ms = {f"idle, {name}": max(run.longest_turn_ms for run in done) for name, done in runs.items()}
    write("idle", options.json, {"nodes": NODES, "seconds": options.seconds, "runs": runs}, targets, turns_ms)


def _print(runs: dict[str, list[Run]], options: Any) -> None:
    rows = [
        [
            name,
            spread([run.cpu_percent for run in done], 1),
            spread([run.busiest_cpu_percent for run in done], 1),
            spread([run.exchange_bytes_per_s for run in done], 0),
            spread([run.api_bytes_per_s for run in done], 0),
            spread([run.longest_turn_ms for run in done], 1),
        ]
        for name, done in runs.items()
    ]
    title = f"{NODES} nodes, renewals every {RENEW_EVERY_S:g} s, {options.seconds:g} s, per node and second"
    print_table(title, ["registrations", "CPU %", "busiest", "bytes to peers", "to clients", "longest turn ms"], rows)


if __name__ == "__main__":
    main()
