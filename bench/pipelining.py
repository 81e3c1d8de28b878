"""How a node serves others while two clients pipeline requests, or lines, as fast as they can.

A node with nearly 5,000 registrations. Two connections of another process send the same request over and over, 64 KiB
at a time, and read what comes back; with each kind of request for some seconds. Meanwhile one client renews 20
instances whose ttl is the shortest, one after the other on a connection of its own, and notes how long each answer
takes. The node is instrumented: no turn of its reactor may be long. In the end all instances must still be listed. The
three processes share the machine, so the times of the renewing client include its waits for a processor.
"""

from __future__ import annotations

import multiprocessing
import select
import socket
import time
from collections.abc import Mapping

from attrs import frozen

from bench.figures import Target, arguments, percentile, print_table, write
from bench.nodes import LOOPBACK, Connection, Node, cluster, fill, get, id_of, post, register_request, renew_request

#: Together with `RENEWED` just below the number above which a list is not of one instant.
REGISTRATIONS = 4_900
ATTACKERS = 2
SENT_BYTES = 64 * 1024

#: Instances that are renewed, and their ttl in seconds; all of them are renewed in a quarter of it.
RENEWED = 20
TTL_S = 4.0
APART_S = 0.01

TARGET_TURN_MS = 50.0
TARGET_P99_MS = 100.0


def get_gzip(path: str) -> bytes:
    return get(path).replace(b"\r\n\r\n", b"\r\nAccept-Encoding: gzip\r\n\r\n")


#: The pipelined requests to the port of the API, by name.
REQUESTS = {
    "filtered lists": get("/registrations?meta.zone=x"),
    "filtered lists, all": get("/registrations?meta.zone=a"),
    "lists": get("/registrations"),
    "lists, gzip": get_gzip("/registrations"),
    "members": get("/backends/fixed/members"),
    "not found": get("/nothing"),
    "no HTTP": b"GET /ready HTTP/1.1\n\n",
    "status": get("/status"),
    "registrations": register_request(0, 3600.0),
    "renewals, 1,000 each": renew_request(range(1000)),
    "snapshots": get("/events?snapshot=true"),
}

#: The pipelined lines to the port of the events, by name.
LINES = {
    "lines: subscriptions": b'{"subscribe": {"app": "app-1"}}\n',
    "lines: snapshots": b'{"subscribe": {"snapshot": true}}\n',
    "lines: empty": b"\n",
    "lines: renewals": b'{"renew": ["registration/a/1/h/1"]}\n',
}


@frozen
class Run:
    """The results of one kind of request: times of renewals and turns in ms, and the bytes that were pipelined."""

    p50_ms: float
    p99_ms: float
    most_ms: float
    turn_ms: float
    renewals: int
    sent_bytes: int


def attack(port: int, request: bytes, seconds: float, result: multiprocessing.Queue[int]) -> None:
    """Send as much as a node accepts, and read its answers."""
    sent_at_once = request * max(1, SENT_BYTES // len(request))
    connections = [socket.create_connection((LOOPBACK, port)) for _ in range(ATTACKERS)]
    unsent = dict.fromkeys(connections, b"")
    for connection in connections:
        connection.setblocking(False)
    sent_bytes = 0
    until = time.monotonic() + seconds
    while unsent and time.monotonic() < until:
        readable, writable, _ = select.select(list(unsent), list(unsent), [], 0.1)
        for connection in readable:
            if not connection.recv(1 << 20):
                del unsent[connection]
        for connection in writable:
            if connection in unsent:
                unsent[connection] = unsent[connection] or sent_at_once
                sent = connection.send(unsent[connection])
                sent_bytes += sent
                unsent[connection] = unsent[connection][sent:]
    result.put(sent_bytes)


def renew(node: Node, seconds: float) -> list[float]:
    """Renew the instances in turn; return the time of each answer in seconds."""
    took: list[float] = []
    numbers = range(REGISTRATIONS, REGISTRATIONS + RENEWED)
    requests = [register_request(number, TTL_S) for number in numbers]
    with Connection(node.api) as connection:
        until = time.monotonic() + seconds
        while (began := time.monotonic()) < until:
            status, body = connection.ask(requests[len(took) % RENEWED])
            took.append(time.monotonic() - began)
            if status != 200:
                raise SystemExit(f"A renewal was answered {status}: {body[:200]!r}")
            time.sleep(max(0.0, APART_S - took[-1]))
    return took


def measure(node: Node, port: int, request: bytes, seconds: float) -> Run:
    """Measure one kind of request."""
    with Connection(node.api) as connection:
        connection.ask_all(
            [register_request(number, TTL_S) for number in range(REGISTRATIONS, REGISTRATIONS + RENEWED)]
        )
    result: multiprocessing.Queue[int] = multiprocessing.Queue()
    attacker = multiprocessing.Process(target=attack, args=(port, request, seconds, result))
    node.take_figures()
    attacker.start()
    took = renew(node, seconds)
    sent_bytes = result.get(timeout=30)
    attacker.join()
    turn_ms = node.longest_turn_ms()
    require_all(node)
    ms = [1000 * each for each in took]
    return Run(percentile(ms, 50), percentile(ms, 99), max(ms), turn_ms, len(ms), sent_bytes)


def require_all(node: Node) -> None:
    """Fail if an instance that was renewed has expired."""
    expected = {id_of(number) for number in range(REGISTRATIONS, REGISTRATIONS + RENEWED)}
    with Connection(node.api) as connection:
        for id_ in expected:
            status, _ = connection.ask(get(f"/registrations/{id_.partition('/')[2]}"))
            if status != 200:
                raise SystemExit(f"{id_} is not listed any more, although it was renewed.")


def measure_all(seconds: float, kinds: Mapping[str, bytes]) -> dict[str, Run]:
    """Measure these kinds of requests, on one node."""
    runs: dict[str, Run] = {}
    with cluster(1, instrumented=True) as (node,):
        fill(node, REGISTRATIONS)
        with Connection(node.api) as connection:
            backend = {"name": "fixed", "app": "app-1", "version": "1.2.0", "servers": ["10.9.9.9:80"]}
            connection.ask_all([post("/backends", backend)])
        for kind, request in kinds.items():
            runs[kind] = measure(node, node.events if kind in LINES else node.api, request, seconds)
    return runs


def main() -> None:
    kinds = REQUESTS | LINES
    parser = arguments(__doc__)
    parser.set_defaults(repetitions=1)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each kind of request (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=[*kinds], metavar="KIND", help=f"of: {', '.join(kinds)}")
    options = parser.parse_args()
    chosen = {kind: request for kind, request in kinds.items() if not options.only or kind in options.only}
    repeated = [measure_all(options.seconds, chosen) for _ in range(options.repetitions)]
    worst = {kind: max((runs[kind] for runs in repeated), key=lambda run: run.p99_ms) for kind in chosen}
    rows = [
        [
            kind,
            *(f"{value:,.1f}" for value in (run.p50_ms, run.p99_ms, run.most_ms, run.turn_ms)),
            f"{run.sent_bytes:,}",
        ]
        for kind, run in worst.items()
    ]
    title = f"Renewals of others while {ATTACKERS} clients pipeline, {REGISTRATIONS:,} registrations; in ms"
    print_table(title, ["what is pipelined", "p50", "p99", "most", "longest turn", "bytes"], rows)
    turns_ms = [max(run.turn_ms for run in runs.values()) for runs in repeated]
    targets = [
        Target("pipelining: longest turn", turns_ms, "ms", most=TARGET_TURN_MS),
        Target(
            "pipelining: renewals of others, p99",
            [max(run.p99_ms for run in runs.values()) for runs in repeated],
            "ms",
            most=TARGET_P99_MS,
        ),
    ]
    write("pipelining", options.json, {"runs": repeated}, targets, {"pipelining": max(turns_ms)})


if __name__ == "__main__":
    main()
