"""Requests to the API on the fast path and through Twisted, whole and in pieces (`bender.api.fast_path`)."""

from __future__ import annotations

import re

import msgspec
from hypothesis import strategies as st

from tests.access.known import known, secret
from tests.api.conversation import WEB, WEB_ID, WEB_PATH, parsed
from tests.api.fronts import Front
from tests.api.test_fast_path import HEADERS, PATHS, STREAMS
from tests.fuzz.documents import damaged
from tests.fuzz.target import in_pieces

BYTES_MAX = 6000
WORDS = (
    *(
        b"GET ",
        b"POST ",
        b"PUT ",
        b"DELETE ",
        b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n",
        b"\r\n",
        b"\r\n\r\n",
        WEB_PATH.encode(),
    ),
    *(header + b"\r\n" for header in HEADERS if len(header) < 100),
    *(path.encode() for path in (WEB_PATH, *PATHS)),
    *(msgspec.json.encode(WEB), msgspec.json.encode({"ids": [WEB_ID]}), b"0\r\n\r\n", b"2\r\n{}\r\n", b"%", b"?wait=0"),
)

_TOKENS = st.sampled_from(["root", "agent", "reader", "unknown"]).map(
    lambda name: b"Authorization: Bearer %b\r\n" % secret(name).encode()
)
_streams = STREAMS.map(b"".join)
NEAR = damaged(
    _streams
    | st.tuples(_streams, _TOKENS).map(lambda parts: parts[0].replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\n" + parts[1]))
)

# The node requires tokens if the input has one.
_CREDENTIALS = re.compile(rb"authorization|consul", re.IGNORECASE)

_REGISTER = b"POST %b HTTP/1.1\r\nHost: a\r\n%bContent-Length: 2\r\n\r\n{}"
EXAMPLES = (
    *(_REGISTER % (WEB_PATH.encode(), header) for header in (b"", b"Expect: 100-continue\r\n", b"Trailer: a\r\n")),
    _REGISTER % (WEB_PATH.encode(), b"Authorization: Bearer %b\r\n" % secret("agent").encode()),
)


def fuzz(sent: bytes) -> None:
    """With and without the fast path, the answers have the same bytes, and the same instances are registered."""
    guarded = _CREDENTIALS.search(sent) is not None
    for pieces in ([sent], [*in_pieces(sent)]):
        tokens = known() if guarded else None
        fast, slow = (Front(fast=fast, tokens=tokens, host_names=["n1.example"]) for fast in (True, False))
        answer, expected = fast.ask(pieces), slow.ask(pieces)
        assert answer == expected, (answer, expected)
        assert _registered(fast) == _registered(slow)
        assert b"HTTP/1.1 500 " not in answer[0], answer
    if not any(word in sent for word in (b"HEAD", b"Accept", b"accept")):
        for response in parsed(answer[0]):
            if response.status >= 400:
                assert {"code", "message"} <= {*response.json}


def _registered(front: Front) -> list[tuple[str, bytes]]:
    return [(claim.key, claim.body) for claim in front.node.claims()]
