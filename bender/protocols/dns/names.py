"""The names of the zone `bender.`, and the app, backend or address that each name belongs to."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from attrs import frozen

from bender.core.name_lookup import LABEL_BYTES_MAX

#: The only zone that is served.
ZONE = (b"bender",)

#: Bytes of the longest name of a backend with DNS names: `_NAME._tcp.backend.bender.` has 23 more, and at most 255.
NAME_BYTES_MAX = 232

#: Hexadecimal digits of an address of IPv4 and of IPv6 in a name.
_DIGITS = (8, 32)

Kind = Literal["app", "backend"]


@frozen
class NamedMembers:
    """An app or a backend, by its name in lower case. It may not exist."""

    kind: Kind
    name: str


@frozen
class NameOwner:
    """The owner of records: a name of the zone.

    `addresses` and `services` are the apps or backends whose members it has address records and SRV records for;
    `address` is the address that the name consists of. The name exists if `addresses` or `services` exists, or if
    `exists` is set. It also exists if the name of an app or a backend ends with a dot and `above`, because a dot in
    such a name separates labels.
    """

    addresses: NamedMembers | None = None
    services: NamedMembers | None = None
    above: NamedMembers | None = None
    address: bytes | None = None
    exists: bool = False
    is_zone: bool = False
    is_server: bool = False


_ALWAYS = NameOwner(exists=True)
_NEVER = NameOwner()


def owner_of(labels: tuple[bytes, ...]) -> NameOwner | None:
    """Return the owner with these labels, in lower case; None if the name is outside of the zone."""
    if labels[-1:] != ZONE:
        return None
    match labels[:-1]:
        case ():
            return NameOwner(exists=True, is_zone=True)
        case (b"ns",):
            return NameOwner(exists=True, is_server=True)
        case (b"addr",):
            return _ALWAYS
        case (digits, b"addr"):
            address = _address(digits)
            return _NEVER if address is None else NameOwner(address=address, exists=True)
        case (*name, b"app"):
            return _members("app", name)
        case (*name, b"backend"):
            return _members("backend", name)
    return _NEVER


def has_owner(name: str) -> bool:
    """Return True if an app or a backend with this name has a name in DNS for SRV queries."""
    encoded = name.encode()
    if len(encoded) <= LABEL_BYTES_MAX:
        return True
    labels = f"_{name}".encode().split(b".")
    return len(encoded) <= NAME_BYTES_MAX and all(1 <= len(label) <= LABEL_BYTES_MAX + 1 for label in labels)


def _members(kind: Kind, name: list[bytes]) -> NameOwner:
    """Return the owner with a name below `app` or `backend`."""
    addresses = _named(kind, name)
    if name in ([], [b"_tcp"]):
        return NameOwner(addresses, exists=True)
    if name[-1] != b"_tcp":
        return NameOwner(addresses, above=addresses)
    services = _named(kind, [name[0][1:], *name[1:-1]]) if name[0].startswith(b"_") else None
    return NameOwner(addresses, services, above=_named(kind, name[:-1]))


def _named(kind: Kind, labels: list[bytes]) -> NamedMembers | None:
    with suppress(UnicodeDecodeError):
        name = b".".join(labels).decode()
        return NamedMembers(kind, name) if name else None
    return None


def _address(digits: bytes) -> bytes | None:
    """Return the 4 or 16 bytes of an address from hexadecimal digits; None if the digits are not an address."""
    if len(digits) not in _DIGITS or digits.translate(None, b"0123456789abcdef"):
        return None
    return bytes.fromhex(digits.decode())
