"""The time that a change takes from a client to HAProxy, and the processor time of the driver.

50 backends have 10 members each. Some 100 times a second a member of one of them registers or deregisters, at random:
the time is from just before the request is sent until HAProxy answers that the server is there, or gets no new
requests. HAProxy is asked without pause about the backends with a change under way, so the measured time is a
little longer than the real one.
"""

from __future__ import annotations

import json
import random
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, frozen

from bench.figures import Target, arguments, percentile, print_table, spread, write
from bench.nodes import (
    LOOPBACK,
    PATIENCE_S,
    Connection,
    Node,
    Process,
    delete,
    free_ports,
    get,
    post,
    processes_in_folder,
)
from bench.peers import set_up
from tests.twistd_command import twistd
from tests.waiting import holds_within

BACKENDS = 50
MEMBERS = 10

PER_S = 100

#: Seconds for the driver and HAProxy to settle before the measurement.
WARM_UP_S = 3.0

PERCENTS = (50, 90, 99, 100)

TARGET_P99_MS = 50.0


@frozen
class Run:
    """The results of one run: latencies by percentile, changes, and percent of a processor."""

    at_ms: dict[int, float]
    changes: int
    reloads: int
    driver_percent: float
    node_percent: float
    haproxy_percent: float


class Driver(Process):
    """`twistd bender-haproxy`, with a HAProxy of its own."""

    def __init__(self, place: Path, node: Node, haproxy: str) -> None:
        (self.status_port,) = free_ports(1)
        self.socket = str(place / "haproxy.sock")
        command = [
            *twistd(),
            *("bender-haproxy", f"--bender={LOOPBACK}:{node.api}", f"--run={haproxy}"),
            *(f"--socket={self.socket}", f"--output={place / 'haproxy.cfg'}"),
            f"--status=tcp:{self.status_port}:interface={LOOPBACK}",
        ]
        super().__init__(command, place / "driver.log")

    def status(self) -> Any:
        with Connection(self.status_port) as connection:
            return json.loads(connection.ask(get("/"))[1])

    def wait_until_ready(self) -> None:
        """Wait until HAProxy has the configuration."""
        self.wait_until_answers(self.status_port, get("/ready"), 0.05)
        if not holds_within(PATIENCE_S, lambda: bool(self.status()["haproxy"]["settled"]), 0.05):
            raise SystemExit(f"HAProxy does not get its configuration. The driver's status: {self.status()}")

    def servers(self, backend: str) -> set[str]:
        """Return the servers that get requests."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.socket)
            connection.sendall(f"show servers state {backend}\n".encode())
            answer = b""
            while piece := connection.recv(1 << 16):
                answer += piece
        lines = [line.split() for line in answer.decode().splitlines()[2:] if line]
        return {f"{words[4]}:{words[18]}" for words in lines if words[6] == "0"}

    def haproxy_cpu_s(self) -> float:
        """Return the processor time of the process that serves."""
        fields = Path(f"/proc/{self.status()['haproxy']['pid']}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


@define
class Change:
    """A change under way: a member of a backend registers or deregisters."""

    backend: int
    place: str
    comes: bool
    began_at: float


class Members:
    """The registered members, and a connection to change them."""

    def __init__(self, node: Node) -> None:
        self._connection = Connection(node.api)
        self._random = random.Random(1)  # noqa: S311 - the same changes each time
        self._ports = {backend: [*range(1, MEMBERS + 1)] for backend in range(BACKENDS)}
        self._next = MEMBERS

    def begin(self) -> None:
        for backend, ports in self._ports.items():
            for port in ports:
                self._ask(post(*self._registering(backend, port)))
            self._ask(post("/backends", {"name": f"b{backend}", "app": f"a{backend}", "version": "1"}))

    def change(self) -> Change:
        backend = self._random.randrange(BACKENDS)
        ports = self._ports[backend]
        comes = len(ports) <= MEMBERS - 2 or (len(ports) < MEMBERS + 2 and self._random.random() < 0.5)
        if comes:
            self._next += 1
            port = 1 + self._next % 60_000
            ports.append(port)
            request = post(*self._registering(backend, port))
        else:
            port = ports.pop(self._random.randrange(len(ports)))
            path = f"/registrations/a{backend}/1/{self._host(backend)}/{port}"
            request = delete(path)
        change = Change(backend, f"{self._host(backend)}:{port}", comes, time.monotonic())
        self._ask(request)
        return change

    def close(self) -> None:
        self._connection.socket.close()

    def _registering(self, backend: int, port: int) -> tuple[str, dict[str, Any]]:
        wanted = {"app": f"a{backend}", "version": "1", "host": self._host(backend), "port": port, "ttl": 3600}
        return "/registrations", wanted

    def _host(self, backend: int) -> str:
        return f"127.1.0.{backend + 1}"

    def _ask(self, request: bytes) -> None:
        status, body = self._connection.ask(request)
        if status not in (200, 201, 204):
            raise SystemExit(f"A request was answered {status}: {body!r}")


@contextmanager
def driven() -> Iterator[tuple[Node, Driver, Members]]:
    """Yield a node, a driver with its HAProxy, and all members."""
    haproxy = shutil.which("haproxy") or str(set_up("haproxy") / "haproxy")
    with processes_in_folder() as (place, processes):
        node = Node(place)
        processes.append(node)
        node.wait_until_ready()
        members = Members(node)
        members.begin()
        driver = Driver(place, node, haproxy)
        processes.append(driver)
        driver.wait_until_ready()
        try:
            yield node, driver, members
        finally:
            members.close()


def run(node: Node, driver: Driver, members: Members, seconds: float) -> Run:
    """Make and measure changes for a time."""
    reloads = driver.status()["haproxy"]["reloads"]
    cpu_s = driver.cpu_s, node.cpu_s, driver.haproxy_cpu_s()
    began = time.monotonic()
    latencies: list[float] = []
    under_way: list[Change] = []
    changes = 0
    while (now := time.monotonic()) < began + seconds or under_way:
        if now < began + seconds and now >= began + changes / PER_S:
            under_way.append(members.change())
            changes += 1
        for change in [*under_way]:
            if (change.place in driver.servers(f"b{change.backend}")) == change.comes:
                latencies.append(1000 * (time.monotonic() - change.began_at))
                under_way.remove(change)
        if not under_way:
            time.sleep(0.0005)
        if now > began + seconds + PATIENCE_S:
            raise SystemExit(f"HAProxy does not get the changes {under_way}.")
    took_s = time.monotonic() - began
    after_s = driver.cpu_s, node.cpu_s, driver.haproxy_cpu_s()
    percents = [100 * (after - before) / took_s for before, after in zip(cpu_s, after_s, strict=True)]
    return Run(
        {percent: percentile(latencies, percent) for percent in PERCENTS},
        changes,
        driver.status()["haproxy"]["reloads"] - reloads,
        *percents,
    )


def rows(runs: Sequence[Run]) -> list[list[str]]:
    at = [[f"p{percent}, ms", spread([each.at_ms[percent] for each in runs], 1)] for percent in PERCENTS]
    return [
        *at,
        ["CPU % driver", spread([each.driver_percent for each in runs], 0)],
        ["CPU % node", spread([each.node_percent for each in runs], 0)],
        ["CPU % HAProxy, which is asked all the time", spread([each.haproxy_percent for each in runs], 0)],
        ["reloads", spread([each.reloads for each in runs], 0)],
    ]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each run (default: %(default)s)")
    options = parser.parse_args()
    with driven() as (node, driver, members):
        run(node, driver, members, WARM_UP_S)
        runs = [run(node, driver, members, options.seconds) for _ in range(options.repetitions)]
    title = f"{PER_S} changes a second among {BACKENDS * MEMBERS} members of {BACKENDS} backends"
    print_table(title, ["", "median"], rows(runs))
    targets = [Target("p99 until HAProxy has a change", [each.at_ms[99] for each in runs], "ms", most=TARGET_P99_MS)]
    write("balancing", options.json, {"runs": runs}, targets)


if __name__ == "__main__":
    main()
