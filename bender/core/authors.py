"""Authors of settings, as histories show them: `10.0.0.7`, or `anna@web1 (10.0.0.7)` if the client sent a name.

The address is that of the connection; at a node that requires tokens, the name of the client's token takes its place.
The name is chosen by the client, and nothing is decided by it: limits for each client use the address or token alone.
"""

from __future__ import annotations

from bender.core.invalid import Invalid

#: Characters of a name.
NAME_CHARACTERS_MAX = 64


def author_of(name: str | None, address: str) -> str:
    """Return the author of settings of a client at an address, with the name that it sent, if any.

    Raises `Invalid` for a name that could not be shown.
    """
    if name is None:
        return address
    name = name.strip(" ")
    if not (name.isprintable() and 1 <= len(name) <= NAME_CHARACTERS_MAX):
        raise Invalid("X-Bender-As", f"must be a name of 1 to {NAME_CHARACTERS_MAX} printable characters")
    return f"{name} ({address})"


def name_in(author: str) -> str:
    """Return the name in an author, empty if the client sent none."""
    name, _, _ = author.rpartition(" (")
    return name


def client_of(author: str) -> str:
    """Return the address in an author, which identifies the client for limits."""
    _, named, address = author.rpartition(" (")
    return address.removesuffix(")") if named else author
