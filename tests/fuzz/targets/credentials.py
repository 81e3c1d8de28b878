"""Headers with tokens, and what the tokens permit (`bender.access`)."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from hashlib import sha256

from hypothesis import strategies as st

from bender.access.credentials import token_in
from bender.access.tokens import Forbidden, Token, Tokens, Unauthorized
from bender.core.scopes import Scopes
from tests.fuzz.documents import damaged

BYTES_MAX = 300

_SECRETS = {b"r": Scopes(("read",)), b"w": Scopes(("register:web-*",)), b"a": Scopes(("admin",))}
_TOKENS = Tokens([Token(secret.decode(), sha256(secret).digest(), scopes) for secret, scopes in _SECRETS.items()])

WORDS = (
    b"Bearer ",
    b"Basic ",
    b"bearer a",
    b"Basic " + b64encode(b":a"),
    b"registration/web-1/1/h/1",
    b"\n",
    b",",
    b"\xff",
)

_SCHEMES = st.sampled_from([b"Bearer ", b"bearer  ", b"", b"Basic ", b"Digest ", b"Bearer\t"])
_VALUES = st.sampled_from(
    [b"r", b"w", b"a", b"b", b"", b64encode(b"name:w"), b64encode(b"a"), b64encode(b":"), b"===="]
)
NEAR = damaged(st.tuples(_SCHEMES, _VALUES, st.sampled_from([b"", b"\n", b"\na", b"\nBearer a"])).map(b"".join))

EXAMPLES = (b"Digest r", b"Bearer r, Bearer a", b"\nr")


def fuzz(sent: bytes) -> None:
    """Only the secret gives access, in one of four forms. Any other value is refused, and not repeated in the error."""
    authorization, separator, consul_token = sent.partition(b"\n")
    for header, other in ((authorization or None, consul_token if separator else None), (None, sent)):
        secret = token_in(header, other)
        access = _TOKENS.access(secret)
        if secret in _SECRETS:
            assert access.name == secret.decode() and access.refusal is None
            assert header is None or _is_sent(header, secret), header
        else:
            assert access.refusal is not None and access.name is None
            for require in (access.require_valid, access.require_read, access.require_configure):
                _refuses(require, access.refusal)
            _refuses(partial(access.require_register, "web"), access.refusal)
            _refuses(access.require_register_some, access.refusal)
        with suppress(Unauthorized, Forbidden):
            access.require_register_ids([sent.decode("latin-1"), "registration/web-1/1/h/1"])
            assert secret in (b"w", b"a")
        assert _TOKENS.current_access(access).name == access.name


def _refuses(require: Callable[[], None], refusal: str) -> None:
    try:
        require()
    except Unauthorized as error:
        assert str(error) == refusal
        return
    raise AssertionError("a client without a token is let in")


def _is_sent(header: bytes, secret: bytes) -> bool:
    """Return True if `Authorization` has the secret in one of its valid forms."""
    scheme, _, rest = header.partition(b" ")
    if scheme.lower() == b"basic":
        return b64decode(rest.strip(b" ")).endswith(b":" + secret)
    return header == secret or (scheme.lower() == b"bearer" and rest.strip(b" ") == secret)
