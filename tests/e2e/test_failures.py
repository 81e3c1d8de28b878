"""Nodes die, pause and restart, and live instances stay online (promises P2, P3, P4 and P5)."""

from __future__ import annotations

import resource
import select
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest_twisted
from twisted.internet.defer import Deferred

from tests.e2e.instances import INTERVAL_S, TTL_S, Crowd, crowd
from tests.e2e.nodes import Cluster, Node, agreed, pause, until
from tests.e2e.watching import Watcher, watching
from tests.e2e.yardsticks import yardstick

TIMING = {"interval": INTERVAL_S, "ttl": TTL_S}

#: Claims of a node count for this time after its last heartbeat; then registrations without other claims go offline.
HIDDEN_S = TTL_S + 3 * INTERVAL_S


@pytest_twisted.ensureDeferred
async def test_the_death_of_a_node_takes_nobody_offline_but_who_dies_with_it(cluster: Cluster) -> None:
    """When a node dies, clients that fail over stay online; instances that renew nowhere else are hidden in time."""
    nodes = await cluster(3, **TIMING)
    async with watching(nodes[1:]) as watchers, crowd(nodes) as clients, yardstick(nodes[1:]) as busy:
        for _ in range(20):
            await clients.add("web")
        dies_too = await clients.add("dies-too")
        for watcher in watchers:
            await watcher.until_lists(clients.ids)
        await dies_too.die()
        nodes[0].kill()
        killed_at_s = time.monotonic()
        for watcher in watchers:
            gone = await watcher.until_event(dies_too.id, "offline", "node-lost")
            late_s = gone.at_s - killed_at_s - HIDDEN_S
            assert -INTERVAL_S - busy.slack_s <= late_s <= INTERVAL_S + busy.slack_s
        await pause(2 * INTERVAL_S)
        clients.assert_kept_their_side()
        for watcher in watchers:
            assert [seen.id for seen in watcher.offline] == [dies_too.id]


@pytest_twisted.ensureDeferred
async def test_most_of_an_app_that_dies_with_a_node_is_suspect_first(cluster: Cluster) -> None:
    """Under guard, most members of an app are suspects until the guard ends; news of a member applies at once."""
    guard_s = 12 * INTERVAL_S
    nodes = await cluster(3, **TIMING, guard=guard_s)
    lone, *others = nodes
    paths = {f"registration/web/1.0/10.0.0.1/{port}": f"/registrations/web/1.0/10.0.0.1/{port}" for port in range(1, 7)}
    kept, renewed, removed, *lost = paths
    assert (await others[0].call("POST", paths[kept], {"ttl": 600})).status == 200
    async with watching(others) as watchers, yardstick(others) as busy:
        for id_ in (renewed, removed, *lost):
            assert (await lone.call("POST", paths[id_])).status == 200
        for watcher in watchers:
            await watcher.until_lists({*paths})
        lone.kill()
        killed_at_s = time.monotonic()
        for watcher in watchers:
            for id_ in (renewed, removed, *lost):
                suspected = await watcher.until_event(id_, "changed", "node-lost")
                assert suspected.body["suspect"] is True
                late_s = suspected.at_s - killed_at_s - HIDDEN_S
                assert -INTERVAL_S - busy.slack_s <= late_s <= INTERVAL_S + busy.slack_s
        (guarded,) = (await others[0].call("GET", "/status")).body["guarded"]
        assert (guarded["app"], guarded["suspects"]) == ("web", 5)
        assert (await others[0].call("POST", paths[renewed], {"ttl": 600})).status == 200
        assert (await others[1].call("DELETE", paths[removed])).status == 204
        for watcher in watchers:
            assert "suspect" not in (await watcher.until_event(renewed, "changed", "registered")).body
            await watcher.until_event(removed, "offline", "deregistered")
            for id_ in lost:
                gone = await watcher.until_event(id_, "offline", "node-lost")
                late_s = gone.at_s - killed_at_s - HIDDEN_S - guard_s
                assert -INTERVAL_S - busy.slack_s <= late_s <= INTERVAL_S + busy.slack_s
            await watcher.until_lists({renewed, kept})
            assert not watcher.broken


@pytest_twisted.ensureDeferred
async def test_a_node_that_stands_still_misleads_nobody(cluster: Cluster) -> None:
    """If a node pauses for less or more than a ttl, no live instance goes offline, and pending requests are answered.

    The answers show the present state of the cluster, and not the node's state before the pause.
    """
    nodes = await cluster(3, **TIMING)
    async with watching(nodes) as watchers, crowd(nodes) as clients:
        for number in range(30):
            await clients.add("web", first=number % 3)
        await stand_still(nodes, watchers, "short", 0.5 * TTL_S, clients)
        await stand_still(nodes[::-1], watchers, "long", 2 * TTL_S, clients)
        reasons = {
            f"registration/{name}/1.0/10.0.0.1/{port}": reason
            for name in ("short", "long")
            for port, reason in ((1, "deregistered"), (2, "expired"))
        }
        for watcher in watchers:
            for id_, reason in reasons.items():
                await watcher.until_event(id_, "offline", reason)
            assert watcher.online.keys() == clients.ids
            assert {seen.id for seen in watcher.offline} == reasons.keys()
            assert (len(watcher.offline), watcher.resets) == (len(reasons), 0)
        clients.assert_kept_their_side()


async def stand_still(
    nodes: Sequence[Node], watchers: Sequence[Watcher], name: str, for_s: float, clients: Crowd
) -> None:
    """Pause the first node for this time, and send it requests meanwhile.

    The app `name` gets two instances: the one with port 1 is deregistered at another node during the pause, and the one
    with port 2 is registered once, at the paused node.
    """
    stopped, other, _ = nodes
    assert (await stopped.call("POST", f"/registrations/{name}/1.0/10.0.0.1/1")).status == 200
    for watcher in watchers:
        await watcher.until_event(f"registration/{name}/1.0/10.0.0.1/1", "online")
    stopped.kill(signal.SIGSTOP)
    asked = [
        ("PUT", clients.instances[0].path),
        ("PUT", f"/registrations/{name}/1.0/10.0.0.1/1"),
        ("POST", f"/registrations/{name}/1.0/10.0.0.1/2"),
        ("GET", f"/registrations/{name}/1.0/10.0.0.1/1"),
    ]
    answers = [Deferred.fromCoroutine(stopped.call(method, path)) for method, path in asked]
    assert (await other.call("DELETE", f"/registrations/{name}/1.0/10.0.0.1/1")).status == 204
    await pause(for_s)
    stopped.kill(signal.SIGCONT)
    assert [(await answer).status for answer in answers] == [200, 404, 200, 404]
    # Another node may be paused next: it cannot report an instance as expired that it never listed.
    for watcher in watchers:
        await watcher.until_event(f"registration/{name}/1.0/10.0.0.1/2", "online")


@pytest_twisted.ensureDeferred
async def test_restarts_of_all_nodes_one_after_the_other_go_unnoticed(cluster: Cluster) -> None:
    """200 clients and the configuration stay, whether nodes leave or die. A ready node has everything."""
    nodes = await cluster(3, **TIMING)
    names = [f"b{number:02}" for number in range(20)]
    for number, name in enumerate(names):
        wanted = {"name": name, "app": "web", "version": "1.0"}
        assert (await nodes[number % 3].call("POST", "/backends", wanted)).status == 201
    async with watching(nodes) as watchers, crowd(nodes) as clients:
        for number in range(200):
            await clients.add("web", first=number % 3, rotates=number % 4 == 0)
        gone = await clients.add("gone", every_s=0.1 * TTL_S, rotates=True)
        for watcher in watchers:
            await watcher.until_lists(clients.ids)
        names_of_nodes = {node.name for node in nodes}
        await until(
            "it has renewed at each node",
            lambda: {renewal.node for renewal in gone.renewals} == names_of_nodes,
            details=lambda: str(gone.renewals),
        )
        for node, how in [(node, how) for how in (signal.SIGTERM, signal.SIGKILL) for node in nodes]:
            node.kill(how)
            await node.ended()
            node.start()
            await node.ready()
            clients.assert_kept_their_side()
            assert {each["id"] for each in (await node.call("GET", "/registrations")).body} == clients.ids
            assert [each["name"] for each in (await node.call("GET", "/backends")).body] == names
        # The nodes at which it renewed are new incarnations now; nevertheless it goes offline in time.
        await gone.stop()
        await pause(HIDDEN_S + INTERVAL_S)
        clients.assert_kept_their_side()
        for watcher in watchers:
            await watcher.until_lists(clients.ids - {gone.id})
            assert [(seen.id, seen.reason) for seen in watcher.offline] == [(gone.id, "expired")]
            assert watcher.resets == 2


@pytest_twisted.ensureDeferred
async def test_who_was_deregistered_stays_gone_whoever_comes_back(cluster: Cluster) -> None:
    """Neither a node that was dead meanwhile, nor a paused one with a claim, brings the instance back."""
    nodes = await cluster(3, **TIMING)
    present, still, dead = nodes
    path, id_ = "/registrations/web/1.0/10.0.0.1/8080", "registration/web/1.0/10.0.0.1/8080"
    for node in nodes:
        assert (await node.call("POST", path)).status == 200
    async with watching(nodes) as watchers:
        still.kill(signal.SIGSTOP)
        dead.kill()
        await dead.ended()
        assert (await present.call("DELETE", path)).status == 204
        await watchers[0].until_event(id_, "offline", "deregistered")
        dead.start()
        await dead.ready()
        assert (await dead.call("GET", "/registrations")).body == []
        still.kill(signal.SIGCONT)
        assert (await still.call("PUT", path)).status == 404
        await watchers[1].until_event(id_, "offline", "deregistered")
        await agreed(nodes)  # until then a node may list it again
        await pause(2 * INTERVAL_S)
        for node, watcher in zip(nodes, watchers, strict=True):
            await watcher.until_lists(set())
            assert (await node.call("GET", "/registrations")).body == []
            assert [seen.event for seen in watcher.events_of(id_)] == ["online", "offline"]


@pytest_twisted.ensureDeferred
async def test_a_node_without_file_descriptors_serves_those_who_are_connected(cluster: Cluster) -> None:
    """A node without descriptors closes new connections at once, with one line in the log, until others have ended."""
    (node,) = await cluster(1, **TIMING)
    pid = node.process.pid
    open_files = _open_files(pid)
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_files + 10, hard))
    with ExitStack() as connections:

        def connect() -> socket.socket:
            return connections.enter_context(socket.create_connection(("127.0.0.1", node.api_port), 10))

        kept, *others = [connect() for _ in range(100)]
        for _ in range(5):
            kept.sendall(b"GET /ready HTTP/1.1\r\n\r\n")
            assert kept.recv(4096).startswith(b"HTTP/1.1 200")
        await until("most are closed", lambda: 80 <= len(select.select(others, [], [], 0)[0]) < len(others))
    assert node.log.count("No file descriptor is left") == 1
    assert "EMFILE" not in node.log
    await until("connections that have ended are released", lambda: _open_files(pid) <= open_files + 5)
    await node.ready()


def _open_files(pid: int) -> int:
    return len([*Path(f"/proc/{pid}/fd").iterdir()])
