"""The receiving half of an exchange: messages, and all other requests to its port."""

from __future__ import annotations

import json
import re
from io import BytesIO
from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from treq.testing import StubTreq
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from bender.core.messages import Message, Sender
from bender.exchange.server import IDLE_S_MAX, GossipServer, PeerRequest
from bender.exchange.wire import BODY_BYTES_MAX, WIRE_VERSION, Wire
from bender.net.fair_turns import Turns
from tests.exchange.network import HOST, ExchangeCase
from tests.net.reactor_turns import take_turn

PEER = "10.0.0.2:1730"
ASKING = Message(Sender(2, "n2", PEER), ask=5.0)


class ServerCase(ExchangeCase):
    def setUp(self) -> None:
        super().setUp()
        self.site = GossipServer(self.node, self.wire, self.conditions).site(self.network)

    def call(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str, bytes]:
        """Return the status, the media type and the body of the resource's answer."""
        treq: Any = StubTreq(self.site.resource)
        response = self.successResultOf(treq.request(method, f"http://{HOST}:1730{path}", data=body))
        content = self.successResultOf(treq.content(response))
        return response.code, response.headers.getRawHeaders("Content-Type")[0], content

    def post(self, body: bytes) -> tuple[int, str, bytes]:
        return self.call("POST", "/exchange", body)

    def connect(self) -> tuple[Any, StringTransport]:
        """Return a connection that accepts any bytes."""
        transport = StringTransport(peerAddress=IPv4Address("TCP", HOST, 50_000))
        channel = self.site.buildProtocol(None)
        assert channel is not None
        channel.makeConnection(transport)
        return channel, transport

    def said(self, transport: StringTransport) -> list[bytes]:
        """Return the status lines of the answers."""
        return re.findall(rb"HTTP/1.1 [^\r]+", transport.value())


class Messages(ServerCase):
    def test_a_message_is_answered_with_one(self) -> None:
        """The node gets the message, and its answer is sent."""
        status, media_type, body = self.post(self.wire.encode(ASKING))
        self.assertEqual((status, media_type), (200, "application/msgpack"))
        self.assertEqual(self.wire.decode(body).message, Message(self.node.sender, ask=7.0))
        self.assertEqual(self.node.received, [ASKING])
        self.assertEqual(self.lines, [])

    def test_one_of_another_cluster_is_refused(self) -> None:
        """The sender gets 409 with both clusters, the node gets no message, and the problem is logged once."""
        for _ in range(3):
            status, media_type, body = self.post(Wire("green", 1.0).encode(ASKING))
        self.assertEqual((status, media_type), (409, "application/json"))
        self.assertEqual(
            json.loads(body),
            {
                "code": "CONFLICT",
                "message": "the sender belongs to cluster 'green', but this node belongs to 'bender'",
                "wire": WIRE_VERSION,
                "cluster": "bender",
            },
        )
        self.assertEqual(self.node.received, [])
        self.assertEqual(self.lines, [f"Peer {PEER} belongs to cluster 'green', but this node belongs to 'bender'."])
        self.assertEqual(self.node.problems, {PEER: "belongs to cluster 'green', but this node belongs to 'bender'"})

    def test_one_with_another_interval_is_answered_and_named(self) -> None:
        """A message with another interval is answered, and the difference is logged once."""
        for _ in range(3):
            self.assertEqual(self.post(Wire("bender", 2.0).encode(ASKING))[0], 200)
        self.assertEqual(self.lines, [f"Peer {PEER} has an interval of 2 s, but this node has 1 s."])
        self.assertEqual(self.node.problems, {PEER: "has an interval of 2 s, but this node has 1 s"})

    def test_rubbish_is_refused(self) -> None:
        """An invalid message gets 400, and the sending host is logged once."""
        for body in (b"rubbish", b"", b"\xff" * 1000):
            status, media_type, answer = self.post(body)
            self.assertEqual((status, media_type), (400, "application/json"))
            self.assertEqual(json.loads(answer)["code"], "INVALID")
        self.assertEqual(self.node.received, [])
        self.assertEqual(len(self.lines), 1)

    @given(st.binary(max_size=100))
    def test_no_bytes_are_a_failure(self, body: bytes) -> None:
        """Any bytes get 200, 400 or 409."""
        self.assertIn(self.post(body)[0], (200, 400, 409))

    def test_a_fault_of_the_node_is_an_answer(self) -> None:
        """An exception of the node is logged, the peer gets 500, and the next message is answered."""

        def fail() -> None:
            raise RuntimeError("a fault")

        self.node.on_report = fail
        status, media_type, body = self.post(self.wire.encode(ASKING))
        self.assertEqual((status, media_type), (500, "application/json"))
        self.assertNotIn(b"fault", body)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.node.on_report = lambda: None
        self.assertEqual(self.post(self.wire.encode(ASKING))[0], 200)

    def test_there_is_nothing_else(self) -> None:
        """Other paths and methods get an error in JSON, and are not logged."""
        for method, path, status in (
            ("GET", "/exchange", 405),
            ("PUT", "/exchange", 405),
            ("POST", "/", 404),
            ("POST", "/%a4", 404),
        ):
            code, media_type, body = self.call(method, path, b"x" if method != "GET" else None)
            self.assertEqual((code, media_type), (status, "application/json"))
            self.assertIn("message", json.loads(body))


class Connections(ServerCase):
    """The bytes of a connection, in any pieces."""

    def head(self, *headers: str) -> bytes:
        return "\r\n".join(["POST /exchange HTTP/1.1", f"Host: {HOST}", *headers, "", ""]).encode()

    def test_an_answer_says_its_length(self) -> None:
        """An answer has its length, because chunks would take both sides more time."""
        channel, transport = self.connect()
        body = self.wire.encode(ASKING)
        channel.dataReceived(self.head(f"Content-Length: {len(body)}") + body)
        head, _, answer = transport.value().partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: %d" % len(answer), head)
        self.assertNotIn(b"chunked", head)

    def test_any_number_of_messages_on_one_connection(self) -> None:
        """A connection serves any number of messages, in any pieces."""
        channel, transport = self.connect()
        body = self.wire.encode(ASKING)
        for byte in (self.head(f"Content-Length: {len(body)}") + body) * 3:
            channel.dataReceived(bytes([byte]))
        self.assertEqual(self.said(transport), [b"HTTP/1.1 200 OK"] * 3)
        self.assertEqual(len(self.node.received), 3)

    def test_a_body_that_says_it_is_too_large_is_refused_at_once(self) -> None:
        """A too large Content-Length gets 413 before the body, and the connection is closed."""
        for _ in range(2):
            channel, transport = self.connect()
            channel.dataReceived(self.head(f"Content-Length: {BODY_BYTES_MAX + 1}"))
            self.assertEqual(self.said(transport), [b"HTTP/1.1 413 Content Too Large"])
            self.assertTrue(transport.disconnecting)
        self.assertEqual(self.lines, [f"Peer {HOST} sends more than {BODY_BYTES_MAX} bytes."])

    def test_a_body_that_turns_out_too_large_is_refused(self) -> None:
        """A chunked body gets 413 as soon as it is too large."""
        channel, transport = self.connect()
        channel.dataReceived(self.head("Transfer-Encoding: chunked"))
        chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        for _ in range(BODY_BYTES_MAX // 0x100000):
            channel.dataReceived(chunk)
        self.assertFalse(transport.disconnecting)
        channel.dataReceived(chunk + b"0\r\n\r\n")
        self.assertTrue(transport.disconnecting)
        self.assertEqual(self.said(transport), [b"HTTP/1.1 413 Content Too Large"])
        self.assertEqual(self.node.received, [])

    def test_a_message_in_chunks_is_a_message(self) -> None:
        """A message in chunks is accepted, although peers send none."""
        channel, transport = self.connect()
        body = self.wire.encode(ASKING)
        channel.dataReceived(self.head("Transfer-Encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        self.assertEqual(self.said(transport), [b"HTTP/1.1 200 OK"])

    def test_no_body_is_written_to_a_file(self) -> None:
        """A large body is kept in memory, and not in a file."""
        channel, _ = self.connect()
        for length in (f"Content-Length: {BODY_BYTES_MAX}", "Transfer-Encoding: chunked"):
            request = PeerRequest(channel)
            request.gotLength(None if "chunked" in length else BODY_BYTES_MAX)
            self.assertIsInstance(request.content, BytesIO)

    def test_a_strange_host_header_is_nobodys_business(self) -> None:
        """Any Host header is accepted."""
        body = self.wire.encode(ASKING)
        for host in (b"", b"\xff\xfe", b"a b", b"x" * 300, b"[", b":"):
            channel, transport = self.connect()
            channel.dataReceived(
                b"POST /exchange HTTP/1.1\r\nHost: %b\r\nContent-Length: %d\r\n\r\n%b" % (host, len(body), body)
            )
            self.assertEqual(self.said(transport), [b"HTTP/1.1 200 OK"])

    def test_a_silent_connection_is_closed(self) -> None:
        """A connection without a complete request is closed after a while."""
        for beginning in (b"", self.head("Content-Length: 5"), b"POST"):
            channel, transport = self.connect()
            channel.dataReceived(beginning)
            self.network.advance(IDLE_S_MAX)
            self.assertTrue(transport.disconnecting)

    def test_requests_are_not_logged(self) -> None:
        """Requests are not logged, because there are hundreds in a second."""
        self.site.startFactory()
        self.addCleanup(self.site.stopFactory)
        written = BytesIO()
        self.site.logFile = written
        channel, transport = self.connect()
        body = self.wire.encode(ASKING)
        channel.dataReceived(self.head(f"Content-Length: {len(body)}") + body)
        self.assertEqual(self.said(transport), [b"HTTP/1.1 200 OK"])
        self.site.logFile.flush()
        self.assertEqual(written.getvalue(), b"")


class Browsers(ServerCase):
    """A browser may send messages for a web page of another site."""

    def test_are_refused(self) -> None:
        """Any request of a browser gets 403 and is counted, even if its page seems to be the node's own."""
        body = self.wire.encode(ASKING)
        for path, page in product(
            ("/exchange", "/account", "/consumers", "/nothing"),
            (
                "Origin: http://evil.example",
                f"Origin: http://{HOST}:1730",
                "Origin: null",
                "sec-fetch-site: same-origin",
            ),
        ):
            channel, transport = self.connect()
            before = self.node.counters.forbidden
            channel.dataReceived(b"POST %b HTTP/1.1\r\n" % path.encode() + self.lines_of(page, len(body)) + body)
            self.assertEqual(self.said(transport), [b"HTTP/1.1 403 Forbidden"], (path, page))
            refusal = json.loads(transport.value().partition(b"\r\n\r\n")[2])
            self.assertEqual(refusal["code"], "FORBIDDEN")
            self.assertIn("not for browsers: clients use the port of --api", refusal["message"])
            self.assertEqual(self.node.counters.forbidden, before + 1)
        self.assertEqual((self.node.received, self.lines), ([], []))

    def lines_of(self, page: str, length: int) -> bytes:
        """Return the headers of a request."""
        lines = (f"Host: {HOST}:1730", page, "Content-Type: text/plain", f"Content-Length: {length}", "", "")
        return "\r\n".join(lines).encode()

    def test_peers_are_not(self) -> None:
        """The same request without headers of a browser is answered, also on the same connection."""
        body = self.wire.encode(ASKING)
        channel, transport = self.connect()
        for page in ("Origin: null", "X-A: b"):
            channel.dataReceived(b"POST /exchange HTTP/1.1\r\n" + self.lines_of(page, len(body)) + body)
        self.assertEqual(self.said(transport), [b"HTTP/1.1 403 Forbidden", b"HTTP/1.1 200 OK"])
        self.assertEqual(self.node.received, [ASKING])


class Budgets(ServerCase):
    """The work for one peer in one turn is limited; each message takes 1 s here, which is the limit for a peer."""

    COUNT = 40

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.worked_s = 0.0
        turns = Turns(self.clock, each_s=1, all_s=4, seconds=self.seconds)
        self.site = GossipServer(self.node, self.wire, self.conditions).site(self.network, turns)

    def seconds(self) -> float:
        """Return the time, as if a message had been received since the last call."""
        self.worked_s += 1
        return self.worked_s

    def test_pipelined_messages(self) -> None:
        """The rest of the pipelined messages is answered in later turns, on either way."""
        body = self.wire.encode(ASKING)
        head = b"POST /exchange HTTP/1.1\r\nHost: h\r\nContent-Type: a/b\r\n%bContent-Length: %d\r\n\r\n"
        for more in (b"", b"X-A: b\r\n"):
            channel, transport = self.connect()
            channel.dataReceived((head % (more, len(body)) + body) * self.COUNT)
            answered = [transport.value().count(b"HTTP/1.1 200 OK")]
            self.assertLessEqual(answered[0], 2)
            while answered[-1] < self.COUNT:
                take_turn(self.clock)
                answered.append(transport.value().count(b"HTTP/1.1 200 OK"))
                self.assertTrue(1 <= answered[-1] - answered[-2] <= 4, answered)
            self.assertGreater(len(answered), self.COUNT / 5)
            channel.connectionLost(Failure(ConnectionDone()))
            take_turn(self.clock)
