"""Requests of peers on the short path for pushes and through Twisted, in any pieces (`bender.exchange.server`)."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from bender.core.consumers import AwaitedChange
from bender.core.messages import Message, Sender
from bender.exchange.connection_problems import PeerProblems
from bender.exchange.server import GossipServer, PeerChannel, PeerSite
from bender.exchange.wire import Wire
from tests.exchange.bytes_of_messages import FULL
from tests.exchange.network import HOST, LISTED, Double
from tests.fuzz.documents import damaged
from tests.fuzz.target import in_pieces

_WIRE = Wire("bender", 1.0)
_MESSAGE = _WIRE.encode(Message(Sender(2, "n2", "10.0.0.2:1730"), ask=5.0))
_PUSH = b"POST %b HTTP/1.1\r\nHost: 10.0.0.1:1730\r\nContent-Type: application/msgpack\r\nContent-Length: %d\r\n\r\n%b"

WORDS = (
    *(b"POST /exchange HTTP/1.1\r\n", b"Host: a\r\n", b"Content-Type: application/msgpack\r\n", b"Content-Length: "),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n",
        b"\r\n\r\n",
        b"/account",
    ),
    *(b"/consumers", b"/claims", b"/nodes", b"HTTP/1.0", b"GET", b"+", b"0\r\n\r\n", _MESSAGE),
)

_requests = st.builds(
    lambda path, body: _PUSH % (path, len(body), body),
    st.sampled_from(
        [b"/exchange", b"/exchange", b"/account", b"/consumers", b"/claims", b"/nodes", b"/", b"/exchange?a"]
    ),
    st.sampled_from(
        [
            _MESSAGE,
            _WIRE.encode(FULL),
            _WIRE.encode_inquiry(LISTED),
            _WIRE.encode_inquiry([LISTED]),
            _WIRE.encode_question(),
            _WIRE.encode_inquiry(AwaitedChange("a")),
            b"",
            b"xyz",
        ]
    ),
)
_others = st.sampled_from(
    [
        b"POST /exchange HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
        % (len(_MESSAGE), _MESSAGE),
        b"POST /exchange HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%b" % (len(_MESSAGE), _MESSAGE),
        b"POST /exchange HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
        b"GET /registrations HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /exchange HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
    ]
)
NEAR = st.lists(damaged(_requests | _others), min_size=1, max_size=3).map(b"".join)

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")
_STATUSES = {b"100", b"200", b"400", b"404", b"405", b"409", b"413"}

# The short path does not use these headers.
_NOT_SENT_WITH_PUSHES = re.compile(rb"\r\n(Date|Server): [^\r]*")


class _LongChannel(PeerChannel):
    """A connection without the short path."""

    def answer_at_once(self, held: bytes, at: int) -> None:
        del held, at


class _Peer:
    """The state of a connection after all data are sent on it."""

    def __init__(self, pieces: list[bytes], *, long: bool = False) -> None:
        clock: Any = Clock()
        self.node = Double()
        server = GossipServer(self.node, _WIRE, PeerProblems(clock, 1.0, self.node.set_peer_problem))
        site: PeerSite = server.site(clock)
        if long:
            site.protocol = _LongChannel
        self.transport = StringTransport(peerAddress=IPv4Address("TCP", HOST, 50_000))
        channel: Any = site.buildProtocol(None)
        channel.makeConnection(self.transport)
        for piece in pieces:
            if not self.transport.disconnecting:
                channel.dataReceived(piece)
        clock.advance(0)
        self.closed = self.transport.disconnecting
        self.answers = _NOT_SENT_WITH_PUSHES.sub(b"", self.transport.value())
        channel.connectionLost(Failure(ConnectionDone()))
        for call in clock.getDelayedCalls():
            call.cancel()


EXAMPLES = (b"POST /%a4 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",)


def fuzz(sent: bytes) -> None:
    """A push gets the same answer on the short path as through Twisted, and no request causes a failure."""
    pieces = [*in_pieces(sent)]
    for sending in ([sent], pieces):
        short, long = _Peer(sending), _Peer(sending, long=True)
        assert (short.answers, short.closed) == (long.answers, long.closed), (short.answers, long.answers)
        assert short.node.received == long.node.received
        assert short.node.problems == long.node.problems
    assert {*_STATUS.findall(short.answers)} <= _STATUSES, short.answers
