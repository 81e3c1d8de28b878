"""A driver with its HAProxy at nodes with TLS and tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import treq
from pytest_twisted import ensureDeferred

from tests.e2e.balancing import Place, driven, shop
from tests.e2e.nodes import Cluster, until
from tests.e2e.protection import make_certificates, protected_node, secret_of, token_table, write_tokens
from tests.e2e.test_access_reload import reread, written

pytestmark = pytest.mark.outside


@ensureDeferred
async def test_haproxy_follows_through_a_change_of_its_token(cluster: Cluster, place: Place, tmp_path: Path) -> None:
    """A driver needs only the scope `read`, reads a new token by itself, and no request fails meanwhile."""
    certificates = make_certificates(tmp_path / "ca", "--host", "127.0.0.1")
    tokens = write_tokens(tmp_path / "tokens.toml")
    nodes = await cluster.start(
        [protected_node(cluster, certificates, tokens, interval=0.25, ttl=60) for _ in range(2)]
    )
    secret = written(tmp_path / "edge.token", secret_of("read"))
    port = await shop(place, nodes[0])
    await place.instance(nodes[0])
    logged = {"log-format": "json", "log-level": "debug"}  # with every field of each line
    options: dict[str, Any] = {"ca": certificates / "ca.pem", "token-file": secret, **logged}
    driver = await driven(place, nodes, **options)

    async def serves(count: int) -> bool:
        return len(await seen(port)) == count

    await until("the first instance serves", lambda: serves(1))
    written(secret, secret_of("edge-2"))
    for node in nodes:
        tables = [token_table("admin", ["admin"], secret_of("admin")), token_table("e", ["read"], secret_of("edge-2"))]
        written(tokens, "".join(tables))
        await reread(node, "--tokens")
    await place.instance(nodes[1])
    await until("the second instance serves too", lambda: serves(2))
    assert (await driver.status())["ready"]
    assert secret_of("read") not in driver.output + driver.file.read_text()


async def seen(port: int) -> set[str]:
    """Return the instances that answer some requests, all of which must succeed."""
    names = set()
    for _ in range(8):
        response = await treq.get(f"http://127.0.0.1:{port}/", persistent=False, timeout=10)
        assert response.code == 200
        names.add((await response.text()).strip())
    return names
