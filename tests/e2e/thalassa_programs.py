"""The published programs of Thalassa, as processes: its client, and Aqueduct with a real HAProxy."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import treq
from attrs import define
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol, connectionDone
from twisted.protocols.portforward import ProxyFactory, ProxyServer
from twisted.python.failure import Failure

from tests.e2e.balancing import Place, Process, haproxy
from tests.e2e.javascript import runtime
from tests.e2e.nodes import PATIENCE_S, until
from tests.twistd_command import ROOT

FOLDER = Path(__file__).parent
MODULES = ROOT / ".deps/thalassa/node_modules"


def thalassa_runtime(which: str) -> str:
    """Return the path of a runtime; if the programs are missing, the test fails."""
    assert (MODULES / "thalassa").is_dir(), "the programs of Thalassa are missing: make test-deps"
    return runtime(which)


class ThalassaClient(ProcessProtocol):
    """The process in which a client runs. `events` are all its events, in the form `online /web/1/host/80`."""

    transport: IProcessTransport

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()
        self.events: list[str] = []
        self.registrations: dict[str, dict[str, Any]] = {}
        self.host = ""
        self._output = b""
        self._complaints = b""
        self._waiting: list[Deferred[dict[str, Any]]] = []

    def call(self, call: str, *arguments: Any) -> None:
        """Make a call of its API that has no answer."""
        self.transport.write(json.dumps({"call": call, "arguments": arguments}).encode() + b"\n")

    async def listed(self, *names: str) -> list[dict[str, Any]]:
        """Return the result of `getRegistrations`."""
        said: Deferred[dict[str, Any]] = Deferred()
        self._waiting.append(said.addTimeout(PATIENCE_S, reactor))
        self.call("getRegistrations", *names)
        answer = await said
        assert answer["error"] is None, answer
        found: list[dict[str, Any]] = answer["result"]
        return found

    async def until_event(self, event: str, count: int = 1) -> None:
        """Wait until the client has emitted this event `count` times."""
        await until(event, lambda: self.events.count(event) >= count, details=lambda: f"{self.events} {self.problems}")

    @property
    def problems(self) -> str:
        return self._complaints.decode()

    def kill(self) -> None:
        self.transport.signalProcess("KILL")

    def outReceived(self, data: bytes) -> None:
        *lines, self._output = (self._output + data).split(b"\n")
        for line in lines:
            document = json.loads(line)
            if "event" in document:
                self._note(document)
            else:
                self._waiting.pop(0).callback(document)

    def _note(self, event: dict[str, Any]) -> None:
        self.events.append(f"{event['event']} {event.get('id', '')}".strip())
        if event["event"] == "started":
            self.host = event["id"]
        if event["event"] == "online":
            self.registrations[event["id"]] = event["registration"]

    def errReceived(self, data: bytes) -> None:
        self._complaints += data

    def processEnded(self, reason: Failure) -> None:
        for waiting in self._waiting:
            waiting.errback(AssertionError(f"the client ended: {self.problems}"))
        self.ended.callback(None)


@asynccontextmanager
async def thalassa_client(
    which: str, ports: tuple[int, int], host: str = "127.0.0.1", update_ms: int = 300, expire_s: float = 1.5
) -> AsyncIterator[ThalassaClient]:
    """Start a client of a node with these ports of --thalassa."""
    path = thalassa_runtime(which)
    client = ThalassaClient()
    arguments = [path, str(FOLDER / "thalassa_client.js"), host, *map(str, (*ports, update_ms, expire_s))]
    reactor.spawnProcess(client, path, arguments, env={**os.environ, "NODE_PATH": str(MODULES)})
    try:
        await until("the client runs", lambda: bool(client.host), details=lambda: client.problems)
        yield client
    finally:
        with suppress(Exception):
            client.transport.loseConnection()
        if not client.ended.called:
            await client.ended.addTimeout(PATIENCE_S, reactor)


class Cable:
    """A connection to a port that can be cut: open connections are closed, and new ones are refused."""

    def __init__(self, port: int, target: int) -> None:
        self._port = port
        self._factory = _Cuttable("127.0.0.1", target)
        self.connect()

    def connect(self) -> None:
        self._listening: Any = reactor.listenTCP(self._port, self._factory, interface="127.0.0.1")  # type: ignore[arg-type]

    async def cut(self) -> None:
        await self._listening.stopListening()
        for server in [*self._factory.servers]:
            server.transport.abortConnection()


class _CuttableServer(ProxyServer):
    factory: _Cuttable
    transport: Any

    def connectionMade(self) -> None:
        self.factory.servers.add(self)
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.servers.discard(self)
        super().connectionLost(reason)


class _Cuttable(ProxyFactory):
    noisy = False
    protocol = _CuttableServer

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.servers: set[_CuttableServer] = set()


#: Aqueduct's own template starts HAProxy as another user, and has statistics at a fixed port. Aqueduct takes a warning
#: of HAProxy for an error, so the template has a log, which is not read.
_TEMPLATE = """global
    log 127.0.0.1 local0
    stats socket {{haproxySocketPath}} level admin
    hard-stop-after 2s
defaults
    log global
    timeout connect 5s
    timeout client 5s
    timeout server 5s
{{#each frontends}}
frontend {{key}}
    {{frontendHelper this}}
{{/each}}
{{#each backends}}
backend {{key}}
    {{backendHelper this}}
{{/each}}
"""


@define(eq=False)
class Aqueduct:
    """Aqueduct with its HAProxy, which it starts and reloads by itself."""

    folder: Path
    port: int
    process: Process

    @classmethod
    async def start(cls, place: Place, http_port: int, events_port: int) -> Aqueduct:
        folder, port = place.folder, place.ports.take()
        (folder / "template").write_text(_TEMPLATE, "utf-8")
        programs = folder / "programs"
        programs.mkdir()
        (programs / "haproxy").write_text(f'#!/bin/sh\nexec {haproxy()} "$@"\n', "utf-8")
        (programs / "haproxy").chmod(0o755)
        options = {
            "host": "127.0.0.1",
            "port": port,
            "thalassaHost": "127.0.0.1",
            "thalassaApiPort": http_port,
            "thalassaPort": events_port,
            "haproxySocketPath": folder / "aqueduct.s",
            "haproxyPidPath": folder / "haproxy.pid",
            "haproxyCfgPath": folder / "haproxy.cfg",
            "templateFile": folder / "template",
            "persistence": folder / "aqueduct.json",
        }
        given = [f"--{name}={value}" for name, value in options.items()]
        variables = [f"PATH={programs}:{os.environ['PATH']}", f"NODE_PATH={MODULES}"]
        script = str(FOLDER / "thalassa_aqueduct.js")
        process = place.start("env", *variables, thalassa_runtime("of its time"), script, *given)
        aqueduct = cls(folder, port, process)
        await until("Aqueduct answers", aqueduct._answers, details=lambda: process.output)
        return aqueduct

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        response = await treq.request(
            method, f"http://127.0.0.1:{self.port}{path}", json=body, persistent=False, timeout=PATIENCE_S
        )
        content = await response.content()
        assert response.code == 200, (method, path, response.code, content, self.process.output)
        return json.loads(content)

    async def members(self) -> list[int]:
        """Return the ports of the members of its backend `live`."""
        return sorted(member["port"] for member in await self.call("GET", "/backends/live/members"))

    async def until_members(self, *ports: int) -> None:
        async def are_these() -> bool:
            return await self.members() == sorted(ports)

        await until(f"the members are {sorted(ports)}", are_these)

    async def until_served(self, *ports: int) -> None:
        """Wait until HAProxy's configuration has these servers, and no others."""
        file = self.folder / "haproxy.cfg"

        def are_these() -> bool:
            lines = [line.split() for line in file.read_text("utf-8").splitlines()] if file.exists() else []
            return sorted(int(words[2].rpartition(":")[2]) for words in lines if words[:1] == ["server"]) == sorted(
                ports
            )

        await until(f"the servers are {sorted(ports)}", are_these)

    async def _answers(self) -> bool:
        with suppress(Exception):
            return isinstance(await self.call("GET", "/backends"), list)
        return False

    def end(self) -> None:
        """End Aqueduct, and each HAProxy that it has started, which is a child neither of the test nor of Aqueduct."""
        self.process.end()
        file = str(self.folder / "haproxy.cfg").encode()
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if file in place.read_bytes().split(b"\0"):
                    os.kill(int(place.parent.name), signal.SIGKILL)
