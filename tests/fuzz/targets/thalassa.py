"""Updates of Thalassa's programs, and the resulting lists and frames (`bender.protocols.thalassa`)."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from bender.core.invalid import Invalid
from bender.core.model import TooLarge, registration
from bender.core.timing import Timing
from bender.core.ttl_limits import TTL_S_MAX
from bender.protocols.thalassa.registrations import (
    decode_registration,
    encode_registration,
    event_frame,
    offline_frame,
    parse_update,
)
from tests.fuzz.documents import documents_of, json_values
from tests.protocols.thalassa.frames import FrameReader

WORDS = (
    b'"secondsToExpire":',
    b'"hostname":',
    b'"pid":',
    b"1e999",
    b"-0",
    b"0",
    b'""',
    b"null",
    b"\\ud800",
    b"\\u0000",
)

EXAMPLES = (
    b'{"a":123456789012345678901234567890}',
    b'{"secondsToExpire":1e308}',
    b'{"secondsToExpire":"1e400"}',
    b'{"secondsToExpire":"\xd9\xa9"}',
    b'{"hostname":0}',
)

NEAR = documents_of(
    {},
    {
        "secondsToExpire": st.floats(allow_nan=False, allow_infinity=False)
        | st.sampled_from([4, 10, 3600, "60", "x", 0, None, True]),
        "hostname": st.text(max_size=9) | json_values,
        "az": json_values,
        "pid": st.integers(0, 65_536),
    },
)

_PATH = ("größe", '1.2"0', "10.0.0.5", "8080")
_TIMING = Timing()


def fuzz(sent: bytes) -> None:
    """An update is refused as `Invalid` or `TooLarge`, or listed with all its meta, which would make it again."""
    try:
        wanted = parse_update(_PATH, sent, _TIMING)
        body = wanted.applied_to(None, ttl_s=10.0, node="n1", now_ms=1).encode(wanted.key)
    except (Invalid, TooLarge):
        return
    assert wanted.ttl_s is not None and 4.0 <= wanted.ttl_s <= TTL_S_MAX
    registered = registration(wanted.key, body)
    document = encode_registration(decode_registration(registered), 7)
    shown: dict[str, Any] = msgspec.json.decode(document)
    assert shown["id"] == "/" + "/".join(_PATH)
    again = parse_update(_PATH, msgspec.json.encode(shown["meta"]), _TIMING)
    assert again.ttl_s == wanted.ttl_s
    assert again.meta == {**(wanted.meta or {}), "hostname": (wanted.meta or {}).get("hostname") or "10.0.0.5"}
    line = b'{"event":"online","cursor":"c","at":7,"reason":"registered","registration":%b}\n' % registered
    reader = FrameReader()
    id_ = shown["id"].encode()
    assert reader.read(event_frame(line) + offline_frame(wanted.key)) == [(id_, b"online", document), (id_, b"offline")]
    assert reader.unfinished == 0
