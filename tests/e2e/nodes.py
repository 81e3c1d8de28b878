"""Nodes as real processes on this machine, each on its own ports. Every wait for them is limited."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from inspect import isawaitable
from pathlib import Path
from typing import Any

import treq
from attrs import define, field, frozen
from twisted.internet import reactor
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent

from tests.e2e.forking import Forked, Forks, forks
from tests.twistd_command import environment, listening_options, twistd

#: The time limit of a process that hangs: no step takes as long, also on a slow and busy machine.
PATIENCE_S = 60.0

#: The pause between two checks of a condition.
LOOK_S = 0.02


async def pause(seconds: float) -> None:
    """Let time pass, in which clients and processes continue."""
    await deferLater(reactor, seconds)


async def until(
    what: str,
    true: Callable[[], bool | Awaitable[bool]],
    within_s: float = PATIENCE_S,
    details: Callable[[], str] = lambda: "",
) -> None:
    """Wait until a condition, which may be a coroutine function, holds.

    Raises `AssertionError` with `what` and the details if it does not in time.
    """
    ends_at = time.monotonic() + within_s
    while not (await found if isawaitable(found := true()) else found):
        assert time.monotonic() < ends_at, f"not within {within_s} s: {what} {details()}"
        await pause(LOOK_S)


async def agreed(nodes: Sequence[Node], within_s: float = PATIENCE_S) -> None:
    """Wait until all nodes have the same state."""

    async def have_same_state() -> bool:
        return len({(await node.call("GET", "/status")).body["digest"] for node in nodes}) == 1

    await until("all nodes have the same state", have_same_state, within_s)


class Ports:
    """Port numbers of 127.0.0.1 that no other test uses, in this process or another.

    They are below those that the system gives to outgoing connections. The first port of each block of a hundred is its
    lock: the process that has bound it may use the others, and the system frees it when the process ends.
    """

    def __init__(self) -> None:
        for start in random.sample(range(20_000, 32_000, 100), 120):
            self._lock = socket.socket()
            try:
                self._lock.bind(("127.0.0.1", start))
            except OSError:
                self._lock.close()
            else:
                self._left = iter(range(start + 1, start + 100))
                return
        raise AssertionError("all blocks of ports are taken")

    def take(self) -> int:
        """Return a port on which no program listens."""
        return next(port for port in self._left if _can_listen(port))

    def close(self) -> None:
        self._lock.close()


def _can_listen(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@frozen
class Answer:
    """The answer of a node: its status and its decoded JSON, None if there was no body."""

    status: int
    body: Any


@define(eq=False)
class Node:
    """A node: its process, and everything that is needed to start it again with the same options.

    `options` are those of the command line, without the dashes; those that are None are left to their defaults, and
    `more` is given as it is. The process is forked, unless there is a `command` to start, or `variables` of its own.
    """

    name: str
    folder: Path
    api_port: int
    exchange_port: int
    events_port: int
    options: dict[str, Any]
    forks: Forks
    command: list[str] | None = None
    variables: dict[str, str] | None = None
    more: list[str] = field(factory=list)
    #: The agent and the token of `call` at a node that uses TLS and requires tokens.
    agent: IAgent | None = None
    token: str | None = None
    process: subprocess.Popen[bytes] | Forked = field(init=False)

    @property
    def api_url(self) -> str:
        return f"http{'s' if self.agent else ''}://127.0.0.1:{self.api_port}"

    @property
    def exchange(self) -> str:
        """Return the address that its peers use."""
        return f"127.0.0.1:{self.exchange_port}"

    @property
    def log(self) -> str:
        return (self.folder / f"{self.name}.log").read_text("utf-8")

    @property
    def stderr(self) -> str:
        return (self.folder / f"{self.name}.stderr").read_text("utf-8")

    def start(self) -> None:
        """Start the process, without a wait."""
        options = {
            "name": self.name,
            **listening_options(self.api_port, self.exchange_port, self.events_port),
            **self.options,
        }
        given = [f"--{option}={value}" for option, value in options.items() if value is not None] + self.more
        with (
            (self.folder / f"{self.name}.log").open("ab") as log,
            (self.folder / f"{self.name}.stderr").open("ab") as stderr,
        ):
            if self.command is None and self.variables is None:
                arguments = ["--nodaemon", "--pidfile=", "bender", *given]
                self.process = self.forks.start(
                    "twistd", arguments, environment(), cwd=self.folder, stdout=log, stderr=stderr
                )
                return
            self.process = subprocess.Popen(
                [*(self.command or [*twistd(), "bender"]), *given],
                cwd=self.folder,
                env=self.variables or environment(),
                stdout=log,
                stderr=stderr,
                # A shell makes its background processes ignore Ctrl-C, and the node would inherit that.
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
            )

    async def ready(self, within_s: float = PATIENCE_S) -> None:
        """Wait until the node is ready. Fails at once if the process ends."""
        await until(f"{self.name} is ready", self._is_ready, within_s)

    async def _is_ready(self) -> bool:
        assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}: {self.stderr}"
        try:
            return (await self.call("GET", "/ready")).status == 200
        except ConnectError:
            return False

    async def call(self, method: str, path: str, body: Any = None, timeout_s: float = PATIENCE_S) -> Answer:
        """Send a request on a new connection, and return the answer."""
        headers = {} if body is None else {"Content-Type": ["application/json"]}
        if self.token is not None:
            headers["Authorization"] = [f"Bearer {self.token}"]
        response = await treq.request(
            method,
            self.api_url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers=Headers(headers) if headers else None,
            persistent=False,
            timeout=timeout_s,
            agent=self.agent,
        )
        content = await response.content()
        return Answer(response.code, json.loads(content) if content else None)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send the process a signal, without a wait."""
        self.process.send_signal(number)

    async def ended(self, within_s: float = PATIENCE_S) -> int:
        """Wait until the process has ended; return its status, negative if a signal ended it."""
        await until(f"{self.name} ends", lambda: self.process.poll() is not None, within_s)
        return self.process.wait()

    async def stop(self) -> int:
        """Stop the node by SIGTERM, so that it leaves the cluster; return its exit status."""
        self.kill(signal.SIGTERM)
        return await self.ended()

    async def restart(self) -> None:
        """Stop the node, unless it has ended, and start it as a new incarnation."""
        if self.process.poll() is None:
            await self.stop()
        self.start()
        await self.ready()


@define(eq=False)
class Cluster:
    """Starts nodes that know each other, and ends them."""

    folder: Path
    ports: Ports = field(factory=Ports)
    nodes: list[Node] = field(factory=list)
    forks: Forks = field(factory=forks)

    async def __call__(self, count: int, **options: Any) -> list[Node]:
        """Start nodes with these options, as peers of each other, and wait until all are ready."""
        return await self.start([self.node(**options) for _ in range(count)])

    async def start(self, nodes: list[Node]) -> list[Node]:
        """Start these nodes as peers of each other, and wait until all are ready."""
        self.launch(nodes)
        for node in nodes:
            await node.ready()
        return nodes

    def launch(self, nodes: list[Node]) -> None:
        """Start these nodes as peers of each other, without a wait."""
        for node in nodes:
            peers = ",".join(peer.exchange for peer in nodes if peer is not node)
            node.options = {"peers": peers or None, **node.options}
            node.start()

    def node(self, **options: Any) -> Node:
        """Make a node without starting it; names are n1, n2 and so on."""
        api, exchange, events = (self.ports.take() for _ in range(3))
        node = Node(f"n{len(self.nodes) + 1}", self.folder, api, exchange, events, options, self.forks)
        self.nodes.append(node)
        return node

    def end(self) -> None:
        """End all processes that are still running."""
        for node in self.nodes:
            if hasattr(node, "process"):
                node.process.kill()
                node.process.wait(PATIENCE_S)
        self.ports.close()


@contextmanager
def ended_cleanly(cluster: Cluster) -> Iterator[Cluster]:
    """End all nodes with the context; `AssertionError` if a node has logged an error, or a token."""
    try:
        yield cluster
    finally:
        cluster.end()
    for node in cluster.nodes:
        if hasattr(node, "process"):
            assert "Traceback" not in node.log, f"{node.name} logged:\n{node.log}"
            assert "secret-of" not in node.log, f"{node.name} logged a token:\n{node.log}"
