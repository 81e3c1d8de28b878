"""Members at addresses at which a real HAProxy listens: HAProxy never connects to itself."""

from __future__ import annotations

import socket

import pytest
import pytest_twisted

from bender.net.local_addresses import local_addresses
from tests.e2e.balancing import NODES, Driver, Place, driven, shop
from tests.e2e.nodes import Cluster, pause
from tests.e2e.traffic import traffic

pytestmark = pytest.mark.outside

#: The time in which a connection from HAProxy to itself would have used up all of its connections.
ENOUGH_S = 1.5


def connections(driver: Driver) -> int:
    """Return the number of connections that HAProxy has accepted since its start."""
    said = dict(line.split(": ", 1) for line in driver.ask("show info").splitlines() if ": " in line)
    return int(said["CumConns"])


@pytest_twisted.ensureDeferred
async def test_every_way_to_name_it(cluster: Cluster, place: Place) -> None:
    """A server at HAProxy's own address is left out, as a registration or a fixed server, by address or by name."""
    (node,) = await cluster(1, **NODES)
    await place.instance(node)
    port = await shop(place, node)
    one, every = place.ports.take(), place.ports.take()
    fixed = [f"127.0.0.1:{one}", f"localhost:{every}", f"127.0.0.9:{every}"]
    assert (await node.call("PUT", "/backends/loop", {"app": "loop", "version": "1", "servers": fixed})).status == 201
    for path in (f"127.0.0.1/{every}", f"localhost/{one}"):
        assert (await node.call("POST", f"/registrations/loop/1/{path}", {"ttl": 600})).status == 200
    for name, bind in {"one": f"127.0.0.1:{one}", "every": f"*:{every}"}.items():
        fields = {"backend": "loop", "bind": bind, "mode": "tcp"}
        assert (await node.call("PUT", f"/frontends/{name}", fields)).status == 201
    driver = await driven(place, [node])
    await driver.until("aware of all", lambda status: len(status["problems"]) == 5)
    before = connections(driver)
    with socket.create_connection(("127.0.0.1", one)) as first, socket.create_connection(("127.0.0.1", every)) as other:
        first.sendall(b"x")
        other.sendall(b"x")
        async with traffic(port) as asking:
            await pause(ENOUGH_S)
            await asking.until_sent(50)
    assert asking.failed == []
    assert driver.servers("loop:tcp") == {}
    assert connections(driver) - before < 1000
    problems = (await driver.status())["problems"]
    assert all("is where HAProxy itself listens" in problem for problem in problems.values()), problems


def test_the_addresses_of_this_machine() -> None:
    """The kernel lists the local addresses, and a socket can bind each."""
    addresses = local_addresses()
    assert {"127.0.0.1"} <= addresses
    for address in addresses:
        if not address.startswith("fe80:"):  # which is incomplete without the name of its interface
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as there:
                there.bind((address, 0))


@pytest_twisted.ensureDeferred
async def test_an_address_that_nobody_can_be_at(cluster: Cluster) -> None:
    """An address at which no instance can be reached is refused, for registrations and fixed servers."""
    (node,) = await cluster(1, **NODES)
    for host in ("0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"):
        answer = await node.call("POST", "/registrations", {"app": "web", "version": "1", "host": host, "port": 80})
        assert (answer.status, answer.body["code"]) == (400, "INVALID")
        assert answer.body["message"].startswith("host: must be an address at which clients reach the instance")
        fixed = {"app": "web", "version": "1", "servers": [f"[{host}]:80" if ":" in host else f"{host}:80"]}
        answer = await node.call("PUT", "/backends/shop", fixed)
        assert (answer.status, answer.body["code"]) == (400, "INVALID")
