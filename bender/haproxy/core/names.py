"""Names that HAProxy accepts, made from any that bender allows.

Different objects never get the same name. A name that HAProxy accepts is kept, so that people find it there. Of other
names, and of long ones, the readable part is kept and a hash is added.
"""

from __future__ import annotations

import re
from base64 import b32encode
from hashlib import blake2b

#: Characters of a name that is kept as it is, and of the readable part of any other. HAProxy limits only its lines, but
#: tables for people need short names.
PLAIN_CHARACTERS_MAX = 80
READABLE_CHARACTERS_MAX = 48

#: The mark before the hash. Names that are kept do not contain it.
MARK = "__"

#: 128 bits, so that no two names with the same hash can be found.
_HASH_BYTES = 16

_PLAIN = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_UNREADABLE = re.compile(r"[^A-Za-z0-9.-]+", re.ASCII)


def safe(*parts: str) -> str:
    """Return a name for these parts together, of letters, digits, and `_`, `.`, `-` or `:`.

    No other parts, nor another number of them, have the same name.
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
    """Return an address and port as HAProxy writes them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
