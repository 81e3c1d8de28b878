"""Nodes with TLS and tokens, used by `bender` and by clients without bender's code."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from base64 import b64encode
from pathlib import Path
from typing import Any, Self

import pytest
import trustme
from pytest_twisted import ensureDeferred

from tests.e2e.nodes import Cluster, Node, agreed, until
from tests.e2e.protection import (
    make_certificates,
    protected_node,
    secret_of,
    write_tokens,
)
from tests.e2e.shells import Shell, at, is_sentence
from tests.e2e.tls_clients import connected, http, read_lines, read_to_end, trusting

WEB_PATH = "/registrations/web-shop/1.0/10.0.0.5/8080"
DB_PATH = "/registrations/db/1.0/10.0.0.5/5432"
BACKEND = {"app": "web-shop", "version": "1.0"}

#: For each request, the statuses for a client without a token, with a wrong token, and with a token of each scope.
HOLDERS = ("none", "wrong", "read", "web", "configure", "admin")
MATRIX: list[tuple[str, str, object, tuple[int, ...]]] = [
    ("GET", "/", None, (200, 200, 200, 200, 200, 200)),
    ("GET", "/ready", None, (200, 200, 200, 200, 200, 200)),
    ("GET", "/status", None, (200, 200, 200, 200, 200, 200)),
    ("GET", "/registrations", None, (401, 401, 200, 403, 403, 200)),
    ("POST", WEB_PATH, None, (401, 401, 403, 200, 403, 200)),
    ("PUT", WEB_PATH, None, (401, 401, 403, 200, 403, 200)),
    ("POST", DB_PATH, None, (401, 401, 403, 403, 403, 200)),
    ("GET", WEB_PATH, None, (401, 401, 200, 403, 403, 200)),
    (
        "POST",
        "/registrations",
        {"app": "web-shop", "version": "1.0", "host": "10.0.0.6", "port": 80},
        (401, 401, 403, 201, 403, 200),
    ),
    (
        "POST",
        "/renewals",
        {"ids": ["registration/web-shop/1.0/10.0.0.5/8080"]},
        (401, 401, 403, 200, 403, 200),
    ),
    (
        "POST",
        "/renewals",
        {"ids": ["registration/web-shop/1.0/10.0.0.5/8080", "registration/db/1.0/10.0.0.5/5432"]},
        (401, 401, 403, 403, 403, 200),
    ),
    ("PUT", "/backends/shop", BACKEND, (401, 401, 403, 403, 201, 200)),
    ("GET", "/backends/shop/members", None, (401, 401, 200, 403, 403, 200)),
    ("POST", "/frontends", {"name": "site"}, (401, 401, 403, 403, 201, 409)),
    ("PUT", f"{WEB_PATH}/state", {"state": "drain"}, (401, 401, 403, 403, 200, 200)),
    ("GET", "/explain/registration/web-shop/1.0/10.0.0.5/8080", None, (401, 401, 200, 403, 403, 200)),
    ("POST", "/claims", {"ids": ["registration/web-shop/1.0/10.0.0.5/8080"]}, (401, 401, 200, 403, 403, 200)),
    ("GET", "/nodes", None, (401, 401, 200, 403, 403, 200)),
    ("GET", "/token", None, (401, 401, 200, 200, 200, 200)),
    ("GET", "/events", None, (401, 401, 200, 403, 403, 200)),
    ("GET", "/consumers", None, (401, 401, 200, 403, 403, 200)),
    ("GET", "/guard", None, (401, 401, 200, 403, 403, 200)),
    ("GET", "/nowhere", None, (401, 401, 404, 404, 404, 404)),
    ("PATCH", "/registrations", None, (401, 401, 405, 405, 405, 405)),
    ("DELETE", DB_PATH, None, (401, 401, 403, 403, 403, 204)),
    ("DELETE", WEB_PATH, None, (401, 401, 403, 204, 403, 404)),
]


def shown(holder: str) -> dict[str, str]:
    """Return the headers of a client with this token."""
    secrets = {"none": None, "wrong": "not a token"}
    secret = secrets[holder] if holder in secrets else secret_of(holder)
    return {} if secret is None else {"Authorization": f"Bearer {secret}"}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the CA of the cluster, and a certificate for this machine."""
    return make_certificates(tmp_path_factory.mktemp("tls") / "ca", "--host", "127.0.0.1", "--host", "localhost")


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return write_tokens(tmp_path / "tokens.toml")


@ensureDeferred
async def test_each_request_needs_its_scope(cluster: Cluster, certificates: Path, tokens: Path) -> None:
    """Each request is accepted only with its scope, at a node with TLS. No answer or log has a token."""
    logged = {"log-format": "json", "log-level": "debug"}  # with every field of each line
    (node,) = await cluster.start([protected_node(cluster, certificates, tokens, **logged)])
    context = trusting(certificates / "ca.pem")
    for method, path, body, statuses in MATRIX:
        for holder, status in zip(HOLDERS, statuses, strict=True):
            answer = http(node.api_port, context, method, path, body, shown(holder))
            assert answer.status == status, (holder, method, path, answer)
            if status in (401, 403):
                assert answer.code == {401: "UNAUTHORIZED", 403: "FORBIDDEN"}[status]
                assert "secret" not in str(answer.body)
            assert ("www-authenticate" in answer.headers) == (status == 401)
    counted = (await node.call("GET", "/status")).body["since_start"]
    refused = [status for *_, statuses in MATRIX for status in statuses]
    assert (counted["unauthorized"], counted["forbidden"]) == (refused.count(401), refused.count(403))


@ensureDeferred
async def test_a_token_comes_in_any_of_four_forms(cluster: Cluster, certificates: Path, tokens: Path) -> None:
    """A token is accepted after `Bearer`, bare, as the password of `Basic`, and in Consul's header."""
    (node,) = await cluster.start([protected_node(cluster, certificates, tokens)])
    context, secret = trusting(certificates / "ca.pem"), secret_of("read")
    basic = b64encode(f"anybody:{secret}".encode()).decode()
    for name, value in (
        ("Authorization", f"Bearer {secret}"),
        ("Authorization", f"bearer {secret}"),
        ("Authorization", secret),
        ("Authorization", f"Basic {basic}"),
        ("X-Consul-Token", secret),
    ):
        answer = http(node.api_port, context, "GET", "/registrations", headers={name: value})
        assert answer.status == 200, (name, value)
        answer = http(node.api_port, context, "GET", "/registrations", headers={name: value + "x"})
        assert answer.status == 401, (name, value)


@ensureDeferred
async def test_a_history_names_the_token(cluster: Cluster, certificates: Path, tokens: Path, shell: Shell) -> None:
    """The author in a history is the name that the client sends, if any, with the name of its token."""
    (node,) = await cluster.start([protected_node(cluster, certificates, tokens)])
    context = trusting(certificates / "ca.pem")
    assert http(node.api_port, context, "PUT", "/backends/shop", BACKEND, shown("configure")).status == 201
    named = {**shown("admin"), "X-Bender-As": "anna@web1"}
    assert http(node.api_port, context, "PUT", "/backends/shop", {"version": "2.0"}, named).status == 200
    history = http(node.api_port, context, "GET", "/backends/shop/history", headers=shown("read")).body
    assert [each["author"] for each in history] == ["anna@web1 (admin)", "configure"]


@ensureDeferred
async def test_the_line_protocol_begins_with_a_token(cluster: Cluster, certificates: Path, tokens: Path) -> None:
    """A connection must begin with a valid token, and may register only instances within its scopes."""
    (node,) = await cluster.start([protected_node(cluster, certificates, tokens)])
    context = trusting(certificates / "ca.pem")

    def said(*lines: object) -> list[dict[str, Any]]:
        with connected(node.events_port, context) as connection:
            for line in lines:
                connection.sendall(json.dumps(line).encode() + b"\n")
            return [json.loads(line) for line in read_to_end(connection).splitlines()]

    for first, code in (
        ({"subscribe": {}}, "UNAUTHORIZED"),
        ({"token": "wrong"}, "UNAUTHORIZED"),
        ({"token": secret_of("web")}, "FORBIDDEN"),
        ({"token": secret_of("configure")}, "FORBIDDEN"),
    ):
        (error,) = said(first)
        assert (error["event"], error["code"]) == ("error", code), first
    with connected(node.events_port, context) as connection:
        connection.sendall(json.dumps({"token": secret_of("agent")}).encode() + b"\n")
        assert [each["event"] for each in read_lines(connection, 1)] == ["hello"]
        for app, event in (("web-shop", "online"), ("db", "error")):
            wanted = {"app": app, "version": "1.0", "host": "10.0.0.5", "port": 80}
            connection.sendall(json.dumps({"register": wanted}).encode() + b"\n")
            (first_line,) = read_lines(connection, 1)
            assert first_line["event"] == event
            if event == "online":
                (answer,) = read_lines(connection, 1)
                assert answer["event"] == "registered"
            else:
                assert first_line["code"] == "FORBIDDEN"


@ensureDeferred
async def test_clients_without_tls_get_a_reason(cluster: Cluster, certificates: Path, tokens: Path) -> None:
    """Each port answers in its own protocol. The status at the API is not 400, which would stop a client's retries."""
    (node,) = await cluster.start([protected_node(cluster, certificates, tokens)])
    for port, status in ((node.api_port, 426), (node.exchange_port, 400)):
        answer = http(port, None, "GET", "/ready")
        assert (answer.status, answer.code) == (status, "INVALID")
        assert "uses TLS" in answer.body["message"]
    with connected(node.events_port, None) as connection:
        connection.sendall(b'{"token": "x"}\n')
        (line,) = read_lines(connection, 2)
    assert (line["event"], line["code"]) == ("error", "INVALID")


@ensureDeferred
async def test_peers_need_a_certificate_of_the_ca(cluster: Cluster, certificates: Path, tmp_path: Path) -> None:
    """A peer without a certificate of the CA gets no answer, and the problems name the reason in words."""
    others = make_certificates(tmp_path / "others", "--host", "127.0.0.1")
    node = protected_node(cluster, certificates, None, interval=0.25, ttl=2)
    stranger = protected_node(cluster, others, None, interval=0.25, ttl=2)
    plain = cluster.node(interval=0.25, ttl=2)
    node.options["peers"] = f"{stranger.exchange},{plain.exchange}"
    plain.options["peers"] = stranger.options["peers"] = node.exchange
    for each in (node, stranger, plain):
        each.start()
    for each in (node, stranger, plain):
        await each.ready()

    async def problems(of: Node) -> dict[str, str]:
        found: dict[str, str] = (await of.call("GET", "/status")).body["problems"]
        return found

    # They also send requests to the node, from ports that do not show their addresses.
    others_are = ("it does not use TLS", "it does not accept this side's certificate")

    async def are_named() -> bool:
        named = await problems(node)
        known = {stranger.exchange, plain.exchange} <= named.keys() and node.exchange in await problems(plain)
        return known and all(words in named.get("127.0.0.1", "") for words in others_are)

    await until("the problems are named", are_named)
    named = await problems(node)
    assert "its certificate is signed by another CA" in named[stranger.exchange]
    assert "does not use TLS" in named[plain.exchange]
    assert "uses TLS" in (await problems(plain))[node.exchange]
    # Connections without a certificate, with a self-signed one, and with one of another CA get no answer.
    self_signed = tmp_path / "self"
    self_signed.mkdir()
    issued = trustme.CA()
    issued.cert_pem.write_to_path(str(self_signed / "cert.pem"))
    issued.private_key_pem.write_to_path(str(self_signed / "key.pem"))
    for identity in (None, others, self_signed):
        with pytest.raises(OSError):  # noqa: PT011 - an alert or a reset, depending on the system
            http(node.exchange_port, trusting(None, identity), "POST", "/exchange")
    assert http(node.exchange_port, trusting(certificates / "ca.pem", certificates), "POST", "/exchange").status == 400


@ensureDeferred
async def test_three_nodes_work_as_without(
    cluster: Cluster, certificates: Path, tokens: Path, shell: Shell, tmp_path: Path
) -> None:
    """An instance that `bender` registers at one node is listed by all, over TLS, with tokens everywhere."""
    nodes = await cluster.start([protected_node(cluster, certificates, tokens) for _ in range(3)])
    web = tmp_path / "web.token"
    web.write_text(secret_of("agent") + "\n")
    secured = [f"--ca={certificates / 'ca.pem'}", f"--token-file={web}"]
    shell.done("register", "web-shop/1.0/10.0.0.5/8080", at(nodes[0]), *secured)
    await agreed(nodes)
    for node in nodes:
        assert "web-shop" in shell.done("ls", "--json", at(node), *secured)
    end = shell.bender("register", "db/1.0/10.0.0.5/5432", at(nodes[0]), *secured)
    assert (end.returncode, is_sentence(end.stderr)) == (1, True)
    assert "the token agent does not have the scope register:db" in end.stderr
    end = shell.bender("ls", at(nodes[0]), f"--ca={certificates / 'ca.pem'}")
    assert (end.returncode, is_sentence(end.stderr)) == (1, True)
    assert "requires a token" in end.stderr
    assert [each["state"] for each in (await nodes[0].call("GET", "/status")).body["peers"]] == ["heard", "heard"]


@ensureDeferred
async def test_a_token_that_may_register_can_deregister(
    cluster: Cluster, certificates: Path, tokens: Path, shell: Shell, tmp_path: Path
) -> None:
    """Without the scope `read`, `bender deregister` cannot check backends, reports that, and works with `--force`."""
    (node,) = await cluster.start([protected_node(cluster, certificates, tokens)])
    secret = tmp_path / "web.token"
    secret.write_text(secret_of("web") + "\n")
    secured = [at(node), f"--ca={certificates / 'ca.pem'}", f"--token-file={secret}"]
    shell.done("register", "web-shop/1.0/10.0.0.5/8080", *secured)
    end = shell.bender("deregister", "web-shop/1.0/10.0.0.5/8080", *secured)
    assert (end.returncode, is_sentence(end.stderr)) == (1, True)
    assert "the token web does not have the scope read" in end.stderr
    assert "add --force" in end.stderr
    assert (await node.call("GET", WEB_PATH)).status == 200
    shell.done("deregister", "web-shop/1.0/10.0.0.5/8080", "--force", *secured)
    assert (await node.call("GET", WEB_PATH)).status == 404


@ensureDeferred
async def test_a_token_goes_to_verified_nodes_alone(
    cluster: Cluster, certificates: Path, tokens: Path, shell: Shell, tmp_path: Path
) -> None:
    """The token is not sent to a node that has a certificate of another CA or host, or no TLS."""
    (node,) = await cluster.start([protected_node(cluster, certificates, tokens)])
    others = make_certificates(tmp_path / "others")
    wrong = make_certificates(tmp_path / "wrong", "--ca", str(certificates), "--host", "db.example")
    (tmp_path / "t").write_text("top-secret\n")
    secured = [f"--ca={certificates / 'ca.pem'}", f"--token-file={tmp_path / 't'}"]
    for identity, words in (
        (others, "its certificate is signed by another CA"),
        (wrong, "its certificate is for another address"),
    ):
        with Impostor(identity) as impostor:
            end = shell.bender("ls", f"--node=127.0.0.1:{impostor.port}", *secured)
        assert end.returncode == 1
        assert words in end.stderr, end.stderr
        assert b"top-secret" not in impostor.received
    end = shell.bender("ls", f"--node=http://127.0.0.1:{node.api_port}", *secured)
    assert end.returncode == 1
    assert "the token would be sent to it unencrypted" in end.stderr


class Impostor:
    """Listens with a certificate, and records the bytes that clients send after a successful handshake."""

    def __init__(self, identity: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(identity / "cert.pem", identity / "key.pem")
        self.received = b""

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def _serve(self) -> None:
        try:
            plain, _ = self._listener.accept()
            with self._context.wrap_socket(plain, server_side=True) as connection:
                connection.settimeout(5)
                self.received = connection.recv(65_536)
        except OSError:
            pass

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join(10)
