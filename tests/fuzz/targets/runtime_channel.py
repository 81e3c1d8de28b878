"""A conversation with HAProxy's Runtime API, whole and in pieces (`bender.haproxy.runtime`)."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from bender.haproxy.runtime import PROMPT, _CommandChannel
from tests.fuzz.target import in_pieces

WORDS = (PROMPT, b"\n", b"> ", b"\n\n> ", b">")
NEAR = st.lists(st.binary(max_size=20) | st.sampled_from([PROMPT, b"\n", b"> ", b"Done."]), max_size=8).map(b"".join)


def fuzz(sent: bytes) -> None:
    """In any pieces of the input, each command gets its own answer, and no request waits without an end."""
    whole, cut = _answers([sent]), _answers([*in_pieces(sent)])
    assert whole == cut, (whole, cut)
    expected = [each.decode("utf-8", "replace") for each in sent.split(PROMPT)[:-1]]
    answered = [answer for answers in whole for answer in answers or ()]
    assert answered == expected[: len(answered)]
    assert len(answered) == (3 if len(expected) >= 3 else 1 if expected else 0)


def _answers(pieces: list[bytes]) -> list[list[str] | None]:
    """Return the answers to one command and to two commands together; None for missing answers."""
    channel = _CommandChannel()
    channel.makeConnection(StringTransport())
    found: list[list[Any]] = [[], []]
    for place, commands in enumerate((["prompt"], ["show info", "show stat"])):
        channel.send(commands).addBoth(found[place].append)
    for piece in pieces:
        channel.dataReceived(piece)
    channel.connectionLost(Failure(ConnectionDone()))
    assert all(len(each) == 1 for each in found), "a request waits for ever"
    return [each[0] if isinstance(each[0], list) else None for each in found]
