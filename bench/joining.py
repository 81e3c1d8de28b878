"""How much longer a new node takes to be ready in a cluster with 100,000 registrations than in an empty one.

While two nodes run, a third node is started, gets `GET /ready` every few milliseconds until it answers 200, and is
stopped. This is done first with empty nodes, and then with all registrations. The measured time begins with the start
of the process. The nodes are instrumented (see `bench.instrumented`). The longest turn of a reactor is the longest time
for which other work had to wait, in processor time, so that other processes on the machine do not matter.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from attrs import frozen

from bench.figures import Target, arguments, print_table, spread, write
from bench.nodes import Node, cluster, fill, longest_turn_ms, processes_in_folder, wait_for_copies

TARGET_S = 1.5

#: The pause between the end of the third node and the next measurement.
APART_S = 2.0


@frozen
class Join:
    """The time `ready_s` from start to readiness, and the longest turns of the new node and of the others until then.

    `listed` is the share of the registrations that the new node listed when it was ready. It is less than 1 only if the
    node needed more than five intervals.
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
        listed = newcomer.registration_count / (nodes[0].registration_count or 1)
    finally:
        newcomer.stop()
    time.sleep(APART_S)
    return Join(ready_s, listed, longest_turn_ms(mine), max(map(longest_turn_ms, others)), mine, others)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--registrations", type=int, default=100_000, help="(default: %(default)s)")
    options = parser.parse_args()
    count = options.registrations
    with cluster(2, instrumented=True) as nodes, processes_in_folder() as (place, _):
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
