"""Authors of settings, as histories show them: `10.0.0.7`, or `anna@web1 (10.0.0.7)` where the client gave a name.

The address is that of the connection. The name is what the client says, and nothing is decided by it: limits for each
client go by the address alone.
"""

from __future__ import annotations

from bender.core.invalid import Invalid

#: Characters of a name.
NAME_CHARACTERS_MAX = 64


def signature(name: str | None, address: str) -> str:
    """Return the author of what a client at an address sets under a name, if it gives one.

    Raises `Invalid` for a name that could not be shown.
    """
    if name is None:
        return address
    name = name.strip(" ")
    if not (name.isprintable() and 1 <= len(name) <= NAME_CHARACTERS_MAX):
        raise Invalid("X-Bender-As", f"must be a name of 1 to {NAME_CHARACTERS_MAX} printable characters")
    return f"{name} ({address})"


def name_in(author: str) -> str:
    """Return the name in an author, empty where the client gave none."""
    name, _, _ = author.rpartition(" (")
    return name


def client_of(author: str) -> str:
    """Return the address in an author, which is what limits go by."""
    _, named, address = author.rpartition(" (")
    return address.removesuffix(")") if named else author
