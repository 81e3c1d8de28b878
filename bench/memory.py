"""The memory for 100,000 registrations: on the node where they registered, and on one that joined and has copies.

Resident memory as the system counts it, of two nodes that know each other, before and after. The second node is
stopped before the registrations come, and a new one joins when they are there. All of the growth is divided among the
registrations, including the last 10,000 events that a node keeps.
"""

from __future__ import annotations

import time

from attrs import frozen

from bench.figures import Target, arguments, print_line, print_table, spread, write
from bench.nodes import Connection, Node, fill, get, path_of, processes_in_folder

TARGET_BYTES = 600

#: Seconds for a node to free memory that it does not need any more.
SETTLE_S = 5.0


@frozen
class Run:
    """Bytes per registration at the node where it was made, and at the node with the copy."""

    origin_bytes: float
    copy_bytes: float
    empty_mib: float
    full_mib: float


def measure(count: int) -> Run:
    with processes_in_folder() as (place, processes):
        first = Node(place)
        processes.append(first)
        first.wait_until_ready()
        empty = Node(place, [first])
        processes.append(empty)
        empty.wait_until_ready()
        time.sleep(SETTLE_S)
        first_bytes, empty_bytes = first.rss_bytes, empty.rss_bytes
        empty.stop()
        fill(first, count)
        second = Node(place, [first])
        processes.append(second)
        second.wait_until_ready()
        time.sleep(SETTLE_S)
        for node in (first, second):
            if node.registration_count != count:
                raise SystemExit(f"A node lists {node.registration_count} registrations, and should list {count}.")
        return Run(
            (first.rss_bytes - first_bytes) / count,
            (second.rss_bytes - empty_bytes) / count,
            empty_bytes / 2**20,
            first.rss_bytes / 2**20,
        )


def body_bytes() -> int:
    """Return the size of a registration as JSON."""
    with processes_in_folder() as (place, processes):
        node = Node(place)
        processes.append(node)
        node.wait_until_ready()
        fill(node, 1)
        with Connection(node.api) as connection:
            return len(connection.ask(get(path_of(0)))[1])


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--registrations", type=int, default=100_000, help="(default: %(default)s)")
    options = parser.parse_args()
    count, size = options.registrations, body_bytes()
    runs = [measure(count) for _ in range(options.repetitions)]
    rows = [
        ["where it registered", spread([run.origin_bytes for run in runs], 0)],
        ["where it was copied to", spread([run.copy_bytes for run in runs], 0)],
    ]
    title = f"Memory for one of {count:,} registrations of {size} bytes as JSON, median of {options.repetitions} runs"
    print_table(title, ["", "bytes"], rows)
    print_line(f"MiB of a node without any: {spread([run.empty_mib for run in runs], 0)}")
    print_line(f"MiB of the one where they registered: {spread([run.full_mib for run in runs], 0)}\n")
    targets = [
        Target(f"memory for one of {count:,}, {where}", values, "bytes", most=TARGET_BYTES)
        for where, values in (
            ("where it registered", [run.origin_bytes for run in runs]),
            ("where it was copied to", [run.copy_bytes for run in runs]),
        )
    ]
    write("memory", options.json, {"registrations": count, "body_bytes": size, "runs": runs}, targets)


if __name__ == "__main__":
    main()
