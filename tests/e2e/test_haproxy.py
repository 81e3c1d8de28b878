"""Deploys through a real HAProxy, under constant requests."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import pytest
import pytest_twisted

from tests.e2e.balancing import NODES, Instance, Place, driven, instances, shop, together, versions
from tests.e2e.nodes import LOOK_S, PATIENCE_S, Cluster, Node, pause, until
from tests.e2e.traffic import traffic
from tests.haproxy.events import HOSTILE

pytestmark = pytest.mark.outside

#: The longest time until HAProxy applies an event, and requests to the old server have ended.
TOLD_S = 0.2

#: Enough requests to distinguish a share of 20 % from 17 or 23 %.
MANY = 2500


async def put(node: Node, path: str, **fields: Any) -> None:
    answer = await node.call("PUT", path, fields)
    assert answer.status in (200, 201), answer


@pytest_twisted.ensureDeferred
async def test_rolling_deploys(cluster: Cluster, place: Place) -> None:
    """Twenty deploys in a row, from three instances to three, cause no failed request and no reload."""
    nodes = await cluster(2, **NODES)
    serving = await instances(place, nodes[0], 3, "0")
    port = await shop(place, nodes[0], "0")
    driver = await driven(place, nodes)
    reloads = (await driver.status())["haproxy"]["reloads"]
    async with traffic(port) as asking:
        for version in map(str, range(1, 21)):
            node = nodes[int(version) % 2]
            old, serving = serving, await instances(place, node, 3, version)
            await put(node, "/backends/shop", version=version, min_members=3)
            for instance in old:
                answer = await node.call("DELETE", f"{instance.path}?wait=5")
                assert (answer.status, answer.body["missing"]) == (200, [])
                instance.end()
    assert asking.failed == []
    assert set(versions(asking.answers())) == {str(version) for version in range(21)}
    assert (await driver.status())["haproxy"]["reloads"] == reloads
    assert len(driver.servers("shop")) == 3


@pytest_twisted.ensureDeferred
async def test_no_request_after_the_answer(cluster: Cluster, place: Place) -> None:
    """After a deregistration with `wait` is answered, the instance gets no more requests and can be stopped."""
    nodes = await cluster(2, **NODES)
    serving = await instances(place, nodes[0], 3, "1")
    port = await shop(place, nodes[0])
    await driven(place, nodes)
    late, took = [], []
    async with traffic(port, clients=16, apart_s=0) as asking:
        for i in range(20):
            node = nodes[i % 2]
            instance = serving.pop(0)
            await asking.until_sent(30)
            began = time.monotonic()
            answer = await node.call("DELETE", f"{instance.path}?wait=5")
            answered = time.monotonic()
            assert (answer.status, answer.body["missing"]) == (200, [])
            took.append(answered - began)
            await asking.until_sent(30)
            late.append(await instance.last_request_s() - answered)
            instance.end()
            serving.append(await place.instance(node))
    assert [each for each in late if each > 0] == []
    assert asking.failed == []
    assert max(took) < 1.0


@pytest_twisted.ensureDeferred
async def test_a_switch_and_back(cluster: Cluster, place: Place) -> None:
    """A switch and its rollback take effect at once, without a reload."""
    (node,) = await cluster(1, **NODES)
    await instances(place, node, 2, "1")
    await instances(place, node, 2, "2")
    port = await shop(place, node)
    driver = await driven(place, [node])
    async with traffic(port) as asking:
        for version in ("2", "1"):
            await asking.until_sent(100)
            if version == "2":
                await put(node, "/backends/shop", version="2")
            else:
                assert (await node.call("POST", "/backends/shop/rollback")).status == 200
            await pause(TOLD_S)
            switched = time.monotonic()
            await asking.until_sent(100)
            assert set(versions(asking.answers(switched))) == {version}
    assert asking.failed == []
    assert (await driver.status())["haproxy"]["reloads"] == 0


@pytest_twisted.ensureDeferred
async def test_a_canary(cluster: Cluster, place: Place) -> None:
    """A canary of 20 % gets a fifth of the requests, although it has one instance and the other version three."""
    (node,) = await cluster(1, **NODES)
    await instances(place, node, 3, "1")
    await instances(place, node, 1, "2")
    port = await shop(place, node, canary={"version": "2", "percent": 20})
    await driven(place, [node])
    async with traffic(port, apart_s=0) as asking:
        await asking.until_sent(MANY)
        counted = versions(asking.answers())
        assert 17 <= 100 * counted["2"] / counted.total() <= 23
        await put(node, "/backends/shop", canary=None)
        await pause(TOLD_S)
        ended = time.monotonic()
        await asking.until_sent(200)
        assert set(versions(asking.answers(ended))) == {"1"}
    assert asking.failed == []


@pytest_twisted.ensureDeferred
async def test_the_host_of_a_health_check(cluster: Cluster, place: Place) -> None:
    """A health check uses the backend's host, also for servers that are added later; an invalid host is refused."""
    (node,) = await cluster(1, **NODES)
    first = await place.instance(node)
    await shop(place, node, health={"path": "/health", "interval": 0.1})
    driver = await driven(place, [node])
    assert await until_checked(first) == "bender"
    refused = await node.call("PUT", "/backends/shop", {"health": {"path": "/health", "host": "a b"}})
    assert (refused.status, refused.body["code"]) == (400, "INVALID")
    for host in ("shop.example", "[::1]:8080"):
        await put(node, "/backends/shop", health={"path": "/health", "interval": 0.1, "host": host})
        await until_checked(first, host)
    second = await place.instance(node)
    assert await until_checked(second) == "[::1]:8080"
    await driver.until(
        "up", lambda status: [each["check"] for each in status["backends"]["shop"]["servers"]] == ["L7OK"] * 2
    )


async def until_checked(instance: Instance, host: str | None = None) -> str:
    """Wait for a health check of an instance, or for one with this host; return the host."""
    ends_at = time.monotonic() + PATIENCE_S
    while True:
        found = await instance.checked_host()
        if found is not None and host in (None, found):
            return found
        assert time.monotonic() < ends_at, f"{instance.name} was asked for {found} alone"
        await pause(LOOK_S)


@pytest_twisted.ensureDeferred
async def test_an_operator_s_word(cluster: Cluster, place: Place) -> None:
    """A drained instance gets no new requests, also after it registers again, until the state is removed."""
    (node,) = await cluster(1, **NODES)
    one, other = await instances(place, node, 2, "1")
    port = await shop(place, node)
    driver = await driven(place, [node])
    name = f"1:127.0.0.1:{one.port}"
    async with traffic(port) as asking:
        for state, flag in (("drain", 8), ("maint", 1)):
            await put(node, f"{one.path}/state", state=state)
            await pause(TOLD_S)
            assert driver.servers("shop")[name][0] == flag
            told = time.monotonic()
            await asking.until_sent(50)
            assert set(asking.answers(told)) == {f"1/{other.name}"}
        assert (await node.call("DELETE", one.path)).status == 204
        await until("it is gone", lambda: name not in driver.servers("shop"))
        await one.register(node)
        await until("it is back", lambda: driver.servers("shop").get(name, (0, 0))[0] == 1)
        assert (await node.call("DELETE", f"{one.path}/state")).status == 204
        await until("it serves", lambda: driver.servers("shop")[name][0] == 0)
        served = time.monotonic()
        await asking.until_sent(50)
        assert set(asking.answers(served)) == {f"1/{one.name}", f"1/{other.name}"}
    assert asking.failed == []
    assert (await driver.status())["haproxy"]["reloads"] == 0


@pytest_twisted.ensureDeferred
async def test_rules(cluster: Cluster, place: Place) -> None:
    """The first matching rule selects the backend; a missing backend answers 503 and does not affect other requests."""
    (node,) = await cluster(1, **NODES)
    await together(place.instance(node, "1"), place.instance(node, "2", "api"))
    port = await shop(place, node)
    await put(node, "/backends/api", app="api", version="2")
    rules = [{"path": "/none", "backend": "none"}, {"host": "API.example", "backend": "api"},
             {"header": "X-Api", "value": HOSTILE, "backend": "api"}, {"path": "/api", "backend": "api"}]  # fmt: skip
    await put(node, "/frontends/www?force", rules=rules)
    driver = await driven(place, [node])
    expected = {("/", ""): "1", ("/none/a", ""): "503", ("/api/a", ""): "2", ("/", "X-Api: 1\r\n"): "1"}
    for (path, headers), answer in expected.items():
        async with traffic(port, clients=1, path=path, headers=headers) as asking:
            await asking.until_sent(2)
        got = {str(each.status) if each.failed else each.answer.partition("/")[0] for each in asking.requests}
        assert got == {answer}, (path, headers)
    await put(node, "/backends/none", app="web", version="1")
    await driver.until("with the new backend", lambda status: "none" in status["backends"])
    async with traffic(port, clients=1, path="/none") as asking:
        await asking.until_sent(2)
    assert asking.failed == []


@pytest_twisted.ensureDeferred
async def test_hostile_names(cluster: Cluster, place: Place) -> None:
    """With any names and values of fields, requests reach the right instance."""
    (node,) = await cluster(1, **NODES)
    version = HOSTILE[::-1]
    serving = await place.instance(None, "1")
    registration = {"app": HOSTILE, "version": version, "host": "127.0.0.1", "port": serving.port, "ttl": 600}
    assert (await node.call("POST", "/registrations", registration)).status == 201
    for name in (HOSTILE, "x" * 255, "é" * 255, "GLOBAL", "#1", "1", "defaults", "FRONTEND", "<HTTPCLIENT>"):
        await put(node, f"/backends/{quote(name, safe='')}", app=HOSTILE, version=version)
    port = place.ports.take()
    bind = f"127.0.0.1:{port}"
    await put(node, f"/frontends/{quote(HOSTILE, safe='')}", backend=HOSTILE, bind=bind, meta={"owner": "'\"\\#{} ;%"})
    await put(node, "/frontends/zzz", backend="GLOBAL", bind=bind)
    driver = await driven(place, [node])
    async with traffic(port, retrying=True) as asking:
        await asking.until_sent(20)
        assert (await node.call("DELETE", f"/backends/{'x' * 255}")).status == 204
        await driver.until("without it", lambda status: "x" * 255 not in status["backends"])
        await asking.until_sent(20)
    assert asking.failed == []
    status = await driver.status()
    assert status["haproxy"]["refused"] is None
    assert "frontend/zzz" in status["problems"]


@pytest_twisted.ensureDeferred
async def test_two_side_by_side(cluster: Cluster, place: Place) -> None:
    """Two drivers each have their own HAProxy, and a deregistration with `wait` waits for both."""
    (node,) = await cluster(1, **NODES)
    one, _ = await instances(place, node, 2, "1")
    port = await shop(place, node)
    drivers = [await driven(place, [node], name) for name in ("edge-1", "edge-2")]
    answer = await node.call("DELETE", f"{one.path}?wait=5")
    assert (answer.status, sorted(answer.body["consumers"])) == (200, ["edge-1", "edge-2"])
    assert [len(driver.servers("shop")) for driver in drivers] == [1, 1]
    async with traffic(port) as asking:
        await asking.until_sent(20)
    assert asking.failed == []


@pytest_twisted.ensureDeferred
async def test_a_new_member_begins_slowly(cluster: Cluster, place: Place) -> None:
    """With `slow_start`, the weight of a new member grows in steps."""
    (node,) = await cluster(1, **NODES)
    (one,) = await instances(place, node, 1, "1")
    await shop(place, node, slow_start=2)
    driver = await driven(place, [node])
    assert driver.servers("shop") == {f"1:127.0.0.1:{one.port}": (0, 256)}
    other = await place.instance(node)
    seen = [0]
    while seen[-1] < 256:
        await pause(LOOK_S)
        seen.append(driver.servers("shop").get(f"1:127.0.0.1:{other.port}", (0, 0))[1])
    steps = [*dict.fromkeys(weight for weight in seen if weight)]
    assert steps == sorted(steps)
    assert len(steps) >= 5


@pytest_twisted.ensureDeferred
async def test_what_haproxy_finds_out(cluster: Cluster, place: Place) -> None:
    """With --report, bender gets the servers that are down, and the counts of requests."""
    (node,) = await cluster(1, **NODES)
    one, _ = await instances(place, node, 2, "1")
    port = await shop(place, node, health={"path": "/health", "interval": 0.1})
    await driven(place, [node], report=True)
    async with traffic(port) as asking:
        await asking.until_sent(100)
        one.end()
        await pause(3)
    (consumer,) = (await node.call("GET", "/consumers")).body
    assert consumer["report"]["down"] == [one.path.replace("/registrations", "registration")]
    counted = consumer["report"]["backends"]["shop"]["1"]
    assert counted["requests"] > 100
    assert asking.failed == []


@pytest_twisted.ensureDeferred
async def test_an_instance_that_is_ill(cluster: Cluster, place: Place) -> None:
    """HAProxy detects a failing instance and uses others, also if the instance was added while HAProxy was running."""
    (node,) = await cluster(1, **NODES)
    await instances(place, node, 1, "1")
    port = await shop(place, node, health={"path": "/health", "interval": 0.1})
    driver = await driven(place, [node])
    ill = await place.instance(node)
    await until("it is told", lambda: len(driver.servers("shop")) == 2)
    await driver.until("up", lambda status: [each["status"] for each in servers(status)] == ["UP"] * 2)
    async with traffic(port) as asking:
        await asking.until_sent(50)
        assert f"1/{ill.name}" in asking.answers()
        await ill.set_health("/ill")
        await driver.until("down", lambda status: "DOWN" in {each["status"] for each in servers(status)})
        known = time.monotonic()
        await asking.until_sent(50)
        assert f"1/{ill.name}" not in asking.answers(known)
        assert asking.failing_s(known) == 0
        await ill.set_health("/well")
        await driver.until("up", lambda status: {each["status"] for each in servers(status)} == {"UP"})


def servers(status: Any) -> list[Any]:
    """Return the servers of the shop from the driver's status."""
    found: list[Any] = status["backends"]["shop"]["servers"]
    return found
