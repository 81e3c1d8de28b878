"""HAProxy with its driver, as real processes, and instances behind it, each kept registered by `bender run`."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import treq
from attrs import define, field
from twisted.internet.error import ConnectError

from tests.e2e.nodes import LOOK_S, PATIENCE_S, ROOT, Node, Ports, environment, pause, twistd, until
from tests.e2e.runs import bender

SHOP = str(ROOT / "tests/e2e/shop.py")

#: That of the machine, or else what `make test-deps` has set up.
HAPROXY = shutil.which("haproxy") or str(ROOT / ".deps/debian/haproxy")


@define(eq=False)
class Balancer:
    """One HAProxy, started and driven by `twistd bender-haproxy --run`. Options that are None are left out."""

    name: str
    folder: Path
    status_port: int
    nodes: Sequence[Node]
    options: dict[str, str | None]
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def socket(self) -> Path:
        return self.folder / f"{self.name}.sock"

    @property
    def output(self) -> Path:
        return self.folder / f"{self.name}.cfg"

    @property
    def log(self) -> str:
        return (self.folder / f"{self.name}.log").read_text("utf-8")

    def start(self) -> None:
        """Start the driver, without waiting for anything."""
        options = {
            "name": self.name,
            "output": str(self.output),
            "socket": str(self.socket),
            "run": HAPROXY,
            "status": f"tcp:{self.status_port}:interface=127.0.0.1",
            **self.options,
        }
        given = [f"--{option}{f'={value}' if value else ''}" for option, value in options.items() if value is not None]
        given += [f"--bender={node.api_url}" for node in self.nodes]
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*twistd(), "bender-haproxy", *given],
                cwd=self.folder,
                env=environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    async def ready(self, within_s: float = PATIENCE_S) -> None:
        """Wait till HAProxy is as bender says."""
        ends_at = time.monotonic() + within_s
        while not await self._is_ready():
            assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}:\n{self.log}"
            assert time.monotonic() < ends_at, f"{self.name} is not ready within {within_s} s:\n{self.log}"
            await pause(LOOK_S)

    async def _is_ready(self) -> bool:
        try:
            return await self._get("/ready") is not None
        except ConnectError:
            return False

    async def status(self) -> Any:
        """What the driver says of itself."""
        return await self._get("/status")

    async def _get(self, path: str) -> Any:
        url = f"http://127.0.0.1:{self.status_port}{path}"
        response = await treq.get(url, persistent=False, timeout=PATIENCE_S)
        content = await response.content()
        return json.loads(content) if response.code == 200 else None

    def say(self, command: str, *, to_master: bool = False) -> str:
        """What HAProxy answers to a command."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_S)
            connection.connect(f"{self.socket}{'.master' if to_master else ''}")
            connection.sendall(command.encode() + b"\n")
            answer = b""
            while received := connection.recv(65_536):
                answer += received
        return answer.decode()

    @property
    def haproxy(self) -> int:
        """The process that serves."""
        found = re.search(r"^Pid: (\d+)$", self.say("show info"), re.MULTILINE)
        assert found is not None
        return int(found[1])

    @property
    def master(self) -> int:
        """The process that has the one that serves."""
        found = re.search(r"^(\d+) +master ", self.say("show proc", to_master=True), re.MULTILINE)
        assert found is not None
        return int(found[1])

    def servers(self, backend: str) -> dict[int, tuple[int, str]]:
        """Of each server of a backend, by its port: its weight, and its status."""
        first, *lines = self.say("show stat").strip().splitlines()
        names = first.removeprefix("# ").split(",")
        rows = [dict(zip(names, line.split(","), strict=False)) for line in lines]
        found = [row for row in rows if row["pxname"] == backend and row["type"] == "2"]
        return {int(row["addr"].rpartition(":")[2]): (int(row["weight"]), row["status"]) for row in found}

    async def until_serving(self, backend: str, *ports: int, within_s: float = PATIENCE_S) -> None:
        """Wait till these take requests, and no others."""

        def serving() -> bool:
            servers = self.servers(backend).items()
            return {port for port, (weight, status) in servers if weight and status[:2] in ("UP", "no")} == {*ports}

        await until(f"{self.name} sends to {ports}: {self.servers(backend)}", serving, within_s)

    def kill(self) -> None:
        """End the driver, and nothing else, without a warning."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def end(self) -> None:
        """End the driver, and what it has started."""
        if not hasattr(self, "process"):
            return
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)
        with suppress(OSError, AssertionError):
            os.kill(self.master, signal.SIGTERM)


@define(eq=False)
class Instance:
    """`bender run` with a `shop.py` at a port."""

    name: str
    version: str
    port: int
    folder: Path
    nodes: Sequence[Node]
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def path(self) -> str:
        return f"/registrations/web/{self.version}/127.0.0.1/{self.port}"

    @property
    def id(self) -> str:
        return f"registration/web/{self.version}/127.0.0.1/{self.port}"

    def start(self, *options: str) -> None:
        """Start it, without waiting for anything."""
        nodes = ",".join(f"127.0.0.1:{node.api_port}" for node in self.nodes)
        command = [*bender(), "run", "--app=web", f"--version={self.version}", f"--port={self.port}", *options]
        command += ["--host=127.0.0.1", f"--node={nodes}", "--", sys.executable, SHOP, str(self.port), self.name]
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment(), stdout=log, stderr=subprocess.STDOUT
            )

    async def listed(self) -> None:
        """Wait till the first node lists it."""
        ends_at = time.monotonic() + PATIENCE_S
        while (await self.nodes[0].call("GET", self.path)).status != 200:
            assert self.process.poll() is None, (self.folder / f"{self.name}.log").read_text("utf-8")
            assert time.monotonic() < ends_at, f"{self.name} is not listed"
            await pause(LOOK_S)

    async def seen(self) -> Any:
        """How many requests it had, and when the last one came."""
        url = f"http://127.0.0.1:{self.port}/seen"
        response = await treq.get(url, persistent=False, timeout=PATIENCE_S)
        return json.loads(await response.content())

    async def say(self, path: str) -> None:
        """`/ill` or `/well`."""
        response = await treq.post(f"http://127.0.0.1:{self.port}{path}", persistent=False, timeout=PATIENCE_S)
        await response.content()

    async def stop(self) -> None:
        """Let it be deregistered, and end."""
        self.process.terminate()
        await until(f"{self.name} ends", lambda: self.process.poll() is not None)

    def end(self) -> None:
        """End it, however it is."""
        if hasattr(self, "process") and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)


@define(eq=False)
class Site:
    """Nodes, balancers and instances of one test."""

    folder: Path
    ports: Ports
    nodes: list[Node]
    balancers: list[Balancer] = field(factory=list)
    instances: list[Instance] = field(factory=list)

    async def balancer(self, **options: str | None) -> Balancer:
        """A balancer that is ready, called edge-1, edge-2 and so on."""
        name = f"edge-{len(self.balancers) + 1}"
        balancer = Balancer(name, self.folder, self.ports.take(), self.nodes, options)
        self.balancers.append(balancer)
        balancer.start()
        await balancer.ready()
        return balancer

    async def start(self, version: str, count: int) -> list[Instance]:
        """Instances that are listed."""
        started = []
        for _ in range(count):
            name = f"{version}-{len(self.instances) + 1}"
            instance = Instance(name, version, self.ports.take(), self.folder, self.nodes)
            self.instances.append(instance)
            started.append(instance)
            instance.start()
        for instance in started:
            await instance.listed()
        return started

    async def entrance(self, version: str, **backend: Any) -> int:
        """A backend `shop` that a version serves, behind a frontend; returns its port."""
        port = self.ports.take()
        (node, *_) = self.nodes
        assert (await node.call("PUT", "/backends/shop", {"app": "web", "version": version, **backend})).status == 201
        assert (
            await node.call("PUT", "/frontends/www", {"backend": "shop", "bind": f"127.0.0.1:{port}"})
        ).status == 201
        return port

    def end(self) -> None:
        for balancer in self.balancers:
            balancer.end()
        for instance in self.instances:
            instance.end()
