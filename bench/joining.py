"""How much longer a new node takes to be ready in a cluster with 100,000 registrations than in an empty one.

Two nodes; a third is started, and `GET /ready` asked every few milliseconds until it says yes; then the third stops.
First while the two are empty, then when the registrations are there and on both. The time is that of the whole process
from its start. The nodes are watched (see `bench.watched`): the longest turn of a reactor is the longest time that
anything else had to wait there, in processor time, so that other processes on the machine do not count.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from attrs import frozen

from bench.figures import arguments, print_table, print_target, say, spread, write
from bench.nodes import Node, cluster, fill, place_for_processes

TARGET_S = 3.0
TARGET_TURN_MS = 20.0

#: Between the third node's end and the next measurement, so that the others are done with it.
APART_S = 2.0


@frozen
class Join:
    """`ready_s` from start to readiness; longest turns of the new node since it ran, and of the others meanwhile.

    `listed` is how much of what is registered it listed when it was ready, which may be less than all only where that
    took longer than five intervals.
    """

    ready_s: float
    listed: float
    newcomer_ms: float
    others_ms: float
    newcomer: Any
    others: Sequence[Any]


def join(place: Path, nodes: list[Node]) -> Join:
    for node in nodes:
        node.watched()
    began = time.monotonic()
    newcomer = Node(place, nodes, watched=True)
    try:
        newcomer.wait_until_ready()
        ready_s = time.monotonic() - began
        mine, others = newcomer.watched(), [node.watched() for node in nodes]
        listed = newcomer.listed / (nodes[0].listed or 1)
    finally:
        newcomer.stop()
    time.sleep(APART_S)
    return Join(ready_s, listed, _longest_ms(mine), max(map(_longest_ms, others)), mine, others)


def _longest_ms(figures: Any) -> float:
    return max(figures["longest_turns_s"], default=0.0) * 1000


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--registrations", type=int, default=100_000, help="(default: %(default)s)")
    options = parser.parse_args()
    count = options.registrations
    with cluster(2, watched=True) as nodes, place_for_processes() as (place, _):
        empty = [join(place, nodes) for _ in range(options.repetitions)]
        fill(nodes[0], count)
        filling = nodes[0].watched()
        _wait_for_copies(nodes[1], count)
        full = [join(place, nodes) for _ in range(options.repetitions)]
    rows = [
        [
            name,
            spread([join.ready_s for join in joins]),
            f"{min(join.listed for join in joins):.0%}" if name != "empty" else "",
            spread([join.newcomer_ms for join in joins], 1),
            spread([join.others_ms for join in joins], 1),
        ]
        for name, joins in (("empty", empty), (f"{count:,}", full))
    ]
    title = f"A third node joins two, median of {options.repetitions} times"
    columns = ["registrations", "ready after s", "lists then", "its longest turn ms", "the others' ms"]
    print_table(title, columns, rows)
    say(f"Longest turn of the first node while they registered: {_longest_ms(filling):.1f} ms\n")
    beyond_s = median(join.ready_s for join in full) - median(join.ready_s for join in empty)
    print_target("seconds beyond those of an empty cluster", beyond_s, most=TARGET_S)
    print_target("longest turn of the new node, ms", median(join.newcomer_ms for join in full), most=TARGET_TURN_MS)
    print_target("longest turn of the others, ms", median(join.others_ms for join in full), most=TARGET_TURN_MS)
    figures = {"registrations": count, "beyond_s": beyond_s, "filling": filling, "empty": empty, "full": full}
    write("joining", options.json, figures)


def _wait_for_copies(node: Node, count: int) -> None:
    until = time.monotonic() + 60
    while node.listed != count:
        if time.monotonic() > until:
            raise SystemExit("The registrations do not reach the second node.")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
