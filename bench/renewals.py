"""How many renewals a node takes per second, 500 in one request, with 100,000 registrations on it.

There is one node. Two clients, each on one connection kept alive, send prepared `POST /renewals`; each sends the next
one when it has its answer, so one request always waits at the node. The clients are one process, whose share of the
time is shown, because it must not limit the figure. The node is instrumented (see
`bench.instrumented`), for a microsecond with each request of 500.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from attrs import frozen

from bench.figures import Target, arguments, print_line, print_table, spread, write
from bench.nodes import Connection, Node, cluster, fill, renew_request

CONNECTIONS = 2

TARGET_PER_S = 500_000


@frozen
class Run:
    """Renewals per second, and the shares of a processor."""

    per_s: float
    node_percent: float
    clients_percent: float


def renew(node: Node, requests: Sequence[bytes], ids: int, seconds: float) -> Run:
    """Renew for some seconds."""
    connections = [Connection(node.api) for _ in range(CONNECTIONS)]
    node_cpu_s, clients_cpu_s, began = node.cpu_s, time.process_time(), time.monotonic()
    for i, connection in enumerate(connections):
        connection.send(requests[i])
    sent = done = 0
    while time.monotonic() < began + seconds:
        connection = connections[sent % CONNECTIONS]
        status, body = connection.receive()
        if status != 200 or b'"unknown":[]' not in body:
            raise SystemExit(f"A renewal was answered {status}: {body[:200]!r}")
        done += ids
        connection.send(requests[(sent + CONNECTIONS) % len(requests)])
        sent += 1
    took_s = time.monotonic() - began
    for connection in connections:
        connection.receive()
        connection.socket.close()
    return Run(
        done / took_s, (node.cpu_s - node_cpu_s) / took_s * 100, (time.process_time() - clients_cpu_s) / took_s * 100
    )


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--registrations", type=int, default=100_000, help="on the node (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=500, help="ids in one request (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one run (default: %(default)s)")
    options = parser.parse_args()
    count, batch = options.registrations, options.batch
    requests = [renew_request(range(i, min(i + batch, count))) for i in range(0, count, batch)]
    with cluster(1, instrumented=True) as (node,):
        filled_s = fill(node, count)
        turns_ms = {f"registering {count:,}": node.longest_turn_ms()}
        renew(node, requests, batch, 1.0)
        runs = [renew(node, requests, batch, options.seconds) for _ in range(options.repetitions)]
        turns_ms["renewing in batches"] = node.longest_turn_ms()
    rows = [
        [
            f"{batch} ids",
            spread([run.per_s for run in runs], 0),
            spread([run.node_percent for run in runs], 0),
            spread([run.clients_percent for run in runs], 0),
        ]
    ]
    title = f"Renewals at one node with {count:,} registrations, median of {options.repetitions} runs"
    print_table(title, ["in one request", "renewals/s", "CPU % node", "CPU % clients"], rows)
    print_line(f"Registering them, one by one on one connection: {count / filled_s:,.0f}/s\n")
    targets = [Target(f"renewals/s in batches of {batch}", [run.per_s for run in runs], least=TARGET_PER_S)]
    figures = {"registrations": count, "batch": batch, "registering_per_s": count / filled_s, "runs": runs}
    write("renewals", options.json, figures, targets, turns_ms)


if __name__ == "__main__":
    main()
