"""Requests of a real HAProxy to servers that failed their checks, or have not been checked yet."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from bender.haproxy import core
from tests.e2e.balancing import NODES, Driver, Instance, Place, driven, haproxy, instances, shop
from tests.e2e.nodes import Cluster, Node, pause, until
from tests.e2e.traffic import SentRequest, Traffic, traffic

pytestmark = pytest.mark.outside

INTERVAL_S = 1.0

HEALTH = {"path": "/health", "interval": INTERVAL_S}

#: The time until a server that answers its checks is up: two checks, and the machine's delays.
UP_S = 2 * INTERVAL_S + 1.0

TEMPLATE = Path(core.__file__).with_name("haproxy.cfg.j2").read_text("utf-8")


def statuses(driver: Driver, pool: str = "shop") -> dict[str, str]:
    """Return the status of each server in HAProxy, by its port."""
    lines = driver.ask("show stat -1 4 -1").splitlines()
    names = lines[0].removeprefix("# ").split(",")
    rows = [dict(zip(names, line.split(","), strict=True)) for line in lines[1:] if line]
    return {row["svname"].rpartition(":")[2]: row["status"] for row in rows if row["pxname"] == pool}


async def until_down(driver: Driver, instance: Instance, *, known: bool = True) -> None:
    """Wait until HAProxy has found the server down and, if `known`, the driver has read its state."""
    await until("it is down", lambda: statuses(driver).get(str(instance.port), "").startswith("DOWN"))
    if known:
        await pause(2.5)


async def one_is_ill(place: Place, node: Node, **options: Any) -> tuple[Driver, Instance, int]:
    """Start a driver with two instances, one of which HAProxy has found down; return them and the frontend's port."""
    _, ill = await instances(place, node, 2, "1")
    port = await shop(place, node, health=HEALTH)
    driver = await driven(place, [node], **options)
    await ill.set_health("/ill")
    await until_down(driver, ill)
    return driver, ill, port


def wrong(asking: Traffic, since: float = 0.0) -> list[SentRequest]:
    """Return the requests that a failing instance answered, although it should get none."""
    return [asked for asked in asking.since(since) if asked.status not in (None, 200)]


async def another_frontend(place: Place, node: Node, driver: Driver) -> None:
    """Make a change that needs a reload."""
    reloads = (await driver.status())["haproxy"]["reloads"]
    body = {"backend": "shop", "bind": f"127.0.0.1:{place.ports.take()}"}
    assert (await node.call("PUT", "/frontends/other", body)).status == 201
    await driver.until("reloaded", lambda status: status["haproxy"]["reloads"] == reloads + 1)


@pytest_twisted.ensureDeferred
async def test_a_reload(cluster: Cluster, place: Place) -> None:
    """After a reload, a server that was down gets no requests until its checks succeed."""
    (node,) = await cluster(1, **NODES)
    driver, ill, port = await one_is_ill(place, node)
    async with traffic(port, retrying=True) as asking:
        await asking.until_sent(50)
        await another_frontend(place, node, driver)
        await pause(3 * INTERVAL_S)
        assert asking.failed == []
        await ill.set_health("/well")
        await until("it is up", lambda: statuses(driver)[str(ill.port)] == "UP")
        await asking.until_sent(50)
        assert asking.failed == []


@pytest_twisted.ensureDeferred
async def test_a_reload_right_after_a_server_went_down(cluster: Cluster, place: Place) -> None:
    """The driver reads the state of servers right before a reload, and does not use a state that is two seconds old."""
    (node,) = await cluster(1, **NODES)
    _, ill = await instances(place, node, 2, "1")
    port = await shop(place, node, health={**HEALTH, "interval": 0.2})
    driver = await driven(place, [node])
    for i in range(3):
        await ill.set_health("/ill")
        await until_down(driver, ill, known=False)
        async with traffic(port, retrying=True) as asking:
            body = {"backend": "shop", "bind": f"127.0.0.1:{place.ports.take()}"}
            assert (await node.call("PUT", f"/frontends/other{i}", body)).status == 201
            await driver.until("reloaded", lambda status: status["haproxy"]["reloads"] == i + 1)  # noqa: B023 - now
            await pause(0.5)
        assert asking.failed == []
        await ill.set_health("/well")
        await until("it is up", lambda: statuses(driver)[str(ill.port)] == "UP")


@pytest_twisted.ensureDeferred
async def test_a_reload_of_an_haproxy_that_others_run(cluster: Cluster, place: Place) -> None:
    """A server that was down gets no requests after a reload, or a restart, of an HAProxy that another program runs."""
    (node,) = await cluster(1, **NODES)
    pidfile = place.folder / "pid"
    start = f"{haproxy()} -W -D -p {pidfile} -S {place.folder}/edge.s.master -f {place.folder}/edge.cfg"
    reload = f"if [ -e {pidfile} ] && kill -USR2 $(cat {pidfile}); then :; else {start}; fi"
    driver, _, port = await one_is_ill(place, node, run=None, reload=reload, check=haproxy())
    async with traffic(port, retrying=True) as asking:
        since = time.monotonic()
        await another_frontend(place, node, driver)
        await pause(2 * INTERVAL_S)
        assert asking.failed == []
        await pause(1)
        since = time.monotonic()
        for pid in driver.pids():
            os.kill(pid, signal.SIGKILL)
        await place.run("sh", "-c", start)
        await pause(2 * INTERVAL_S)
        assert wrong(asking, since) == []


@pytest_twisted.ensureDeferred
async def test_haproxy_is_killed(cluster: Cluster, place: Place) -> None:
    """If a process of HAProxy is killed, the new one sends nothing to a server that was down."""
    (node,) = await cluster(1, **NODES)
    driver, _, port = await one_is_ill(place, node)
    for i in range(2):
        async with traffic(port) as asking:
            await asking.until_sent(50)
            since = time.monotonic()
            os.kill(driver.pids()[i], signal.SIGKILL)
            await pause(3 * INTERVAL_S)
            await asking.until_answered(50, since + INTERVAL_S)
            assert wrong(asking, since) == []
        await pause(2)


@pytest_twisted.ensureDeferred
async def test_the_driver_is_started_again_with_its_haproxy(cluster: Cluster, place: Place) -> None:
    """A driver that is restarted together with its HAProxy knows from a file which server was down."""
    (node,) = await cluster(1, **NODES)
    driver, _, port = await one_is_ill(place, node)
    for number in (signal.SIGTERM, signal.SIGKILL):
        pids = driver.pids()
        async with traffic(port) as asking:
            since = time.monotonic()
            driver.signal(number)
            await driver.ended()
            if number == signal.SIGKILL:
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
            driver.start()
            await driver.ready()
            await pause(3 * INTERVAL_S)
            await asking.until_answered(50, since + INTERVAL_S)
            assert wrong(asking, since) == []


@pytest_twisted.ensureDeferred
async def test_a_template_without_the_file_of_states(cluster: Cluster, place: Place) -> None:
    """Without the file of states in the template, the driver sets the states right after HAProxy's start."""
    (node,) = await cluster(1, **NODES)
    template = place.folder / "mine.cfg.j2"
    template.write_text("".join(line for line in TEMPLATE.splitlines(True) if "server-state" not in line))
    driver, ill, port = await one_is_ill(place, node, template=str(template))
    async with traffic(port, retrying=True) as asking:
        since = time.monotonic()
        await another_frontend(place, node, driver)
        await until_down(driver, ill, known=False)
        told = time.monotonic()
        await pause(2 * INTERVAL_S)
        assert wrong(asking, told) == []
        assert told - since < INTERVAL_S


@pytest_twisted.ensureDeferred
async def test_new_servers(cluster: Cluster, place: Place) -> None:
    """New servers get no requests before their first checks succeed, and then soon get their share."""
    (node,) = await cluster(1, **NODES)
    await instances(place, node, 1, "1")
    port = await shop(place, node, health=HEALTH)
    driver = await driven(place, [node])
    ill, well = await place.instance(None), await place.instance(None)
    await ill.set_health("/ill")
    async with traffic(port) as asking:
        await asking.until_sent(50)
        since = time.monotonic()
        for instance in (ill, well):
            await instance.register(node)
        await until("it is up", lambda: statuses(driver).get(str(well.port)) == "UP")
        up_s = time.monotonic() - since
        await asking.until_sent(50)
        assert asking.failed == []
        assert f"1/{well.name}" in asking.answers(since)
        assert up_s < UP_S
        since = time.monotonic()
        await another_frontend(place, node, driver)
        await pause(2 * INTERVAL_S)
        assert wrong(asking, since) == []


@pytest_twisted.ensureDeferred
async def test_new_servers_that_come_with_a_reload(cluster: Cluster, place: Place) -> None:
    """New servers that are added by a restart also wait for their checks, beside an older server."""
    (node,) = await cluster(1, **NODES)
    await instances(place, node, 1, "1")
    port = await shop(place, node, health=HEALTH)
    driver = await driven(place, [node])
    ill = await place.instance(None)
    await ill.set_health("/ill")
    async with traffic(port) as asking:
        await asking.until_sent(50)
        for _ in range(2):
            since = time.monotonic()
            driver.signal(signal.SIGSTOP)
            os.kill(driver.pids()[0], signal.SIGKILL)
            await ill.register(node)
            await pause(0.5)
            driver.signal(signal.SIGCONT)
            await until("it is there", lambda: str(ill.port) in statuses_if_any(driver))
            await pause(2 * INTERVAL_S)
            assert wrong(asking, since) == []
            assert (await node.call("DELETE", ill.path)).status == 204
            await until("it is gone", lambda: str(ill.port) not in statuses(driver))
            await pause(2.5)


def statuses_if_any(driver: Driver) -> dict[str, str]:
    """Return the statuses, or an empty dict while HAProxy does not answer."""
    try:
        return statuses(driver)
    except OSError:
        return {}


@pytest_twisted.ensureDeferred
async def test_servers_that_are_all_there_is(cluster: Cluster, place: Place) -> None:
    """Servers get requests at once if there are no others: the first ones, those of a new version, and the last one."""
    (node,) = await cluster(1, **NODES)
    (first,) = await instances(place, node, 1, "1")
    port = await shop(place, node, health=HEALTH)
    driver = await driven(place, [node])
    async with traffic(port) as asking:
        await instances(place, node, 2, "2")
        assert (await node.call("PUT", "/backends/shop", {"version": "2"})).status == 200
        await until("both are there", lambda: len(driver.servers("shop")) == 2)
        await asking.until_sent(50)
        assert (await node.call("PUT", "/backends/shop", {"version": "1"})).status == 200
        await until("it is back", lambda: len(driver.servers("shop")) == 1)
        await pause(UP_S)
        other = await place.instance(node)
        await until("it is there", lambda: str(other.port) in statuses(driver))
        assert statuses(driver)[str(other.port)].startswith("DOWN")
        assert (await node.call("DELETE", first.path)).status == 204
        since = time.monotonic()
        await asking.until_sent(100)
    assert asking.failed == []
    assert f"1/{other.name}" in asking.answers(since)


@pytest_twisted.ensureDeferred
async def test_a_server_that_comes_out_of_maintenance(cluster: Cluster, place: Place) -> None:
    """After maintenance, a server waits for its checks like a new one."""
    (node,) = await cluster(1, **NODES)
    _, ill = await instances(place, node, 2, "1")
    port = await shop(place, node, health=HEALTH)
    driver = await driven(place, [node])
    await until("they are checked", lambda: {*statuses(driver).values()} == {"UP"})
    assert (await node.call("PUT", f"{ill.path}/state", {"state": "maint"})).status == 200
    await until("it is out", lambda: statuses(driver)[str(ill.port)] == "MAINT")
    await ill.set_health("/ill")
    async with traffic(port) as asking:
        assert (await node.call("PUT", f"{ill.path}/state", {"state": "up"})).status == 200
        await until_down(driver, ill)
        assert asking.failed == []
        await ill.set_health("/well")
        await until("it is up", lambda: statuses(driver)[str(ill.port)] == "UP")
