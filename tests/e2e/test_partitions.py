"""Real nodes on both sides of a partition continue to work, and converge afterwards (promises P6, P7 and P1)."""

from __future__ import annotations

import time

import pytest_twisted

from tests.e2e.instances import INTERVAL_S, TTL_S, crowd
from tests.e2e.nodes import Cluster, agreed, pause
from tests.e2e.watching import watching
from tests.e2e.wires import wired
from tests.e2e.yardsticks import yardstick

#: Claims of a node count for this time after its last heartbeat.
HIDDEN_S = TTL_S + 3 * INTERVAL_S


@pytest_twisted.ensureDeferred
async def test_both_sides_of_a_partition_go_on_and_find_together_again(cluster: Cluster) -> None:
    """Each side accepts registrations and hides those of silent nodes; a heal restores them, and loses nothing."""
    async with (
        wired(cluster, 4, interval=INTERVAL_S, ttl=TTL_S) as (nodes, wires),
        watching(nodes) as watchers,
        crowd(nodes) as clients,
        yardstick(nodes) as busy,
    ):
        sides = (nodes[:2], nodes[2:])
        of_side: list[set[str]] = [set(), set()]
        for number, side in enumerate(sides):
            for _ in range(10):
                of_side[number].add((await clients.add(f"side-{number}", nodes=side)).id)
        for watcher in watchers:
            await watcher.until_lists(clients.ids)
        assert (await nodes[0].call("POST", "/backends", {"name": "b", "app": "web", "version": "1"})).status == 201
        for watcher in watchers:
            await watcher.until_event("backend/b", "created")

        wires.cut(*sides)
        cut_at_s = time.monotonic()
        for number, side in enumerate(sides):
            of_side[number].add((await clients.add("meanwhile", nodes=side)).id)
            assert (await side[0].call("PUT", "/backends/b", {"version": f"side-{number}"})).status == 200
        for number, watcher in enumerate(watchers):
            await watcher.until_lists(of_side[number // 2])
            assert max(gone.at_s for gone in watcher.offline) <= cut_at_s + HIDDEN_S + 2 * INTERVAL_S + busy.slack_s
            assert {gone.reason for gone in watcher.offline} == {"node-lost"}
            assert min(gone.at_s for gone in watcher.offline) >= cut_at_s + HIDDEN_S - 2 * INTERVAL_S - busy.slack_s

        wires.heal()
        healed_at_s = time.monotonic()
        for watcher in watchers:
            await watcher.until_lists(clients.ids)
            restored_at_s = max(seen.at_s for seen in watcher.events if seen.reason == "restored")
            assert restored_at_s <= healed_at_s + 4 * INTERVAL_S + busy.slack_s
        await agreed(nodes)
        assert time.monotonic() <= healed_at_s + 6 * INTERVAL_S + busy.slack_s
        await pause(4 * INTERVAL_S)
        clients.assert_kept_their_side()
        assert len({str((await node.call("GET", "/backends/b")).body) for node in nodes}) == 1
        for number, watcher in enumerate(watchers):
            others = of_side[1 - number // 2]
            for id_ in others:
                story = [(seen.event, seen.reason) for seen in watcher.events_of(id_)]
                hidden = [("offline", "node-lost"), ("online", "restored")] if "side" in id_ else []
                assert story == [("online", "registered"), *hidden]
            for id_ in of_side[number // 2]:
                assert [seen.event for seen in watcher.events_of(id_)] == ["online"]


@pytest_twisted.ensureDeferred
async def test_nodes_whose_answers_take_longer_than_an_interval_hear_each_other(cluster: Cluster) -> None:
    """With answers as slow as on an overloaded machine, no node counts as silent and no instance goes offline."""
    interval_s, ttl_s = 1.0, 5.0  # three intervals have to be long enough for a busy machine
    async with (
        wired(cluster, 3, delay_s=0.6 * interval_s, interval=interval_s, ttl=ttl_s) as (nodes, _),
        watching(nodes) as watchers,
        crowd(nodes) as clients,
    ):
        for number in range(12):
            await clients.add("web", first=number % 3, rotates=number % 2 == 1)
        for watcher in watchers:
            await watcher.until_lists(clients.ids)
        await pause(2 * (ttl_s + 3 * interval_s))
        clients.assert_kept_their_side(ttl_s)
        assert [[*watcher.offline, *watcher.broken] for watcher in watchers] == [[], [], []]
        for node in nodes:
            assert node.log.count("is heard") == 2, node.log
            assert "is silent" not in node.log, node.log
            assert "Ready, but" not in node.log, node.log
