"""The tokens of a node, and the requests that each token permits.

A node stores the SHA-256 of each token instead of the token, so that nobody can read tokens in its file. A plain hash
is enough, because tokens are random and long. The `repr` of a token, as in a traceback, does not contain the hash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from hmac import compare_digest

from attrs import field, frozen

from bender.core.scopes import ALL_SCOPES, REGISTER, Scopes


class AccessDenied(Exception):
    """The client may not make a request. `code` is the error code of the API."""

    code: str


class Unauthorized(AccessDenied):
    """The client has sent no valid token. The message is a clause about this, without the token."""

    code = "UNAUTHORIZED"


class Forbidden(AccessDenied):
    """The token of the client does not permit the request. The message has the name of the token and its scopes."""

    code = "FORBIDDEN"


@frozen
class Token:
    """A token. `sha256` is the hash of the secret, in bytes."""

    name: str
    sha256: bytes = field(repr=False)
    scopes: Scopes


@frozen
class Access:
    """What a client may do. `name` is the name of its token; None at a node that requires no tokens.

    For a client without a valid token, `refusal` is a clause with the reason, and each method raises `Unauthorized`.
    """

    name: str | None = None
    scopes: Scopes = ALL_SCOPES
    sha256: bytes = field(default=b"", repr=False)
    refusal: str | None = None

    def require_valid(self) -> None:
        """Raise `Unauthorized` if the client has no valid token."""
        if self.refusal is not None:
            raise Unauthorized(self.refusal)

    def require_read(self) -> None:
        """Raise `Unauthorized` or `Forbidden` if the client may not read."""
        self._require(self.scopes.may_read, "read")

    def require_configure(self) -> None:
        """Raise `Unauthorized` or `Forbidden` if the client may not change backends, frontends and states."""
        self._require(self.scopes.may_configure, "configure")

    def require_register(self, app: str) -> None:
        """Raise `Unauthorized` or `Forbidden` if the client may not register, renew or deregister this app."""
        self._require(self.scopes.may_register(app), f"{REGISTER}{app}")

    def require_register_some(self) -> None:
        """Raise `Unauthorized` or `Forbidden` if the client may not register any app."""
        self._require(self.scopes.may_register_some, f"{REGISTER}APP")

    def require_register_ids(self, ids: Iterable[str]) -> None:
        """Raise `Unauthorized` or `Forbidden` if the client may not register, renew or deregister the apps in `ids`.

        A text that is not an id is ignored: it has no app, and cannot be registered.
        """
        self.require_register_some()
        if not self.scopes.may_register_all:
            for app in dict.fromkeys(parts[1] for parts in (id_.split("/", 2) for id_ in ids) if len(parts) > 1):
                self.require_register(app)

    def _require(self, permitted: bool, scope: str) -> None:
        self.require_valid()
        if not permitted:
            raise Forbidden(f"the token {self.name} does not have the scope {scope}: its scopes are {self.scopes}")


#: The access of all clients at a node that requires no tokens.
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
    """The tokens that a node accepts at present; None if the node requires no tokens."""

    def __init__(self, tokens: Sequence[Token] | None = None) -> None:
        self._tokens = tokens
        self._by_hash = {token.sha256: token for token in tokens or ()}
        self._listeners: dict[Callable[[], None], None] = {}

    @property
    def required(self) -> bool:
        """True if clients must send a token."""
        return self._tokens is not None

    def access(self, secret: bytes | None) -> Access:
        """Return the access of a client that sends this token; None for a client without a token."""
        if self._tokens is None:
            return UNRESTRICTED
        return NO_TOKEN if secret is None else self._access(sha256(secret).digest())

    def current_access(self, access: Access) -> Access:
        """Return the present access of a client that got `access` before the tokens were replaced."""
        if self._tokens is None:
            return UNRESTRICTED
        if not access.sha256:
            return NO_TOKEN
        # The hash is from the node's own file, so the time of the look-up reveals nothing to a client.
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
        """Return the access for a hash. All tokens are compared in constant time, so the time reveals nothing."""
        found = _UNKNOWN_TOKEN
        for token in self._tokens or ():
            if compare_digest(token.sha256, digest):
                found = _granted(token)
        return found


def _granted(token: Token) -> Access:
    return Access(token.name, token.scopes, token.sha256)
