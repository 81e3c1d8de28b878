"""Nodes answer DNS queries of dnspython and of dig on real sockets."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import dns.rcode
import pytest
import pytest_twisted

from tests.e2e.nodes import PATIENCE_S, Cluster, pause, until
from tests.e2e.protection import make_certificates, protected_node, write_tokens
from tests.e2e.resolving import ADDRESSES, SERVICES, answer_of, ask, asked_with_dig, register, with_dns
from tests.twistd_command import ROOT, environment

HOSTS = [f"10.0.0.{number}" for number in range(1, 61)]


@pytest_twisted.ensureDeferred
async def test_all_nodes_answer(cluster: Cluster) -> None:
    """Each node answers with the instances of all nodes, over UDP and TCP; a drained instance is left out at once."""
    nodes, ports = await with_dns(cluster, 2)
    await register(nodes[0], ["10.0.0.5", "10.0.0.6"])
    await until("both are found at the other node", lambda: len(answer_of(ports[1]).answer) > 0)
    for port in ports:
        for tcp in (False, True):
            assert ask(port, tcp=tcp) == ["10.0.0.5", "10.0.0.6"]
            assert ask(port, SERVICES, "SRV", tcp=tcp) == [
                "0 256 8080 0a000005.addr.bender.",
                "0 256 8080 0a000006.addr.bender.",
            ]
    assert (await nodes[0].call("PUT", "/registrations/web/1/10.0.0.6/8080/state", {"state": "drain"})).status == 200
    assert ask(ports[0]) == ["10.0.0.5"]
    status = (await nodes[0].call("GET", "/status")).body
    assert status["since_start"]["dns_queries"] >= 5
    assert status["limits"]["dns_connections"]["peak"] >= 1


@pytest_twisted.ensureDeferred
async def test_not_ready_and_leaving(cluster: Cluster) -> None:
    """Queries fail while the node waits for a peer; when it leaves, it closes its connections and frees its port."""
    port = cluster.ports.take()
    node = cluster.node(dns=f"{port}:interface=127.0.0.1", peers="127.0.0.1:1", interval=0.4, ttl=4)
    node.start()

    def fails() -> bool:
        try:
            return answer_of(port, tcp=True).rcode() == dns.rcode.SERVFAIL
        except OSError:
            return False

    await until("queries fail", fails)
    await node.ready()
    assert answer_of(port).rcode() == dns.rcode.NXDOMAIN
    with socket.create_connection(("127.0.0.1", port)) as idle:
        assert await node.stop() == -signal.SIGTERM
        assert idle.recv(1) == b""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))


@pytest_twisted.ensureDeferred
async def test_a_port_in_use(cluster: Cluster) -> None:
    """The process ends with a sentence if the port is in use, for UDP or for TCP."""
    port = cluster.ports.take()
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as taken:
            if kind == socket.SOCK_STREAM:  # connections of an earlier test may still be ending at this port
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", port))
            if kind == socket.SOCK_STREAM:
                taken.listen()
            node = cluster.node(dns=port)
            node.start()
            assert await node.ended() == 1
            assert f"--dns cannot listen on 127.0.0.1:{port} (Address already in use)" in node.stderr


@pytest_twisted.ensureDeferred
async def test_ipv6(cluster: Cluster) -> None:
    """A node listens at an IPv6 address, and answers with IPv6 addresses."""
    port = cluster.ports.take()
    (node,) = await cluster(1, dns=f"{port}:interface=::1")
    await register(node, ["2001:db8::5"])
    assert ask(port, ADDRESSES, "AAAA", host="::1") == ["2001:db8::5"]
    assert ask(port, "ns.bender.", "AAAA", host="::1", tcp=True) == ["::1"]


@pytest.mark.outside
@pytest_twisted.ensureDeferred
async def test_a_node_with_tls_and_tokens(cluster: Cluster, tmp_path: Path) -> None:
    """DNS uses neither TLS nor tokens, so it is limited to this machine unless --insecure allows another address."""
    certificates, tokens = make_certificates(tmp_path / "certs"), write_tokens(tmp_path / "tokens.toml")
    port = cluster.ports.take()
    node = protected_node(cluster, certificates, tokens, dns=port)
    await cluster.start([node])
    await register(node, ["10.0.0.5"])
    assert ask(port) == ask(port, tcp=True) == ["10.0.0.5"]
    port = cluster.ports.take()
    refused = protected_node(cluster, certificates, tokens, dns=f"{port}:interface=0.0.0.0")
    refused.start()
    assert await refused.ended() == 1
    assert "a client of DNS uses neither TLS nor tokens" in refused.stderr
    refused.more.append("--insecure")
    await cluster.start([refused])
    assert answer_of(port).rcode() == dns.rcode.NXDOMAIN


@pytest.mark.outside
def test_damaged_messages() -> None:
    """Damaged messages get a valid answer or none, and the node continues without an exception."""
    command = [sys.executable, "-m", "tests.e2e.dns_packets", "--packets=20000", "--seed=7"]
    end = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False
    )
    assert end.returncode == 0, end.stderr
    assert end.stdout.startswith("20,000 damaged packets in ")
    assert "without an exception" in end.stdout


@pytest.mark.outside
@pytest_twisted.ensureDeferred
async def test_dig_and_sixty_members(cluster: Cluster) -> None:
    """dig gets all members: over TCP, in a large datagram, or after a truncated answer."""
    (node,), (port,) = await with_dns(cluster)
    await register(node, HOSTS)

    def found(*words: str) -> list[str]:
        return sorted(asked_with_dig(port, "+short", *words).split("\n")[:-1])

    addresses = sorted(HOSTS)
    targets = sorted(f"0 256 8080 0a0000{number:02x}.addr.bender." for number in range(1, 61))
    for words in ((), ("+tcp",), ("+bufsize=8192",), ("+noedns",), ("+bufsize=512",), ("+dnssec",), ("+nocookie",)):
        assert found(*words, "web.app.bender", "A") == addresses, words
        assert found(*words, "_web._tcp.app.bender", "SRV") == targets, words


@pytest.mark.outside
@pytest_twisted.ensureDeferred
async def test_dig_and_truncated_answers(cluster: Cluster) -> None:
    """A truncated answer has whole records, no more bytes than allowed, and no additional records."""
    (node,), (port,) = await with_dns(cluster)
    await register(node, HOSTS)
    for words, bytes_max, count in (("+noedns", 512, 11), ("+bufsize=512", 512, 11), ("+bufsize=1232", 1232, 29)):
        printed = asked_with_dig(port, "+ignore", "+nocookie", words, "_web._tcp.app.bender", "SRV")
        assert re.search(r";; flags: qr aa tc rd;", printed), printed
        size = int(re.findall(r"MSG SIZE  rcvd: (\d+)", printed)[0])
        assert bytes_max - 40 < size <= bytes_max
        assert len(re.findall(r"^_web\._tcp\.app\.bender\.\s+0\s+IN\s+SRV", printed, re.MULTILINE)) == count
        assert "ADDITIONAL SECTION" not in printed
    printed = asked_with_dig(port, "+bufsize=8192", "_web._tcp.app.bender", "SRV")
    assert re.search(r";; flags: qr aa rd; QUERY: 1, ANSWER: 60, AUTHORITY: 0, ADDITIONAL: 61", printed), printed


@pytest.mark.outside
@pytest_twisted.ensureDeferred
async def test_dig_and_other_answers(cluster: Cluster) -> None:
    """dig gets the standard answers for absent names, other types, zones, classes and operations, transfers and ANY."""
    (node,), (port,) = await with_dns(cluster)
    await register(node, ["10.0.0.5"])
    for words, status in (
        (("nothing.app.bender",), "NXDOMAIN"),
        (("web.app.bender", "AAAA"), "NOERROR"),
        (("web.app.bender", "ANY"), "NOERROR"),
        (("example.com",), "REFUSED"),
        (("-c", "CH", "-t", "TXT", "version.bind"), "REFUSED"),
        (("+opcode=UPDATE", "+noedns", "bender"), "NOTIMP"),
        (("+edns=1", "+noednsnegotiation", "bender", "SOA"), "BADVERS"),
    ):
        assert f"status: {status}" in asked_with_dig(port, *words), words
    assert "bender.\t\t\t1\tIN\tSOA\tns.bender. hostmaster.bender." in asked_with_dig(port, "web.app.bender", "AAAA")
    assert 'HINFO\t"RFC8482" ""' in asked_with_dig(port, "web.app.bender", "ANY")
    assert "Transfer failed" in asked_with_dig(port, "bender", "AXFR")
    assert asked_with_dig(port, "+short", "-x", "10.0.0.5") == ""


@pytest.mark.outside
@pytest_twisted.ensureDeferred
async def test_dig_over_one_connection(cluster: Cluster) -> None:
    """Several queries use one connection, which stays open between them."""
    (node,), (port,) = await with_dns(cluster)
    await register(node, ["10.0.0.5"])
    words = ("+tcp", "+keepopen", "+short", "web.app.bender", "0a000006.addr.bender", "ns.bender")
    assert asked_with_dig(port, *words).split() == ["10.0.0.5", "10.0.0.6", "127.0.0.1"]
    await pause(0)
    assert (await node.call("GET", "/status")).body["limits"]["dns_connections"]["peak"] == 1
