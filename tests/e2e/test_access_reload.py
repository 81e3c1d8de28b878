"""After SIGHUP, nodes use new tokens and certificates, and close no connection that may stay."""

from __future__ import annotations

import json
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_twisted import ensureDeferred

from tests.e2e.nodes import Cluster, Node, until
from tests.e2e.protection import make_certificates, protected_node, secret_of, token_table, write_tokens
from tests.e2e.runs import Run
from tests.e2e.tls_clients import connected, http, read_lines, trusting

TTL_S = 2


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """The directory with the CA of the cluster, and a certificate for this machine."""
    return make_certificates(tmp_path / "ca", "--host", "127.0.0.1", "--host", "localhost")


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return write_tokens(tmp_path / "tokens.toml")


@pytest.fixture
def ended(tmp_path: Path) -> Iterator[list[Run]]:
    """Runs that are ended with the test."""
    made: list[Run] = []
    yield made
    for run in made:
        run.end()


def written(file: Path, text: str) -> Path:
    """Write a file, and return it."""
    file.write_text(text)
    return file


def _read(file: Path) -> str:
    return file.read_text()


def subscriber(node: Node, context: ssl.SSLContext, name: str) -> ssl.SSLSocket:
    """Return a connection of the line protocol after its `hello`."""
    connection = connected(node.events_port, context)
    assert isinstance(connection, ssl.SSLSocket)
    connection.sendall(json.dumps({"token": secret_of(name)}).encode() + b"\n")
    assert [each["event"] for each in read_lines(connection, 1)] == ["hello"]
    return connection


def asked(connection: ssl.SSLSocket, name: str) -> bytes:
    """Return the first line of the answer to a request on an open connection."""
    connection.sendall(f"GET /registrations HTTP/1.1\r\nHost: n\r\nAuthorization: {secret_of(name)}\r\n\r\n".encode())
    return connection.recv(65_536).partition(b"\r\n")[0]


async def reread(node: Node, words: str) -> None:
    """Send SIGHUP, and wait for these words in the log."""
    before = len(node.log)
    node.kill(signal.SIGHUP)
    await until(f"the log has {words!r}", lambda: words in node.log[before:], details=lambda: node.log[before:])


@ensureDeferred
async def test_tokens(cluster: Cluster, certificates: Path, tokens: Path) -> None:
    """The connections of a revoked token end, and its requests are refused; other connections continue."""
    (node,) = await cluster.start([protected_node(cluster, certificates, tokens)])
    context = trusting(certificates / "ca.pem")
    kept, stays, goes = (
        connected(node.api_port, context),
        *(subscriber(node, context, who) for who in ("read", "agent")),
    )
    assert isinstance(kept, ssl.SSLSocket)
    assert asked(kept, "read") == asked(kept, "agent") == b"HTTP/1.1 200 OK"

    written(
        tokens,
        "".join(token_table(name, [scope], secret_of(name)) for name, scope in (("read", "read"), ("new", "admin"))),
    )
    await reread(node, "new added")
    assert "--tokens: web, configure, admin, agent removed" in node.log
    node.token = secret_of("new")
    assert asked(kept, "read") == asked(kept, "new") == b"HTTP/1.1 200 OK"
    assert asked(kept, "agent") == b"HTTP/1.1 401 Unauthorized"
    (error,) = read_lines(goes, 10)
    assert (error["event"], error["code"]) == ("error", "UNAUTHORIZED")
    assert (await node.call("POST", "/registrations/web/1.0/10.0.0.5/80")).status == 200
    assert [each["event"] for each in read_lines(stays, 1)] == ["online"]

    written(tokens, "[[token]]\nname = 7\n")
    await reread(node, "Configuration not changed after SIGHUP: --tokens")
    assert asked(kept, "read") == b"HTTP/1.1 200 OK"
    for connection in (kept, stays, goes):
        connection.close()


@ensureDeferred
async def test_certificates(cluster: Cluster, certificates: Path, tokens: Path) -> None:
    """Open connections keep the old certificate, new ones get the new one, and peers continue to hear each other."""
    nodes = await cluster.start(
        [protected_node(cluster, certificates, tokens, interval=0.25, ttl=TTL_S) for _ in range(2)]
    )
    node, other = nodes
    context = trusting(certificates / "ca.pem")
    kept = connected(node.api_port, context)
    assert isinstance(kept, ssl.SSLSocket)
    assert asked(kept, "read") == b"HTTP/1.1 200 OK"
    shown = kept.getpeercert(binary_form=True)

    make_certificates(certificates, "--ca", str(certificates), "--days", "20")
    await reread(node, "--peer-tls: the certificate that is valid until")
    assert "expires in 19 days" in node.log
    assert asked(kept, "read") == b"HTTP/1.1 200 OK"
    with connected(node.api_port, context) as fresh:
        assert isinstance(fresh, ssl.SSLSocket)
        assert fresh.getpeercert(binary_form=True) != shown
        assert fresh.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(_read(certificates / "cert.pem"))
    problems = (await node.call("GET", "/status")).body["problems"]
    assert {*problems} == {"certificate/tls", "certificate/peer-tls"}

    make_certificates(certificates, "--ca", str(certificates))
    await reread(node, "--peer-tls: the certificate that is valid until")
    assert (await node.call("GET", "/status")).body["problems"] == {}
    assert [each["state"] for each in (await other.call("GET", "/status")).body["peers"]] == ["heard"]
    written(certificates / "key.pem", "nothing")
    await reread(node, "does not hold a private key")
    assert http(node.api_port, context, "GET", "/ready").status == 200
    kept.close()


@ensureDeferred
async def test_an_instance_lives_through_a_change_of_its_token(
    cluster: Cluster, certificates: Path, tokens: Path, tmp_path: Path, ended: list[Run]
) -> None:
    """`bender run` reads its token file again when a node no longer knows the token; the instance stays online."""
    nodes = await cluster.start(
        [protected_node(cluster, certificates, tokens, interval=0.25, ttl=TTL_S) for _ in range(2)]
    )
    secret = tmp_path / "token"
    written(secret, secret_of("web"))
    run = Run(tmp_path / "run", [f"127.0.0.1:{node.api_port}" for node in nodes], cluster.ports.take())
    ended.append(run)
    run.serve(
        options=("--host=127.0.0.1", "--app=web-shop", f"--ca={certificates / 'ca.pem'}", f"--token-file={secret}")
    )

    async def listed() -> bool:
        return [each["app"] for each in (await nodes[1].call("GET", "/registrations")).body] == ["web-shop"]

    await until("it is registered", listed, details=lambda: run.stderr)
    context = trusting(certificates / "ca.pem")
    watching = subscriber(nodes[1], context, "admin")
    for node, scopes in (
        (nodes[0], ["web", "web-2"]),
        (nodes[1], ["web", "web-2"]),
        (nodes[0], ["web-2"]),
        (nodes[1], ["web-2"]),
    ):
        tables = [token_table("admin", ["admin"], secret_of("admin"))]
        tables += [token_table(name, ["register:web-*"], secret_of(name)) for name in scopes]
        written(tokens, "".join(tables))
        await reread(node, "--tokens")
        written(secret, secret_of("web-2"))
    watching.settimeout(2 * TTL_S)
    with pytest.raises(TimeoutError):
        watching.recv(1)
    assert await listed()
    watching.close()
