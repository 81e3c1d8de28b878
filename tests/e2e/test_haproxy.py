"""What HAProxy does with requests while instances come, go and are deployed, with its driver and real nodes.

Clients ask all the while; whatever is done, the instances that are there answer them.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from tests.e2e.balancing import Site
from tests.e2e.nodes import Cluster, environment
from tests.e2e.runs import bender
from tests.e2e.traffic import traffic

pytestmark = pytest.mark.outside

DEPLOYS = 20


@pytest.fixture
def site(cluster: Cluster) -> Iterator[Site]:
    """Balancers and instances; nodes are to be added."""
    site = Site(cluster.folder, cluster.ports, [])
    yield site
    site.end()
    for balancer in site.balancers:
        assert "Traceback" not in balancer.log, f"{balancer.name} logged:\n{balancer.log}"


async def told(site: Site, *arguments: str) -> str:
    """What a command of `bender` prints; it has to be done."""
    node = f"--node={','.join(f'127.0.0.1:{node.api_port}' for node in site.nodes)}"

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*bender(), *arguments, node], env=environment(), capture_output=True, text=True, timeout=60, check=False
        )

    end: subprocess.CompletedProcess[str] = await deferToThread(run)
    assert end.returncode == 0, end.stdout + end.stderr
    return end.stdout


@ensureDeferred
async def test_twenty_rolling_deploys(cluster: Cluster, site: Site) -> None:
    """Three instances of a version come, the backend is switched, and the three before go: nobody notices."""
    site.nodes = await cluster(3)
    present = await site.start("0", 3)
    port = await site.entrance("0")
    balancer = await site.balancer()
    await balancer.until_serving("shop", *(instance.port for instance in present))
    before = (await balancer.status())["haproxy"]
    async with traffic(port) as asking:
        for number in range(1, DEPLOYS + 1):
            version = str(number)
            new = await site.start(version, 3)
            await told(site, "deploy", "shop", version, "--min-members=3", "--watch=0")
            await gatherResults([Deferred.fromCoroutine(instance.stop()) for instance in present])
            gone_at = time.monotonic()
            present = new
            await asking.until_asked(50)
            assert {*asking.answers(gone_at)} <= {instance.name for instance in new}
    after = (await balancer.status())["haproxy"]
    assert asking.failed == []
    assert (after["pid"], after["reloads"]) == (before["pid"], before["reloads"])
