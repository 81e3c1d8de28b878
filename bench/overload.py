"""How a node behaves under ten times the load that it can handle.

The peak for a kind of load is the number of answers per second to 32 connections that send one request at a time. Then
320 connections send ten requests at a time, without waiting for answers. The first kind of load is renewals and
registrations. The second kind also has lists and explanations, which an overloaded node refuses.

Meanwhile `bender run` runs instances with the shortest ttl, which must stay listed. The results are the successful
answers per second, whether an instance went offline, and the time after the load until a list is as fast as before.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from bench.figures import Target, arguments, percentile, print_table, spread, write
from bench.nodes import (
    LOOPBACK,
    Connection,
    Node,
    cluster,
    free_ports,
    get,
    id_of,
    post,
    processes_in_folder,
    renew_request,
)
from bench.peers import wrk
from bench.registering import AS_PATHS
from tests.twistd_command import ROOT, environment
from tests.waiting import holds_within

#: The connections at the peak, the factor for those in overload, and the requests that each of these sends at a time.
PEAK_CONNECTIONS = 32
TIMES = 10
AT_ONCE = 10

#: The number of registrations in a list; the number of instances that must stay listed, and their ttl.
LISTED = 500
RUNS = 5
TTL_S = 4

#: The number of lists that are timed before the load. `NORMAL_S_MAX` seconds after the load, a list must take at most
#: `NORMAL_TIMES` times the usual time.
LISTS = 20
NORMAL_TIMES = 2.0
NORMAL_S_MAX = 2.0

LEAST_OF_PEAK = 0.7

#: Time limit for the start of processes.
STARTING_S_MAX = 60.0

LIST = get("/registrations/app-9000")


@frozen
class Run:
    """The successful answers per second at the peak and in overload, other answers in overload, and the recovery."""

    peak_per_s: float
    overload_per_s: float
    turned_away_per_s: float
    offline: int
    renewed: int
    normal_after_s: float

    @property
    def ratio_to_peak(self) -> float:
        return self.overload_per_s / self.peak_per_s


def requests_of(kind: str) -> list[bytes]:
    """Return the requests of a kind of load, in their order."""
    changes = [request for number, path in enumerate(AS_PATHS[:500]) for request in (path, renew_request([number]))]
    if kind == "changes":
        return changes
    questions = [LIST, get(f"/explain/{id_of(0)}")]
    return [request for at in range(0, len(changes), 8) for request in (*changes[at : at + 8], questions[at // 8 % 2])]


@contextmanager
def instances(node: Node, place: Path) -> Iterator[list[str]]:
    """Run instances by `bender run`, and yield their ids when all are listed."""
    ports = free_ports(RUNS)
    bender = str(Path(sys.executable).with_name("bender"))
    serving = [sys.executable, "-m", "http.server", "--bind", LOOPBACK]
    processes = []
    try:
        for port in ports:
            command = [bender, "run", "--app=kept", "--version=1", f"--port={port}", f"--host={LOOPBACK}"]
            command += [f"--ttl={TTL_S}", f"--node={LOOPBACK}:{node.api}", "--", *serving, str(port)]
            with (place / f"{port}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(command, stdout=log, stderr=log, env=environment(), cwd=ROOT)  # noqa: S603 - our own words
                )
        ids = [f"registration/kept/1/{LOOPBACK}/{port}" for port in ports]

        def listed() -> bool:
            with Connection(node.api) as connection:
                return len(json.loads(connection.ask(get("/registrations/kept"))[1])) == RUNS

        if not holds_within(STARTING_S_MAX, listed, 0.1):
            raise SystemExit("The instances did not register.")
        yield ids
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def events_of(listener: socket.socket) -> list[dict[str, object]]:
    """Return the received events about the instances."""
    listener.setblocking(False)
    received = b""
    try:
        while piece := listener.recv(1 << 20):
            received += piece
    except BlockingIOError:
        pass
    return [json.loads(line) for line in received.splitlines() if line.startswith(b"{") and line.endswith(b"}")]


def list_s(node: Node) -> float:
    """Return the seconds until a list is complete, on a new connection."""
    began = time.monotonic()
    with Connection(node.api) as connection:
        status, _ = connection.ask(LIST)
    return time.monotonic() - began if status == 200 else float("inf")


def measure(kind: str, seconds: int, place: Path) -> Run:
    """Measure one node: its peak, the overload, and the time after it."""
    requests = requests_of(kind)
    together = [b"".join(requests[at : at + AT_ONCE]) for at in range(0, len(requests), AT_ONCE)]
    with cluster(1) as (node,):
        with Connection(node.api) as connection:
            for number in range(LISTED):
                connection.ask(post(f"/registrations/app-9000/1/10.9.{number // 250}.{number % 250}/80", {"ttl": 3600}))
        peak = wrk(node.api, requests, seconds, connections=PEAK_CONNECTIONS)
        usual_s = percentile([list_s(node) for _ in range(LISTS)], 50)
        with instances(node, place):
            listener = socket.create_connection((LOOPBACK, node.events))
            listener.sendall(b'{"subscribe": {"app": "kept"}}\n')
            before = node.status()["since_start"]
            overload = wrk(node.api, together, seconds, connections=TIMES * PEAK_CONNECTIONS, timeout_s=60)
            ended_at = time.monotonic()
            holds_within(30, lambda: list_s(node) <= max(NORMAL_TIMES * usual_s, 0.01), 0.01)
            normal_after_s = time.monotonic() - ended_at
            time.sleep(TTL_S)  # what was not heard goes offline by then
            offline = [each for each in events_of(listener) if each["event"] == "offline"]
            listener.close()
        after = node.status()["since_start"]
    took_s = overload["duration_us"] / 1e6
    return Run(
        (peak["requests"] - peak["not_2xx"]) / peak["duration_us"] * 1e6,
        (overload["requests"] - overload["not_2xx"]) / took_s,
        (after["turned_away"] - before["turned_away"]) / took_s,
        len(offline),
        RUNS,
        normal_after_s,
    )


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(repetitions=3)
    parser.add_argument("--seconds", type=int, default=10, help="length of one load (default: %(default)s)")
    options = parser.parse_args()
    runs: dict[str, list[Run]] = {"changes": [], "changes and questions": []}
    with processes_in_folder() as (place, _):
        for _ in range(options.repetitions):
            for kind, done in runs.items():
                done.append(measure(kind, options.seconds, place))
    rows = [
        [
            kind,
            spread([run.peak_per_s for run in done], 0),
            spread([run.overload_per_s for run in done], 0),
            spread([run.turned_away_per_s for run in done], 0),
            spread([run.offline for run in done], 0),
            spread([run.normal_after_s for run in done]),
        ]
        for kind, done in runs.items()
    ]
    columns = ["", "peak/s", f"at {TIMES} times/s", "turned away/s", f"offline of {RUNS}", "normal after s"]
    print_table(
        f"A node at {TIMES} times its load, median of {options.repetitions} runs of {options.seconds} s", columns, rows
    )
    targets = [
        target
        for kind, done in runs.items()
        for target in (
            Target(f"{kind}: answered of the peak", [run.ratio_to_peak for run in done], "times", least=LEAST_OF_PEAK),
            Target(f"{kind}: instances lost", [run.offline for run in done], most=0),
            Target(f"{kind}: normal again", [run.normal_after_s for run in done], "s", most=NORMAL_S_MAX),
        )
    ]
    write("overload", options.json, {"seconds": options.seconds, "runs": runs}, targets, {})


if __name__ == "__main__":
    main()
