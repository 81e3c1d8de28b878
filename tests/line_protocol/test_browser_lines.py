"""Browsers that connect to the line protocol for a web page."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.access.tokens import Tokens
from bender.line_protocol.browser_lines import is_from_browser
from bender.line_protocol.connection import EventsFactory
from bender.line_protocol.messages import LINE_BYTES_MAX
from tests.access.known import known, secret
from tests.line_protocol.connected import Connected, EventsCase
from tests.node.watched import Watched

REGISTER = b'{"register": {"app": "evil", "version": "1", "host": "10.0.0.5", "port": 80}}\n'
HEAD = b"POST / HTTP/1.1\r\nHost: 127.0.0.1:1731\r\nOrigin: http://evil.example\r\nContent-Length: 79\r\n\r\n"

FIRST_LINES = (
    b"POST / HTTP/1.1\r",
    b"POST / HTTP/1.1",
    b"GET /events?since=0 HTTP/1.0\r",
    b"post http://127.0.0.1:1731/ http/1.1\r",
    b"BREW-IT /a b HTTP/1.1\r",
    b"PRI * HTTP/2.0\r",
    b"OPTIONS * HTTP/1.1",
    b"Host: 127.0.0.1:1731\r",
    b"host:a",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
)
OTHERS = (
    b"",
    b"{}",
    b"hello",
    b"GET /",
    b" Host: a",
    b"hostess: a",
    b'{"HTTP/1.1": "POST / HTTP/1.1"}',
    b"\x16",
    b"\x00",
)


class FirstLines(SynchronousTestCase):
    def test_of_browsers(self) -> None:
        """Request lines with any method, target and version, a Host header and TLS are recognized."""
        self.assertEqual([line for line in FIRST_LINES if not is_from_browser(line)], [])

    def test_others(self) -> None:
        """All other lines are not taken for those of a browser."""
        self.assertEqual([line for line in OTHERS if is_from_browser(line)], [])


class Requests(EventsCase):
    def ended(self, connected: Connected) -> None:
        """Expect one error, and that no later line is processed."""
        self.assertIn("neither HTTP nor TLS", self.refused(connected))
        self.assertTrue(connected.transport.disconnecting)
        connected.send(REGISTER)
        self.clock.advance(0)
        self.assertEqual(connected.received(), [])
        self.assertEqual(connected.protocol._held, b"")
        self.assertEqual([claim.key for claim in self.watched.node.claims()], [])

    def test_a_body_with_lines(self) -> None:
        """Lines in the body of an HTTP request register nothing, in one piece or in pieces."""
        sent = HEAD + REGISTER * 3
        for cuts in ((), (5,), (17,), (30,), (len(HEAD),), (len(HEAD) + 10,), (1, 2, 3, len(HEAD) - 1)):
            connected = self.connect()
            for begin, end in pairwise((0, *cuts, len(sent))):
                connected.send(sent[begin:end])
            self.ended(connected)

    def test_each_first_line(self) -> None:
        for line in FIRST_LINES:
            connected = self.connect()
            connected.send(line + b"\n" + REGISTER)
            self.ended(connected)

    def test_a_long_request_line(self) -> None:
        """A request line that is refused for its length is followed by a Host header, which is recognized."""
        connected = self.connect()
        connected.send(b"POST /" + b"a" * LINE_BYTES_MAX)
        connected.send(HEAD.removeprefix(b"POST /") + REGISTER)
        too_long, http = connected.received()
        self.assertIn("longer than", too_long["message"])
        self.assertIn("neither HTTP", http["message"])
        self.assertTrue(connected.transport.disconnecting)
        self.assertEqual(self.watched.node.claims(), [])

    def test_a_client_that_does_not_close(self) -> None:
        """The connection is aborted after the client timeout if the client does not close it."""
        connected = self.connect()
        connected.send(HEAD)
        self.clock.advance(self.watched.node.limits.values.client_timeout_s)
        self.assertTrue(connected.transport.disconnected)
        connected.lose()

    def test_bad_lines_do_not_end_it(self) -> None:
        """Other invalid lines do not close the connection."""
        connected = self.connect()
        for line in OTHERS:
            connected.send(line + b"\n")
            self.refused(connected)
        connected.send(REGISTER)
        self.assertEqual([event["event"] for event in connected.received()], ["online", "registered"])


class WithTokens(SynchronousTestCase):
    def setUp(self) -> None:
        self.watched = Watched(Clock())

    def connect(self, tokens: Tokens) -> Connected:
        return Connected(EventsFactory(self.watched.node, Clock(), tokens=tokens))

    def test_before_a_token(self) -> None:
        """A browser at a node with tokens is refused, because its first line has no token."""
        connected = self.connect(known())
        connected.send(HEAD + msgspec.json.encode({"token": secret("root")}) + b"\n" + REGISTER)
        self.assertEqual([event["code"] for event in connected.received()], ["UNAUTHORIZED"])
        self.assertTrue(connected.transport.disconnecting)
        self.assertEqual(self.watched.node.claims(), [])
