"""A node that waits for its peers answers 503, for a limited time (promise P8)."""

from __future__ import annotations

import socket

import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ConnectError

from tests.e2e.nodes import LOOK_S, Cluster, Node, pause

#: A short interval; half a second is long enough for answers of a busy machine.
INTERVAL_S = 0.5


@pytest_twisted.ensureDeferred
async def test_a_node_waits_for_a_peer_that_is_not_there_but_not_for_ever(cluster: Cluster) -> None:
    """For five intervals, a node refuses clients, except at /status, if its peer cannot be reached or hangs."""
    with socket.socket() as refuses, socket.socket() as hangs:
        for peer in (refuses, hangs):
            peer.bind(("127.0.0.1", 0))
        hangs.listen()
        addresses = [f"127.0.0.1:{peer.getsockname()[1]}" for peer in (refuses, hangs)]
        nodes = [cluster.node(interval=INTERVAL_S, ttl=10 * INTERVAL_S, peers=address) for address in addresses]
        await gatherResults([Deferred.fromCoroutine(waits_in_vain(node)) for node in nodes])


async def waits_in_vain(node: Node) -> None:
    """Start a node whose only peer will never answer."""
    node.start()
    await up(node)
    for method, path in [("GET", "/ready"), ("GET", "/registrations"), ("PUT", "/registrations/a/1/10.0.0.1/1")]:
        answer = await node.call(method, path, timeout_s=INTERVAL_S)
        assert (answer.status, answer.body["code"]) == (503, "NOT_READY")
    status = await node.call("GET", "/status", timeout_s=INTERVAL_S)
    assert (status.status, status.body["ready"]) == (200, False)

    await node.ready(within_s=6 * INTERVAL_S)
    status = await node.call("GET", "/status")
    assert status.body["uptime"] > 4.5 * INTERVAL_S
    assert (status.body["ready"], status.body["unanswered"]) == (True, [node.options["peers"]])
    assert (await node.call("GET", "/registrations")).body == []


async def up(node: Node) -> None:
    """Wait until a node answers."""
    while True:
        try:
            await node.call("GET", "/status")
        except ConnectError:
            await pause(LOOK_S)
        else:
            return
