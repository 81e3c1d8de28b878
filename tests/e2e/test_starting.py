"""A node that has not heard from its peers yet says so, and not for ever (promise P8)."""

from __future__ import annotations

import socket
import time

import pytest
import pytest_twisted
from twisted.internet.error import ConnectError

from tests.e2e.instances import INTERVAL_S, TTL_S
from tests.e2e.nodes import Cluster, Node, pause

LOOK_S = 0.02


async def up(node: Node) -> None:
    """Wait till a node answers at all."""
    while True:
        try:
            await node.call("GET", "/status")
        except ConnectError:
            await pause(LOOK_S)
        else:
            return


@pytest.mark.parametrize("hangs", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_node_waits_for_a_peer_that_is_not_there_but_not_for_ever(cluster: Cluster, hangs: bool) -> None:
    """For five intervals it answers no client, whether the peer refuses connections or never answers; /status does."""
    with socket.socket() as peer:
        peer.bind(("127.0.0.1", 0))
        if hangs:
            peer.listen()
        address = f"127.0.0.1:{peer.getsockname()[1]}"
        node = cluster.node(interval=INTERVAL_S, ttl=TTL_S, peers=address)
        node.start()
        await up(node)
        began_at_s = time.monotonic()
        for method, path in [("GET", "/ready"), ("GET", "/registrations"), ("PUT", "/registrations/a/1/10.0.0.1/1")]:
            answer = await node.call(method, path, timeout_s=INTERVAL_S)
            assert (answer.status, answer.body["code"]) == (503, "NOT_READY")
        status = await node.call("GET", "/status", timeout_s=INTERVAL_S)
        assert (status.status, status.body["ready"]) == (200, False)
        await node.ready(within_s=5 * INTERVAL_S + INTERVAL_S)
        assert time.monotonic() - began_at_s > 3 * INTERVAL_S
        status = await node.call("GET", "/status")
        assert (status.body["ready"], status.body["unanswered"]) == (True, [address])
        assert (await node.call("GET", "/registrations")).body == []
