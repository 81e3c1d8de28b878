"""The tests talk HTTP to a node without a socket: every byte goes through Twisted's own protocol."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from itertools import count
from typing import Any

import msgspec
from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Site

from bender.api import site
from bender.core.messages import OutgoingMessage
from bender.core.timing import Timing
from bender.node.node import Node
from bender.node.peer_exchange import NoExchange
from bender.node.sources import Sources

#: The time that the wall clock of each node shows.
NOW_MS = 1_795_447_942_248

WEB = {"app": "web", "version": "1.2.0", "host": "10.0.0.5", "port": 8080}
WEB_PATH = "/registrations/web/1.2.0/10.0.0.5/8080"
WEB_ID = "registration/web/1.2.0/10.0.0.5/8080"


@frozen
class Response:
    """A response of the node; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["content-type"] == "application/json", self
        return msgspec.json.decode(self.body)


def parsed(received: bytes, *, head: bool = False) -> list[Response]:
    """Return every response in the received bytes; a body without a length is in chunks, or goes to the end."""
    responses = []
    while received:
        top, _, rest = received.partition(b"\r\n\r\n")
        first, *lines = top.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        status = int(first.split()[1])
        bodyless = head or status in (100, 204, 304)
        if headers.get("transfer-encoding") == "chunked" and not bodyless:
            body, received = _joined_chunks(rest)
        else:
            length = 0 if bodyless else int(headers.get("content-length", len(rest)))
            body, received = rest[:length], rest[length:]
        responses.append(Response(status, headers, body))
    return responses


def _joined_chunks(received: bytes) -> tuple[bytes, bytes]:
    """Return a body that came in chunks, and the bytes that follow it."""
    body = b""
    while True:
        size, _, rest = received.partition(b"\r\n")
        end = int(size, 16)
        body += rest[:end]
        assert rest[end : end + 2] == b"\r\n"
        received = rest[end + 2 :]
        if not end:
            return body, received


class Transport(StringTransport):
    """A transport that can close its sending side alone."""

    half_closed = aborted = False

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class Connection:
    """One client's connection to a node."""

    def __init__(self, to: Site, client: tuple[str, int] = ("10.9.9.9", 40_000)) -> None:
        """`client` is its address and port."""
        self.transport = Transport(peerAddress=IPv4Address("TCP", *client))
        self._protocol = to.buildProtocol(self.transport.getPeer())
        self._protocol.makeConnection(self.transport)

    def send(self, sent: bytes) -> None:
        self._protocol.dataReceived(sent)

    def received(self) -> bytes:
        """Return the bytes that were received since the last call."""
        received: bytes = self.transport.value()
        self.transport.clear()
        return received

    @property
    def held(self) -> int:
        """The number of bytes that were sent and are not processed yet."""
        channel: Any = self._protocol
        held: int = len(channel._held) - channel._offset
        return held

    @property
    def closed(self) -> bool:
        """Whether the node has closed the connection."""
        return self.transport.disconnecting

    @property
    def aborted(self) -> bool:
        """Whether the node has aborted the connection, even with unsent bytes."""
        return self.transport.aborted

    def end(self) -> None:
        """The client closes its sending side, and goes on reading."""
        self._protocol.readConnectionLost()

    def lose(self) -> None:
        """The client closes the connection."""
        self._protocol.connectionLost(Failure(ConnectionDone()))


def request(method: str, path: str, body: object = None, **headers: str) -> bytes:
    """Return a request with a length; a body that is not bytes is encoded as JSON."""
    content = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


_incarnations = count(1)


def a_node(clock: Clock, name: str = "n1", **options: Any) -> Node:
    """Return a node whose clock is moved by hand."""
    sources = Sources(clock.seconds, lambda: NOW_MS, lambda: next(_incarnations))
    return Node(clock, sources, name=name, address=f"{name}:1730", timing=Timing(), **options)


class ApiCase(SynchronousTestCase):
    """Tests of a ready node without peers, and of its client."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.node = a_node(self.clock)
        self.site = site(self.node, self.clock)

    def await_a_seed(self) -> None:
        """Replace the node by one that is not ready, because it has not found its seed."""
        self.node = a_node(self.clock, seeds=("peer:1730",))
        self.site = site(self.node, self.clock)

    def connect(self) -> Connection:
        return Connection(self.site)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Response:
        """Send one request on a connection of its own, and return the response."""
        connection = self.connect()
        connection.send(request(method, path, body, **headers))
        (response,) = parsed(connection.received(), head=method == "HEAD")
        return response

    def pass_time(self, seconds: int) -> None:
        """Let time pass for the node, which sweeps every second."""
        for _ in range(seconds):
            self.clock.advance(1)
            self.node.sweep()

    def refused(self, code: str, response: Response) -> str:
        """Expect an error in the common form, and return its message."""
        status = {"INVALID": 400, "NOT_FOUND": 404, "METHOD_NOT_ALLOWED": 405, "CONFLICT": 409, "TOO_LARGE": 413}
        status |= {"STALE": 412, "BUSY": 429, "NOT_READY": 503}
        self.assertEqual((response.json["code"], response.status), (code, status[code]), response)
        self.assertEqual(set(response.json), {"code", "message"})
        message: str = response.json["message"]
        return message

    def invalid(self, field: str, response: Response) -> None:
        """Expect a 400 that names the field."""
        self.assertEqual(self.refused("INVALID", response).split(":")[0], field)


class Carrier:
    """The exchange of one node: it carries the messages of the node; a test sets the answers of other nodes."""

    def __init__(self, node: Node, carry: Callable[[Node, list[OutgoingMessage]], None]) -> None:
        self.send = partial(carry, node)
        self.ask_diagnosis: Callable[..., Coroutine[Any, Any, Any]] = NoExchange(node).ask_diagnosis
        self.ask_claims: Callable[..., Coroutine[Any, Any, Any]] = NoExchange(node).ask_claims
        self.ask_report: Callable[..., Coroutine[Any, Any, Any]] = NoExchange(node).ask_report
        self.ask_consumers: Callable[..., Coroutine[Any, Any, Any]] = NoExchange(node).ask_consumers


def carrier_of(node: Node) -> Carrier:
    assert isinstance(node.exchange, Carrier)
    return node.exchange


class Network:
    """Two nodes that can be cut off from each other; `first` has the other as its seed."""

    def __init__(self, clock: Clock, **options: Any) -> None:
        """Create both nodes with these `options`."""
        self.connected = True
        self._held: list[Callable[[], None]] = []
        self.first = self.start(clock, "first", seeds=("second:1730",), **options)
        self.second = self.start(clock, "second", **options)
        self.first.set_seed_addresses("second:1730", ["second:1730"])

    def start(self, clock: Clock, name: str, **options: Any) -> Node:
        """Return a node of this network."""
        return a_node(clock, name, exchange=lambda node: Carrier(node, self._carry), **options)

    def replace_first(self, node: Node) -> None:
        """Put another incarnation in the place of `first`."""
        self.first = node

    def _carry(self, sender: Node, requests: list[OutgoingMessage]) -> None:
        receiver = self.first if sender is self.second else self.second
        for request in requests:
            self._held.append(partial(self._deliver, sender, request, receiver))
        if self.connected:
            self.reconnect()

    @staticmethod
    def _deliver(sender: Node, request: OutgoingMessage, receiver: Node) -> None:
        sender.note_answer(request, receiver.receive(request.message))

    def reconnect(self) -> None:
        """Connect the nodes, and deliver the messages that were held up."""
        self.connected = True
        held, self._held = self._held, []
        for deliver in held:
            deliver()
