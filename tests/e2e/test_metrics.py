"""Metrics of real nodes and of a driver with its HAProxy: promtool accepts them, and they show the right values."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import treq
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from pytest_twisted import ensureDeferred
from twisted.web.http_headers import Headers

from tests.api.scraping import named, series
from tests.e2e.balancing import Place, driven, shop
from tests.e2e.nodes import PATIENCE_S, Cluster, until
from tests.e2e.prometheus import program
from tests.e2e.protection import make_certificates, protected_node, secret_of, write_tokens

pytestmark = pytest.mark.outside


async def scrape(url: str, **more: Any) -> bytes:
    """Return the metrics at a URL."""
    response = await treq.get(f"{url}/metrics", persistent=False, timeout=PATIENCE_S, **more)
    assert response.code == 200
    content: bytes = await response.content()
    return content


def check(text: bytes) -> None:
    """Check that promtool accepts metrics, and their names."""
    done = subprocess.run([program("promtool"), "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@ensureDeferred
async def test_nodes_and_a_driver(cluster: Cluster, place: Place) -> None:
    """Two nodes and a driver report their members; when one node is paused, the other one reports it as silent."""
    nodes = await cluster(2)
    await shop(place, nodes[0])
    await place.instance(nodes[0], ttl=600)
    await place.instance(nodes[1], ttl=600)
    driver = await driven(place, nodes)
    await driver.until("serving two", lambda status: len(status["backends"]["shop"]["servers"]) == 2)
    for node in nodes:
        text = await scrape(node.api_url)
        check(text)
        values = series(text)
        assert values["bender_ready"] == 1
        assert values['bender_registrations{app="web",state="up"}'] == 2
        assert values['bender_backend_members{backend="shop",rotation="in"}'] == 2
        assert values['bender_peers{state="heard"}'] == 1
        assert values["bender_reactor_lag_seconds_count"] > 0
        assert values["process_resident_memory_bytes"] > 20e6
        assert values["process_open_fds"] > 5
    of_driver = f"http://127.0.0.1:{driver.status_port}"
    text = await scrape(of_driver)
    check(text)
    values = series(text)
    assert (values["bender_haproxy_ready"], values["bender_haproxy_up"], values["bender_haproxy_starts_total"]) == (
        (1, 1, 1)
    )
    assert sum(named(values, "bender_haproxy_servers").values()) == 2
    nodes[1].kill(signal.SIGSTOP)

    async def is_silent() -> bool:
        values = series(await scrape(nodes[0].api_url))
        return values['bender_peers{state="silent"}'] == 1

    await until("the other node is silent", is_silent)
    nodes[1].kill(signal.SIGCONT)

    async def agree() -> bool:
        digests = {series(await scrape(node.api_url))["bender_state_digest"] for node in nodes}
        return len(digests) == 1

    await until("the digests are equal", agree)


@ensureDeferred
async def test_tokens_and_tls(cluster: Cluster, tmp_path: Path) -> None:
    """A scrape over TLS needs a token with the scope `read`; OpenMetrics and gzip work as Prometheus requests them."""
    certificates = make_certificates(tmp_path / "tls", "--host", "127.0.0.1")
    node = protected_node(cluster, certificates, write_tokens(tmp_path / "tokens.toml"))
    await cluster.start([node])
    for token, status in ((None, 401), ("web", 403), ("read", 200)):
        headers = Headers({"Accept": ["application/openmetrics-text;version=1.0.0"], "Accept-Encoding": ["gzip"]})
        if token is not None:
            headers.addRawHeader("Authorization", f"Bearer {secret_of(token)}")
        response = await treq.get(f"{node.api_url}/metrics", headers=headers, persistent=False, agent=node.agent)
        assert response.code == status
        content = await response.content()
    assert response.headers.getRawHeaders("Content-Type")[0].startswith("application/openmetrics-text")
    values = {
        sample.name + "".join(sample.labels.values()): sample.value
        for family in openmetrics(content.decode())
        for sample in family.samples
    }
    assert values["bender_certificate_expiry_timestamp_secondstls"] > 1.7e9
    assert values["bender_certificate_expiry_timestamp_secondspeer-tls"] > 1.7e9
    assert values["bender_requests_denied_totalunauthorized"] == 1
    assert values["bender_requests_denied_totalforbidden"] == 1
