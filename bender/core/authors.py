"""Authors of settings, as histories show them: `10.0.0.7`, or `anna@web1 (10.0.0.7)` if the client sent a name.

The address is that of the client's connection. At a node that requires tokens, the name of the client's token takes
the place of the address. The client chooses the name that it sends, and no rule depends on this name: limits for each
client use only the address or the token's name.
"""

from __future__ import annotations

from bender.core.invalid import Invalid

#: The largest number of characters of a name.
NAME_CHARACTERS_MAX = 64


def author_of(name: str | None, address: str) -> str:
    """Return the author of the settings of a client: its address, and the name that it sent, if any.

    Raises `Invalid` for a name that is empty, too long or not printable.
    """
    if name is None:
        return address
    name = name.strip(" ")
    if not (name.isprintable() and 1 <= len(name) <= NAME_CHARACTERS_MAX):
        raise Invalid("X-Bender-As", f"must be a name of 1 to {NAME_CHARACTERS_MAX} printable characters")
    return f"{name} ({address})"


def name_in(author: str) -> str:
    """Return the name in an author; an empty text if the client sent none."""
    name, _, _ = author.rpartition(" (")
    return name


def client_of(author: str) -> str:
    """Return the address (or token's name) in an author, which identifies the client for limits."""
    _, named, address = author.rpartition(" (")
    return address.removesuffix(")") if named else author
