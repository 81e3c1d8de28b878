"""Makes names that HAProxy accepts from all names that bender allows.

Different objects never get the same name. A short name that HAProxy accepts is kept, so that people find it in HAProxy.
Any other name is replaced by its readable part and a hash.
"""

from __future__ import annotations

import re
from base64 import b32encode
from hashlib import blake2b

#: The longest name that is kept, and the longest readable part of any other name, in characters. HAProxy limits only
#: the length of lines, but tables for people need short names.
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

    Different parts, or another number of parts, have another name.
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
