"""Programs keep their instances registered while their wall clock changes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from pytest_twisted import ensureDeferred

from tests.e2e.nodes import PATIENCE_S, Cluster, Node, pause, until
from tests.e2e.runs import SERVING, Run
from tests.twistd_command import ROOT, environment

#: A ttl, and a longer time after which an unrenewed instance is offline.
TTL_S = 4
EXPIRED_S = 8.0

HOUR_S = 3600

#: Python code that changes the wall clock before other code reads it.
SITE = """
import os, time
real = time.time
def changed():
    with open(os.environ["WALL_CLOCK"]) as file:
        return real() + float(file.read() or 0)
time.time = changed
"""

REGISTRAR = """
import sys
from twisted.internet import reactor
from bender.client import Client, Registrar, parse_nodes

registrar = Registrar(Client(reactor, parse_nodes(sys.argv[1]), shuffle=lambda _: None))
registrar.add("web", "1", "127.0.0.1", int(sys.argv[2]), ttl_s=4)
reactor.callWhenRunning(registrar.startService)
reactor.run()
"""


@define
class Clock:
    """The wall clock of programs that run with these `variables`."""

    folder: Path
    variables: dict[str, str] = field(init=False)

    def python(self) -> Clock:
        """Change the clock by replacing `time.time`, which Twisted uses."""
        site = self.folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(SITE, "utf-8")
        self.variables = {"PYTHONPATH": f"{site}:{ROOT}", "WALL_CLOCK": str(self._file)}
        self.differs(0)
        return self

    def library(self) -> Clock:
        """Change the clock by libfaketime, which replaces the system's wall clock, but not its monotonic clocks."""
        places = [*Path("/usr/lib").glob("*/faketime"), *(ROOT / ".deps/debian/usr/lib").glob("*/faketime")]
        self.variables = {
            "LD_PRELOAD": str(places[0] / "libfaketime.so.1"),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        self.differs(0)
        return self

    @property
    def _file(self) -> Path:
        return self.folder / "clock"

    def differs(self, seconds: int) -> None:
        """Set the difference of the clock from the true time."""
        new = self.folder / "clock.new"
        new.write_text(f"{seconds:+}", "utf-8")
        new.rename(self._file)


@pytest.fixture(params=["python", pytest.param("library", marks=pytest.mark.outside)])
def clock(request: pytest.FixtureRequest, tmp_path: Path) -> Clock:
    made: Clock = getattr(Clock(tmp_path), request.param)()
    return made


@pytest.fixture
def run(cluster: Cluster, tmp_path: Path) -> Iterator[Any]:
    made = Run(tmp_path / "run", [], cluster.ports.take())
    yield made
    made.end()


async def cursor(node: Node) -> str:
    return str((await node.call("GET", "/events")).body["cursor"])


async def told(node: Node, since: str) -> list[tuple[str, str]]:
    events = (await node.call("GET", f"/events?since={since}")).body["events"]
    return [(event["event"], event["reason"]) for event in events]


def started(nodes: str, port: int, clock: Clock) -> subprocess.Popen[bytes]:
    variables = {**environment(), **clock.variables}
    return subprocess.Popen([sys.executable, "-c", REGISTRAR, nodes, str(port)], env=variables)


@ensureDeferred
async def test_a_command_stays_registered(run: Run, clock: Clock, cluster: Cluster) -> None:
    """An instance stays registered if the clock is set back, which would delay wall-clock timers, or forward."""
    (node,) = await cluster(1, interval=0.5, ttl=TTL_S)
    run.nodes = [f"127.0.0.1:{node.api_port}"]
    # The service has the true time, because libfaketime disturbs programs that sleep.
    service = [sys.executable, SERVING, str(run.port), str(run.folder)]
    run.start("env", "-u", "LD_PRELOAD", *service, variables=clock.variables)
    await run.listed(node)
    begin = await cursor(node)
    for seconds in (-HOUR_S, HOUR_S):
        clock.differs(seconds)
        await pause(EXPIRED_S)
        assert await told(node, begin) == [], run.stderr
    run.signal(15)
    await run.ended()
    assert await told(node, begin) == [("offline", "deregistered")]


@pytest.mark.slow  # the test above covers `bender run`
@ensureDeferred
async def test_a_registrar_goes_on_at_another_node(clock: Clock, cluster: Cluster) -> None:
    """A registrar renews, and uses another node in time if a node does not answer."""
    one, other = await cluster(2, interval=0.5, ttl=TTL_S)
    nodes = f"127.0.0.1:{one.api_port},127.0.0.1:{other.api_port}"
    port = cluster.ports.take()
    path = f"/registrations/web/1/127.0.0.1/{port}"
    program = started(nodes, port, clock)
    try:
        for _ in range(int(PATIENCE_S / 0.1)):
            if (await other.call("GET", path)).status == 200:
                break
            await pause(0.1)
        begin = await cursor(other)
        clock.differs(-HOUR_S)
        await pause(EXPIRED_S)
        assert await told(other, begin) == []
        os.kill(one.process.pid, 19)
        await pause(EXPIRED_S)
        assert await told(other, begin) == []
    finally:
        os.kill(one.process.pid, 18)
        program.terminate()
        await until("the program ends", lambda: program.poll() is not None)
