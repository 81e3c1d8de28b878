"""Names that HAProxy takes, out of any that bender allows.

Two things that differ never get the same name, whatever somebody calls them. A name that HAProxy would take is kept as
it is, so that people find it there; of others, and of long ones, what is readable is kept and a hash added.
"""

from __future__ import annotations

import re
from base64 import b32encode
from hashlib import blake2b

#: Characters of a name that is kept as it is, and of what is kept of any other. HAProxy itself has no limit but its
#: lines', and tables for people have.
PLAIN_CHARACTERS_MAX = 80
READABLE_CHARACTERS_MAX = 48

#: What stands before the hash, and in no name that is kept.
MARK = "__"

#: 128 bits: nobody finds two names with the same.
_HASH_BYTES = 16

_PLAIN = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_UNREADABLE = re.compile(r"[^A-Za-z0-9.-]+", re.ASCII)


def safe(*parts: str) -> str:
    """The name of what these parts name together: letters, digits, and `_`, `.`, `-` or `:`.

    It names no other parts, nor another number of them.
    """
    plain = ":".join(parts)
    kept = all(_PLAIN.fullmatch(part) for part in parts) and MARK not in plain
    if kept and len(plain) <= PLAIN_CHARACTERS_MAX:
        return plain
    whole = "/".join(f"{len(part)}:{part}" for part in parts)
    digest = blake2b(whole.encode(), digest_size=_HASH_BYTES).digest()
    readable = _UNREADABLE.sub("-", "-".join(parts))[:READABLE_CHARACTERS_MAX]
    return f"{readable}{MARK}{b32encode(digest).decode().rstrip('=').lower()}"


def address_port(address: str, port: int) -> str:
    """A place as HAProxy writes it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
