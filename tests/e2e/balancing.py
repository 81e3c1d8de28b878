"""A driver with its HAProxy, and instances behind it, as real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import treq
from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ConnectError

from tests.e2e.forking import Forked, forks
from tests.e2e.nodes import PATIENCE_S, Answer, Node, Ports, until
from tests.twistd_command import ROOT, environment
from tests.waiting import holds_within

#: Options of nodes that react quickly.
NODES = {"ttl": 4, "interval": 0.25}

_P = TypeVar("_P", bound="Process")

SHOP = str(ROOT / "tests/e2e/shop.py")


def ask_haproxy(path: Path | str, command: str) -> str:
    """Return the answer of an HAProxy to a command, at its stats socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(str(path))
        connection.sendall(f"{command}\n".encode())
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer.decode()


def haproxy_servers(path: Path | str, backend: str) -> list[dict[str, str]]:
    """Return the servers of a backend as an HAProxy shows them in its statistics."""
    header, *lines = ask_haproxy(path, "show stat").removeprefix("# ").splitlines()
    rows = [dict(zip(header.split(","), line.split(","), strict=False)) for line in lines if line]
    return [row for row in rows if row["pxname"] == backend and row["svname"] != "BACKEND"]


def haproxy() -> str:
    """Return the path of the machine's HAProxy, or else of the one from `make test-deps`."""
    return shutil.which("haproxy") or str(ROOT / ".deps/debian/haproxy")


@define(eq=False)
class Process:
    """A running program; its output goes to files."""

    name: str
    folder: Path
    process: subprocess.Popen[bytes] | Forked | None = None

    def run(self, *command: str) -> None:
        with (self.folder / f"{self.name}.out").open("ab") as out:
            self.process = subprocess.Popen(command, cwd=self.folder, env=environment(), stdout=out, stderr=out)

    @property
    def output(self) -> str:
        return (self.folder / f"{self.name}.out").read_text("utf-8")

    def signal(self, number: int = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def ended(self) -> None:
        process = self.process
        assert process is not None
        await until(f"{self.name} ends", lambda: process.poll() is not None)

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE_S)


@define(eq=False)
class Instance(Process):
    """An instance that answers with its version and name, registered at a node or not."""

    port: int = 0
    version: str = "1"
    app: str = "web"

    @property
    def path(self) -> str:
        return f"/registrations/{self.app}/{self.version}/127.0.0.1/{self.port}"

    def start(self) -> None:
        self.run(sys.executable, SHOP, str(self.port), f"{self.version}/{self.name}")

    async def register(self, node: Node, **fields: Any) -> None:
        answer = await node.call("POST", self.path, {"ttl": 600, **fields})
        assert answer.status == 200, answer

    async def set_health(self, path: str) -> None:
        """Set the health of the instance by a path, `/ill` or `/well`."""
        response = await treq.post(f"http://127.0.0.1:{self.port}{path}", persistent=False, timeout=PATIENCE_S)
        await response.content()

    async def last_request_s(self) -> float:
        """Return the time of the last request, by the monotonic clock."""
        last: float = (await self._observations())["last"]
        return last

    async def checked_host(self) -> str | None:
        """Return the host that the last health check asked for; None before the first."""
        host: str | None = (await self._observations())["checked_host"]
        return host

    async def _observations(self) -> dict[str, Any]:
        response = await treq.get(f"http://127.0.0.1:{self.port}/seen", persistent=False, timeout=PATIENCE_S)
        seen: dict[str, Any] = json.loads(await response.content())
        return seen


def versions(answers: Mapping[str, int]) -> Counter[str]:
    """Count answers by version."""
    counted: Counter[str] = Counter()
    for name, number in answers.items():
        counted[name.partition("/")[0]] += number
    return counted


@define(eq=False)
class Driver(Process):
    """`twistd bender-haproxy`, with a HAProxy of its own."""

    nodes: Sequence[Node] = ()
    status_port: int = 0
    options: dict[str, Any] = field(factory=dict)

    @property
    def place(self) -> Path:
        return self.folder / f"{self.name}.s"

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.cfg"

    def arguments(self) -> list[str]:
        """Return the arguments after `twistd` and its options for the foreground."""
        options = {
            "output": self.file,
            "socket": self.place,
            "run": haproxy(),
            "name": self.name,
            "status": f"tcp:{self.status_port}:interface=127.0.0.1",
            **self.options,
        }
        flags = [f"--{option}" for option, value in options.items() if value is True]
        given = [f"--{option}={value}" for option, value in options.items() if value not in (True, None)]
        bender = [f"--bender=127.0.0.1:{node.api_port}" for node in self.nodes]
        return ["bender-haproxy", *bender, *given, *flags]

    def start(self) -> None:
        arguments = ["--nodaemon", "--pidfile=", *self.arguments()]
        with (self.folder / f"{self.name}.out").open("ab") as out:
            self.process = forks().start(
                "twistd", arguments, environment(), cwd=self.folder, stdout=out, stderr=subprocess.STDOUT
            )

    async def ready(self) -> None:
        await self.until("ready", lambda status: status["ready"] and status["haproxy"]["settled"])

    async def status(self) -> dict[str, Any]:
        status: dict[str, Any] = (await self.call("/")).body
        return status

    async def call(self, path: str, method: str = "GET") -> Answer:
        url = f"http://127.0.0.1:{self.status_port}{path}"
        response = await treq.request(method, url, persistent=False, timeout=PATIENCE_S)
        content = await response.content()
        return Answer(response.code, json.loads(content) if content else None)

    async def until(self, what: str, true: Any, within_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until a condition holds for the driver's status, and return the status."""
        status: dict[str, Any] = {}

        async def is_met() -> bool:
            nonlocal status
            assert self.process is not None
            assert self.process.poll() is None, f"{self.name} ended: {self.output}"
            with suppress(ConnectError):
                status = await self.status()
            return bool(status and true(status))

        await until(f"{self.name} is {what}", is_met, within_s, lambda: f"{status} {self.output}")
        return status

    def ask(self, command: str, suffix: str = "") -> str:
        """Return HAProxy's answer to a command."""
        return ask_haproxy(f"{self.place}{suffix}", command)

    def servers(self, pool: str) -> dict[str, tuple[int, int]]:
        """Return admin state and weight of the servers of a pool, by name; empty while HAProxy does not answer."""
        lines: list[list[str]] = []
        with suppress(OSError):
            lines = [line.split() for line in self.ask(f"show servers state {pool}").splitlines()[2:] if line]
        return {words[3]: (int(words[6]), int(words[7])) for words in lines}

    def pids(self) -> list[int]:
        """Return the ids of HAProxy's processes, the master first."""
        with suppress(OSError):
            lines = [line.split() for line in self.ask("show proc", ".master").splitlines()]
            return [int(words[0]) for words in lines if words and words[0].isdigit()]
        return []

    def end(self) -> None:
        super().end()
        # HAProxy does not list its processes while it reloads.
        assert holds_within(PATIENCE_S, lambda: not kill_all(str(self.file))), f"{self.name}: HAProxy does not end"


def kill_all(argument: str) -> list[int]:
    """Kill the processes that have this argument, which is unique to a test, and return their ids."""
    killed = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if argument.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
                killed.append(int(folder.name))
    return killed


@define(eq=False)
class Place:
    """All processes of a test, in one folder; they are ended together."""

    folder: Path
    ports: Ports
    processes: list[Process] = field(factory=list)

    def driver(self, nodes: Sequence[Node], name: str = "edge", **options: Any) -> Driver:
        return self._kept(Driver(name, self.folder, nodes=nodes, status_port=self.ports.take(), options=options))

    async def instance(self, node: Node | None, version: str = "1", app: str = "web", **fields: Any) -> Instance:
        """Start an instance, and register it at the node, if any."""
        name = f"i{len(self.processes)}"
        instance = self._kept(Instance(name, self.folder, port=self.ports.take(), version=version, app=app))
        instance.start()
        await until(f"{name} serves", lambda: _serves(instance.port))
        if node is not None:
            await instance.register(node, **fields)
        return instance

    def start(self, *command: str) -> Process:
        """Start a program."""
        process = self._kept(Process(f"p{len(self.processes)}", self.folder))
        process.run(*command)
        return process

    async def run(self, *command: str) -> None:
        """Run a program to its end."""
        await self.start(*command).ended()

    def _kept(self, process: _P) -> _P:
        self.processes.append(process)
        return process

    def end(self) -> None:
        for process in self.processes:
            process.end()


def _serves(port: int) -> bool:

    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def shop(place: Place, node: Node, version: str = "1", **fields: Any) -> int:
    """Configure the backend `shop` and its frontend; return the frontend's port."""
    port = place.ports.take()
    backend = {"app": "web", "version": version, **fields}
    assert (await node.call("PUT", "/backends/shop", backend)).status == 201
    assert (await node.call("PUT", "/frontends/www", {"backend": "shop", "bind": f"127.0.0.1:{port}"})).status == 201
    return port


async def driven(place: Place, nodes: Sequence[Node], name: str = "edge", **options: Any) -> Driver:
    """Start a driver, with its HAProxy, that follows these nodes."""
    driver = place.driver(nodes, name, **options)
    driver.start()
    await driver.ready()
    return driver


async def together(*coroutines: Any) -> list[Any]:
    """Run these coroutines at the same time, and return their results."""
    results: list[Any] = await gatherResults([Deferred.fromCoroutine(each) for each in coroutines])
    return results


async def instances(place: Place, node: Node, count: int, version: str) -> list[Instance]:
    """Start instances of a version, registered at a node."""
    return await together(*(place.instance(node, version) for _ in range(count)))
