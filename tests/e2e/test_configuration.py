"""Real nodes agree on backends and frontends that clients write at any node (promise P7)."""

from __future__ import annotations

import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from tests.e2e.instances import INTERVAL_S, TTL_S
from tests.e2e.nodes import Answer, Cluster, until
from tests.e2e.watching import watching

WRITES = 15


@pytest_twisted.ensureDeferred
async def test_of_writes_at_two_nodes_at_once_one_wins_everywhere(cluster: Cluster) -> None:
    """Of simultaneous writes at two nodes, one wins everywhere, and the last event of every watcher is the winner."""
    nodes = await cluster(3, interval=INTERVAL_S, ttl=TTL_S)
    async with watching(nodes) as watchers:
        for kind, first in (("backend", {"app": "web", "version": "0"}), ("frontend", {"backend": "b"})):
            path = f"/{kind}s/shared"
            assert (await nodes[0].call("PUT", path, first)).status == 201
            for watcher in watchers:
                await watcher.until_event(f"{kind}/shared", "created", "configured")
            for number in range(WRITES):
                writes = [
                    Deferred.fromCoroutine(node.call("PUT", path, {"meta": {"by": f"{node.name}-{number}"}}))
                    for node in nodes[:2]
                ]
                answers: list[Answer] = await gatherResults(writes)
                assert [answer.status for answer in answers] == [200, 200]
            last = {f"n1-{WRITES - 1}", f"n2-{WRITES - 1}"}

            def agreed(id_: str = f"{kind}/shared", last: set[str] = last) -> bool:
                one, *others = [watcher.configured[id_] for watcher in watchers]
                return one["meta"]["by"] in last and all(other == one for other in others)

            await until("the same last write everywhere", agreed)
            # The losing write is in the history, which is the same at all nodes.
            told = [(await node.call("GET", f"{path}/history")).body for node in nodes]
            assert told[0] == told[1] == told[2]
            assert {each[kind]["meta"]["by"] for each in told[0][:2]} == last
            bodies = [(await node.call("GET", path)).body for node in nodes]
            assert bodies == [watcher.configured[f"{kind}/shared"] for watcher in watchers]
