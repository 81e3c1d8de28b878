"""A deregistered instance stays gone, even if it was changed at another node just before or meanwhile (promise P4)."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import cycle, islice, permutations, product
from typing import Any

import pytest
import pytest_twisted

from tests.e2e.instances import INTERVAL_S, TTL_S
from tests.e2e.nodes import PATIENCE_S, Answer, Cluster, Node, agreed, pause
from tests.e2e.watching import Watcher, watching
from tests.e2e.wires import wired

TRIES = 48

#: Changes by a `POST`; one ttl is longer than before, and one shorter.
CHANGES: Sequence[dict[str, Any]] = ({"weight": 0}, {"meta": {"zone": "b"}}, {"ttl": 60}, {"ttl": 5})

#: After this time, all nodes have all changes.
SETTLED_S = 2.5


class Caller:
    """A client with a connection to one node that stays open, so that its requests follow each other at once."""

    def __init__(self, node: Node) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", node.api_port, timeout=PATIENCE_S)

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        headers = {"Content-Type": "application/json"}
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = self._connection.getresponse()
        content = response.read()
        return Answer(response.status, json.loads(content) if content else None)

    def close(self) -> None:
        self._connection.close()


@pytest.mark.parametrize("query", ["", "?wait=5"])
@pytest_twisted.ensureDeferred
async def test_a_change_just_before_a_deregistration_elsewhere_ends_with_it(cluster: Cluster, query: str) -> None:
    """The deregistering node mostly lacks the change; the instance is gone at all nodes all the same."""
    nodes = await cluster(3)
    async with watching(nodes) as watchers:
        ids = []
        with ExitStack() as stack:
            callers = [stack.enter_context(closing(Caller(node))) for node in nodes]
            orders = cycle(product(CHANGES, permutations(callers)))
            for port, (change, (first, second, third)) in enumerate(islice(orders, TRIES), start=1):
                path = f"/registrations/web/1.0/10.0.0.1/{port}"
                ids.append(first.call("POST", path).body["id"])
                _until_known(path, second, third)
                # The second change is sent only after the first has arrived.
                for body in ({"weight": 1}, change):
                    assert second.call("POST", path, body).status == 200
                answer = third.call("DELETE", path + query)
                if query:
                    assert (sorted(answer.body["applied"]), answer.body["missing"]) == (["n1", "n2", "n3"], [])
                    assert [caller.call("GET", path).status for caller in callers] == [404] * 3, f"after {change}"
                else:
                    assert answer.status == 204
        await pause(SETTLED_S)
        await _assert_gone(nodes, watchers, ids)


@pytest_twisted.ensureDeferred
async def test_an_instance_that_ends_leaves_its_successor_registered(cluster: Cluster) -> None:
    """The old instance is deregistered at another node right after the new one has registered; the new one stays."""
    nodes = await cluster(3)
    async with watching(nodes) as watchers:
        with ExitStack() as stack:
            callers = [stack.enter_context(closing(Caller(node))) for node in nodes]
            paths = [f"/registrations/web/1.0/10.0.0.1/{port}" for port in range(1, TRIES + 1)]
            statuses = set()
            for path, (first, second, third) in zip(paths, cycle(permutations(callers)), strict=False):
                first.call("POST", path, {"instance": "old"})
                _until_known(path, second, third)
                assert second.call("POST", path, {"instance": "new"}).status == 200
                statuses.add(third.call("DELETE", f"{path}?instance=old").status)
            assert statuses <= {204, 409}, statuses
            await agreed(nodes)
            listed = [caller.call("GET", "/registrations/web/1.0").body for caller in callers]
            assert [[each["instance"] for each in body] for body in listed] == [["new"] * TRIES] * 3
            for path in paths:
                assert callers[0].call("DELETE", f"{path}?instance=new&reason=check-failed").status == 204
        for watcher in watchers:
            for id_ in (path.replace("registrations", "registration")[1:] for path in paths):
                await watcher.until_event(id_, "offline", "check-failed")
            assert not watcher.broken


def _until_known(path: str, *callers: Caller) -> None:
    """Ask nodes until a registration is listed there, which takes milliseconds."""
    for caller in callers:
        assert any(caller.call("GET", path).status == 200 for _ in range(10_000)), f"{path} is not known"


async def _assert_gone(nodes: Sequence[Node], watchers: Sequence[Watcher], ids: Sequence[str]) -> None:
    listed = [len((await node.call("GET", "/registrations/web/1.0")).body) for node in nodes]
    assert listed == [0] * len(nodes), f"of {len(ids)} that were deregistered the nodes list {listed}"
    for watcher in watchers:
        assert not watcher.broken
        ends = {
            id_: [(seen.event, seen.reason) for seen in watcher.events_of(id_) if seen.event != "changed"]
            for id_ in ids
        }
        came_back = {id_: story for id_, story in ends.items() if story != GONE}
        assert not came_back, f"{watcher.node.name} said of {len(came_back)}: {came_back}"


GONE = [("online", "registered"), ("offline", "deregistered")]


def _links(nodes: Sequence[Node]) -> Iterator[tuple[Sequence[Node], Sequence[Node]]]:
    """Yield each link, and each node with all of its links."""
    for one, other in ((0, 1), (0, 2), (1, 2)):
        yield [nodes[one]], [nodes[other]]
    for alone in range(3):
        yield [nodes[alone]], [*nodes[:alone], *nodes[alone + 1 :]]


@pytest_twisted.ensureDeferred
async def test_a_change_during_a_partition_ends_with_a_deregistration_on_the_other_side(cluster: Cluster) -> None:
    """A change and a deregistration on opposite sides of a partition leave no instance after the heal."""
    async with (
        wired(cluster, 3, interval=INTERVAL_S, ttl=TTL_S) as (nodes, wires),
        watching(nodes) as watchers,
    ):
        ports = iter(range(1, 1000))
        ids = []
        for one_side, other_side in _links(nodes):
            paths = [f"/registrations/web/1.0/10.0.0.1/{next(ports)}" for _ in range(2 * len(CHANGES))]
            ids += [(await nodes[0].call("POST", path)).body["id"] for path in paths]
            await agreed(nodes)
            wires.cut(one_side, other_side)
            for change, path, ends in zip([*CHANGES, *CHANGES], paths, _both_ways(one_side, other_side), strict=True):
                at, elsewhere = ends
                assert (await at.call("POST", path, change)).status == 200
                assert (await elsewhere.call("DELETE", path)).status == 204
            await pause(2 * INTERVAL_S)
            wires.heal()
            await agreed(nodes)
        await pause(4 * INTERVAL_S)
        await _assert_gone(nodes, watchers, ids)


def _both_ways(one_side: Sequence[Node], other_side: Sequence[Node]) -> Iterator[tuple[Node, Node]]:
    """Yield the node of the change and of the deregistration for each path: in one direction for half of them."""
    for _ in CHANGES:
        yield one_side[0], other_side[0]
    for _ in CHANGES:
        yield other_side[0], one_side[0]
