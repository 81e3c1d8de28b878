"""Programs that use the same name by mistake, and a client that uses as many names as it can."""

from __future__ import annotations

import http.client
import json
import re
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from tests.e2e.balancing import NODES, Driver, Place, instances, shop
from tests.e2e.nodes import Cluster, Node, until
from tests.e2e.yardsticks import STEPS

#: The time by which a wait may be late, besides several times the time of a simple request.
LATE_S = 1.0


async def deregistered(node: Node, path: str, wait_s: float) -> dict[str, Any]:
    """Deregister with `wait`; return the answer, which must be in time."""
    began = time.monotonic()
    answer = await node.call("DELETE", f"{path}?wait={wait_s}")
    assert answer.status == 200
    took_s = time.monotonic() - began
    began = time.monotonic()
    await node.call("GET", "/ready")
    assert took_s < wait_s + LATE_S + STEPS * (time.monotonic() - began)
    said: dict[str, Any] = answer.body
    return said


async def shown(node: Node) -> dict[str, bool]:
    """Return the instances of consumers, with True for those that are connected."""
    consumers = (await node.call("GET", "/consumers")).body
    return {each["instance"]: each["connected"] for each in consumers}


async def driver_of_one_name(place: Place, nodes: list[Node], tag: str) -> Driver:
    """Start a driver with its HAProxy, under the name edge-1."""
    driver = place.driver(nodes, tag)
    driver.options["name"] = "edge-1"
    driver.start()
    await driver.ready()
    return driver


@pytest.mark.outside
@pytest_twisted.ensureDeferred
async def test_two_drivers_of_one_name(cluster: Cluster, place: Place) -> None:
    """A driver that hangs or was killed is missing, and the other of its name is not; all outputs have a warning."""
    (node,) = await cluster(1, **NODES)
    serving = await instances(place, node, 4, "1")
    await shop(place, node)
    drivers = [await driver_of_one_name(place, [node], tag) for tag in ("one", "two")]
    one, two = [*await shown(node)]
    both = {f"edge-1 ({one})", f"edge-1 ({two})"}

    answer = await deregistered(node, serving[0].path, 5)
    assert ({*answer["consumers"]}, answer["missing"]) == (both, [])

    missing = []
    for driver, instance in zip(drivers, serving[1:3], strict=True):
        driver.signal(signal.SIGSTOP)
        answer = await deregistered(node, instance.path, 1)
        driver.signal(signal.SIGCONT)
        assert {*answer["consumers"], *answer["missing"]} == both
        missing += answer["missing"]
        await driver.until("done", lambda status: status["bender"]["cursor"] == status["bender"]["acknowledged"])
    assert {*missing} == both

    problem = (await node.call("GET", "/status")).body["problems"]["consumer/edge-1"]
    assert all(label in problem for label in both)
    assert [each["warning"] for each in (await node.call("GET", "/consumers")).body] == [problem] * 2
    assert len(re.findall(r"Consumer name edge-1 is shared", node.log)) == 1
    for driver in drivers:
        await driver.until("warned", lambda status: "--name" in str(status["bender"]["consumer_problem"]), 20)

    # Both have confirmed at the same time, so neither is a restart of the other.
    drivers[0].signal()
    await drivers[0].ended()
    answer = await deregistered(node, serving[3].path, 2)
    assert (len(answer["consumers"]), len(answer["missing"])) == (1, 1)
    assert {*answer["consumers"], *answer["missing"]} == both


@pytest.mark.outside
@pytest_twisted.ensureDeferred
async def test_a_driver_that_is_started_again(cluster: Cluster, place: Place) -> None:
    """A restarted driver counts once, except after a hang, until the old connection ends."""
    (node,) = await cluster(1, **NODES)
    serving = await instances(place, node, 3, "1")
    await shop(place, node)
    driver = await driver_of_one_name(place, [node], "one")
    for number, instance in zip((signal.SIGKILL, signal.SIGTERM), serving, strict=False):
        before = await shown(node)
        driver.signal(number)
        await driver.ended()
        driver.start()
        await driver.ready()
        (after,) = await shown(node)
        assert after not in before
        assert await deregistered(node, instance.path, 5) == {"applied": ["n1"], "consumers": ["edge-1"], "missing": []}

    driver.signal(signal.SIGSTOP)
    other = await driver_of_one_name(place, [node], "two")
    assert [*(await shown(node)).values()] == [True, True]
    answer = await deregistered(node, serving[2].path, 1)
    assert (len(answer["consumers"]), len(answer["missing"])) == (1, 1)
    driver.signal(signal.SIGKILL)
    await driver.ended()
    (still,) = await shown(node)
    assert [f"edge-1 ({still})"] == answer["consumers"]
    assert "consumer/edge-1" not in (await node.call("GET", "/status")).body["problems"]
    await other.until("alone", lambda status: status["bender"]["consumer_problem"] is None, 20)


@pytest_twisted.ensureDeferred
async def test_two_nodes_of_one_name(cluster: Cluster) -> None:
    """A wait includes both nodes, and shows their addresses; log and status of both nodes report them."""
    nodes = await cluster(2, name="n", ttl=4, interval=0.25)
    labels = [f"n ({node.exchange})" for node in nodes]
    path = "/registrations/web/1/10.0.0.5/8080"
    assert (await nodes[0].call("POST", path)).status == 200
    await until("all have it", lambda: "is heard" in nodes[0].log and "is heard" in nodes[1].log)
    said = await deregistered(nodes[0], path, 5)
    assert said == {"applied": labels, "consumers": [], "missing": []}

    addresses = " and ".join(sorted(node.exchange for node in nodes))
    problem = f"the nodes at {addresses} have the same name: give each its own with --name"
    for node in nodes:
        await until("it is logged", lambda: f"Node name n is shared: {problem}." in node.log)  # noqa: B023
        assert (await node.call("GET", "/status")).body["problems"] == {"node/n": problem}

    assert (await nodes[0].call("POST", path)).status == 200
    nodes[1].kill(signal.SIGSTOP)
    said = await deregistered(nodes[0], path, 0.5)
    nodes[1].kill(signal.SIGCONT)
    assert said == {"applied": labels[:1], "consumers": [], "missing": labels[1:]}


def put_all(node: Node, source: str, names: Iterable[str], report: Any = None) -> list[int]:
    """Confirm under each of these names from an address; return the statuses."""
    connection = http.client.HTTPConnection("127.0.0.1", node.api_port, timeout=30, source_address=(source, 0))
    connection.request("GET", "/events")
    said = {"cursor": json.loads(connection.getresponse().read())["cursor"], "report": report}
    statuses = []
    for name in names:
        connection.request("PUT", f"/consumers/{name}", json.dumps(said))
        response = connection.getresponse()
        response.read()
        statuses.append(response.status)
    connection.close()
    return statuses


def resident_bytes(node: Node) -> int:
    status = Path(f"/proc/{node.process.pid}/status").read_text("ascii")
    return 1024 * int(status.split("VmRSS:")[1].split()[0])


@pytest_twisted.ensureDeferred
async def test_a_client_of_many_names(cluster: Cluster) -> None:
    """A client with many names does not exclude clients at other addresses, and its reports use little memory."""
    (node,) = await cluster(1)
    before = resident_bytes(node)
    report = {"down": ["x" * 55] * 1000}
    statuses = await deferToThread(put_all, node, "127.0.0.2", [f"x{i}" for i in range(1000)], report)
    assert set(statuses) == {200, 429}
    statuses = await deferToThread(put_all, node, "127.0.0.2", [f"y{i}" for i in range(1000)])
    assert statuses.count(200) < 250
    assert await deferToThread(put_all, node, "127.0.0.3", ["edge-1"], report) == [200]
    assert await deferToThread(put_all, node, "127.0.0.1", [f"edge-{i}" for i in range(15)], report) == [200] * 15
    assert resident_bytes(node) < before + 25 * 1024 * 1024
