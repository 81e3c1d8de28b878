"""Tokens of tests: a secret for each kind of scope, and the tokens that a node with all of them knows."""

from __future__ import annotations

from hashlib import sha256

from bender.access.tokens import Token, Tokens
from bender.core.scopes import parse_scopes

#: Scopes of each token, by its name.
SCOPES = {
    "reader": ["read"],
    "web": ["register:web-*"],
    "agent": ["read", "register:web-*"],
    "deployer": ["configure"],
    "root": ["admin"],
}


def secret(name: str) -> str:
    """The secret of a token, which has nothing in common with its name."""
    return sha256(f"the secret of {name}".encode()).hexdigest()[:43]


def hash_of(name: str) -> str:
    """The SHA-256 of a secret, as a node knows it."""
    return sha256(secret(name).encode()).hexdigest()


def token(name: str, *scopes: str) -> Token:
    """A token with these scopes, or with those of `SCOPES`."""
    return Token(name, bytes.fromhex(hash_of(name)), parse_scopes(scopes or SCOPES[name]))


def known(*names: str) -> Tokens:
    """Return the tokens of a node that knows these tokens, or all tokens."""
    return Tokens([token(name) for name in names or SCOPES])


def headers(name: str | None) -> dict[str, str]:
    """The header of a client with a token; none for None, and one that is not known for `unknown`."""
    return {} if name is None else {"Authorization": f"Bearer {secret(name)}"}
