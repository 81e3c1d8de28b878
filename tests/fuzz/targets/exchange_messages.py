"""Messages among peers (`bender.exchange.wire`)."""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
from hypothesis import strategies as st

from bender.exchange.wire import Wire
from bender.exchange.wire_errors import MessageRefused, Unsendable
from tests.exchange.bytes_of_messages import FULL, messages
from tests.fuzz.documents import damaged

#: A message of this size may inflate to sixteen times as much.
_PAYLOAD_BYTES_MAX = 64 * 1024
_WIRE = Wire("bender", 1.0, payload_bytes_max=_PAYLOAD_BYTES_MAX)

WORDS = (
    b"\xa6bender",
    b"\xc0",
    b"\xc2",
    b"\xc3",
    b"\x90",
    b"\x80",
    b"\xcb",
    b"\xcf",
    b"\xd9",
    b"\xdc",
    b"\xde",
    b"x\x01",
)


def _deflated(body: bytes) -> bytes:
    envelope: list[Any] = msgspec.msgpack.decode(body)
    envelope[4] = zlib.compress(msgspec.msgpack.encode(envelope[4]))
    return msgspec.msgpack.encode(envelope)


_whole = messages.map(_WIRE.encode) | st.just(_WIRE.encode(FULL))
NEAR = damaged(_whole | _whole.map(_deflated))


def fuzz(sent: bytes) -> None:
    """Bytes are refused as `MessageRefused`, or are equal after they are decoded, encoded and decoded again."""
    try:
        received = _WIRE.decode(sent)
    except MessageRefused as refused:
        assert refused.reason.split()[0] in {"sends", "speaks", "belongs"}, refused.reason
        assert len(refused.reason) < 1000
        return
    assert 0 < received.interval_s <= 3600
    try:
        again = _WIRE.encode(received.message)
    except Unsendable:
        return
    assert _WIRE.decode(again).message == received.message
