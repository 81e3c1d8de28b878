"""HAProxy and Envoy find instances over DNS, and keep them while no node can answer."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import dns.rcode
import pytest
import pytest_twisted
import treq
from attrs import define
from twisted.internet.error import ConnectError

from tests.e2e.balancing import NODES, Instance, Place, haproxy, haproxy_servers, together
from tests.e2e.nodes import PATIENCE_S, Cluster, Node, pause, until
from tests.e2e.resolving import answer_of, register
from tests.twistd_command import ROOT

pytestmark = pytest.mark.outside

#: The time for several queries of a program.
SEVERAL_QUERIES_S = 1.5

BACKEND = """
backend {name}
    server-template s 6 {service} resolvers {resolvers} resolve-opts allow-dup-ip init-addr none
"""


@define
class ResolvingHaproxy:
    """An HAProxy that resolves the servers of backends over DNS."""

    socket: Path
    port: int

    @classmethod
    async def start(cls, place: Place, dns_port: int) -> ResolvingHaproxy:
        started = cls(place.folder / "haproxy.s", place.ports.take())
        times = "\n".join(
            f"    {time}"
            for time in (
                "hold valid 200ms",
                "hold obsolete 0s",
                "hold nx 0s",
                "timeout resolve 200ms",
                "timeout retry 200ms",
            )
        )
        backends = "".join(
            BACKEND.format(name=name, service=service, resolvers=resolvers)
            for name, service, resolvers in (
                ("app", "_web._tcp.app.bender", "large"),
                ("shop", "_shop._tcp.backend.bender", "large"),
                ("over_tcp", "_shop._tcp.backend.bender", "tcp"),
                ("small", "_shop._tcp.backend.bender", "small"),
            )
        )
        file = place.folder / "haproxy.cfg"
        file.write_text(
            f"""global
    stats socket {started.socket} mode 600 level admin
resolvers large
    nameserver n1 127.0.0.1:{dns_port}
    accepted_payload_size 8192
{times}
resolvers small
    nameserver n1 127.0.0.1:{dns_port}
{times}
resolvers tcp
    nameserver n1 tcp@127.0.0.1:{dns_port}
{times}
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend www
    bind 127.0.0.1:{started.port}
    default_backend shop
{backends}
""",
            "utf-8",
        )
        place.start(haproxy(), "-db", "-f", str(file))
        await until("HAProxy has its socket", started.socket.exists)
        return started

    def servers(self, backend: str) -> dict[int, int]:
        """Return the weights of the servers that get requests, by their ports."""
        return {
            int(row["addr"].rpartition(":")[2]): int(row["weight"])
            for row in haproxy_servers(self.socket, backend)
            if not row["status"].startswith("MAINT")
        }

    async def has(self, *backends: str, **weights: int) -> None:
        """Wait until all of these backends have the servers with these ports and weights, and no others."""
        expected = {int(port.removeprefix("p")): weight for port, weight in weights.items()}
        for backend in backends:
            await until(
                f"{backend} has {expected}",
                lambda backend=backend: self.servers(backend) == expected,  # type: ignore[misc]
                details=lambda backend=backend: str(self.servers(backend)),  # type: ignore[misc]
            )

    async def answers(self, count: int) -> Counter[str]:
        """Send requests, one after the other; return how many each instance has answered."""
        counted: Counter[str] = Counter()
        for _ in range(count):
            response = await treq.get(f"http://127.0.0.1:{self.port}/", persistent=False, timeout=PATIENCE_S)
            counted[(await response.text()).strip().rpartition("/")[2]] += 1
            assert response.code == 200
        return counted


def weights_of(*instances: tuple[Instance, int]) -> dict[str, int]:
    return {f"p{instance.port}": weight for instance, weight in instances}


async def three_behind(cluster: Cluster, place: Place) -> tuple[Node, int, ResolvingHaproxy, list[Instance]]:
    """Start a node, three instances on one host, a backend of them, and an HAProxy that finds them."""
    dns_port = cluster.ports.take()
    (node,) = await cluster(1, **NODES, dns=dns_port)
    three = await together(*(place.instance(node) for _ in range(3)))
    assert (await node.call("PUT", "/backends/shop", {"app": "web", "version": "1"})).status == 201
    haproxy = await ResolvingHaproxy.start(place, dns_port)
    await haproxy.has("app", "shop", "over_tcp", "small", **weights_of(*((each, 1) for each in three)))
    return node, dns_port, haproxy, three


@pytest_twisted.ensureDeferred
async def test_haproxy_follows(cluster: Cluster, place: Place) -> None:
    """HAProxy has the instances of one host as servers, with the registry's weights, and follows every change."""
    node, _, haproxy, (first, second, third) = await three_behind(cluster, place)
    everywhere = ("app", "shop", "over_tcp", "small")
    await first.register(node, weight=3)
    await third.register(node, weight=2)
    await haproxy.has(*everywhere, **weights_of((first, 3), (second, 1), (third, 2)))
    assert await haproxy.answers(18) == {first.name: 9, second.name: 3, third.name: 6}
    for state in ("drain", "maint"):
        assert (await node.call("PUT", f"{first.path}/state", {"state": state})).status == 200
        await haproxy.has(*everywhere, **weights_of((second, 1), (third, 2)))
        assert (await node.call("DELETE", f"{first.path}/state")).status == 204
        await haproxy.has(*everywhere, **weights_of((first, 3), (second, 1), (third, 2)))
    assert (await node.call("DELETE", second.path)).status == 204
    await haproxy.has(*everywhere, **weights_of((first, 3), (third, 2)))
    await third.register(node, weight=256)
    await haproxy.has(*everywhere, **weights_of((first, 3), (third, 256)))
    await third.register(node, weight=2)
    canary = await place.instance(node, version="2")
    setting = {"canary": {"version": "2", "percent": 50}}
    assert (await node.call("PUT", "/backends/shop", setting)).status == 200
    # The largest whole numbers with these shares: 256 for the canary, and as much for the two others together.
    await haproxy.has("shop", "over_tcp", "small", **weights_of((first, 154), (third, 102), (canary, 256)))
    await haproxy.has("app", **weights_of((first, 3), (third, 2), (canary, 1)))


@pytest_twisted.ensureDeferred
async def test_haproxy_keeps_what_it_has(cluster: Cluster, place: Place) -> None:
    """HAProxy keeps its servers if the node is killed or not ready, and removes them if a ready node has none."""
    node, dns_port, haproxy, three = await three_behind(cluster, place)
    expected = weights_of(*((each, 1) for each in three))
    node.kill()
    await node.ended()
    await pause(SEVERAL_QUERIES_S)
    await haproxy.has("app", "shop", "over_tcp", "small", **expected)
    node.options |= {"peers": "127.0.0.1:1", "interval": 1, "ttl": 4}
    node.start()
    await until("queries fail", lambda: _fails(dns_port))
    await pause(SEVERAL_QUERIES_S)
    assert _fails(dns_port)
    await haproxy.has("app", "shop", "over_tcp", "small", **expected)
    assert sum((await haproxy.answers(6)).values()) == 6
    await node.ready()
    await haproxy.has("app", "shop", "over_tcp", "small")


def _fails(port: int) -> bool:
    try:
        return answer_of(port, tcp=True).rcode() == dns.rcode.SERVFAIL
    except OSError:
        return False


ENVOY = ROOT / ".deps/envoy/envoy/_bin/envoy"

ENVOY_CONFIG = """
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}}}
static_resources:
  clusters:
  - name: web
    type: STRICT_DNS
    connect_timeout: 1s
    dns_lookup_family: V4_PREFERRED
    dns_refresh_rate: 0.2s
    dns_failure_refresh_rate: {{base_interval: 0.2s, max_interval: 0.2s}}
    typed_dns_resolver_config:
      name: envoy.network.dns_resolver.cares
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
        resolvers: [{{socket_address: {{address: 127.0.0.1, port_value: {dns}}}}}]
        dns_resolver_options: {{no_default_search_domain: true}}
    load_assignment:
      cluster_name: web
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: web.app.bender, port_value: 8080}}}}}}
"""


@pytest_twisted.ensureDeferred
async def test_envoy(cluster: Cluster, place: Place) -> None:
    """Envoy has the addresses of an app, also those that need TCP, and keeps them while the node is not ready."""
    dns_port, admin_port = cluster.ports.take(), cluster.ports.take()
    (node,) = await cluster(1, **NODES, dns=dns_port)
    few, many = ["10.0.0.5", "10.0.0.6"], [f"10.0.1.{number}" for number in range(1, 61)]
    await register(node, few)
    file = place.folder / "envoy.yaml"
    file.write_text(ENVOY_CONFIG.format(admin=admin_port, dns=dns_port))
    place.start(str(ENVOY), "-c", str(file), "--disable-hot-restart", "--concurrency", "1", "-l", "warn")

    async def members() -> list[str]:
        try:
            response = await treq.get(f"http://127.0.0.1:{admin_port}/clusters", persistent=False, timeout=PATIENCE_S)
        except ConnectError:
            return []
        return sorted({*re.findall(r"^web::([0-9.]+):8080::", await response.text(), re.MULTILINE)})

    async def has(hosts: list[str]) -> None:
        async def is_so() -> bool:
            return await members() == sorted(hosts)

        await until(f"Envoy has {len(hosts)} members", is_so)

    await has(few)
    await register(node, many)
    await has(few + many)
    assert (await node.call("PUT", "/registrations/web/1/10.0.0.5/8080/state", {"state": "drain"})).status == 200
    await has([*few[1:], *many])
    node.kill()
    await node.ended()
    node.options |= {"peers": "127.0.0.1:1", "interval": 1, "ttl": 4}
    node.start()
    await until("queries fail", lambda: _fails(dns_port))
    await pause(SEVERAL_QUERIES_S)
    assert _fails(dns_port)
    assert len(await members()) == 61
    await node.ready()
    await has([])
