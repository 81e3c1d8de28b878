"""The fast path for pushes, from end to end, and with other programs at either end."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import StringTransport

from bender.core.messages import Message, Sender
from bender.exchange.push import ANSWER_BYTES_MAX, IDLE_S_MAX, parse_push
from bender.exchange.server import GossipServer
from bender.exchange.transport import PeerTransport, Unanswered, Unreachable
from tests.exchange.network import HOST, ExchangeCase, Stranger, http_answer

PEER = "10.0.0.2:1730"
HEAD = b"POST /exchange HTTP/1.1\r\nHost: h\r\nContent-Type: application/msgpack\r\nContent-Length: %d\r\n\r\n"


def ok(body: bytes, *headers: str) -> bytes:
    return http_answer("200 OK", "application/msgpack", body, *headers)


class Requests(ExchangeCase):
    """The requests that a server takes on the fast path."""

    def setUp(self) -> None:
        super().setUp()
        self.site = GossipServer(self.node, self.wire, self.conditions).site(self.network)
        self.body = self.wire.encode(Message(Sender(2, "n2", PEER)))
        self.request_bytes = HEAD % len(self.body) + self.body

    def connect(self) -> tuple[Any, StringTransport]:
        transport = StringTransport(peerAddress=IPv4Address("TCP", HOST, 50_000))
        channel: Any = self.site.buildProtocol(None)
        channel.makeConnection(transport)
        return channel, transport

    def test_a_push_in_one_piece_is_answered_with_one_write(self) -> None:
        """The node gets the message, and the answer has no headers of Twisted's web server."""
        channel, transport = self.connect()
        channel.dataReceived(self.request_bytes)
        head, _, body = transport.value().partition(b"\r\n\r\n")
        self.assertNotIn(b"Server:", head)
        self.assertEqual(self.wire.decode(body).message.sender, self.node.sender)
        self.assertEqual(len(self.node.received), 1)

    def test_however_it_comes_it_is_answered_once(self) -> None:
        """A push is answered once, in two pieces, pipelined, and in turn with requests of another form."""
        whole, other = self.request_bytes, self.request_bytes.replace(b"Host: h\r\n", b"Host: h\r\nX-A: b\r\n")
        for i in range(1, len(whole)):
            channel, transport = self.connect()
            for piece in (whole[:i], whole[i:], other, whole, whole + whole[:i], whole[i:], whole + other):
                channel.dataReceived(piece)
            self.assertEqual(transport.value().count(b"HTTP/1.1 200 OK"), 7, f"cut at {i}")

    def test_the_beginning_of_a_request_is_not_taken_for_none(self) -> None:
        """A push after the beginning of another request belongs to that request."""
        for begun in (b"P", b"POST /exchange HTTP/1.1\r\nContent-Length: 500\r\n\r\n", b"POST /exchange HTTP/1.1\r\n"):
            channel, _ = self.connect()
            channel.dataReceived(begun)
            channel.dataReceived(self.request_bytes)
        self.assertEqual(self.node.received, [])

    def test_one_that_is_refused_is_told_why(self) -> None:
        """A refused push gets the same answer as on the long way."""
        channel, transport = self.connect()
        channel.dataReceived(HEAD % 3 + b"xyz")
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"))
        self.assertEqual(len(self.lines), 1)

    def test_pushes_keep_the_connection_open(self) -> None:
        """The connection stays open as long as pushes arrive."""
        channel, transport = self.connect()
        for _ in range(10):
            channel.dataReceived(self.request_bytes)
            self.network.advance(IDLE_S_MAX)
        self.assertFalse(transport.disconnecting)

    @given(st.binary(max_size=50), st.integers(0, 60))
    def test_only_what_is_whole_has_a_body(self, body: bytes, length: int) -> None:
        """A push has a body only if the whole body has arrived; bytes after it are another request."""
        head = HEAD % length
        expected = (body[:length], 3 + len(head) + length) if length <= len(body) else None
        self.assertEqual(parse_push(b"abc" + head + body, 3, b"/exchange"), expected)
        self.assertIsNone(parse_push(head + body, 0, b"/other"))


class Answers(ExchangeCase):
    """The answers that a client accepts, and those that it does not."""

    def setUp(self) -> None:
        super().setUp()
        self.poster = PeerTransport(self.network, 1000)

    def push(self, body: bytes = b"body") -> Deferred[bytes]:
        pushing = self.poster.push(PEER, body)
        self.network.settle()
        return pushing

    def test_it_is_the_body_whatever_the_headers(self) -> None:
        """The result is the body, whatever the headers, on either way."""
        for saying in (ok(b"an answer"), ok(b"an answer", "Date: today", "Server: x")):
            peer = self.stranger(saying)
            self.assertEqual(self.successResultOf(self.push()), b"an answer")
            self.assertTrue(peer.requests[0].startswith(b"POST /exchange HTTP/1.1\r\nHost: 10.0.0.2:1730\r\n"))
            self.poster.close()
            self.network.settle()

    def test_one_connection_does_for_many(self) -> None:
        """A connection is used for many pushes, until it was idle for too long."""
        self.stranger(ok(b"a"))
        for _ in range(3):
            self.successResultOf(self.push())
            self.network.advance(IDLE_S_MAX)
        self.assertEqual(self.network.connections, 1)
        self.network.advance(1)
        self.successResultOf(self.push())
        self.assertEqual((self.network.connections, self.network.open), (2, 1))

    def test_what_is_no_answer_ends_the_connection(self) -> None:
        """Another status, an invalid answer, or a longer body closes the connection; the next push opens a new one."""
        for number, saying in enumerate((
            http_answer("409 Conflict", "application/json", b"{}"),
            b"220 mail.example\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            ok(b"a") + b"b",
            b"x" * (ANSWER_BYTES_MAX + 1),
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        )):  # fmt: skip
            self.stranger(saying)
            self.failureResultOf(self.push(), Unanswered)
            self.assertEqual((self.network.connections, self.network.open), (number + 1, 0))

    def test_a_peer_out_of_reach_is_unreachable(self) -> None:
        """A refused or closed connection is reported as unreachable."""
        self.failureResultOf(self.push(), Unreachable)
        self.network.listening["10.0.0.2", 1730] = Stranger(hanging_up=True)
        self.failureResultOf(self.push(), Unreachable)
        self.assertEqual(self.network.open, 0)

    def test_a_push_that_is_given_up_ends_its_connection(self) -> None:
        """A cancelled push closes its connection, because a late answer would belong to the next push."""
        hanging = self.stranger()
        pushing = self.push()
        pushing.cancel()
        self.failureResultOf(pushing, CancelledError)
        self.network.settle()
        self.assertEqual(hanging.connected, 0)

    def test_a_peer_that_speaks_unasked_is_cut_off(self) -> None:
        """A connection with an unexpected answer is closed, because the answer would belong to the next push."""
        self.stranger(ok(b"a"))
        self.successResultOf(self.push())
        self.network.ends[0].protocol.dataReceived(b"HTTP/1.1 200 OK\r\n")
        self.network.settle()
        self.assertEqual(self.network.open, 0)
        self.assertEqual(self.successResultOf(self.push()), b"a")
