"""`bender.client` with real nodes that are killed and restarted under it."""

from __future__ import annotations

import random
import signal
import time
from collections import defaultdict
from collections.abc import Iterable
from math import inf

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from bender.client import Client, Registrar, Watch
from tests.e2e.nodes import Cluster, Node, agreed, pause, until
from tests.e2e.watching import watching

REGISTRARS = 50
REGISTRATIONS = 200

KILLS = 20


def client_of(*nodes: Node) -> Client:
    return Client(reactor, [f"127.0.0.1:{node.api_port}" for node in nodes], learns=False)


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_fifty_registrars_through_rolling_restarts(cluster: Cluster) -> None:
    """Ten thousand instances stay online at every node, with a few requests per second."""
    nodes = await cluster(3)
    clients = [client_of(*nodes) for _ in range(REGISTRARS)]
    registrars = [Registrar(client) for client in clients]
    for i, registrar in enumerate(registrars):
        for port in range(1, REGISTRATIONS + 1):
            registrar.add("web", "1", f"10.1.0.{i}", port)
        registrar.startService()
    everything = [registrar.registered(id_) for registrar in registrars for id_ in registrar.ids]
    await gatherResults([Deferred.fromCoroutine(each) for each in everything])
    await agreed(nodes)
    async with watching(nodes) as watchers:
        began_at, asked = time.monotonic(), sum(client.requests for client in clients)
        await pause(20)
        idle = (sum(client.requests for client in clients) - asked) / (time.monotonic() - began_at)
        for node in nodes:
            await node.restart()
            await pause(6)
        per_second = (sum(client.requests for client in clients) - asked) / (time.monotonic() - began_at)
        print(f"\n{idle:.1f} requests a second; {per_second:.1f} with the restarts")  # noqa: T201
        for watcher in watchers:
            gone = [seen for seen in watcher.events if seen.event == "offline"]
            assert (gone, watcher.broken) == ([], [])
            assert len(watcher.online) == REGISTRARS * REGISTRATIONS
    for registrar in registrars:
        await registrar.stopService()
    # Each registrar sends a request every three seconds, and sometimes one for the nodes' addresses.
    assert idle < REGISTRARS / 3 * 1.3


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_watch_over_twenty_kills(cluster: Cluster) -> None:
    """A watch gets the same events as an uninterrupted watcher of another node, in the same order for each id."""
    nodes = await cluster(4, ttl=2.5, interval=0.25)
    *killed, spared = nodes
    client = client_of(*killed)
    watch = client.watch()
    addresses = {f"127.0.0.1:{node.api_port}": node for node in killed}
    told: list[tuple[str, str, str]] = []
    taking = Deferred.fromCoroutine(take(watch, told))
    async with watching([spared]) as watchers:
        await until("the watch is there", lambda: ("", "synced", "snapshot") in told)
        await pause(2)  # before and between kills, so that the watch can ask the other nodes for their cursors
        churning = Churn(spared)
        for _ in range(KILLS):
            assert watch.node in addresses, f"it follows {watch.node}"
            node = addresses[watch.node]
            node.kill(signal.SIGKILL)
            await node.ended()
            await pause(1)
            node.start()
            await node.ready()
            await pause(2)
        await churning.end()
        await pause(4)
        await watch.aclose()
        await taking
        seen = [(each.id, each.event, str(each.reason)) for each in watchers[0].events]
    assert churning.operations > 1000
    expected, found = by_id(seen), by_id(each for each in told if each[2] != "snapshot")
    differing = {id_: (expected[id_], found[id_]) for id_ in [*expected, *found] if found[id_] != expected[id_]}
    assert differing == {}
    print(f"\n{len(seen)} events of {len(expected)} instances, {KILLS} kills")  # noqa: T201


async def take(watch: Watch, told: list[tuple[str, str, str]]) -> None:
    async for event in watch:
        told.append((event.id, event.event, event.reason))


def by_id(events: Iterable[tuple[str, str, str]]) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for id_, event, reason in events:
        found[id_].append((event, reason))
    return found


class Churn:
    """Registers, changes and deregisters instances at one node, many times a second, until the test ends it.

    It changes an instance seldom, because nodes may merge quick changes, and never one that is about to expire.
    """

    def __init__(self, node: Node) -> None:
        self.operations = 0
        self._node = node
        self._goes_on = True
        self._random = random.Random(1)
        self._ttls: dict[int, float] = {}
        self._touched = dict.fromkeys(range(1, 301), -inf)
        self._doing = Deferred.fromCoroutine(self._go_on())

    async def _go_on(self) -> None:
        while self._goes_on:
            port = self._random.choice(list(self._touched))
            idle_s = time.monotonic() - self._touched[port]
            ttl_s = self._ttls.get(port)
            if idle_s > 0.4 and (ttl_s is None or idle_s < ttl_s - 1 or idle_s > ttl_s + 3):
                await self._do(port, is_there=ttl_s is not None and idle_s < ttl_s)
                self.operations += 1
            await pause(0.005)

    async def _do(self, port: int, *, is_there: bool) -> None:
        path = f"/registrations/web/1/10.0.0.1/{port}"
        if is_there and self._random.random() < 0.5:
            await self._node.call("DELETE", path)
            del self._ttls[port]
        elif is_there:
            await self._node.call("POST", path, {"weight": self._random.randrange(256)})
        else:
            self._ttls[port] = self._random.choice([1.5, 1000.0])
            await self._node.call("POST", path, {"ttl": self._ttls[port], "weight": 1})
        self._touched[port] = time.monotonic()

    async def end(self) -> None:
        self._goes_on = False
        await self._doing
