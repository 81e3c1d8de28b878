"""The tokens of a node, and what the client that sends one may do.

A node keeps the SHA-256 of each token and not the token itself, so its file gives no token away. Tokens are random and
long, which is why a plain hash is enough. Texts about tokens, such as a `repr` in a traceback, do not have the hash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from hmac import compare_digest

from attrs import field, frozen

from bender.core.scopes import ALL_SCOPES, REGISTER, Scopes


class AccessDenied(Exception):
    """The client may not do something. `code` is that of the API."""

    code: str


class Unauthorized(AccessDenied):
    """The client has sent no token that is valid. The message is a clause about that, without the token."""

    code = "UNAUTHORIZED"


class Forbidden(AccessDenied):
    """The token that the client has sent does not permit the request. The message names it and its scopes."""

    code = "FORBIDDEN"


@frozen
class Token:
    """One token: `sha256` is the hash of the secret, in bytes."""

    name: str
    sha256: bytes = field(repr=False)
    scopes: Scopes


@frozen
class Access:
    """What a client may do. `name` is that of its token; None at a node that requires none.

    A client without a valid token has a `refusal`, which each of these methods raises.
    """

    name: str | None = None
    scopes: Scopes = ALL_SCOPES
    sha256: bytes = field(default=b"", repr=False)
    refusal: str | None = None

    def require_valid(self) -> None:
        """Raise `Unauthorized` without a valid token."""
        if self.refusal is not None:
            raise Unauthorized(self.refusal)

    def require_read(self) -> None:
        """Raise `Unauthorized` or `Forbidden` where the client may not read."""
        self._require(self.scopes.read, "read")

    def require_configure(self) -> None:
        """Raise `Unauthorized` or `Forbidden` where the client may not change backends, frontends and states."""
        self._require(self.scopes.configure, "configure")

    def require_register(self, app: str) -> None:
        """Raise `Unauthorized` or `Forbidden` where the client may not register, renew or deregister this app."""
        self._require(self.scopes.register(app), f"{REGISTER}{app}")

    def require_register_some(self) -> None:
        """Raise `Unauthorized` or `Forbidden` where the client may register no app at all."""
        self._require(self.scopes.register_some, f"{REGISTER}APP")

    def require_register_ids(self, ids: Iterable[str]) -> None:
        """Raise `Unauthorized` or `Forbidden` where the client may not register, renew or deregister the apps in ids.

        A text that is not an id names no app, and is not registered either.
        """
        self.require_register_some()
        if not self.scopes.register_all:
            for app in dict.fromkeys(parts[1] for parts in (id_.split("/", 2) for id_ in ids) if len(parts) > 1):
                self.require_register(app)

    def _require(self, permitted: bool, scope: str) -> None:
        self.require_valid()
        if not permitted:
            raise Forbidden(f"the token {self.name} does not have the scope {scope}: its scopes are {self.scopes}")


#: At a node that requires no token.
UNRESTRICTED = Access()

_NO_SCOPES = Scopes(())

#: The access of a client that has sent no token.
NO_TOKEN = Access(
    scopes=_NO_SCOPES,
    refusal="this node requires a token: send the header Authorization: Bearer TOKEN (bender: --token-file FILE)",
)
_UNKNOWN_TOKEN = Access(
    scopes=_NO_SCOPES,
    refusal="this node does not know the token: correct it, or add its SHA-256 to the file of --tokens at the node",
)


class Tokens:
    """The tokens that a node accepts at present; None where it requires none."""

    def __init__(self, tokens: Sequence[Token] | None = None) -> None:
        self._tokens = tokens
        self._by_hash = {token.sha256: token for token in tokens or ()}
        self._listeners: dict[Callable[[], None], None] = {}

    @property
    def required(self) -> bool:
        """Return True if clients must send a token."""
        return self._tokens is not None

    def access(self, secret: bytes | None) -> Access:
        """Return what a client may do that sends this token, or none."""
        if self._tokens is None:
            return UNRESTRICTED
        return NO_TOKEN if secret is None else self._access(sha256(secret).digest())

    def current_access(self, access: Access) -> Access:
        """Return what a client may do now that was given `access` before the tokens were replaced."""
        if self._tokens is None:
            return UNRESTRICTED
        if not access.sha256:
            return NO_TOKEN
        # What is looked up is a hash of this node's own file, so the time that it takes tells a client nothing.
        token = self._by_hash.get(access.sha256)
        return _UNKNOWN_TOKEN if token is None else _granted(token)

    def replace(self, tokens: Sequence[Token] | None) -> None:
        """Accept these tokens from now on, and no others."""
        self._tokens = tokens
        self._by_hash = {token.sha256: token for token in tokens or ()}
        for listener in [*self._listeners]:
            if listener in self._listeners:  # an earlier listener may have removed it
                listener()

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each replacement of the tokens, until `remove_listener`."""
        self._listeners[listener] = None

    def remove_listener(self, listener: Callable[[], None]) -> None:
        """Stop calling `listener`; do nothing if it was not added."""
        self._listeners.pop(listener, None)

    def _access(self, digest: bytes) -> Access:
        """Return the access of a hash. It compares all tokens in constant time, so the time tells nothing of them."""
        found = _UNKNOWN_TOKEN
        for token in self._tokens or ():
            if compare_digest(token.sha256, digest):
                found = _granted(token)
        return found


def _granted(token: Token) -> Access:
    return Access(token.name, token.scopes, token.sha256)
