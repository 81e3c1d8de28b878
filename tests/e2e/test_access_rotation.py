"""A running cluster changes its CA, as docs/security.md describes."""

from __future__ import annotations

import shutil
import signal
import ssl
from pathlib import Path

import pytest
from pytest_twisted import ensureDeferred

from tests.e2e.nodes import Cluster, Node, until
from tests.e2e.protection import make_certificates, protected_node
from tests.e2e.tls_clients import http, trusting

HOSTS = ("--host", "127.0.0.1", "--host", "localhost")

TTL_S = 4


async def reread(node: Node) -> None:
    """Send SIGHUP to a node, and wait until it uses its new files."""
    before = len(node.log)
    node.kill(signal.SIGHUP)
    await until("new files are used", lambda: "--peer-tls: the certificate" in node.log[before:])


async def restarted(node: Node, nodes: list[Node], ca: Path) -> None:
    """Start a node again, so that all of its connections are new, and wait until all nodes hear each other."""
    await node.stop()
    node.start()

    async def heard() -> bool:
        try:
            shown = [http(each.api_port, trusting(ca), "GET", "/status").body["peers"] for each in nodes]
        except ConnectionRefusedError:  # the node does not listen yet
            return False
        return [[peer["state"] for peer in peers] for peers in shown] == [["heard"]] * len(nodes)

    await until("all nodes hear each other", heard, details=lambda: "".join(each.log for each in nodes))


@ensureDeferred
async def test_a_cluster_is_moved_to_another_ca(cluster: Cluster, tmp_path: Path) -> None:
    """Nodes trust both CAs, then have certificates of the new one, then trust only the new one; all peers are heard."""
    old, new = (make_certificates(tmp_path / name, *HOSTS) for name in ("old", "new"))
    both = tmp_path / "both.pem"
    both.write_bytes((old / "ca.pem").read_bytes() + (new / "ca.pem").read_bytes())
    folders = [make_certificates(tmp_path / name, "--ca", str(old), *HOSTS) for name in ("n1", "n2")]
    nodes = await cluster.start([protected_node(cluster, each, None, interval=0.25, ttl=TTL_S) for each in folders])

    for folder in folders:
        shutil.copy(both, folder / "ca.pem")
    for node in nodes:
        await reread(node)
    for folder, node in zip(folders, nodes, strict=True):
        make_certificates(folder, "--ca", str(new))
        assert (folder / "ca.pem").read_bytes() == both.read_bytes()
        await reread(node)
        await restarted(node, nodes, both)
        with pytest.raises(ssl.SSLCertVerificationError):
            http(node.api_port, trusting(old / "ca.pem"), "GET", "/ready")
    for folder in folders:
        shutil.copy(new / "ca.pem", folder / "ca.pem")
    for node in nodes:
        await reread(node)
    await restarted(nodes[0], nodes, new / "ca.pem")
    stranger = make_certificates(tmp_path / "stolen", "--ca", str(old), *HOSTS)
    with pytest.raises(OSError):  # noqa: PT011 - an alert or a reset, depending on the system
        http(nodes[1].exchange_port, trusting(None, stranger), "POST", "/exchange")
    assert http(nodes[1].exchange_port, trusting(None, folders[0]), "POST", "/exchange").status == 400
