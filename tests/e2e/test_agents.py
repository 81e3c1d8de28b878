"""Agents renew many instances over one connection to `--events`; when the connection ends, their sessions end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest_twisted

from tests.e2e.instances import INTERVAL_S
from tests.e2e.nodes import Cluster, Node, pause, until
from tests.e2e.watching import watching
from tests.e2e.yardsticks import yardstick

INSTANCES = 200
TTL_S = 30.0

# A typical program: it registers each instance, and then renews all of them in one line, until it is killed.
AGENT = """
import json, socket, sys, time
port, instances, ttl, grace = (json.loads(each) for each in sys.argv[1:])
lines = socket.create_connection(("127.0.0.1", port)).makefile("rw")

def tell(**line):
    print(json.dumps(line), file=lines, flush=True)

def answer():
    while True:
        said = json.loads(lines.readline())
        if said["event"] in ("registered", "renewed", "error"):
            return said

tell(subscribe=False)
ids = []
for port in range(1, instances + 1):
    wanted = {"app": "web", "version": "1", "host": "10.0.0.1", "port": port, "ttl": ttl}
    tell(register=wanted, session=True, grace=grace)
    ids.append(answer()["registration"]["id"])
while True:
    tell(renew=ids, session=True, grace=grace)
    print(json.dumps(answer()), flush=True)
    time.sleep(0.3)
"""


@contextmanager
def agent(node: Node, said: Path, grace_s: float) -> Iterator[None]:
    """Start an agent, which is killed at the end; its output goes to a file."""
    arguments = [str(each) for each in (node.events_port, INSTANCES, TTL_S, grace_s)]
    with said.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-c", AGENT, *arguments], stdout=file)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest_twisted.ensureDeferred
async def test_a_killed_agent_is_seen_within_its_grace_and_an_interval(cluster: Cluster, tmp_path: Path) -> None:
    """All nodes report all of the agent's instances as `expired` after the grace, long before their ttl."""
    grace_s = 2.0  # a busy agent may be late by the same time
    nodes = await cluster(3, interval=INTERVAL_S, ttl=TTL_S)
    async with watching(nodes) as watchers, yardstick(nodes) as busy:
        with agent(nodes[0], tmp_path / "said", grace_s):
            for watcher in watchers:
                await watcher.until("all are online", lambda each: len(each.online) == INSTANCES)
            await pause(1)
            assert not any(watcher.offline for watcher in watchers)
        killed_at = time.monotonic()
        answers = (tmp_path / "said").read_text().splitlines()
        assert set(answers) == {f'{{"event": "renewed", "renewed": {INSTANCES}, "unknown": []}}'}
        assert len(answers) >= 2
        for watcher in watchers:
            await watcher.until_lists(set())
            assert {seen.reason for seen in watcher.offline} == {"expired"}
            late_s = [seen.at_s - killed_at for seen in watcher.offline]
            assert min(late_s) >= grace_s - 0.1  # the agent was dead a moment before the test noted the time
            # Intervals are short here; the simulator checks the promised time.
            assert max(late_s) <= grace_s + 3 * INTERVAL_S + busy.slack_s < TTL_S


@pytest_twisted.ensureDeferred
async def test_an_agent_that_comes_back_is_not_missed(cluster: Cluster, tmp_path: Path) -> None:
    """An agent that is restarted within its grace, at another node, keeps its instances: none goes offline."""
    nodes = await cluster(3, interval=INTERVAL_S, ttl=TTL_S)
    async with watching(nodes) as watchers:
        for node in nodes:
            said = tmp_path / node.name
            with agent(node, said, 10.0):
                await until("it renews", lambda said=said: said.read_text().count("renewed") > 1)  # type: ignore[misc]
        await pause(2)
        for watcher in watchers:
            assert (len(watcher.online), watcher.offline) == (INSTANCES, [])
