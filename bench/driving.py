"""How soon HAProxy is as bender says, and what its driver costs, while members come, go and change their weights.

One node, one HAProxy with its driver, 50 backends of ten members each. A hundred times a second, evenly spread, a
member of one of them registers, is deregistered, or gets another weight. From the moment before that is asked for,
HAProxy is asked again and again how the servers of that backend are, until it is so: each figure is of the whole way,
with half of the time between two such looks.
"""

from __future__ import annotations

import random
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import local
from typing import Any

from attrs import frozen

from bench.figures import Target, arguments, percentile, print_table, spread, write
from bench.nodes import LOOPBACK, PATIENCE_S, Connection, Node, Process, free_ports, place_for_processes, post
from bench.peers import haproxy

BACKENDS = 50
MEMBERS = 10
CHANGES_PER_S = 100

#: Changes that are waited for at the same time.
WAITED_FOR_MAX = 16

#: Between two looks at HAProxy.
LOOK_S = 0.001

TTL_S = 3600

TARGET_P99_MS = 50.0


@frozen
class Run:
    """Of one run: the delays, and what part of a processor each program took meanwhile."""

    delays_ms: Sequence[float]
    driver_cpu_percent: float
    haproxy_cpu_percent: float
    node_cpu_percent: float


class Driver(Process):
    """`twistd bender-haproxy --run`."""

    def __init__(self, place: Path, node: Node) -> None:
        self.socket = place / "s"
        self.output = place / "haproxy.cfg"
        twistd = Path(sys.executable).with_name("twistd")
        command = [str(twistd), "--nodaemon", "--pidfile=", "bender-haproxy", f"--bender={LOOPBACK}:{node.api}"]
        command += [f"--output={self.output}", f"--socket={self.socket}", f"--run={haproxy()}"]
        super().__init__(command, place / "driver.log")

    def say(self, command: str) -> str:
        """What HAProxy answers."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_S)
            connection.connect(str(self.socket))
            connection.sendall(command.encode() + b"\n")
            answer = b""
            while received := connection.recv(65_536):
                answer += received
        return answer.decode()

    def servers(self, backend: str) -> dict[int, int]:
        """The weights of a backend's servers that take requests, by their ports."""
        first, *lines = self.say(f"show servers state {backend}").splitlines()[1:]
        names = first.removeprefix("# ").split()
        rows = [dict(zip(names, line.split(), strict=True)) for line in lines if line]
        return {int(row["srv_port"]): int(row["srv_uweight"]) for row in rows if row["srv_admin_state"] == "0"}

    def wait_for(self, what: str, true: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            self.require_running()
            try:
                if true():
                    return
            except (OSError, ValueError, KeyError):
                pass
            time.sleep(LOOK_S)
        raise SystemExit(f"HAProxy was not as it should be: {what}. The driver said:\n{self.log.read_text()}")

    @property
    def haproxy_cpu_s(self) -> float:
        pid = re.search(r"^Pid: (\d+)$", self.say("show info"), re.MULTILINE)
        assert pid, "HAProxy says it always"
        fields = Path(f"/proc/{pid[1]}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


@frozen
class Change:
    """What is asked of the node, and what HAProxy's servers are to be because of it."""

    backend: int
    request: bytes
    port: int
    weight: int | None


class Changes:
    """Changes of members, one after the other, of which no two that are near in time are about the same member."""

    def __init__(self) -> None:
        self._random = random.Random(1)  # noqa: S311 - nothing secret about it
        self._come: list[tuple[int, int]] = []
        self._port = 20_000
        self._turn = 0

    def first(self) -> Iterator[bytes]:
        """All members that are there from the beginning."""
        for backend in range(BACKENDS):
            for member in range(MEMBERS):
                yield registering(backend, 10_000 + member, 100)

    def next(self) -> Change:
        self._turn += 1
        backend = self._turn % BACKENDS
        kind = self._random.choice(["weight", "weight", "come", "go"])
        if kind == "go" and len(self._come) > BACKENDS:
            backend, port = self._come.pop(0)
            return Change(backend, deregistering(backend, port), port, None)
        if kind == "weight":
            port, weight = 10_000 + self._turn // BACKENDS % MEMBERS, 1 + self._turn % 99
            return Change(backend, registering(backend, port, weight), port, weight)
        self._port += 1
        self._come.append((backend, self._port))
        return Change(backend, registering(backend, self._port, 50), self._port, 50)


def registering(backend: int, port: int, weight: int) -> bytes:
    return post(f"/registrations/app{backend}/1/{LOOPBACK}/{port}", {"ttl": TTL_S, "weight": weight})


def deregistering(backend: int, port: int) -> bytes:
    return f"DELETE /registrations/app{backend}/1/{LOOPBACK}/{port} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


@contextmanager
def driven() -> Iterator[tuple[Node, Driver]]:
    """A node and an HAProxy with all of its members."""
    with place_for_processes() as (place, processes):
        node = Node(place)
        processes.append(node)
        node.wait_until_ready()
        with Connection(node.api) as connection:
            for request in Changes().first():
                connection.ask(request)
            for backend in range(BACKENDS):
                connection.ask(post("/backends", {"name": f"b{backend}", "app": f"app{backend}", "version": "1"}))
            (entrance,) = free_ports(1)
            frontend = {"name": "www", "backend": "b0", "bind": f"{LOOPBACK}:{entrance}"}
            connection.ask(post("/frontends", frontend))
        driver = Driver(place, node)
        processes.append(driver)
        driver.wait_for("all members", lambda: len(driver.servers(f"b{BACKENDS - 1}")) == MEMBERS)
        yield node, driver


def measure(seconds: float) -> Run:
    with driven() as (node, driver):
        own, changes = local(), Changes()

        def do(change: Change, due_at: float) -> float:
            """Wait until it is time, have it done, and wait until HAProxy has it; how long that took, in ms."""
            time.sleep(max(0.0, due_at - time.monotonic()))
            if not hasattr(own, "connection"):
                own.connection = Connection(node.api)
            began = time.monotonic()
            own.connection.ask(change.request)
            backend = f"b{change.backend}"
            driver.wait_for(str(change), lambda: driver.servers(backend).get(change.port) == change.weight)
            return (time.monotonic() - began) * 1000

        processes: list[Any] = [driver, node]
        before_s = [process.cpu_s for process in processes] + [driver.haproxy_cpu_s]
        began = time.monotonic()
        with ThreadPoolExecutor(WAITED_FOR_MAX) as pool:
            waiting = [
                pool.submit(do, changes.next(), began + number / CHANGES_PER_S)
                for number in range(int(seconds * CHANGES_PER_S))
            ]
            delays_ms = [each.result() for each in waiting]
        took_s = time.monotonic() - began
        after_s = [process.cpu_s for process in processes] + [driver.haproxy_cpu_s]
    parts = [(after - before) / took_s * 100 for after, before in zip(after_s, before_s, strict=True)]
    return Run(delays_ms, driver_cpu_percent=parts[0], node_cpu_percent=parts[1], haproxy_cpu_percent=parts[2])


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of one run (default: %(default)s)")
    options = parser.parse_args()
    runs = [measure(options.seconds) for _ in range(options.repetitions)]
    p99s_ms = [percentile(run.delays_ms, 99) for run in runs]
    row = [
        f"{BACKENDS} backends, {BACKENDS * MEMBERS} members",
        spread([percentile(run.delays_ms, 50) for run in runs], 1),
        spread(p99s_ms, 1),
        spread([max(run.delays_ms) for run in runs], 1),
        spread([run.driver_cpu_percent for run in runs], 1),
        spread([run.haproxy_cpu_percent for run in runs], 1),
        spread([run.node_cpu_percent for run in runs], 1),
    ]
    columns = ["", "p50 ms", "p99 ms", "longest ms", "driver CPU %", "HAProxy CPU %", "node CPU %"]
    print_table(f"{CHANGES_PER_S} changes a second for {options.seconds:g} s", columns, [row])
    targets = [Target("change to HAProxy, p99", p99s_ms, "ms", most=TARGET_P99_MS)]
    write("driving", options.json, {"seconds": options.seconds, "runs": runs}, targets)


if __name__ == "__main__":
    main()
