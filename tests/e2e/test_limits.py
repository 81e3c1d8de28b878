"""Clients that take all connections, send nothing, or read nothing, on real sockets.

A greedy client opens all the connections that it can. Other hosts register, renew and follow events all the while. Slow
and hanging clients are disconnected in time; a silent subscriber is not.
"""

from __future__ import annotations

import json
import select
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from tests.e2e.instances import INTERVAL_S, TTL_S, crowd
from tests.e2e.nodes import Cluster, Node, pause, until
from tests.e2e.protection import make_certificates
from tests.e2e.watching import watching
from tests.twistd_command import twistd

TIMING = {"interval": INTERVAL_S, "ttl": TTL_S}

#: The host of the greedy client; all other clients here have another one.
GREEDY_HOST = "127.0.0.2"

#: The node's time limit in these tests, and the longest time until it closes a connection on a busy machine.
TIMEOUT_S = 2
GONE_S = 20

MANY_COUNT = 3000
MANY = {"app": "big", "version": "1", "ttl": 600, "meta": {"x": "y" * 3500}}


class Hoard:
    """Connections of one host, as many as the node accepts, which are opened again when one is lost."""

    def __init__(self, port: int, count: int, sends: bytes) -> None:
        self._port = port
        self._count = count
        self._sends = sends
        self._open: list[socket.socket] = []
        self.lost = 0

    def fill(self) -> None:
        """Open lost connections again."""
        readable, _, _ = select.select(self._open, [], [], 0)
        for each in readable:
            try:
                ended = not each.recv(65_536)
            except OSError:
                ended = True
            if ended:
                self.lost += 1
                each.close()
                self._open.remove(each)
        while len(self._open) < self._count:
            connected = socket.socket()
            try:
                connected.bind((GREEDY_HOST, 0))
                connected.settimeout(10)
                connected.connect(("127.0.0.1", self._port))
                connected.setblocking(False)
                connected.send(self._sends)
            except OSError:  # the node closes it before everything is sent
                self.lost += 1
                connected.close()
                return
            self._open.append(connected)

    def close(self) -> None:
        for each in self._open:
            each.close()


@contextmanager
def hoarding(port: int, count: int, sends: bytes = b"") -> Iterator[Hoard]:
    hoard = Hoard(port, count, sends)
    try:
        yield hoard
    finally:
        hoard.close()


async def limits_of(node: Node) -> dict[str, Any]:
    """Return the limits in the status of a node, with their use."""
    limits: dict[str, Any] = (await node.call("GET", "/status")).body["limits"]
    return limits


@pytest.mark.parametrize("sends", [b"", b"GET /events HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n"])
@ensureDeferred
async def test_a_greedy_client_keeps_nobody_out(cluster: Cluster, sends: bytes) -> None:
    """Another host registers, renews and follows events, while a greedy host takes all the connections it can get."""
    nodes = await cluster(2, **TIMING, **{"max-connections": 30, "max-subscribers": 20})
    greedy, other = nodes
    async with watching([other]) as (watcher,), crowd([greedy]) as clients:
        early = await clients.add("early")
        with (
            hoarding(greedy.api_port, 60, sends) as requests,
            hoarding(greedy.events_port, 60) as lines,
        ):
            requests.fill()
            lines.fill()
            async with watching([greedy]) as (heard,):
                late = await clients.add("late")
                ends_at_s = time.monotonic() + 3 * TTL_S
                while time.monotonic() < ends_at_s:
                    requests.fill()
                    lines.fill()
                    await pause(0.05)
                await heard.until_lists(clients.ids)
                assert (heard.offline, heard.resets) == ([], 0)
            limits = await limits_of(greedy)
        assert (watcher.offline, early.forgotten, late.forgotten) == ([], [], [])
        assert min(requests.lost, lines.lost) > 30
        assert limits["connections"]["peak"] == limits["line_connections"]["peak"] == 30
        assert limits["connections"]["refused"] > 30
        assert limits["subscribers"]["used"] <= 20
    assert "connections to this port are in use" in greedy.log


@ensureDeferred
async def test_a_refused_client_is_told_why(cluster: Cluster) -> None:
    """Both ports send a refused client the reason before they close its connection; SIGHUP raises the limit."""
    config = cluster.folder / "limits.toml"
    config.write_text("max-connections = 1\n")
    (node,) = await cluster(1, config=config)
    with socket.create_connection(("127.0.0.1", node.api_port), 10) as kept, ExitStack() as others:
        kept.sendall(b"GET /ready HTTP/1.1\r\n\r\n")
        assert kept.recv(65_536).startswith(b"HTTP/1.1 200")
        refused = others.enter_context(socket.create_connection(("127.0.0.1", node.api_port), 10))
        refused.sendall(b"POST /registrations HTTP/1.1\r\nContent-Length: 40000\r\n\r\n" + b" " * 40_000)
        answer = _all_of(refused)
        assert answer.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "BUSY"
        first = others.enter_context(socket.create_connection(("127.0.0.1", node.events_port), 10))
        assert b'"event":"hello"' in first.recv(65_536)
        second = others.enter_context(socket.create_connection(("127.0.0.1", node.events_port), 10))
        assert json.loads(_all_of(second))["code"] == "BUSY"

        config.write_text("max-connections = 10\n")
        node.kill(signal.SIGHUP)
        await until("the limit is changed", lambda: "--max-connections: 10 instead of 1" in node.log)
        assert (await limits_of(node))["connections"]["max"] == 10
        kept.sendall(b"GET /ready HTTP/1.1\r\n\r\n")
        assert kept.recv(65_536).startswith(b"HTTP/1.1 200")


@ensureDeferred
async def test_a_refused_client_with_tls_is_told_why(cluster: Cluster) -> None:
    """Over TLS, a refused client gets the reason after the handshake."""
    certificates = make_certificates(cluster.folder / "tls")
    node = cluster.node(tls=certificates, **{"max-connections": 1})
    node.start()
    await until("it listens", lambda: _listens(node.api_port) and _listens(node.events_port))
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))

    def connect(port: int, connections: ExitStack) -> ssl.SSLSocket:
        plain = connections.enter_context(socket.create_connection(("127.0.0.1", port), 10))
        return connections.enter_context(context.wrap_socket(plain, server_hostname="127.0.0.1"))

    def answer(connected: ssl.SSLSocket) -> bytes:
        connected.sendall(b"GET /ready HTTP/1.1\r\n\r\n")
        return connected.recv(65_536)

    with ExitStack() as connections:
        # The connection of `_listens` may still count for a moment.
        await until("one is accepted", lambda: answer(connect(node.api_port, connections)).startswith(b"HTTP/1.1 200"))
        assert answer(connect(node.api_port, connections)).startswith(b"HTTP/1.1 429")
        first, second = (connect(node.events_port, connections) for _ in range(2))
        assert b'"event":"hello"' in first.recv(65_536)
        assert json.loads(_all_of(second))["code"] == "BUSY"


def _all_of(connected: socket.socket) -> bytes:
    """Return everything until the node closes the connection."""
    connected.settimeout(GONE_S)
    received = b""
    while piece := connected.recv(65_536):
        received += piece
    return received


#: Clients that hang, each with its option of the port, the bytes it sends first, and the bytes it sends repeatedly.
HANGING = {
    "sends nothing": ("api_port", b"", b""),
    "begins a head": ("api_port", b"GET /ready HTTP/1.1\r\nA: ", b"a"),
    "begins a head beside the fast path": ("api_port", b"GET /status HTTP/1.1\r\nExpect: x\r\nA: ", b"a"),
    "begins a body": ("api_port", b"POST /registrations HTTP/1.1\r\nContent-Length: 9000\r\n\r\n{", b" "),
    "begins a chunk": ("api_port", b"POST /renewals HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", b""),
    "goes on with a refused body": ("api_port", b"POST /x HTTP/1.1\r\nContent-Length: 900000\r\n\r\n", b" "),
    "keeps a connection": ("api_port", b"GET /ready HTTP/1.1\r\n\r\n", b""),
    "begins a line": ("events_port", b'{"subscribe": ', b" "),
    "goes on with a line that is too long": ("events_port", b"x" * 300_000, b"x"),
    "reads nothing of a list": ("api_port", b"GET /registrations HTTP/1.1\r\n\r\n", None),
    "reads nothing of a last answer": ("api_port", b"GET /registrations HTTP/1.1\r\nConnection: close\r\n\r\n", None),
    "asks again and again, and reads nothing": ("api_port", b"GET /registrations/big HTTP/1.1\r\n\r\n" * 200, None),
    "reads no events": ("events_port", b'{"subscribe": {"snapshot": true}}\n', None),
    "reads no stream": ("api_port", b"GET /events?snapshot=1 HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n", None),
}


@ensureDeferred
async def test_hanging_clients_are_disconnected(cluster: Cluster) -> None:
    """Each way to hang ends within the time limit, while a silent subscriber stays connected."""
    (node,) = await cluster(1, **TIMING, **{"client-timeout": TIMEOUT_S})
    _register_many(node)
    pid = node.process.pid
    with ExitStack() as connections:
        silent = connections.enter_context(socket.create_connection(("127.0.0.1", node.events_port), 10))
        assert silent.recv(65_536), "the node closes the connection"  # its descriptor is counted
        silent.setblocking(False)
        open_files = _open_files(pid)
        hanging: dict[str, socket.socket] = {}
        for what, (port, first, _) in HANGING.items():
            connected = connections.enter_context(socket.socket())
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            connected.connect(("127.0.0.1", getattr(node, port)))
            connected.sendall(first)
            connected.setblocking(False)
            hanging[what] = connected
        left = dict(hanging)

        def all_gone() -> bool:
            for what, connected in [*left.items()]:
                if _is_gone(connected, HANGING[what][2]):
                    del left[what]
            return not left

        await until("all are disconnected", all_gone, GONE_S, lambda: f"but {[*left]} are not")
        await until("their descriptors are free", lambda: _open_files(pid) <= open_files)
        silent.send(b'{"subscribe": {}}\n')
        assert not _is_gone(silent, b"")
    assert (await node.call("GET", "/ready")).status == 200


def _is_gone(connected: socket.socket, sends: bytes | None) -> bool:
    """Continue to hang; return True if the node has closed the connection. If `sends` is None, nothing is read."""
    try:
        if sends is None:
            # Received bytes stay unread, so the end is visible only as an error or a hang-up.
            looks = select.poll()
            looks.register(connected, select.POLLRDHUP)
            return bool(looks.poll(0))
        if sends:
            connected.send(sends)
        return not connected.recv(65_536)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _register_many(node: Node) -> None:
    """Register 12 MB of instances, more than any system buffers for a client that does not read."""
    registered = 0
    # On a busy machine, the pause between two requests may exceed the node's limit, which closes the connection.
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", node.api_port), 10) as connected, suppress(ConnectionError):
            while registered < MANY_COUNT and _register(connected, registered + 1):
                registered += 1
    assert registered == MANY_COUNT


def _register(connected: socket.socket, port: int) -> bool:
    """Return True if the node has registered the instance, False if it has closed the connection."""
    sent = json.dumps({**MANY, "host": "10.0.0.1", "port": port}).encode()
    connected.sendall(b"POST /registrations HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(sent), sent))
    received = b""
    while not received.endswith(b"}"):
        piece = connected.recv(65_536)
        if not piece:
            return False
        received += piece
    assert received.startswith((b"HTTP/1.1 201 ", b"HTTP/1.1 200 ")), received
    return True


@ensureDeferred
async def test_a_slow_reader_is_not_disconnected(cluster: Cluster) -> None:
    """A client that reads its list slowly but steadily, for many times the limit, gets all of it."""
    (node,) = await cluster(1, **TIMING, **{"client-timeout": 1})
    _register_many(node)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
        slow.connect(("127.0.0.1", node.api_port))
        slow.sendall(b"GET /registrations HTTP/1.1\r\nConnection: close\r\n\r\n")
        slow.setblocking(False)
        began_at_s, received = time.monotonic(), 0
        while True:
            await pause(0.02)
            try:
                piece = slow.recv(32 * 1024)
            except BlockingIOError:
                continue
            if not piece:
                break
            received += len(piece)
        assert time.monotonic() - began_at_s > 5
        assert received > MANY_COUNT * 3500


@ensureDeferred
async def test_a_tls_handshake_that_never_ends(cluster: Cluster) -> None:
    """Connections with an unfinished TLS handshake are closed, on the ports of clients and of peers."""
    certificates = make_certificates(cluster.folder / "tls")
    node = cluster.node(**TIMING, tls=certificates, **{"peer-tls": certificates})
    node.start()
    with ExitStack() as connections:
        hello = ssl.MemoryBIO()
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with pytest.raises(ssl.SSLWantReadError):
            context.wrap_bio(ssl.MemoryBIO(), hello).do_handshake()
        begun = hello.read()
        await until("it listens", lambda: _listens(node.api_port) and _listens(node.exchange_port))
        hanging = []
        for port in (node.api_port, node.events_port, node.exchange_port):
            for sent in (b"", begun[:20], begun):
                connected = connections.enter_context(socket.create_connection(("127.0.0.1", port), 10))
                connected.sendall(sent)
                connected.setblocking(False)
                hanging.append(connected)
        await until("all are disconnected", lambda: all(_is_gone(each, b"") for each in hanging), 2 * GONE_S)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@ensureDeferred
async def test_a_bad_peer(cluster: Cluster) -> None:
    """Connections to the exchange that hang or send too much are closed, and the peers continue to hear each other."""
    nodes = await cluster(2, **TIMING)
    node, other = nodes
    with ExitStack() as connections:
        for sent in (
            b"POST /exchange HTTP/1.1\r\nContent-Length: 20000000\r\n\r\n",
            b"POST /exchange HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"100000\r\n" + b"x" * 0x100000,
            b"POST /exchange HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
            b"\xff" * 100_000,
        ):
            connected = connections.enter_context(socket.create_connection(("127.0.0.1", node.exchange_port), 10))
            connected.setblocking(False)
            with suppress(OSError):  # the node may close it before everything is sent
                connected.send(sent)
        for _ in range(300):
            connections.enter_context(socket.create_connection(("127.0.0.1", node.exchange_port), 10))
        async with watching(nodes) as watchers, crowd([node]) as clients:
            await clients.add("web")
            await pause(2 * TTL_S)
            for watcher in watchers:
                await watcher.until_lists(clients.ids)
                assert watcher.offline == []
        status = (await other.call("GET", "/status")).body
        assert [peer["state"] for peer in status["peers"]] == ["heard"]
        assert (await limits_of(node))["peer_connections"]["used"] > 300


@ensureDeferred
async def test_few_file_descriptors(cluster: Cluster) -> None:
    """A node with few descriptors accepts fewer clients, logs that, and keeps some for its peers; all continue."""
    (other,) = await cluster(1, **TIMING)
    node = cluster.node(**TIMING, peers=other.exchange)
    node.command = ["prlimit", "--nofile=520:520", *twistd(), "bender"]
    node.start()
    await node.ready()
    assert "The limit of open files (520) is too low for --max-connections" in node.log
    assert "it allows only 45 connections to each of" in node.log
    assert (await limits_of(node))["connections"]["max"] == 45
    with hoarding(node.api_port, 200) as requests, hoarding(node.events_port, 200) as lines:
        async with watching([other]) as (watcher,), crowd([node]) as clients:
            for _ in range(20):
                requests.fill()
                lines.fill()
                await pause(0.05)
            await clients.add("web")
            await watcher.until_lists(clients.ids)
            status = (await other.call("GET", "/status")).body
            assert [peer["state"] for peer in status["peers"]] == ["heard"]
    assert "No file descriptor is left" not in node.log


def _open_files(pid: int) -> int:
    return len([*Path(f"/proc/{pid}/fd").iterdir()])
