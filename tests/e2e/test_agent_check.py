"""A real HAProxy with its own configuration asks for the state of its servers by agent-check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define
from treq import get

from tests.e2e.balancing import NODES, Instance, Place, ask_haproxy, haproxy, haproxy_servers, together
from tests.e2e.nodes import PATIENCE_S, Cluster, Node, until
from tests.e2e.protection import make_certificates, protected_node, write_tokens

pytestmark = pytest.mark.outside


@define
class CheckedHaproxy:
    """An HAProxy whose servers are these instances, with agent-checks at a port of a node."""

    socket: Path
    port: int

    @classmethod
    async def start(cls, place: Place, agent_port: int, instances: Sequence[Instance]) -> CheckedHaproxy:
        started = cls(place.folder / "haproxy.s", place.ports.take())
        servers = "\n".join(
            f"    server {each.name} 127.0.0.1:{each.port} check inter 200ms agent-check agent-addr 127.0.0.1 "
            f'agent-port {agent_port} agent-inter 200ms agent-send "{each.app}/{each.version}/127.0.0.1/{each.port}\\n"'
            for each in instances
        )
        file = place.folder / "haproxy.cfg"
        file.write_text(
            f"""global
    stats socket {started.socket} mode 600 level admin
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend www
    bind 127.0.0.1:{started.port}
    default_backend shop
backend shop
    balance roundrobin
{servers}
""",
            "utf-8",
        )
        place.start(haproxy(), "-db", "-f", str(file))
        await until("HAProxy has its socket", started.socket.exists)
        return started

    def servers(self) -> dict[str, dict[str, str]]:
        """Return the servers as HAProxy shows them, by name."""
        return {row["svname"]: row for row in haproxy_servers(self.socket, "shop")}

    async def shows(self, instance: Instance, status: str, weight: int | None = None, agent: str | None = None) -> None:
        """Wait until a server has this status and, if given, this weight and result of the last agent-check."""
        server: dict[str, str] = {}

        def is_so() -> bool:
            nonlocal server
            server = self.servers()[instance.name]
            return (
                server["status"].removesuffix(" (agent)") == status
                and weight in (None, int(server["weight"]))
                # A star means that the next check is in progress.
                and agent in (None, server["agent_status"].removeprefix("* "))
            )

        expected = f"{instance.name} is {status} with weight {weight} after {agent}"
        await until(expected, is_so, details=lambda: str(server))

    async def answers(self, count: int) -> Counter[str]:
        """Send requests, one after the other; return how many each instance has answered."""
        counted: Counter[str] = Counter()
        for _ in range(count):
            response = await get(f"http://127.0.0.1:{self.port}/", persistent=False, timeout=PATIENCE_S)
            counted[(await response.text()).strip().rpartition("/")[2]] += 1
            assert response.code == 200
        return counted


async def checked(
    cluster: Cluster, place: Place, make: Callable[..., Node] | None = None
) -> tuple[Node, CheckedHaproxy, list[Instance]]:
    """Start a node, two instances registered there, and an HAProxy that asks the node for both."""
    agent_port = cluster.ports.take()
    (node,) = await cluster.start([(make or cluster.node)(**NODES, agent=f"tcp:{agent_port}:interface=127.0.0.1")])
    both = await together(*(place.instance(node) for _ in range(2)))
    haproxy = await CheckedHaproxy.start(place, agent_port, both)
    for each in both:
        await haproxy.shows(each, "UP", 1)
    return node, haproxy, both


async def set_state(node: Node, instance: Instance, **state: Any) -> None:
    assert (await node.call("PUT", f"{instance.path}/state", state)).status == 200


@pytest_twisted.ensureDeferred
async def test_states_of_operators(cluster: Cluster, place: Place) -> None:
    """An instance that is drained or in maintenance gets no requests until its state is `up` again or removed."""
    node, haproxy, (first, second) = await checked(cluster, place)
    for state, status in (("drain", "DRAIN"), ("maint", "MAINT"), ("drain", "DRAIN")):
        await set_state(node, first, state=state)
        await haproxy.shows(first, status)
        assert await haproxy.answers(4) == {second.name: 4}
        await set_state(node, first, state="up")
        await haproxy.shows(first, "UP", 1)
        assert await haproxy.answers(4) == {first.name: 2, second.name: 2}
    await set_state(node, first, state="maint")
    await haproxy.shows(first, "MAINT")
    assert (await node.call("DELETE", f"{first.path}/state")).status == 204
    await haproxy.shows(first, "UP", 1)


@pytest_twisted.ensureDeferred
async def test_states_that_were_set_in_haproxy(cluster: Cluster, place: Place) -> None:
    """If an operator changes a server in HAProxy, the next agent-check restores the state of the registry."""
    _, haproxy, (first, second) = await checked(cluster, place)
    for state in ("drain", "maint"):
        assert ask_haproxy(haproxy.socket, f"set server shop/{first.name} state {state}").strip() == ""
        await haproxy.shows(first, "UP", 1)
        assert await haproxy.answers(4) == {first.name: 2, second.name: 2}


@pytest_twisted.ensureDeferred
async def test_a_node_with_tls_and_tokens(cluster: Cluster, place: Place, tmp_path: Path) -> None:
    """The agent's port on loopback uses neither TLS nor tokens."""
    certificates = make_certificates(tmp_path / "ca", "--host", "127.0.0.1")
    tokens = write_tokens(tmp_path / "tokens.toml")
    node, haproxy, (first, _) = await checked(cluster, place, partial(protected_node, cluster, certificates, tokens))
    await set_state(node, first, state="drain")
    await haproxy.shows(first, "DRAIN")
    await set_state(node, first, state="up")
    await haproxy.shows(first, "UP", 1)


@pytest_twisted.ensureDeferred
async def test_weights(cluster: Cluster, place: Place) -> None:
    """A server has the weight of its instance, from 0 to 256."""
    node, haproxy, (first, second) = await checked(cluster, place)
    await first.register(node, weight=3)
    await haproxy.shows(first, "UP", 3)
    assert await haproxy.answers(8) == {first.name: 6, second.name: 2}
    await first.register(node, weight=256)
    await haproxy.shows(first, "UP", 256)
    await first.register(node, weight=0)
    await haproxy.shows(first, "UP", 0)
    assert await haproxy.answers(4) == {second.name: 4}
    await first.register(node, weight=1)
    await haproxy.shows(first, "UP", 1)
    assert await haproxy.answers(4) == {first.name: 2, second.name: 2}


@pytest_twisted.ensureDeferred
async def test_what_the_registry_does_not_know_changes_nothing(cluster: Cluster, place: Place) -> None:
    """A server keeps its state if its instance has ended, if the node is stopped, or if the node has lost it."""
    node, haproxy, (first, second) = await checked(cluster, place)
    await first.register(node, weight=3)
    await set_state(node, second, state="drain")
    await haproxy.shows(first, "UP", 3)
    await haproxy.shows(second, "DRAIN")

    async def unchanged(agent: str) -> None:
        await haproxy.shows(first, "UP", 3, agent)
        await haproxy.shows(second, "DRAIN")
        assert await haproxy.answers(4) == {first.name: 4}

    for each in (first, second):
        assert (await node.call("DELETE", each.path)).status == 204
    await unchanged("L7RSP")
    await node.stop()
    await unchanged("L4CON")
    node.start()
    await node.ready()
    await unchanged("L7RSP")
    for each in (first, second):
        await each.register(node)
        await haproxy.shows(each, "UP", 1)
    assert await haproxy.answers(4) == {first.name: 2, second.name: 2}
    assert "has sent nothing" not in node.log
