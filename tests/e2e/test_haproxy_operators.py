"""Operator states of instances after a restart of the only node that knew them."""

from __future__ import annotations

import time

import pytest
import pytest_twisted

from tests.e2e.balancing import NODES, Driver, Instance, Place, driven, instances, shop
from tests.e2e.nodes import Cluster, Node, pause, until
from tests.e2e.traffic import traffic

pytestmark = pytest.mark.outside

#: The time in which the driver applies a state of the node.
ASKED_S = 4.0


async def set_state(node: Node, instance: Instance, state: str, for_s: float = 600) -> None:
    answer = await node.call("PUT", f"{instance.path}/state", {"state": state, "for": for_s})
    assert answer.status == 200, answer


async def out(place: Place, node: Node, state: str, for_s: float = 600) -> tuple[Driver, int, list[Instance]]:
    """Start a driver with two instances, the second of which gets this state; return them and the frontend's port."""
    serving = await instances(place, node, 2, "1")
    port = await shop(place, node)
    driver = await driven(place, [node])
    await set_state(node, serving[1], state, for_s)
    admin = {"maint": 1, "drain": 8}[state]
    name = f"1:127.0.0.1:{serving[1].port}"
    await until("it is out", lambda: driver.servers("shop")[name][0] == admin)
    await pause(0.5)
    return driver, port, serving


async def forget(node: Node, serving: list[Instance]) -> None:
    """Restart the node, so that it forgets the state, and register the instances again."""
    node.kill()
    await node.ended()
    node.start()
    await node.ready()
    for instance in serving:
        await instance.register(node)
    listed = (await node.call("GET", "/registrations/web")).body
    assert {each["state"] for each in listed} == {"up"}


def kept(instance: Instance) -> str:
    return f"{instance.path.removeprefix('/').replace('registrations', 'registration')}/state"


@pytest.mark.parametrize("state", ["maint", "drain"])
@pytest_twisted.ensureDeferred
async def test_the_only_node_is_started_again(cluster: Cluster, place: Place, state: str) -> None:
    """The instance gets no requests until the state is set at the node again and then removed."""
    (node,) = await cluster(1, **NODES)
    driver, port, (well, other) = await out(place, node, state)
    async with traffic(port) as asking:
        await asking.until_sent(50)
        await forget(node, [well, other])
        await driver.until("keeping it", lambda status: kept(other) in status["kept"])
        await pause(ASKED_S)
        assert {*asking.answers()} == {f"1/{well.name}"}
        assert f"has lost the state that was set for {kept(other).removesuffix('/state')}" in driver.output
        await set_state(node, other, state)
        await driver.until("knowing it", lambda status: kept(other) not in status["kept"])
        assert {*asking.answers()} == {f"1/{well.name}"}
        assert (await node.call("DELETE", f"{other.path}/state")).status == 204
        await until("it is back", lambda: f"1/{other.name}" in asking.answers())
    assert asking.failed == []


@pytest_twisted.ensureDeferred
async def test_a_state_that_is_kept_and_over(cluster: Cluster, place: Place) -> None:
    """A kept state ends at the time that was set for it."""
    (node,) = await cluster(1, **NODES)
    lasts_s = 12.0
    driver, port, (well, other) = await out(place, node, "maint", lasts_s)
    since = time.monotonic()
    async with traffic(port) as asking:
        await forget(node, [well, other])
        await driver.until("keeping it", lambda status: kept(other) in status["kept"])
        await until("it is back", lambda: f"1/{other.name}" in asking.answers())
        assert lasts_s - 2 < time.monotonic() - since < lasts_s + 2
        assert kept(other) not in (await driver.status())["kept"]


@pytest_twisted.ensureDeferred
async def test_a_state_that_is_kept_and_set_to_up(cluster: Cluster, place: Place) -> None:
    """The driver asks the node for the state, because the node sends no event for it."""
    (node,) = await cluster(1, **NODES)
    driver, port, (well, other) = await out(place, node, "maint")
    async with traffic(port) as asking:
        await forget(node, [well, other])
        await driver.until("keeping it", lambda status: kept(other) in status["kept"])
        assert f"1/{other.name}" not in asking.answers()
        await set_state(node, other, "up")
        since = time.monotonic()
        await until("it is back", lambda: f"1/{other.name}" in asking.answers())
        assert time.monotonic() - since < ASKED_S


@pytest_twisted.ensureDeferred
async def test_a_state_that_was_removed_while_nobody_looked(cluster: Cluster, place: Place) -> None:
    """The state was removed while the instance was not registered; the driver learns that from the node."""
    (node,) = await cluster(1, **NODES)
    driver, port, (_, other) = await out(place, node, "maint")
    assert (await node.call("DELETE", other.path)).status == 204
    await until("it is gone", lambda: len(driver.servers("shop")) == 1)
    assert (await node.call("DELETE", f"{other.path}/state")).status == 204
    async with traffic(port) as asking:
        await other.register(node)
        since = time.monotonic()
        await until("it is back", lambda: f"1/{other.name}" in asking.answers())
        assert time.monotonic() - since < ASKED_S
    assert (await driver.status())["kept"] == []
