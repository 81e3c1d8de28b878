"""Answers of peers to pushes, whole and in pieces (`bender.exchange.push`)."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from bender.exchange.push import ANSWER_BYTES_MAX, PushConnection, encode_answer, parse_push
from tests.fuzz.documents import damaged
from tests.fuzz.target import in_pieces

WORDS = (
    *(
        b"HTTP/1.1 200 OK\r\n",
        b"Content-Length: ",
        b"Content-Type: application/msgpack\r\n",
        b"\r\n\r\n",
        b"\r\n",
        b"0",
    ),
    *(b"POST /exchange HTTP/1.1\r\nHost: a\r\nContent-Type: b\r\nContent-Length: ", b"999999999"),
)

_bodies = st.binary(max_size=40)
_answers = st.builds(
    encode_answer, st.sampled_from([200, 200, 200, 404, 500]), st.sampled_from([b"OK", b"No"]), st.just(b"a/b"), _bodies
)
_requests = _bodies.map(
    lambda body: (
        b"POST /exchange HTTP/1.1\r\nHost: h\r\nContent-Type: a/b\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
)
NEAR = st.lists(damaged(_answers | _requests), min_size=1, max_size=2).map(b"".join)


_LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]+)\r\n")

EXAMPLES = (encode_answer(200, b"OK", b"a/b", b"ab") + b"c",)


def fuzz(sent: bytes) -> None:
    """An answer is accepted if it is complete and no data follow; otherwise, the connection ends."""
    _check_request(sent)
    whole, cut = _asked([sent]), _asked([*in_pieces(sent)])
    if whole[0] == "answered":
        # In pieces, data may also arrive after an answer is complete. Then, no answer is delivered twice.
        assert cut in (whole, ("ended", b"")), (whole, cut)
        assert sent.startswith(b"HTTP/1.1 200 OK\r\n") and sent.endswith(whole[1])
        assert len(sent) <= ANSWER_BYTES_MAX + 1_000_000_000
    elif whole[0] == "waits":
        assert cut == whole, (whole, cut)
        head, end, body = sent.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        assert not end or (length and int(length[1]) > len(body)), "a whole answer is waited for"


def _asked(pieces: list[bytes]) -> tuple[str, bytes]:
    """Return the outcome of a request whose answer arrives in pieces, and the answer."""
    ended: list[PushConnection] = []
    connection = PushConnection(ended.append)
    transport = StringTransport()
    connection.makeConnection(transport)
    found: list[Any] = []
    connection.ask(b"POST").addBoth(found.append)
    for piece in pieces:
        connection.dataReceived(piece)
    assert len(found) <= 1
    outcome = "answered" if found else "waits"
    if transport.disconnected or transport.disconnecting:
        outcome = "ended"
    elif found:
        assert isinstance(found[0], bytes), found
    connection.connectionLost(Failure(ConnectionDone()))
    assert ended == [connection]
    assert len(found) == 1, "a request was never answered"
    return outcome, found[0] if outcome == "answered" else b""


def _check_request(sent: bytes) -> None:
    """The server accepts a request only if it is complete."""
    found = parse_push(sent, 0, b"/exchange")
    if found is not None:
        body, end = found
        assert sent[:end].endswith(b"\r\n\r\n" + body) and parse_push(sent[: end - 1], 0, b"/exchange") is None
        assert parse_push(b"POST " + sent, 5, b"/exchange") == (body, end + 5)
