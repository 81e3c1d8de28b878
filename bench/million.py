"""A million registrations on one node: their memory, and the times to list and renew them.

They are registered one by one over one connection. Then all of them are renewed, 500 in one request; one app of 100 is
listed over and over; and all are listed in one answer, which is counted as it comes and not kept. The node is
instrumented (see `bench.instrumented`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from attrs import frozen

from bench.figures import Target, arguments, percentile, print_table, spread, write
from bench.nodes import Connection, Node, cluster, fill, get, renew_request
from bench.renewals import TARGET_PER_S as TARGET_RENEWALS_PER_S
from bench.renewals import Run as Renewals
from bench.renewals import renew

BATCH = 500

#: How often one app is listed.
ASKS = 300

#: A text that each member of a list contains once.
MEMBER = b'"id":"registration/'

#: Seconds for a node to free memory that it does not need any more.
SETTLE_S = 5.0

TARGET_BYTES = 600


@frozen
class Listed:
    """An answer with all registrations: their number, its size, and the times until it began and ended."""

    registrations: int
    bytes: int
    first_byte_s: float
    took_s: float


@frozen
class Run:
    """The time to register, the memory per registration, the other results, and the peak of the whole run."""

    filled_s: float
    each_bytes: float
    renewals: Renewals
    apps_ms: Sequence[float]
    lists: Sequence[Listed]
    peak_bytes: int


def list_all(node: Node) -> Listed:
    """List all registrations, and count them."""
    members = size = 0
    tail = b""
    with Connection(node.api) as connection:
        began = time.monotonic()
        connection.send(get("/registrations"))
        status, pieces = connection.begin()
        first_byte_s = time.monotonic() - began
        for piece in pieces:
            seen = tail + piece
            members += seen.count(MEMBER)
            size += len(piece)
            tail = seen[1 - len(MEMBER) :]
        took_s = time.monotonic() - began
    if status != 200:
        raise SystemExit(f"The request for all registrations was answered {status}.")
    return Listed(members, size, first_byte_s, took_s)


def list_apps(node: Node, count: int) -> list[float]:
    """List one app after the other; return the time of each answer, in milliseconds."""
    times_ms = []
    with Connection(node.api) as connection:
        for number in range(0, count, max(100, count // ASKS // 100 * 100)):
            began = time.monotonic()
            status, body = connection.ask(get(f"/registrations/app-{number // 100}"))
            times_ms.append((time.monotonic() - began) * 1000)
            if status != 200 or body.count(MEMBER) != min(100, count):
                raise SystemExit(f"The request for an app was answered {status}, with {body.count(MEMBER)} members.")
    return times_ms


def renew_all(node: Node, count: int, seconds: float) -> Renewals:
    """Renew all registrations once, then measure renewals for some seconds."""
    requests = [renew_request(range(i, min(i + BATCH, count))) for i in range(0, count, BATCH)]
    with Connection(node.api) as connection:
        for request in requests:
            status, body = connection.ask(request)
            if status != 200 or b'"unknown":[]' not in body:
                raise SystemExit(f"A renewal was answered {status}: {body[:200]!r}")
    return renew(node, requests, BATCH, seconds)


def measure(count: int, seconds: float, lists: int) -> tuple[Run, dict[str, float]]:
    """Run all measurements; return the results, and the longest turns."""
    turns_ms: dict[str, float] = {}
    with cluster(1, instrumented=True) as (node,):
        time.sleep(SETTLE_S)
        empty_bytes = node.rss_bytes
        node.take_figures()
        filled_s = fill(node, count)
        turns_ms[f"registering {count:,}"] = node.longest_turn_ms()
        if node.registration_count != count:
            raise SystemExit(f"The node lists {node.registration_count:,} registrations, and should list {count:,}.")
        time.sleep(SETTLE_S)
        each_bytes = (node.rss_bytes - empty_bytes) / count
        renewals = renew_all(node, count, seconds)
        turns_ms[f"renewing {count:,}"] = node.longest_turn_ms()
        apps_ms = list_apps(node, count)
        turns_ms[f"listing apps of {count:,}"] = node.longest_turn_ms()
        listed = [list_all(node) for _ in range(lists)]
        turns_ms[f"listing all {count:,}"] = node.longest_turn_ms()
        return Run(filled_s, each_bytes, renewals, apps_ms, listed, node.rss_bytes_max), turns_ms


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--registrations", type=int, default=1_000_000, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of renewing (default: %(default)s)")
    options = parser.parse_args()
    count = options.registrations
    run, turns_ms = measure(count, options.seconds, options.repetitions)
    rows = [
        ["bytes of memory for each", f"{run.each_bytes:,.0f}"],
        ["MiB of the node at most, its answers included", f"{run.peak_bytes / 2**20:,.0f}"],
        ["registrations/s, on one connection", f"{count / run.filled_s:,.0f}"],
        [f"renewals/s, {BATCH} in a request", f"{run.renewals.per_s:,.0f}"],
        ["ms for one app, median", f"{percentile(run.apps_ms, 50):,.2f}"],
        ["ms for one app, worst percent", f"{percentile(run.apps_ms, 99):,.2f}"],
        ["MB in a list of all", f"{run.lists[0].bytes / 1e6:,.0f}"],
        ["s until a list of all begins", spread([each.first_byte_s for each in run.lists])],
        ["s until a list of all is there", spread([each.took_s for each in run.lists])],
    ]
    print_table(f"{count:,} registrations on one node", ["", "median"], rows)
    targets = [
        Target(f"memory for one of {count:,}", [run.each_bytes], "bytes", most=TARGET_BYTES),
        Target(f"registrations in a list of all {count:,}", [each.registrations for each in run.lists], least=count),
        Target(f"renewals/s in batches, {count:,} registrations", [run.renewals.per_s], least=TARGET_RENEWALS_PER_S),
    ]
    write("million", options.json, {"registrations": count, "run": run}, targets, turns_ms)


if __name__ == "__main__":
    main()
