"""Tokens for tests: a secret for each token, and the tokens of a node."""

from __future__ import annotations

from hashlib import sha256

from bender.access.tokens import Token, Tokens
from bender.core.scopes import parse_scopes

#: The scopes of each token, by its name.
SCOPES = {
    "reader": ["read"],
    "web": ["register:web-*"],
    "agent": ["read", "register:web-*"],
    "deployer": ["configure"],
    "root": ["admin"],
}


def secret(name: str) -> str:
    """Return the secret of a token, which does not contain its name."""
    return sha256(f"the secret of {name}".encode()).hexdigest()[:43]


def hash_of(name: str) -> str:
    """Return the SHA-256 of a secret."""
    return sha256(secret(name).encode()).hexdigest()


def token(name: str, *scopes: str) -> Token:
    """Return a token with these scopes, or with those in `SCOPES`."""
    return Token(name, bytes.fromhex(hash_of(name)), parse_scopes(scopes or SCOPES[name]))


def known(*names: str) -> Tokens:
    """Return the tokens of a node that knows the named tokens, or all tokens."""
    return Tokens([token(name) for name in names or SCOPES])


def headers(name: str | None) -> dict[str, str]:
    """Return the header of a client with this token, or no header for None; `unknown` is not a valid token."""
    return {} if name is None else {"Authorization": f"Bearer {secret(name)}"}
