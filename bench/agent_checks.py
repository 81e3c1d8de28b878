"""What HAProxy's agent-checks cost a node, beside requests for the same registrations.

A client asks about a thousand servers once a second, each time on a new connection, as HAProxy does. The question is a
line to `--agent`, or `GET /registrations/…` to the API. Questions are sent one after the other at even intervals. The
measured value is the processor time of the node. Meanwhile registrations are renewed, to show whether renewals wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from attrs import frozen

from bench.figures import Target, arguments, percentile, print_table, spread, write
from bench.nodes import LOOPBACK, Connection, Node, cluster, connect, fill, free_ports, id_of, path_of, renew_request

#: Checks between two renewals.
RENEW_EVERY = 20

#: Processor time of the node; a client on a busy machine may not ask as often as it should, and HAProxy costs less.
TARGET_US = 300.0

#: A check may cost this part of a request for the same registration, both on a new connection.
TARGET_OF_REQUEST = 0.6


@frozen
class Run:
    """The results for one kind of question: the node's processor time, in all and per question, and renewal times."""

    core_percent: float
    us_each: float
    per_s: float
    renewals_ms: list[float]


def check(port: int, number: int) -> None:
    """Ask about an instance with a line, as HAProxy does."""
    line = id_of(number).removeprefix("registration/")
    if (answer := exchange(port, f"{line}\n".encode())) != b"ready up 100%\n":
        raise SystemExit(f"A check of {line} was answered {answer!r}.")


def request(port: int, number: int) -> None:
    """Ask for an instance over HTTP, on a connection of its own."""
    answer = exchange(port, f"GET {path_of(number)} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n".encode())
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"A request was answered {answer[:100]!r}.")


def exchange(port: int, sent: bytes) -> bytes:
    """Send bytes on a new connection; return all bytes that are received until its end."""
    received = b""
    with connect(port) as connection:
        connection.sendall(sent)
        while piece := connection.recv(1 << 16):
            received += piece
    return received


def measure(node: Node, ask: Callable[[int], None], servers: int, seconds: float) -> Run:
    """Ask for each of the servers once a second, and renew in between."""
    renewals_ms: list[float] = []
    with Connection(node.api) as renewals:
        began, cpu_s = time.monotonic(), node.cpu_s
        for asked in range(int(servers * seconds)):
            time.sleep(max(0.0, began + asked / servers - time.monotonic()))
            ask(asked % servers)
            if asked % RENEW_EVERY == 0:
                sent = time.monotonic()
                renewals.ask(renew_request([asked % servers]))
                renewals_ms.append(1000 * (time.monotonic() - sent))
        took_s, used_s = time.monotonic() - began, node.cpu_s - cpu_s
    count = int(servers * seconds)
    return Run(100 * used_s / took_s, 1e6 * used_s / count, count / took_s, renewals_ms)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--servers", type=int, default=1000, help="asked for once a second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of one run (default: %(default)s)")
    options = parser.parse_args()
    (port,) = free_ports(1)
    with cluster(1, options=[f"--agent=tcp:{port}:interface={LOOPBACK}"]) as (node,):
        fill(node, options.servers)
        asking: dict[str, Callable[[int], None]] = {
            "checks at --agent": lambda number: check(port, number),
            "GET, new connections": lambda number: request(node.api, number),
        }
        runs: dict[str, list[Run]] = {name: [] for name in asking}
        for _ in range(options.repetitions):
            for name, ask in asking.items():
                runs[name].append(measure(node, ask, options.servers, options.seconds))
    rows = [
        [
            name,
            spread([run.per_s for run in of], 0),
            spread([run.core_percent for run in of], 1),
            spread([run.us_each for run in of], 0),
            f"{percentile([each for run in of for each in run.renewals_ms], 99):.2f}",
        ]
        for name, of in runs.items()
    ]
    columns = ["", "asked/s", "core, percent", "each, µs", "renewal, p99 ms"]
    print_table(f"agent-checks of {options.servers:,} servers", columns, rows)
    checks, requests = runs.values()
    targets = [
        Target("a check", [run.us_each for run in checks], "µs", most=TARGET_US),
        Target(
            "a check, part of a request for the same",
            [one.us_each / other.us_each for one, other in zip(checks, requests, strict=True)],
            most=TARGET_OF_REQUEST,
        ),
    ]
    write("agent_checks", options.json, {"servers": options.servers, "runs": runs}, targets)


if __name__ == "__main__":
    main()
