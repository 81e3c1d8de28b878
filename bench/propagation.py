"""How long a registration takes from the client that makes it to the event on the other nodes, beside the original.

Three nodes on one machine, connected all to all. Every few milliseconds a new instance registers, at each node in its
turn, whether or not earlier answers have come. The figure is the time from just before the request is sent until
the `online` line has arrived from each of the two other nodes. Both systems get the same requests from the same
client, one after the other, several times over. The original has no listener for events: it prints the time of each
one, and a second row has the times until its lines were read.

`bench.storm` does the same with thousands of registrations in a second.
"""

from __future__ import annotations

import gc
import os
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

from attrs import frozen

from bench.figures import Target, arguments, percentile, print_table, spread, write
from bench.nodes import LOOPBACK, PATIENCE_S, Connection, Process, cluster, free_ports, post, processes_in_folder
from bench.peers import original_command
from tests.waiting import holds_within

NODES = 3

#: Connections to each node, used in turn, so that a slow answer does not delay other requests.
CONNECTIONS = 4

#: Seconds at the start of a run that do not count: connections are made, and code runs for the first time.
WARM_UP_S = 1.0

#: The ttl of all registrations, longer than a run by default.
TTL_S = 10

#: The wait for the last events.
LAST_EVENTS_S = 2.0

PERCENTS = (50, 90, 99, 100)

TARGET_P50_TIMES = 1.0
TARGET_P99_TIMES = 0.25
TARGET_P99_MS = 5.0


@frozen
class System:
    """Three running nodes: the ports of their APIs, and the files from which their events are read.

    `parse` returns the registration that came online by a line, and the time that the line states in nanoseconds, 0 for
    none. `turns_ms` returns the longest turn of each node since its last call, if they are instrumented.
    """

    api_ports: Sequence[int]
    event_files: Sequence[int]
    parse: Callable[[bytes], tuple[bytes, int] | None]
    cpu_s: Callable[[], float]
    turns_ms: Callable[[], Sequence[float]] = tuple


@frozen
class Run:
    """The results of one run: latencies by percent, missing events, and the delay of the client.

    `read_at_ms` are the latencies until the line was read, also if the line states the time of the event. The percents
    of a processor are those of the mean node and of the client; `late_ms` is how far the client was behind its own
    schedule in the worst percent of its requests.
    """

    at_ms: dict[int, float]
    read_at_ms: dict[int, float]
    missing: int
    cpu_percent: float
    client_percent: float
    late_ms: float


@contextmanager
def ours(*, instrumented: bool = False) -> Iterator[System]:
    with cluster(NODES, instrumented=instrumented) as nodes:
        listeners = [socket.create_connection((LOOPBACK, node.events)) for node in nodes]
        yield System(
            [node.api for node in nodes],
            [listener.fileno() for listener in listeners],
            _event_of_ours,
            lambda: sum(node.cpu_s for node in nodes),
            lambda: [node.longest_turn_ms() for node in nodes],
        )


def _event_of_ours(line: bytes) -> tuple[bytes, int] | None:
    return (line.partition(b'"id":"')[2].partition(b'"')[0], 0) if b'"online"' in line else None


@contextmanager
def original() -> Iterator[System]:
    ports = free_ports(2 * NODES)
    apis, crdts = ports[:NODES], ports[NODES:]
    with processes_in_folder() as (place, processes):
        reading = []
        for i in range(NODES):
            pipe = place / f"{i}.events"
            os.mkfifo(pipe)
            reading.append(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
            processes.append(Process(original_command(apis[i], crdts[i], TTL_S, crdts[:i]), pipe))
        for port in apis:
            _wait_for(port)
        time.sleep(1.0)  # it does not report when its peers are connected
        yield System(apis, reading, _event_of_the_original, lambda: sum(process.cpu_s for process in processes))


def _event_of_the_original(line: bytes) -> tuple[bytes, int] | None:
    """Return the time in the line. It precedes the writing of the line, so the result favours the original."""
    at_ns, _, key = line.partition(b" ")
    return (key, int(at_ns)) if at_ns.isdigit() else None


def _wait_for(port: int) -> None:
    def listens() -> bool:
        try:
            socket.create_connection((LOOPBACK, port)).close()
        except ConnectionRefusedError:
            return False
        return True

    if not holds_within(PATIENCE_S, listens):
        raise SystemExit("The original does not start.")


class Client:
    """Registers at a steady rate and notes when events are read, all in one thread that waits for all of them."""

    def __init__(self, system: System, rate: float, run_s: float) -> None:
        self._system = system
        self._apart_ns = int(1e9 / rate)
        self._count = int(run_s * rate)
        self._connections = [[Connection(port) for _ in range(CONNECTIONS)] for port in system.api_ports]
        self._files = [*system.event_files, *(each.socket.fileno() for each in chain.from_iterable(self._connections))]
        self._read: dict[int, list[tuple[int, bytes]]] = {events: [] for events in system.event_files}
        self._answers: list[bytes] = []

    def run(self) -> Run:
        """Register all instances, and compare the events."""
        for events in self._system.event_files:
            os.set_blocking(events, False)
        gc.disable()
        cpu_s, own_s, began = self._system.cpu_s(), time.process_time(), time.monotonic()
        due, sent = self._register_all()
        took_s = time.monotonic() - began
        cpu_s, own_s = self._system.cpu_s() - cpu_s, time.process_time() - own_s
        self._read_until(time.monotonic_ns() + int(LAST_EVENTS_S * 1e9))
        gc.enable()
        for connection in chain.from_iterable(self._connections):
            connection.socket.close()
        self._require_success()
        latencies_ms, read_ms, missing = self._compared(sent)
        return Run(
            {percent: percentile(latencies_ms, percent) for percent in PERCENTS},
            {percent: percentile(read_ms, percent) for percent in PERCENTS},
            missing,
            cpu_s / took_s * 100 / NODES,
            own_s / took_s * 100,
            percentile([at - on for at, on in zip(sent, due, strict=True)], 99) / 1e6,
        )

    def _register_all(self) -> tuple[list[int], list[int]]:
        """Return when each instance was due to be registered, and when it was registered."""
        requests = [post(f"/registrations/{_name(number)}") for number in range(self._count)]
        begin = time.monotonic_ns() + 10_000_000
        due = [begin + number * self._apart_ns for number in range(self._count)]
        sent = []
        for number, request in enumerate(requests):
            self._read_until(due[number])
            turn, node = divmod(number, NODES)
            connection = self._connections[node][turn % CONNECTIONS]
            sent.append(time.monotonic_ns())
            connection.send(request)
        return due, sent

    def _read_until(self, until_ns: int) -> None:
        """Read until a time, and at least once, so that input is read also if the client is late."""
        while True:
            left_ns = max(0, until_ns - time.monotonic_ns())
            # Other ways to wait for files have a resolution of whole milliseconds.
            ready, _, _ = select.select(self._files, [], [], left_ns / 1e9)
            for file in ready:
                data = os.read(file, 1 << 18)
                if not data:
                    raise SystemExit("A node closed a connection.")
                if file in self._read:
                    self._read[file].append((time.monotonic_ns(), data))
                else:
                    self._answers.append(data)
            if time.monotonic_ns() >= until_ns:
                return

    def _require_success(self) -> None:
        answers = b"".join(self._answers)
        succeeded = answers.count(b"HTTP/1.1 200")
        if succeeded != self._count:
            raise SystemExit(f"{self._count - succeeded} of {self._count} registrations were not answered 200.")

    def _compared(self, sent: list[int]) -> tuple[list[float], list[float], int]:
        """Return the times until events, the times until their reading, and the number of missing events.

        The warm-up does not count.
        """
        seen = [dict(self._events(self._read[events])) for events in self._system.event_files]
        latencies_ms: list[float] = []
        read_ms: list[float] = []
        missing = 0
        warm = int(WARM_UP_S * 1e9) // self._apart_ns
        for number in range(self._count):
            key = b"registration/" + _name(number).encode()
            for node in range(NODES):
                if node == number % NODES:
                    continue
                if key not in seen[node]:
                    missing += 1
                elif number >= warm:
                    at_ns, read_ns = seen[node][key]
                    latencies_ms.append((at_ns - sent[number]) / 1e6)
                    read_ms.append((read_ns - sent[number]) / 1e6)
        if not latencies_ms:
            raise SystemExit("No event was received.")
        return latencies_ms, read_ms, missing

    def _events(self, chunks: list[tuple[int, bytes]]) -> Iterator[tuple[bytes, tuple[int, int]]]:
        """Yield each registration that came online, with the time of the event and that of the end of its line."""
        begun = b""
        for read_ns, data in chunks:
            *lines, begun = (begun + data).split(b"\n")
            for line in lines:
                event = self._system.parse(line)
                if event is not None:
                    yield event[0], (event[1] or read_ns, read_ns)


def _name(number: int) -> str:
    return f"app-{number % 7}/1.2.0/10.{number >> 16}.{number >> 8 & 255}.{number & 255}/8080"


def longest_turn_ms_of_ours(rate: float, run_s: float) -> float:
    """Return the longest turn of any node, in a run of its own."""
    with ours(instrumented=True) as system:
        system.turns_ms()
        Client(system, rate, run_s).run()
        return max(system.turns_ms())


SYSTEMS = {"bender": ours, "original": original}

COLUMNS = ["", "p50", "p99", "max", "missing", "CPU % per node", "CPU % client", "client late ms"]


def row(name: str, runs: Sequence[Run], *, read: bool = False) -> list[str]:
    """Return a row of a table with `COLUMNS`; with `read`, for the times until events were read."""
    latencies = [run.read_at_ms if read else run.at_ms for run in runs]
    return [
        name,
        *(spread([at_ms[percent] for at_ms in latencies]) for percent in (50, 99, 100)),
        str(sum(run.missing for run in runs)),
        spread([run.cpu_percent for run in runs], 0),
        spread([run.client_percent for run in runs], 0),
        spread([run.late_ms for run in runs]),
    ]


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
    title = f"Registration to event elsewhere in ms, {NODES} nodes, {options.rate:g}/s, median of {options.repetitions}"
    rows = [row(name, done) for name, done in runs.items()]
    rows += [row("original, until read", runs["original"], read=True)] if "original" in runs else []
    print_table(title, COLUMNS, rows)
    figures = {"rate": options.rate, "seconds": options.seconds, "runs": runs}
    turns_ms = {f"{options.rate:g} registrations/s": longest_turn_ms_of_ours(options.rate, options.seconds)}
    write("propagation", options.json, figures, _targets(runs, options), turns_ms)


def _targets(runs: dict[str, list[Run]], options: Any) -> list[Target]:
    what = f"register to event elsewhere, {options.rate:g}/s:"
    targets = [Target(f"{what} p99", [run.at_ms[99] for run in runs["bender"]], "ms", most=TARGET_P99_MS)]
    if not options.alone:
        for percent, times in ((50, TARGET_P50_TIMES), (99, TARGET_P99_TIMES)):
            pairs = zip(runs["bender"], runs["original"], strict=True)
            ratios = [our.at_ms[percent] / their.at_ms[percent] for our, their in pairs]
            targets.append(Target(f"{what} p{percent}, in terms of original", ratios, "times", most=times))
    return targets


if __name__ == "__main__":
    main()
