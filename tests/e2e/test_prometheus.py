"""Prometheus finds the registered instances by HTTP service discovery, and keeps them while a node cannot answer."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest
import treq
from pytest_twisted import ensureDeferred
from twisted.internet.error import ConnectError

from tests.e2e.balancing import Place
from tests.e2e.nodes import Cluster, Node, pause, until
from tests.e2e.prometheus import Prometheus, http_sd, with_jobs, yaml_blocks
from tests.e2e.protection import make_certificates, protected_node, secret_of, write_tokens
from tests.twistd_command import ROOT

pytestmark = pytest.mark.outside

#: The longest time until Prometheus uses a new list of targets.
TAKEN_OVER_S = 5.0


@pytest.fixture
def prometheus(place: Place) -> Prometheus:
    """A Prometheus that is not started yet; it ends with the test."""
    made = Prometheus("prometheus", place.folder, port=place.ports.take())
    place.processes.append(made)
    return made


async def register(node: Node, app: str, version: str, host: str, port: int, **fields: Any) -> str:
    """Register an instance, and return its path."""
    body = {"app": app, "version": version, "host": host, "port": port, "ttl": 600, **fields}
    answer = await node.call("POST", "/registrations", body)
    assert answer.status == 201, answer
    return "/" + str(answer.body["id"]).replace("registration/", "registrations/")


async def failures(prometheus: Prometheus) -> int:
    """Return the number of failed requests of Prometheus for targets."""
    response = await treq.get(f"http://127.0.0.1:{prometheus.port}/metrics", persistent=False)
    lines = (await response.text()).splitlines()
    (line,) = (each for each in lines if each.startswith("prometheus_sd_http_failures_total"))
    return int(float(line.split()[1]))


def relabelling() -> list[dict[str, Any]]:
    """Return the relabelling rules of all examples in the guide, in order."""
    jobs = [block for block in yaml_blocks(ROOT / "docs/monitoring/index.md") if isinstance(block, dict)]
    whole = [each["relabel_configs"] for block in jobs for each in block["scrape_configs"] if "relabel_configs" in each]
    pieces = [block for block in yaml_blocks(ROOT / "docs/monitoring/index.md") if isinstance(block, list)]
    assert whole
    assert pieces
    return [rule for rules in (*whole, *pieces) for rule in rules]


@ensureDeferred
async def test_targets_follow_registrations_and_outlive_an_outage(cluster: Cluster, prometheus: Prometheus) -> None:
    """Prometheus has the targets of a node, of an app or of a version, filtered by the guide's relabelling rules.

    No target is lost while a node is stopped, or has restarted and is not ready yet.
    """
    node, peer = await cluster(2, interval=1.5)
    sd = f"{node.api_url}/sd/prometheus"
    gone = await register(node, "web", "1", "127.0.0.1", 9)
    await register(node, "web", "1", "127.0.0.2", 9, ttl=6)
    down = await register(peer, "web", "2", "::1", 9, meta={"zone": "a", "rack.id": 7})
    await register(peer, "api", "2", "localhost", 9, meta={"metrics": "/numbers"})
    await prometheus.start(
        with_jobs(
            {
                "all": {"http_sd_configs": http_sd(sd)},
                "web": {"http_sd_configs": http_sd(f"{sd}?app=web")},
                "web-1": {"http_sd_configs": http_sd(f"{sd}?app=web&version=1")},
                "version-2": {"http_sd_configs": http_sd(f"{sd}?version=2")},
                "relabelled": {"http_sd_configs": http_sd(sd), "relabel_configs": relabelling()},
            }
        )
    )

    async def found_all() -> bool:
        await node.call("PUT", "/registrations/web/1/127.0.0.2/9")  # it expires when it is not renewed any more
        return len(await prometheus.targets("all")) == 4

    await until("all are found", found_all)
    await prometheus.until_targets("web", "127.0.0.1:9", "127.0.0.2:9", "[::1]:9")
    await prometheus.until_targets("web-1", "127.0.0.1:9", "127.0.0.2:9")
    await prometheus.until_targets("version-2", "[::1]:9", "localhost:9")
    await prometheus.until_targets("relabelled", *await prometheus.targets("all"))
    relabelled = await prometheus.targets("relabelled")
    assert relabelled["[::1]:9"] == {"instance": "[::1]:9", "job": "relabelled", "app": "web", "version": "2"}
    assert await prometheus.scraped("relabelled", "localhost:9") == "http://localhost:9/numbers"

    await keeps_all_in_an_outage(prometheus, node, peer)

    assert (await node.call("DELETE", gone)).status == 204
    assert (await node.call("PUT", f"{down}/state?force", {"state": "maint"})).status == 200
    await register(node, "web", "1", "new.example", 80)
    await prometheus.until_targets("all", "[::1]:9", "localhost:9", "new.example:80")
    await prometheus.until_targets("web", "[::1]:9", "new.example:80")
    await prometheus.until_targets("web-1", "new.example:80")
    await prometheus.until_targets("relabelled", "localhost:9", "new.example:80")


async def keeps_all_in_an_outage(prometheus: Prometheus, node: Node, peer: Node) -> None:
    """Kill the node, and start it again while its peer does not answer; all four targets stay."""
    before, failed = await prometheus.targets("all"), await failures(prometheus)
    node.kill()
    await node.ended()
    peer.kill(signal.SIGSTOP)

    async def fails() -> bool:
        return await failures(prometheus) > failed + 1

    await until("refreshes fail", fails)
    assert await prometheus.targets("all") == before
    node.start()
    await until("it answers 503", lambda: _is_starting(node))
    began_s, failed = time.monotonic(), await failures(prometheus)
    while time.monotonic() < began_s + TAKEN_OVER_S:
        assert await prometheus.targets("all") == before
        await pause(0.2)
    assert await _is_starting(node)
    assert await failures(prometheus) > failed + 5
    peer.kill(signal.SIGCONT)
    await node.ready()


async def _is_starting(node: Node) -> bool:
    try:
        return (await node.call("GET", "/sd/prometheus")).status == 503
    except ConnectError:
        return False


@ensureDeferred
async def test_tokens_and_tls(cluster: Cluster, prometheus: Prometheus, tmp_path: Path) -> None:
    """A token with the scope `read` is required, from a file or in the configuration; the certificate is checked."""
    certificates = make_certificates(tmp_path / "tls", "--host", "127.0.0.1")
    node = protected_node(cluster, certificates, write_tokens(tmp_path / "tokens.toml"))
    await cluster.start([node])
    await register(node, "web", "1", "127.0.0.1", 9)
    (tmp_path / "token").write_text(secret_of("read"))
    url, trusted = f"{node.api_url}/sd/prometheus", {"tls_config": {"ca_file": str(certificates / "ca.pem")}}
    ways: dict[str, dict[str, Any]] = {
        "file": {"authorization": {"credentials_file": str(tmp_path / "token")}, **trusted},
        "bare": {"authorization": {"credentials": secret_of("read")}, **trusted},
        "basic": {"basic_auth": {"username": "any", "password": secret_of("read")}, **trusted},
        "wrong scope": {"authorization": {"credentials": secret_of("web")}, **trusted},
        "none": trusted,
        "untrusted": {"authorization": {"credentials": secret_of("read")}},
    }
    await prometheus.start(with_jobs({name: {"http_sd_configs": http_sd(url, **way)} for name, way in ways.items()}))
    for name in ("file", "bare", "basic"):
        await prometheus.until_targets(name, "127.0.0.1:9")
    for name in ("wrong scope", "none", "untrusted"):
        assert await prometheus.targets(name) == {}
    counted = (await node.call("GET", "/status")).body["since_start"]
    assert min(counted["unauthorized"], counted["forbidden"], counted["tls_refused"]) > 0
