"""The addresses of this machine, read from the kernel."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from ipaddress import ip_address

from twisted.internet.interfaces import IReactorTime

#: For how long an answer is used. An address that is added meanwhile is noticed after that.
FRESH_S = 5.0

#: The kernel answers at once.
ANSWER_S_MAX = 0.2

# Constants from Linux's rtnetlink(7).
_GET, _NEW, _ERROR, _DONE = 22, 20, 2, 3
_REQUEST_DUMP = 0x301
_HEADER, _ADDRESS, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BBBBI"), struct.Struct("=HH")
_IFA_ADDRESS, _IFA_LOCAL = 1, 2

_BUFFER_BYTES = 256 * 1024


class LocalAddresses:
    """The addresses of this machine, read again after `FRESH_S`; none where the kernel cannot be asked."""

    def __init__(self, reactor: IReactorTime, ask: Callable[[], frozenset[str]] | None = None) -> None:
        self._reactor = reactor
        self._ask = local_addresses if ask is None else ask
        self._known: frozenset[str] = frozenset()
        self._fresh_until = float("-inf")

    def has(self, address: str) -> bool:
        """Return True if an address, in the form of `ipaddress`, is one of this machine."""
        now = self._reactor.seconds()
        if now >= self._fresh_until:
            self._known = self._ask()
            self._fresh_until = now + FRESH_S
        return address in self._known


def local_addresses() -> frozenset[str]:
    """Return the addresses of all interfaces; none where the system is not Linux, or does not answer."""
    if not hasattr(socket, "AF_NETLINK"):
        return frozenset()
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
            kernel.settimeout(ANSWER_S_MAX)
            kernel.send(_HEADER.pack(_HEADER.size + _ADDRESS.size, _GET, _REQUEST_DUMP, 1, 0) + bytes(_ADDRESS.size))
            return frozenset(_answered(kernel))
    except OSError:
        return frozenset()


def _answered(kernel: socket.socket) -> Iterator[str]:
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
    """Yield the address of this machine: of a link with both ends, the local one."""
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
