"""Real nodes list and announce instances that renew at any node, and no others (promises P2, P3 and P5)."""

from __future__ import annotations

from typing import Any

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from tests.e2e.instances import INTERVAL_S, TTL_S, crowd
from tests.e2e.nodes import Cluster, agreed, pause
from tests.e2e.watching import Lines, watching
from tests.e2e.yardsticks import yardstick

TIMING = {"interval": INTERVAL_S, "ttl": TTL_S}


@pytest_twisted.ensureDeferred
async def test_who_registers_at_one_node_is_online_on_all(cluster: Cluster) -> None:
    """All nodes announce a new instance at once, before their next round, with the same fields; and all list it."""
    nodes = await cluster(3, interval=5, ttl=20)
    async with watching(nodes) as watchers:
        for port, node in enumerate(2 * nodes, start=8080):
            wanted = {"app": "web", "version": "1.0", "host": "10.0.0.1", "port": port, "meta": {"zone": "a"}}
            answer = await node.call("POST", "/registrations", wanted)
            assert answer.status == 201
            for watcher in watchers:
                seen = await watcher.until_event(answer.body["id"], "online", within_s=2.5)
                assert (seen.reason, seen.body) == ("registered", answer.body)
        listed = [(await node.call("GET", "/registrations/web/1.0")).body for node in nodes]
        assert [body["port"] for body in listed[0]] == [*range(8080, 8086)]
        assert listed[0] == listed[1] == listed[2]


@pytest_twisted.ensureDeferred
async def test_each_node_tells_which_nodes_hold_claims(cluster: Cluster) -> None:
    """Each node returns the claims of all nodes at which an instance registered or renewed; a dead node is missing."""
    first, second, third = nodes = await cluster(3, **TIMING)
    path = "/registrations/web/1.0/10.0.0.1/8080"
    id_, unknown = (await second.call("POST", path)).body["id"], "registration/web/1.0/10.0.0.1/8081"
    await agreed(nodes)
    assert (await third.call("PUT", path)).status == 200
    for node in nodes:
        answer = await node.call("POST", "/claims", {"ids": [id_, unknown]})
        assert (answer.status, answer.body["claims"][unknown], answer.body["missing"]) == (200, [], [])
        latest, earlier = answer.body["claims"][id_]
        assert {latest["node"], earlier["node"]} == {"n2", "n3"}
        assert TTL_S >= latest["left"] >= earlier["left"]
        assert latest["speaks"] and earlier["speaks"] and latest["ttl"] == TTL_S
    third.kill()
    found = (await first.call("POST", "/claims", {"ids": [id_]})).body
    assert ([each["node"] for each in found["claims"][id_]], found["missing"]) == (["n2"], ["n3"])
    listed = (await first.call("GET", "/nodes")).body
    assert [(each["node"], each["answered"]) for each in listed] == [("n1", True), ("n2", True), ("n3", False)]
    assert {heard["node"] for heard in listed[1]["hears"]} == {"n1", "n3"} and "does not answer" in listed[2]["problem"]


@pytest_twisted.ensureDeferred
async def test_a_connection_is_all_it_takes_to_hear_of_events(cluster: Cluster) -> None:
    """A client that only connects, as with `nc`, gets one JSON object per line, beginning with `hello`."""
    first, second = await cluster(2, **TIMING)
    lines: list[dict[str, Any]] = []
    online: Deferred[None] = Deferred()
    online.addTimeout(TTL_S, reactor)

    def heard(line: dict[str, Any]) -> None:
        lines.append(line)
        if line["event"] == "online":
            online.callback(None)

    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", second.events_port)
    connection = await connectProtocol(endpoint, Lines(heard, lambda: None))
    answer = await first.call("POST", "/registrations/web/1.0/10.0.0.1/8080")
    await online
    connection.transport.loseConnection()
    hello, event = lines
    assert (hello["event"], hello["node"]) == ("hello", "n2")
    assert event.keys() == {"event", "cursor", "at", "reason", "registration"}
    assert event["registration"] == answer.body


@pytest_twisted.ensureDeferred
async def test_online_as_long_as_renewed_and_not_much_longer(cluster: Cluster) -> None:
    """Instances that renew at one or several nodes stay online; after the last renewal, they expire after their ttl.

    A client may also wait nearly the whole ttl between renewals.
    """
    interval_s, ttl_s = 0.4, 2.8  # two intervals have to be long enough for a busy machine
    nodes = await cluster(3, interval=interval_s, ttl=ttl_s)
    async with watching(nodes) as watchers, crowd(nodes) as clients, yardstick(nodes) as busy:
        for number in range(3):
            await clients.add("stays", first=number)
            for part in (0.2, 0.4, 0.6, 0.8):
                await clients.add("rotates", first=number, every_s=part * ttl_s, rotates=True)
        await pause(2.5 * ttl_s)  # so that the slowest client renews again at a node where its claim has lapsed
        clients.assert_kept_their_side(ttl_s)
        for watcher in watchers:
            assert watcher.online.keys() == clients.ids
            assert watcher.offline == []
        last = {client.id: await client.stop() for client in clients.instances}
        for watcher in watchers:
            await watcher.until_lists(set())
            for gone in watcher.offline:
                assert gone.reason == "expired"
                assert gone.at_s >= last[gone.id].sent_at_s + ttl_s
                assert gone.at_s <= last[gone.id].accepted_at_s + ttl_s + 2 * interval_s + busy.slack_s
