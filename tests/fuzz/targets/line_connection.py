"""A connection of the line protocol: lines of a client, whole and in pieces (`bender.line_protocol.connection`)."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from hypothesis import strategies as st
from twisted.internet.task import Clock

from bender.line_protocol.connection import EventsFactory
from tests.fuzz.target import in_pieces
from tests.fuzz.targets.line_messages import LINES, WORDS
from tests.line_protocol.connected import Connected
from tests.node.watched import Watched

__all__ = ["NEAR", "WORDS", "fuzz"]

NEAR = st.lists(LINES, max_size=4).flatmap(
    lambda lines: st.sampled_from([b"\n", b"\r\n"]).map(lambda end: end.join([*lines, b""]))
) | st.lists(LINES, max_size=2).map(b"\n".join)

_INCARNATION = re.compile(rb"[0-9a-f]{16}-")


def fuzz(sent: bytes) -> None:
    """Answers are lines of JSON, which do not depend on the pieces of the input. A refused line changes nothing."""
    whole, cut = _Conversation([sent]), _Conversation([*in_pieces(sent)])
    assert whole.received == cut.received, (whole.received, cut.received)
    assert whole.registered == cut.registered
    answers = [msgspec.json.decode(line) for line in whole.received.splitlines()]
    assert all(isinstance(answer, dict) and isinstance(answer["event"], str) for answer in answers)
    assert answers[0]["event"] == "hello"
    if {answer["event"] for answer in answers[1:]} <= {"error"}:
        assert whole.registered == _FIRST, "a refused line has changed the registry"
    if b"\n" not in sent and len(sent) < 1000:
        assert len(answers) == 1, "half a line was acted upon"


class _Conversation:
    """The data that a client sends, and the data that it receives before it disconnects."""

    def __init__(self, pieces: list[bytes]) -> None:
        clock = Clock()
        watched = Watched(clock)
        watched.up("web", "1.2.0", 8080)
        connected = Connected(EventsFactory(watched.node, clock))
        for piece in pieces:
            connected.send(piece)
        clock.advance(0)
        self.received = _INCARNATION.sub(b"-", connected.transport.value())
        self.registered = _registered(watched)
        connected.lose()
        clock.advance(0)


def _registered(watched: Any) -> list[tuple[str, bytes]]:
    return sorted((claim.key, claim.body) for claim in watched.node.claims())


_FIRST = _Conversation([]).registered
