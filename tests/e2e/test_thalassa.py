"""The published client of Thalassa, and Aqueduct with a real HAProxy, work unchanged with a node."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import treq
from pytest_twisted import ensureDeferred
from twisted.internet.defer import Deferred

from tests.e2e.balancing import Instance, Place, instances, versions
from tests.e2e.javascript import RUNTIMES
from tests.e2e.nodes import PATIENCE_S, Cluster, Node, pause, until
from tests.e2e.protection import make_certificates, protected_node, secret_of, write_tokens
from tests.e2e.thalassa_programs import Aqueduct, Cable, thalassa_client
from tests.e2e.traffic import Traffic, traffic

pytestmark = pytest.mark.outside

#: With this interval, a ttl of 1 s is allowed.
INTERVAL_S = 0.25


async def serving(cluster: Cluster, **options: Any) -> tuple[Node, tuple[int, int]]:
    """Start a node that serves programs of Thalassa; return it with the two ports."""
    ports = (cluster.ports.take(), cluster.ports.take())
    thalassa = ":".join(map(str, ports))
    (node,) = await cluster(1, interval=INTERVAL_S, ttl=4, thalassa=thalassa, **options)
    return node, ports


async def ids(node: Node) -> list[str]:
    return [each["id"].removeprefix("registration") for each in (await node.call("GET", "/registrations")).body]


def register_many(node: Node, count: int) -> None:
    """Register this number of instances of an app over the line protocol."""
    wanted = [{"app": "many", "version": "1", "host": "10.0.0.9", "port": port} for port in range(1, count + 1)]
    with socket.create_connection(("127.0.0.1", node.events_port), PATIENCE_S) as connection:
        connection.sendall(b"".join([json.dumps({"register": each}).encode() + b"\n" for each in wanted]))
        answered = b""
        while answered.count(b'"event":"registered"') < count:
            answered += connection.recv(65536)


@pytest.mark.parametrize("which", RUNTIMES)
@ensureDeferred
async def test_the_client(cluster: Cluster, which: str) -> None:
    """The client registers, renews and unregisters; a subscriber gets all events; a killed instance expires."""
    node, ports = await serving(cluster)
    async with thalassa_client(which, ports) as client, thalassa_client(which, ports) as subscriber:
        shop, other = (f"/shop/{version}/{client.host}/8080" for version in ("2.0.0", "2.0.1"))
        subscriber.call("subscribe", "shop")
        client.call("register", "shop", "2.0.0", 8080, {"az": "a"})
        client.call("start")
        await subscriber.until_event(f"online {shop}")
        await client.until_event("updateSuccessful", 10)
        assert await ids(node) == [shop]
        meta = subscriber.registrations[shop]["meta"]
        assert (meta["az"], meta["secondsToExpire"]) == ("a", 1.5)
        for names in ((), ("shop",), ("shop", "2.0.0")):
            assert [each["id"] for each in await client.listed(*names)] == [shop]
        assert await client.listed("shop", "2.0.1") == []
        register_many(node, 300)
        assert len(await client.listed("many")) == 300

        client.call("unregister", "shop", "2.0.0", 8080)
        await subscriber.until_event(f"offline {shop}")
        client.call("register", "shop", "2.0.1", 8080)
        assert (await node.call("POST", "/registrations/web/1/10.0.0.5/80")).status == 200
        await subscriber.until_event(f"online {other}")
        assert (await node.call("PUT", f"/registrations{other}/state", {"state": "drain"})).status == 200
        await subscriber.until_event(f"offline {other}")
        assert (await node.call("DELETE", f"/registrations{other}/state")).status == 204
        await subscriber.until_event(f"online {other}", 2)
        assert "updateFailed" not in " ".join(client.events)
        client.kill()
        await subscriber.until_event(f"offline {other}", 2)
        assert not [id_ for id_ in await ids(node) if id_.startswith("/shop/")]
        shown = [event for event in subscriber.events if event.startswith("o")]
        assert shown == [
            *(f"online {shop}", f"offline {shop}"),
            *(f"online {other}", f"offline {other}") * 2,
        ], "a renewal has made an event, or the wrong app was followed"


@ensureDeferred
async def test_a_restart_of_the_node(cluster: Cluster) -> None:
    """Updates fail until the node is back, and then succeed; the subscriber reconnects and misses nothing."""
    node, ports = await serving(cluster)
    async with thalassa_client("of today", ports, expire_s=3) as client:
        shop = f"/shop/1/{client.host}/8080"
        client.call("subscribe", "shop")
        client.call("register", "shop", "1", 8080)
        client.call("start")
        await client.until_event(f"online {shop}")
        node.kill()
        await node.ended()
        await until("an update fails", lambda: "updateFailed" in " ".join(client.events))
        node.start()
        await node.ready()
        updates = client.events.count("updateSuccessful")
        await client.until_event("updateSuccessful", updates + 2)
        assert await ids(node) == [shop]
        assert f"offline {shop}" not in client.events
        assert (await node.call("POST", "/registrations/shop/2/10.0.0.5/80")).status == 200
        await client.until_event("online /shop/2/10.0.0.5/80")


@ensureDeferred
async def test_a_node_with_tokens_and_tls(cluster: Cluster, tmp_path: Path) -> None:
    """The client sends the token in its host name; the port has no TLS, because the client does not support it."""
    ports = (cluster.ports.take(), cluster.ports.take())
    certificates, tokens = make_certificates(tmp_path / "certs"), write_tokens(tmp_path / "tokens.toml")
    node = protected_node(cluster, certificates, tokens, thalassa=":".join(map(str, ports)))
    await cluster.start([node])
    web = "/registrations/web-shop/1/10.0.0.5/80"
    plain = f"http://127.0.0.1:{ports[0]}"
    for method, path in (("GET", "/registrations"), ("POST", web)):
        response = await treq.request(method, plain + path, persistent=False, timeout=PATIENCE_S)
        assert (response.code, (await response.json())["code"]) == (401, 401)
    host = f"web:{secret_of('agent')}@127.0.0.1"
    async with thalassa_client("of today", ports, host) as client, thalassa_client("of today", ports) as other:
        for each in (client, other):
            each.call("register", "web-shop", "1", 8080)
            each.call("start")
        await client.until_event("updateSuccessful", 2)
        assert [each["name"] for each in await client.listed()] == ["web-shop"]
        await until("it is refused", lambda: any("statusCode 401" in event for event in other.events))
        assert "updateSuccessful" not in other.events


async def renewed(ports: tuple[int, int], instance: Instance) -> None:
    """Update an instance as its client would, until its process ends."""
    url = f"http://127.0.0.1:{ports[0]}{instance.path}"
    while instance.process is not None and instance.process.poll() is None:
        response = await treq.post(url, json={"secondsToExpire": 1.5}, persistent=False, timeout=PATIENCE_S)
        assert (response.code, await response.content()) == (200, b"200")
        await pause(0.3)


async def answers_alone(asking: Traffic, *names: str) -> None:
    """Wait until these instances, and no others, answer."""
    await until(f"{names} answer", lambda: {*asking.answers(time.monotonic() - 0.3)} == {*names})


async def switched_under_traffic(aqueduct: Aqueduct, port: int) -> None:
    """Switch a backend to version 2: HAProxy never has an empty backend, and its reload breaks very few requests."""
    async with traffic(port, clients=4, retrying=True) as asking:
        await until("HAProxy serves", lambda: bool(asking.answers()))
        began_at = time.monotonic()
        await asking.until_sent(100)
        assert versions(asking.answers()).keys() == {"1"}
        await aqueduct.call("POST", "/backends/live", {"version": "2"})
        await until("version 2 alone answers", lambda: versions(asking.answers(time.monotonic() - 0.3)).keys() == {"2"})
        failed = [asked for asked in asking.since(began_at) if asked.failed]
        assert not [asked for asked in failed if asked.status is not None], failed
        assert len(failed) <= len(asking.requests) // 50, failed


@ensureDeferred
async def test_aqueduct(cluster: Cluster, place: Place) -> None:
    """HAProxy follows a switch under traffic, a killed instance, a drain, and changes during an interruption."""
    node, ports = await serving(cluster)
    events_port, port = cluster.ports.take(), cluster.ports.take()
    cable = Cable(events_port, ports[1])
    one, (two, dying) = await instances(place, node, 2, "1"), await instances(place, node, 2, "2")
    updating = Deferred.fromCoroutine(renewed(ports, dying))
    aqueduct = await Aqueduct.start(place, ports[0], events_port)
    try:
        await aqueduct.call("PUT", "/backends/live", {"type": "dynamic", "name": "web", "version": "1"})
        await aqueduct.call("PUT", "/frontends/www", {"bind": f"127.0.0.1:{port}", "backend": "live"})
        await aqueduct.until_served(*(each.port for each in one))
        await switched_under_traffic(aqueduct, port)

        dying.signal()
        await updating
        await aqueduct.until_served(two.port)
        async with traffic(port, clients=1, retrying=True) as asking:
            await answers_alone(asking, f"2/{two.name}")

        await cable.cut()
        (three,) = await instances(place, node, 1, "2")
        assert (await node.call("DELETE", two.path)).status == 204
        await pause(0.5)
        assert await aqueduct.members() == [two.port]
        cable.connect()
        await aqueduct.until_members(three.port)

        (four,) = await instances(place, node, 1, "2")
        await aqueduct.until_members(three.port, four.port)
        assert (await node.call("PUT", f"{three.path}/state", {"state": "drain"})).status == 200
        await aqueduct.until_served(four.port)
        async with traffic(port, clients=1, retrying=True) as asking:
            await answers_alone(asking, f"2/{four.name}")
    finally:
        aqueduct.end()
        await cable.cut()
