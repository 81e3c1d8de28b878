"""Nodes die, stand still and come back, and whoever is alive stays online (promises P2, P3, P4 and P5)."""

from __future__ import annotations

import signal
import time

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.e2e.instances import EVERY_S, INTERVAL_S, TTL_S, crowd
from tests.e2e.nodes import Cluster, pause
from tests.e2e.watching import watching

TIMING = {"interval": INTERVAL_S, "ttl": TTL_S}

#: Claims of a node count for so long after its last heartbeat: what depends on it goes offline then.
HIDDEN_S = TTL_S + 3 * INTERVAL_S


@pytest_twisted.ensureDeferred
async def test_the_death_of_a_node_takes_nobody_offline_but_who_dies_with_it(cluster: Cluster) -> None:
    """Clients that fail over stay online on the others. Who was renewed nowhere else is hidden in time."""
    nodes = await cluster(3, **TIMING)
    async with watching(nodes[1:]) as watchers, crowd(nodes) as clients:
        for _ in range(20):
            await clients.add("web")
        dies_too = await clients.add("dies-too")
        for watcher in watchers:
            await watcher.until_lists(clients.ids)
        await dies_too.die()
        nodes[0].kill()
        killed_at_s = time.monotonic()
        for watcher in watchers:
            gone = await watcher.until_said(dies_too.id, "offline", "node-lost")
            assert HIDDEN_S - INTERVAL_S <= gone.at_s - killed_at_s <= HIDDEN_S + INTERVAL_S
        await pause(2 * INTERVAL_S)
        clients.assert_kept_their_side()
        for watcher in watchers:
            assert [seen.id for seen in watcher.offline] == [dies_too.id]


@pytest.mark.parametrize("part", [0.5, 2.0])
@pytest_twisted.ensureDeferred
async def test_a_node_that_stands_still_misleads_nobody(cluster: Cluster, part: float) -> None:
    """Shorter or longer than a ttl: nothing alive goes offline anywhere, and what was asked meanwhile is answered well.

    That is, by what has become true in the cluster, and not by what the node knew when it stopped.
    """
    nodes = await cluster(3, **TIMING)
    stopped, other, _ = nodes
    async with watching(nodes) as watchers, crowd(nodes) as clients:
        for number in range(30):
            await clients.add("web", first=number % 3)
        removed = (await stopped.call("POST", "/registrations/removed/1.0/10.0.0.1/1")).body["id"]
        for watcher in watchers:
            await watcher.until_lists({*clients.ids, removed})

        stopped.kill(signal.SIGSTOP)
        path = f"/{clients.instances[0].path.lstrip('/')}"
        queued = [
            Deferred.fromCoroutine(stopped.call(*each))
            for each in [
                ("PUT", path),
                ("PUT", "/registrations/removed/1.0/10.0.0.1/1"),
                ("POST", "/registrations/new/1.0/10.0.0.1/1"),
                ("GET", "/registrations/removed"),
            ]
        ]
        assert (await other.call("DELETE", "/registrations/removed/1.0/10.0.0.1/1")).status == 204
        await pause(part * TTL_S)
        stopped.kill(signal.SIGCONT)

        assert [(await answer).status for answer in queued] == [200, 404, 200, 200]
        assert (await queued[3]).body == []
        for watcher in watchers:
            await watcher.until_said(removed, "offline", "deregistered")
            await watcher.until_said("registration/new/1.0/10.0.0.1/1", "offline", "expired")
        clients.assert_kept_their_side()
        for watcher in watchers:
            assert watcher.online.keys() == clients.ids
            assert {seen.id for seen in watcher.offline} == {removed, "registration/new/1.0/10.0.0.1/1"}
            assert watcher.resets == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest_twisted.ensureDeferred
async def test_restarts_of_all_nodes_one_after_the_other_go_unnoticed(cluster: Cluster, how: signal.Signals) -> None:
    """200 clients and the configuration stay. Each node knows all of them again as soon as it is ready."""
    nodes = await cluster(3, **TIMING)
    backends = [{"name": f"b{number}", "app": "web", "version": "1.0"} for number in range(20)]
    for number, backend in enumerate(backends):
        assert (await nodes[number % 3].call("POST", "/backends", backend)).status == 201
    async with watching(nodes) as watchers, crowd(nodes) as clients:
        for number in range(200):
            await clients.add("web", first=number % 3)
        for watcher in watchers:
            await watcher.until_lists(clients.ids)
        t0=time.monotonic()
        def say(*x): print(f"{time.monotonic()-t0:.3f}", *x)
        say("all online")
        for node in nodes:
            node.kill(how)
            await node.ended()
            say("ended")
            node.start()
            await node.ready()
            say("ready")
            clients.assert_kept_their_side()
            listed = (await node.call("GET", "/registrations")).body
            assert {registration["id"] for registration in listed} == clients.ids
            assert [backend["name"] for backend in (await node.call("GET", "/backends")).body] == sorted(
                backend["name"] for backend in backends
            )
        await pause(HIDDEN_S + INTERVAL_S)
        clients.assert_kept_their_side()
        for watcher in watchers:
            await watcher.until_lists(clients.ids)
            assert watcher.offline == []
            assert watcher.resets == 1


@pytest_twisted.ensureDeferred
async def test_who_was_deregistered_stays_gone_whoever_comes_back(cluster: Cluster) -> None:
    """Neither a node that was dead meanwhile brings it back, nor one that stood still and has a claim of it."""
    nodes = await cluster(3, **TIMING)
    present, still, dead = nodes
    path = "/registrations/web/1.0/10.0.0.1/8080"
    for node in nodes:
        assert (await node.call("POST", path)).status == 200
    id_ = "registration/web/1.0/10.0.0.1/8080"
    async with watching(nodes) as watchers:
        still.kill(signal.SIGSTOP)
        dead.kill()
        await dead.ended()
        assert (await present.call("DELETE", path)).status == 204
        await watchers[0].until_said(id_, "offline", "deregistered")
        dead.start()
        await dead.ready()
        assert (await dead.call("GET", "/registrations")).body == []
        still.kill(signal.SIGCONT)
        assert (await still.call("PUT", path)).status == 404
        await watchers[1].until_said(id_, "offline", "deregistered")
        await pause(TTL_S + EVERY_S)
        for node, watcher in zip(nodes, watchers, strict=True):
            await watcher.until_lists(set())
            assert (await node.call("GET", "/registrations")).body == []
            assert [seen.event for seen in watcher.of(id_)] == ["online", "offline"]


@pytest_twisted.ensureDeferred
async def test_who_stops_after_restarts_has_expired(cluster: Cluster) -> None:
    """That nodes which had heard from it are other incarnations now is no reason to doubt it: nobody is cut off."""
    nodes = await cluster(3, **TIMING)
    async with watching(nodes) as watchers, crowd(nodes) as clients:
        client = await clients.add("web", rotates=True)
        for node, how in zip(nodes, (signal.SIGTERM, signal.SIGKILL), strict=False):
            await client.renew()
            node.kill(how)
            await node.ended()
            node.start()
            await node.ready()
        await pause(HIDDEN_S)
        await client.stop()
        for watcher in watchers:
            await watcher.until_said(client.id, "offline", "expired")
