"""How much longer a new node takes to be ready in a cluster with 100,000 registrations than in an empty one.

Two nodes; a third is started, and `GET /ready` sent every few milliseconds until it is answered 200; then the third
stops. This is done while the two are empty, and again when both have the registrations. The time is that of the whole
process from its start. The nodes are instrumented (see `bench.instrumented`): the longest turn of a reactor is the
longest time that anything else had to wait there, in processor time, so that other processes on the machine do not
count.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from attrs import frozen

from bench.figures import Target, arguments, print_table, spread, write
from bench.nodes import Node, cluster, fill, longest_turn_ms, place_for_processes, wait_for_copies

TARGET_S = 1.5

#: The pause between the end of the third node and the next measurement.
APART_S = 2.0


@frozen
class Join:
    """`ready_s` from start to readiness; longest turns of the new node since it ran, and of the others meanwhile.

    `listed` is the share of the registrations that it listed when it was ready; less than all is possible only if it
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
        node.take_figures()
    began = time.monotonic()
    newcomer = Node(place, nodes, instrumented=True)
    try:
        newcomer.wait_until_ready()
        ready_s = time.monotonic() - began
        mine, others = newcomer.take_figures(), [node.take_figures() for node in nodes]
        listed = newcomer.listed / (nodes[0].listed or 1)
    finally:
        newcomer.stop()
    time.sleep(APART_S)
    return Join(ready_s, listed, longest_turn_ms(mine), max(map(longest_turn_ms, others)), mine, others)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--registrations", type=int, default=100_000, help="(default: %(default)s)")
    options = parser.parse_args()
    count = options.registrations
    with cluster(2, instrumented=True) as nodes, place_for_processes() as (place, _):
        empty = [join(place, nodes) for _ in range(options.repetitions)]
        fill(nodes[0], count)
        filling = nodes[0].take_figures()
        wait_for_copies(nodes[1], count)
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
    beyond_s = median(join.ready_s for join in full) - median(join.ready_s for join in empty)
    what = f"{count:,} registrations: new node ready, beyond an empty cluster's"
    targets = [Target(what, [beyond_s], "s", most=TARGET_S)]
    turns_ms = {
        "the first node while they register": longest_turn_ms(filling),
        "a node that joins": max(join.newcomer_ms for join in full),
        "a node while another joins": max(join.others_ms for join in full),
    }
    figures = {"registrations": count, "filling": filling, "empty": empty, "full": full}
    write("joining", options.json, figures, targets, turns_ms)


if __name__ == "__main__":
    main()
