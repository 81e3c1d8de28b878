"""The sockets of this machine at which connections are accepted, as Linux reports them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Literal

from attrs import frozen

#: The files with the sockets. Listening sockets come first in each.
TCP_TABLES = ("tcp", "tcp6")

#: The state of a listening socket.
_LISTEN_STATE = "0A"


@frozen
class ListeningSocket:
    """A socket that accepts connections at an address, or at all addresses if it is 0.0.0.0 or ::."""

    address: str
    port: int
    inode: int

    def covers(self, host: str) -> bool:
        """Return True if connections to an address may arrive at this socket."""
        return self.address in (host, "::") or (self.address == "0.0.0.0" and ":" not in host)  # noqa: S104 - compared


@frozen
class SocketTable:
    """The sockets in the network namespace of this process. The table is empty on systems other than Linux.

    `root` is the folder with the files, and `byte_order` the byte order of the machine that wrote them.
    """

    root: Path = Path("/proc/net")
    byte_order: Literal["little", "big"] = sys.byteorder

    def listeners(self, port: int | None = None) -> list[ListeningSocket]:
        """Return the sockets that accept connections to a port, or to any port if it is None."""
        found: list[ListeningSocket] = []
        for table in TCP_TABLES:
            with suppress(OSError, ValueError), (self.root / table).open(encoding="ascii") as lines:
                next(lines, None)
                found.extend(self._listeners(lines, "" if port is None else f":{port:04X}"))
        return found

    def bound_addresses(self, port: int) -> list[str]:
        """Return the addresses at which any process accepts connections to the port."""
        return sorted({each.address for each in self.listeners(port)})

    def _listeners(self, lines: Iterator[str], address_suffix: str) -> Iterator[ListeningSocket]:
        """Yield the listening sockets whose local address, as written in the file, ends with this text."""
        for line in lines:
            _, local, _, state, _, _, _, _, _, inode, *_ = line.split()
            if state != _LISTEN_STATE:
                return
            if not local.endswith(address_suffix):
                continue
            address, _, number = local.partition(":")
            yield ListeningSocket(self._address(address), int(number, 16), int(inode))

    def _address(self, digits: str) -> str:
        """Return the address that the file has as words of 32 bits in the byte order of the machine."""
        words = (int(digits[at : at + 8], 16) for at in range(0, len(digits), 8))
        address = ip_address(b"".join(word.to_bytes(4, self.byte_order) for word in words))
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return str(mapped or address)
