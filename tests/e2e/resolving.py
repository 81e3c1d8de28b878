"""Queries over DNS to real nodes: with dnspython, which needs no other program, and with dig."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

import dns.message
import dns.query
import dns.rcode

from tests.e2e.nodes import PATIENCE_S, Cluster, Node
from tests.twistd_command import ROOT

#: The app that queries are about.
ADDRESSES, SERVICES = "web.app.bender.", "_web._tcp.app.bender."


def dig() -> str:
    """Return the path of the machine's dig, or else of the one from `make test-deps`."""
    return shutil.which("dig") or str(ROOT / ".deps/debian/dig")


def asked_with_dig(port: int, *words: str) -> str:
    """Return the output of dig for a query to this machine; dig must succeed."""
    command = [dig(), "@127.0.0.1", "-p", str(port), "+tries=1", f"+time={PATIENCE_S:.0f}", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=2 * PATIENCE_S).stdout


def ask(port: int, name: str = ADDRESSES, kind: str = "A", *, tcp: bool = False, host: str = "127.0.0.1") -> list[str]:
    """Return the records of a name as text, in order. Raises `AssertionError` for any other outcome."""
    answer = answer_of(port, name, kind, tcp=tcp, host=host)
    assert answer.rcode() == dns.rcode.NOERROR, answer
    return sorted(record.to_text() for rrset in answer.answer for record in rrset)


def answer_of(
    port: int, name: str = ADDRESSES, kind: str = "A", *, tcp: bool = False, host: str = "127.0.0.1"
) -> dns.message.Message:
    query = dns.message.make_query(name, kind, use_edns=0)
    return (dns.query.tcp if tcp else dns.query.udp)(query, host, PATIENCE_S, port)


async def with_dns(cluster: Cluster, count: int = 1, **options: object) -> tuple[list[Node], list[int]]:
    """Start nodes that answer over DNS, and return them with their ports."""
    ports = [cluster.ports.take() for _ in range(count)]
    nodes = [cluster.node(ttl=4, interval=0.25, dns=port, **options) for port in ports]
    return await cluster.start(nodes), ports


async def register(node: Node, hosts: Sequence[str], **fields: object) -> None:
    for host in hosts:
        answer = await node.call("POST", f"/registrations/web/1/{host}/8080", {"ttl": 600, **fields})
        assert answer.status == 200, answer
