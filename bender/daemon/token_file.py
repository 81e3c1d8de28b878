"""The file of `--tokens`: TOML with a table `[[token]]` for each token, which has the hash of the token only."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from bender.access.tokens import Token
from bender.core.authors import NAME_CHARACTERS_MAX
from bender.core.scopes import parse_scopes
from bender.process.options import OptionError, one_line

#: Limited because the token of a request is compared with all tokens.
TOKENS_MAX = 1_000

_KEYS = ("name", "sha256", "scopes")
_HASH = re.compile(r"[0-9a-fA-F]{64}")

#: The hash of an empty text. A script with an empty variable writes it; it would admit clients with empty passwords.
_HASH_OF_EMPTY = sha256(b"").digest()


def read_tokens(path: str) -> tuple[Token, ...]:
    """Return the tokens in a file. Raises `OptionError`, which quotes no hash."""
    source = f"--tokens {path}"
    try:
        document = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise OptionError(f"{source} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise OptionError(f"{source} is not TOML: {one_line(error)}.") from error
    tables = document.get("token")
    if [*document] != ["token"] or not isinstance(tables, list) or not tables:
        raise OptionError(f"{source} must have tables [[token]] with {', '.join(_KEYS)}, and nothing else.")
    if len(tables) > TOKENS_MAX:
        raise OptionError(f"{source} has {len(tables)} tokens: at most {TOKENS_MAX} are possible.")
    try:
        return tuple(_distinct(tables))
    except ValueError as error:
        raise OptionError(f"{source}: {error}.") from error


def _distinct(tables: list[Any]) -> Iterator[Token]:
    """Yield the tokens. Raises `ValueError` with a clause about a token that is invalid, or repeats a name or hash."""
    names: dict[str, int] = {}
    hashes: dict[bytes, str] = {}
    for number, table in enumerate(tables, start=1):
        try:
            token = _token(table)
        except ValueError as error:
            raise ValueError(f"token {_name_or_number(table, number)}: {error}") from error
        if token.name in names:
            raise ValueError(f"tokens {names[token.name]} and {number} are both named {token.name!r}")
        if token.sha256 in hashes:
            raise ValueError(f"the tokens {hashes[token.sha256]!r} and {token.name!r} have the same sha256")
        names[token.name], hashes[token.sha256] = number, token.name
        yield token


def _name_or_number(table: Any, number: int) -> str:
    name = table.get("name") if isinstance(table, Mapping) else None
    return repr(name) if isinstance(name, str) else str(number)


def _token(table: Any) -> Token:
    if not isinstance(table, Mapping):
        raise ValueError(f"it must be a table [[token]] with {', '.join(_KEYS)}")  # noqa: TRY004 - a value of the file, not of a program
    for key in table:
        if key not in _KEYS:
            raise ValueError(f"{key!r} is not a field of a token, whose fields are {', '.join(_KEYS)}")
    name, digest, scopes = (table.get(key) for key in _KEYS)
    if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name.strip()) <= NAME_CHARACTERS_MAX:
        raise ValueError(f"name must be 1 to {NAME_CHARACTERS_MAX} printable characters")
    if not isinstance(digest, str) or not _HASH.fullmatch(digest):
        raise ValueError("sha256 must be the SHA-256 of the token as 64 hexadecimal digits")
    if (hashed := bytes.fromhex(digest)) == _HASH_OF_EMPTY:
        raise ValueError(
            "sha256 is the hash of an empty text: give the hash of a long random token (bender token makes one)"
        )
    if not isinstance(scopes, list) or not scopes:
        raise ValueError('scopes must be a list of scopes, such as ["read", "register:web-*"]')
    return Token(name.strip(), hashed, parse_scopes(scopes))
