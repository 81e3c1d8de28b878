"""Requests of browsers to all ports of a node, with the bytes that they send for pages of other sites."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from pytest_twisted import ensureDeferred

from tests.e2e.nodes import Cluster, Node, until
from tests.e2e.tls_clients import SOCKET_S_MAX, connected, read_to_end

PAGE = "Origin: http://evil.example"
INSTANCE = "/registrations/evil/1.0/10.0.0.5/80"
LINE = json.dumps({"register": {"app": "evil", "version": "1.0", "host": "10.0.0.5", "port": 80}}) + "\n"


def head(method: str, path: str, host: str, *lines: str, body: str = "") -> bytes:
    """Return a request that closes its connection."""
    first = (f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", f"Content-Length: {len(body)}")
    return "\r\n".join([*first, *lines, "", body]).encode()


def received(port: int, sent: bytes) -> bytes:
    """Return all received bytes; the end is missing if the node closed the connection too early for the client."""
    with connected(port, None) as connection:
        connection.sendall(sent)
        return read_to_end(connection)


def status(port: int, *request: str) -> int:
    """Return the status of the answer to a request."""
    return int(received(port, head(*request)).split()[1])


async def registered(node: Node) -> list[object]:
    found: list[object] = (await node.call("GET", "/registrations")).body
    return found


@ensureDeferred
async def test_pages_of_other_sites(cluster: Cluster) -> None:
    """Requests of other sites' pages change nothing, at any HTTP port and at the port of the line protocol."""
    thalassa = cluster.ports.take()
    (node,) = await cluster(1, thalassa=str(thalassa))
    host = f"127.0.0.1:{node.api_port}"
    for port in (node.api_port, thalassa):
        assert status(port, "POST", INSTANCE, f"127.0.0.1:{port}", PAGE) == 403
        assert status(port, "POST", INSTANCE, f"127.0.0.1:{port}", "Sec-Fetch-Site: cross-site") == 403
    refusal = json.loads(received(node.api_port, head("DELETE", INSTANCE, host, PAGE)).partition(b"\r\n\r\n")[2])
    assert refusal["code"] == "FORBIDDEN"
    assert "http://evil.example" in refusal["message"]
    assert status(node.exchange_port, "POST", "/exchange", f"127.0.0.1:{node.exchange_port}", PAGE) == 403
    answer = received(node.events_port, head("POST", "/", f"127.0.0.1:{node.events_port}", PAGE, body=LINE * 3))
    events = [json.loads(line) for line in answer.splitlines()]
    assert [event["event"] for event in events] == ["hello", "error"]
    assert await registered(node) == []
    assert (await node.call("GET", "/status")).body["since_start"]["forbidden"] == 6

    # The node's own page and clients that are not browsers may send requests.
    for page in ((), (f"Origin: http://{host}",), ("Sec-Fetch-Site: same-origin", f"Origin: http://{host}")):
        assert status(node.api_port, "POST", INSTANCE, host, *page) == 200
    assert len(await registered(node)) == 1


@ensureDeferred
async def test_a_name_that_resolves_to_the_node(cluster: Cluster) -> None:
    """Requests for another site's name get 403, also between other requests; the node's own names get 200."""
    (node,) = await cluster(1, advertise="n1.example")
    for method, path in (("GET", "/status"), ("GET", "/registrations"), ("GET", "/events"), ("POST", INSTANCE)):
        assert status(node.api_port, method, path, "evil.example") == 403
    for host in ("localhost", f"127.0.0.1:{node.api_port}", "[::1]", "n1.example", socket.gethostname()):
        assert status(node.api_port, "GET", "/status", host) == 200
    kept = head("GET", "/ready", "localhost").replace(b"Connection: close\r\n", b"")
    taken_over = head("GET", "/ready", "evil.example").replace(b"Connection: close\r\n", b"")
    answers = received(node.api_port, kept + taken_over + head("GET", "/ready", "localhost"))
    assert [int(part.split()[0]) for part in answers.split(b"HTTP/1.1 ")[1:]] == [200, 403, 200]
    with socket.create_connection(("127.0.0.1", node.api_port), SOCKET_S_MAX) as connection:
        connection.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
        assert read_to_end(connection).startswith(b"HTTP/1.0 200 ")
    assert await registered(node) == []


@ensureDeferred
async def test_names_that_are_allowed(cluster: Cluster) -> None:
    """Names of `--allow-host`, such as that of a reverse proxy, are accepted."""
    node = cluster.node()
    node.more = ["--allow-host=registry.example,b.example", "--allow-host=c.example"]
    await cluster.start([node])
    for host, expected in (("registry.example:443", 200), ("C.example", 200), ("evil.example", 403)):
        assert status(node.api_port, "GET", "/status", host) == expected
    assert status(node.api_port, "POST", INSTANCE, "b.example", "Origin: https://b.example") == 200


@ensureDeferred
async def test_a_unix_socket(cluster: Cluster, tmp_path: Path) -> None:
    """A Unix socket accepts any host name, because browsers cannot use it."""
    path = tmp_path / "api.sock"
    node = cluster.node(api=f"unix:{path}")
    node.start()
    await until("the node listens", lambda: "--events starting" in node.log)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SOCKET_S_MAX)
        connection.connect(str(path))
        connection.sendall(head("GET", "/ready", "any.example"))
        assert not read_to_end(connection).startswith(b"HTTP/1.1 403 ")
