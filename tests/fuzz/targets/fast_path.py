"""Requests to the API: the fast path beside Twisted's, whole and in pieces (`bender.api.fast_path`)."""

from __future__ import annotations

import re
from hashlib import sha256

import msgspec
from hypothesis import strategies as st

from bender.access.tokens import Token, Tokens
from bender.api import site
from bender.core.scopes import Scopes
from tests.api.conversation import WEB, WEB_ID, WEB_PATH, parsed
from tests.api.test_fast_path import HEADERS, PATHS, STREAMS, Front
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
    *(header + b"\r\n" for header in HEADERS if len(header) < 40),
    *(path.encode() for path in PATHS),
    *(msgspec.json.encode(WEB), msgspec.json.encode({"ids": [WEB_ID]}), b"0\r\n\r\n", b"2\r\n{}\r\n", b"%", b"?wait=0"),
    *(
        b"Authorization: Bearer w\r\n",
        b"Authorization: r\r\n",
        b"X-Consul-Token: a\r\n",
        b"Authorization: Basic OmE=\r\n",
    ),
)

_streams = STREAMS.map(b"".join)
_with_tokens = st.tuples(
    _streams,
    st.sampled_from(
        [b"Authorization: Bearer w", b"Authorization:r", b"X-Consul-Token: a", b"authorization: Basic OmE="]
    ),
).map(lambda parts: parts[0].replace(b" HTTP/1.1\r\n", b" HTTP/1.1\r\n%b\r\n" % parts[1]))
NEAR = damaged(_streams | _with_tokens)

_SCOPES = {b"r": ("read",), b"w": ("read", "register:web"), b"a": ("admin",)}
_TOKENS = [Token(secret.decode(), sha256(secret).digest(), Scopes(scopes)) for secret, scopes in _SCOPES.items()]
_CREDENTIALS = re.compile(rb"authorization|consul", re.IGNORECASE)


class _Front(Front):
    """A node with one of both ways before it, and with tokens if any is sent."""

    def __init__(self, *, fast: bool, tokens: Tokens | None) -> None:
        super().__init__(fast=fast)
        other = self.site.fast_path
        self.site = site(self.node, self.clock, None, tokens)
        if not fast:
            self.site.fast_path = other


def fuzz(sent: bytes) -> None:
    """The same bytes come back with the fast path and without it, and the same instances are registered after that."""
    with_tokens = _CREDENTIALS.search(sent) is not None
    for pieces in ([sent], [*in_pieces(sent)]):
        fast, slow = (_Front(fast=fast, tokens=Tokens(_TOKENS) if with_tokens else None) for fast in (True, False))
        answer, expected = fast.ask(pieces), slow.ask(pieces)
        assert answer == expected, (answer, expected)
        assert _bodies(fast) == _bodies(slow)
        assert b"HTTP/1.1 500 " not in answer[0], answer
    if not any(method in sent for method in (b"HEAD", b"Accept", b"accept")):
        for response in parsed(answer[0]):
            if response.status >= 400:
                assert {"code", "message"} <= {*response.json}


def _bodies(front: Front) -> list[tuple[str, bytes]]:
    return [(claim.key, claim.body) for claim in front.node.claims()]
