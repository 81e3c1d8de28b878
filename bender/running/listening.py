"""The addresses to which a port of this machine is bound, as Linux reports them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Literal

#: The tables of sockets in the network namespace of this process; sockets that listen come first in each.
TABLES = ("/proc/net/tcp", "/proc/net/tcp6")

#: The state of a socket that listens.
_LISTENS = "0A"


_ByteOrder = Literal["little", "big"]


def bound_addresses(port: int, tables: tuple[str, ...] = TABLES, byte_order: _ByteOrder = sys.byteorder) -> list[str]:
    """Return the addresses at which some process accepts connections to the port; none where that is not known.

    `byte_order` is that of the machine which has written the tables.
    """
    found: set[str] = set()
    for table in tables:
        with suppress(OSError, ValueError), Path(table).open(encoding="ascii") as lines:
            next(lines, None)
            found.update(_addresses(port, lines, byte_order))
    return sorted(found)


def _addresses(port: int, lines: Iterator[str], byte_order: _ByteOrder) -> Iterator[str]:
    for line in lines:
        _, local, _, state, *_ = line.split()
        if state != _LISTENS:
            return
        address, _, number = local.partition(":")
        if int(number, 16) == port:
            yield _address(address, byte_order)


def _address(digits: str, byte_order: _ByteOrder) -> str:
    """Return the address that is written as words of 32 bits in the byte order of the machine."""
    words = (int(digits[at : at + 8], 16) for at in range(0, len(digits), 8))
    address = ip_address(b"".join(word.to_bytes(4, byte_order) for word in words))
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
