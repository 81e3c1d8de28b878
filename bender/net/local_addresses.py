"""The addresses of this machine, read from the kernel."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from ipaddress import ip_address

from twisted.internet.interfaces import IReactorTime

#: Seconds for which an answer is cached. An address that is added meanwhile is found after this time.
FRESH_S = 5.0

#: Seconds to wait for the kernel, which answers at once.
ANSWER_S_MAX = 0.2

# Constants from Linux's rtnetlink(7).
_GET, _NEW, _ERROR, _DONE = 22, 20, 2, 3
_REQUEST_DUMP = 0x301
_HEADER, _ADDRESS, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BBBBI"), struct.Struct("=HH")
_IFA_ADDRESS, _IFA_LOCAL = 1, 2

_BUFFER_BYTES = 256 * 1024


class LocalAddresses:
    """The addresses of this machine, cached for `FRESH_S`; none if the kernel does not report them."""

    def __init__(self, reactor: IReactorTime, ask: Callable[[], frozenset[str]] | None = None) -> None:
        self._reactor = reactor
        self._ask = local_addresses if ask is None else ask
        self._known: frozenset[str] = frozenset()
        self._fresh_until = float("-inf")

    def has(self, address: str) -> bool:
        """Return True if `address`, as text in the form of `ipaddress`, belongs to this machine."""
        now = self._reactor.seconds()
        if now >= self._fresh_until:
            self._known = self._ask()
            self._fresh_until = now + FRESH_S
        return address in self._known


def local_addresses() -> frozenset[str]:
    """Return the addresses of all interfaces; none if the system is not Linux, or does not answer."""
    if not hasattr(socket, "AF_NETLINK"):
        return frozenset()
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
            kernel.settimeout(ANSWER_S_MAX)
            kernel.send(_HEADER.pack(_HEADER.size + _ADDRESS.size, _GET, _REQUEST_DUMP, 1, 0) + bytes(_ADDRESS.size))
            return frozenset(_addresses_from(kernel))
    except OSError:
        return frozenset()


def _addresses_from(kernel: socket.socket) -> Iterator[str]:
    while True:
        answer = kernel.recv(_BUFFER_BYTES)
        while len(answer) >= _HEADER.size:
            size, kind, _, _, _ = _HEADER.unpack_from(answer)
            if kind in (_DONE, _ERROR) or size < _HEADER.size:
                return
            if kind == _NEW:
                yield from _address_in(answer[_HEADER.size + _ADDRESS.size : size])
            answer = answer[_aligned(size) :]


def _address_in(attributes: bytes) -> Iterator[str]:
    """Yield the address of this machine in a message; the local one for a point-to-point link."""
    found: dict[int, bytes] = {}
    while len(attributes) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(attributes)
        if size < _ATTRIBUTE.size:
            break
        found[kind] = attributes[_ATTRIBUTE.size : size]
        attributes = attributes[_aligned(size) :]
    packed = found.get(_IFA_LOCAL, found.get(_IFA_ADDRESS, b""))
    if len(packed) in (4, 16):
        yield str(ip_address(packed))


def _aligned(size: int) -> int:
    return (size + 3) & ~3
