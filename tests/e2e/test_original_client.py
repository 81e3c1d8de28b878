"""`bender-api` 0.2, the published client of the original bender, works unchanged, with all its calls.

The tests run on the JavaScript runtime of its time (`make test-deps` sets up both), and on the machine's runtime.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.e2e.instances import INTERVAL_S, TTL_S
from tests.e2e.javascript import MODULES, RUNTIMES, runtime
from tests.e2e.nodes import PATIENCE_S, Cluster, Node, pause
from tests.e2e.watching import watching

pytestmark = pytest.mark.outside

TIMING = {"interval": INTERVAL_S, "ttl": TTL_S}


class OriginalClient(ProcessProtocol):
    """The process in which the client runs."""

    transport: IProcessTransport

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()
        self._said = b""
        self._complaints = b""
        self._waiting: list[Deferred[dict[str, Any]]] = []

    async def __call__(self, call: str, *arguments: Any) -> Any:
        """Make a call of its API; return the result, or raise `Refusal` with its error."""
        said: Deferred[dict[str, Any]] = Deferred()
        self._waiting.append(said.addTimeout(PATIENCE_S, reactor))
        self.transport.write(json.dumps({"call": call, "arguments": arguments}).encode() + b"\n")
        answer = await said
        if answer["error"] is not None:
            raise Refusal(answer["error"])
        return answer["result"]

    def outReceived(self, data: bytes) -> None:
        *lines, self._said = (self._said + data).split(b"\n")
        for line in lines:
            self._waiting.pop(0).callback(json.loads(line))

    def errReceived(self, data: bytes) -> None:
        self._complaints += data

    def processEnded(self, reason: Failure) -> None:
        for waiting in self._waiting:
            waiting.errback(AssertionError(f"the client ended: {self._complaints.decode()}"))
        self.ended.callback(None)


class Refusal(Exception):
    """The error that a callback of the client received: its `message`, `code` and `statusCode`."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.code = error["code"]
        self.status = error["statusCode"]


@asynccontextmanager
async def original_client(which: str, nodes: Sequence[Node]) -> AsyncIterator[OriginalClient]:
    """Start a client that knows these nodes."""
    path = runtime(which)
    assert (MODULES / "bender-api").is_dir(), "bender-api is missing: make test-deps"
    script = str(Path(__file__).with_name("original_client.js"))
    client = OriginalClient()
    ports = [str(node.api_port) for node in nodes]
    reactor.spawnProcess(client, path, [path, script, *ports], env={**os.environ, "NODE_PATH": str(MODULES)})
    try:
        yield client
    finally:
        client.transport.loseConnection()
        await client.ended.addTimeout(PATIENCE_S, reactor)


@pytest.mark.parametrize("which", RUNTIMES)
@pytest_twisted.ensureDeferred
async def test_it_keeps_an_instance_registered(cluster: Cluster, which: str) -> None:
    """`startRegistering` uses the nodes in turn, and skips a dead one, until `stopRegistering`."""
    nodes = await cluster(3, **TIMING)
    options = {"app": "web", "version": "1.0", "host": "10.0.0.1", "port": 8080}
    id_ = "registration/web/1.0/10.0.0.1/8080"
    async with watching(nodes[:2]) as watchers, original_client(which, nodes) as client:
        assert await client("getRegistrations") == []
        timer = await client("startRegistering", options, 0.3 * TTL_S * 1000)
        for watcher in watchers:
            await watcher.until_event(id_, "online", "registered")
        await pause(1.5 * TTL_S)
        nodes[2].kill()
        await pause(1.5 * TTL_S)
        for asked in ([], ["web"], ["web", "1.0"]):
            (shown,) = await client("getRegistrations", *asked)
            assert {name: shown[name] for name in options} == options
        assert await client("getRegistrations", "web", "2.0") == []
        for watcher in watchers:
            assert watcher.offline == []
        await client("stopRegistering", timer)
        for watcher in watchers:
            await watcher.until_event(id_, "offline", within_s=2 * TTL_S)
        assert await client("getRegistrations") == []


@pytest.mark.parametrize("which", RUNTIMES)
@pytest_twisted.ensureDeferred
async def test_it_configures(cluster: Cluster, which: str) -> None:
    """Each call goes to the next node, and finds there the object that the previous call wrote at another."""
    nodes = await cluster(3, **TIMING)
    async with watching(nodes) as watchers, original_client(which, nodes) as client:

        async def everywhere(id_: str, event: str) -> None:
            for watcher in watchers:
                await watcher.until_event(id_, event)

        backend = {"name": "site", "app": "web", "version": "1.0"}
        frontend = {"name": "edge", "backend": "site"}
        assert await client("getBackends") == await client("getFrontends") == []
        await client("createBackend", backend)
        created = await client("createFrontend", frontend)
        assert (created["name"], created["location"]) == ("edge", "/frontends/edge")
        await everywhere("backend/site", "created")
        await everywhere("frontend/edge", "created")
        for shown in (await client("getBackend", "site"), *(await client("getBackends"))):
            assert {name: shown[name] for name in backend} == backend
        for shown in (await client("getFrontend", frontend), *(await client("getFrontends"))):
            assert {name: shown[name] for name in frontend} == frontend
        await client("updateBackend", "site", {"version": "2.0"})
        await everywhere("backend/site", "changed")
        assert (await client("getBackend", backend))["version"] == "2.0"
        await client("removeBackend", "site")
        await client("removeFrontend", frontend)
        await everywhere("backend/site", "removed")
        await everywhere("frontend/edge", "removed")
        assert await client("getBackends") == await client("getFrontends") == []


@pytest.mark.parametrize("which", RUNTIMES)
@pytest_twisted.ensureDeferred
async def test_it_understands_refusals(cluster: Cluster, which: str) -> None:
    """The errors of callbacks have the code, the status and the message of the answer."""
    nodes = await cluster(1, **TIMING)
    async with original_client(which, nodes) as client:
        await client("createBackend", {"name": "site", "app": "web", "version": "1.0"})
        for code, status, call, *arguments in [
            ("NOT_FOUND", 404, "getBackend", "other"),
            ("NOT_FOUND", 404, "removeFrontend", "other"),
            ("CONFLICT", 409, "createBackend", {"name": "site", "app": "web", "version": "1.0"}),
            ("INVALID", 400, "updateBackend", "other", {"version": "2.0"}),
        ]:
            with pytest.raises(Refusal, match=rf"bender error \({status}\): .+") as refused:
                await client(str(call), *arguments)
            assert (refused.value.code, refused.value.status) == (code, status)
