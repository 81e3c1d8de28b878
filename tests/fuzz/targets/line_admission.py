"""The first line of a client at a node that requires tokens, whole and in pieces (`bender.line_protocol.admission`)."""

from __future__ import annotations

from hashlib import sha256

import msgspec
from hypothesis import strategies as st
from twisted.internet.task import Clock

from bender.access.tokens import Token, Tokens
from bender.core.scopes import Scopes
from bender.line_protocol.connection import EventsFactory
from tests.fuzz.documents import damaged
from tests.fuzz.target import in_pieces
from tests.fuzz.targets.line_messages import LINES
from tests.fuzz.targets.line_messages import WORDS as WORDS_OF_LINES
from tests.line_protocol.connected import Connected
from tests.node.watched import Watched

_TOKENS = [
    Token("reader", sha256(b"r").digest(), Scopes(("read",))),
    Token("writer", sha256(b"w").digest(), Scopes(("register:web",))),
    Token("both", sha256(b"b").digest(), Scopes(("read", "register:web"))),
]

WORDS = (*WORDS_OF_LINES, b'{"token":"r"}\n', b'{"token":"w"}\n', b'{"token":"b"}\n')

_TOKEN_LINES = st.sampled_from(
    [b'{"token":"r"}', b'{"token":"w"}', b'{"token":"b"}', b'{"token":"x"}', b'{"token":1}', b""]
)
NEAR = st.tuples(damaged(_TOKEN_LINES), st.lists(LINES | _TOKEN_LINES, max_size=2)).map(
    lambda parts: b"\n".join([parts[0], *parts[1], b""])
)


def fuzz(sent: bytes) -> None:
    """Before a token that may read, only a refusal is sent; and nothing is registered without the scope."""
    whole, cut = _Conversation([sent]), _Conversation([*in_pieces(sent)])
    assert (whole.answers, whole.closed, whole.ids) == (cut.answers, cut.closed, cut.ids), (whole.answers, cut.answers)
    first, end, _ = sent.partition(b"\n")
    if not end and len(first) <= 4096:
        assert not whole.answers
        return
    admitted = _secret(first) in ("r", "b")
    assert admitted == (whole.answers[0]["event"] == "hello"), whole.answers
    if not admitted:
        assert whole.closed and len(whole.answers) == 1
        assert whole.answers[0]["code"] in ("UNAUTHORIZED", "FORBIDDEN")
    if not admitted or b'"b"' not in sent.replace(b" ", b""):
        assert whole.ids == _FIRST, "an instance was registered without the scope"


def _secret(line: bytes) -> str | None:
    try:
        token = msgspec.json.decode(line, type=dict[str, str])
    except (ValueError, RecursionError):
        return None
    return token["token"] if {*token} == {"token"} else None


class _Conversation:
    """The data that a client sends, and the data that it receives before it disconnects."""

    def __init__(self, pieces: list[bytes]) -> None:
        clock = Clock()
        watched = Watched(clock)
        watched.up("web", "1.2.0", 8080)
        connected = Connected(EventsFactory(watched.node, clock, None, Tokens(_TOKENS)))
        for piece in pieces:
            if not connected.transport.disconnecting:
                connected.send(piece)
        clock.advance(0)
        self.answers = [
            {key: value for key, value in answer.items() if key != "cursor"} for answer in connected.received()
        ]
        self.closed = connected.transport.disconnecting
        self.ids = sorted(claim.key for claim in watched.node.claims())
        connected.lose()
        clock.advance(0)


_FIRST = _Conversation([]).ids
