"""Slots for versions of HAProxy that cannot add servers, tested with a newer version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import UNIXClientEndpoint

from bender.haproxy import core
from bender.haproxy.core.health import Findings
from bender.haproxy.core.rendering import Renderer
from bender.haproxy.core.servers import DesiredServer
from bender.haproxy.core.settings import parse_backend, parse_frontend
from bender.haproxy.core.topology import Topology, build_topology, slots_for
from bender.haproxy.reconciler import ReconcileOutcome, Reconciler
from bender.haproxy.runtime import Runtime
from tests.e2e.balancing import Instance, Place, haproxy, together
from tests.e2e.nodes import pause, until
from tests.e2e.traffic import traffic

pytestmark = pytest.mark.outside

#: The last version that cannot add servers.
OLD = (2, 4, 0)


def server(instance: Instance, weight: int = 1) -> DesiredServer:
    return DesiredServer(instance.name, instance.path, "1", "127.0.0.1", instance.port, weight, "up")


def shop(place: Place, servers: int) -> tuple[Topology, int]:
    """Return the topology of a shop with slots for this number of servers, and the frontend's port."""
    port = place.ports.take()
    backend = {"name": "shop", "app": "web", "version": "1", "health": {"path": "/health", "interval": 0.2}}
    frontend = {"name": "www", "backend": "shop", "bind": f"127.0.0.1:{port}"}
    slots = {"shop": slots_for(servers, 0)}
    found, problems = build_topology({"shop": parse_backend(backend)}, {"www": parse_frontend(frontend)}, slots)
    assert problems == {}
    return found, port


@pytest_twisted.ensureDeferred
async def test_servers_come_and_go_in_slots(place: Place) -> None:
    """With slots, no request fails, and no request reaches a wrong instance."""
    first, second = await together(place.instance(None), place.instance(None))
    found, port = shop(place, 1)
    (pool,) = found.pools
    socket, file = place.folder / "s", place.folder / "cfg"
    template = Path(core.__file__).with_name("haproxy.cfg.j2").read_text("utf-8")
    file.write_text(
        Renderer(template, str(socket), f"{socket}.states", OLD).render(found, {"shop": [server(first)]}).text
    )
    place.start(haproxy(), "-f", str(file))
    await until("HAProxy listens", socket.exists)
    any_reactor: Any = reactor
    runtime = Runtime(any_reactor, UNIXClientEndpoint(any_reactor, str(socket)))

    async def reconcile(*servers: DesiredServer) -> ReconcileOutcome:
        async with runtime.conversation() as talk:
            reconciler = Reconciler(talk)
            await reconciler.process()
            return await reconciler.reconcile([pool], {"shop": servers}, Findings())

    async def answers(asking: Any) -> set[str]:
        since_s = asking.requests[-1].ended_at_s
        await asking.until_sent(50)
        return {*asking.answers(since_s)}

    async with traffic(port) as asking:
        await asking.until_sent(20)
        for servers in ([server(first), server(second)], [server(second, 7)], [server(first)], [server(second)]):
            await _until_left(reconcile, servers)
            await pause(1)  # a new server waits for its checks
            assert await answers(asking) == {f"1/{one.name}" for one in (first, second) if one.name in _names(servers)}
    assert asking.failed == []


def _names(servers: Sequence[DesiredServer]) -> set[str]:
    return {server.name for server in servers}


async def _until_left(reconcile: Any, servers: Sequence[DesiredServer]) -> None:
    """Wait until all removed instances have left their slots."""
    outcome = await reconcile(*servers)
    while outcome.leaving:
        assert outcome.refused == outcome.without_slot == ()
        outcome = await reconcile(*servers)
    assert outcome.refused == outcome.without_slot == ()
