"""Operator states of instances, and consumers that apply them, at real nodes."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from tests.e2e.instances import INTERVAL_S, TTL_S
from tests.e2e.nodes import Answer, Cluster, Node, agreed, pause, until
from tests.e2e.watching import Lines, watching

WEB = {"app": "web", "version": "1", "host": "10.0.0.5", "port": 80}
PATH = "/registrations/web/1/10.0.0.5/80"
ID = "registration/web/1/10.0.0.5/80"


def told_to_all(answer: Answer) -> dict[str, list[str]]:
    """Return the applied consumers and nodes of an answer; the nodes are sorted by name."""
    return {**answer.body, "applied": sorted(answer.body["applied"])}


async def state_at(node: Node) -> Any:
    answer = await node.call("GET", PATH)
    return answer.body["state"] if answer.status == 200 else None


@pytest.mark.slow
@ensureDeferred
async def test_a_word_outlives_the_instance_and_all_nodes_but_one(cluster: Cluster) -> None:
    """The state reaches every node at once, survives the restart of two nodes, and ends everywhere at its time."""
    nodes = await cluster(3, interval=INTERVAL_S, ttl=60)
    lasts_s = 12
    async with watching(nodes) as watchers:
        await nodes[0].call("POST", "/registrations", WEB)
        for watcher in watchers:
            await watcher.until_event(ID, "online", "registered")
        said_at = time.monotonic()
        assert (await nodes[1].call("PUT", f"{PATH}/state", {"state": "drain", "for": lasts_s})).status == 200
        for watcher in watchers:
            assert (await watcher.until_event(ID, "changed", "configured")).body["state"] == "drain"

        assert (await nodes[2].call("DELETE", PATH)).status == 204
        assert (await nodes[2].call("POST", "/registrations", WEB)).body["state"] == "drain"
        for node in nodes[:2]:
            node.kill()
        for node in nodes[:2]:
            await node.restart()
        await agreed(nodes)
        assert [await state_at(node) for node in nodes] == ["drain"] * 3
        left = [(await node.call("GET", f"{PATH}/state")).body["left"] for node in nodes]
        elapsed_s = time.monotonic() - said_at
        assert max(left) - min(left) < 1
        assert abs(lasts_s - elapsed_s - max(left)) < 1

        await pause(max(0.0, said_at + lasts_s - 1 - time.monotonic()))
        assert [await state_at(node) for node in nodes] == ["drain"] * 3
        await until("the word is over", lambda: time.monotonic() > said_at + lasts_s + 2 * INTERVAL_S)
        assert [await state_at(node) for node in nodes] == ["up"] * 3
        assert [watcher.broken for watcher in watchers] == [[], [], []]


@ensureDeferred
async def test_who_deregisters_and_waits_waits_for_consumers_of_all_nodes(cluster: Cluster) -> None:
    """The wait includes consumers of other nodes, and ends with their confirmation; a consumer that left is missing."""
    nodes = await cluster(3, interval=INTERVAL_S, ttl=TTL_S)
    await nodes[0].call("POST", "/registrations", WEB)
    await agreed(nodes)
    told: list[dict[str, Any]] = []
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", nodes[2].events_port)
    lines = await connectProtocol(endpoint, Lines(told.append, lambda: None))

    async def confirm(event: str) -> None:
        await until(f"it is told {event}", lambda: any(each["event"] == event for each in told))
        cursor = next(each["cursor"] for each in told if each["event"] == event)
        lines.sendLine(json.dumps({"ack": cursor}).encode())

    lines.sendLine(b'{"subscribe": {"name": "edge-1", "snapshot": true}}')
    await confirm("synced")
    waiting = Deferred.fromCoroutine(nodes[0].call("DELETE", f"{PATH}?wait=10"))
    await until("it is told", lambda: told[-1]["event"] == "offline")
    await pause(0.5)
    assert not waiting.called
    confirmed_at = time.monotonic()
    await confirm("offline")
    answer: Answer = await waiting
    assert told_to_all(answer) == {"applied": ["n1", "n2", "n3"], "consumers": ["edge-1"], "missing": []}
    assert time.monotonic() < confirmed_at + 1

    assert lines.transport is not None
    lines.transport.loseConnection()
    await nodes[0].call("POST", "/registrations", WEB)
    await agreed(nodes)
    answer = await nodes[1].call("DELETE", f"{PATH}?wait=10")
    assert told_to_all(answer) == {"applied": ["n1", "n2", "n3"], "consumers": [], "missing": ["edge-1"]}
