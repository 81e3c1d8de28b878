"""The places at which HAProxy itself listens, so that HAProxy is never one of its own servers.

A request to such a server would come back to HAProxy, which would forward it again, until no connections are left. The
places are read from the text of the configuration, because a template may contain more addresses than the frontends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

from attrs import field, frozen

from bender.core.hosts import PORT_MAX

#: The lines `bind` and `stats socket`: their addresses and options.
_LINE = re.compile(r"^[ \t]*(?:bind|stats[ \t]+socket)[ \t]+(\S+)([^\n]*)", re.MULTILINE)

#: One address with a port or a range of ports. Unix sockets and the like do not match.
_PLACE = re.compile(r"(?:(?:ipv|tcp)(4|6)?@|tcp@)?(.*):([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)

_LOOPBACK = ("127.0.0.1", "::1")

_Address = IPv4Address | IPv6Address


@frozen
class ListeningPlace:
    """A place at which no server may be, because another program listens there; `owner` is a clause about the program.

    A place without an `address` is every address of this machine, of the given families.
    """

    owner: str
    port: int
    address: str | None = None
    ipv4: bool = True
    ipv6: bool = False
    #: The last port of a range.
    last_port: int = 0

    def is_at(self, address: _Address, is_local: Callable[[str], bool]) -> bool:
        """Return True if a connection to an address reaches this place. The port is not compared."""
        if self.address is not None:
            return str(address) == self.address
        if not (self.ipv4 if address.version == 4 else self.ipv6):
            return False
        return address.is_loopback or address.is_unspecified or is_local(str(address))


@frozen
class ListeningPlaces:
    """All places at which HAProxy and its driver listen."""

    places: frozenset[ListeningPlace] = frozenset()
    _by_port: Mapping[int, tuple[ListeningPlace, ...]] = field(init=False, eq=False, repr=False)

    @_by_port.default
    def _find_ports(self) -> Mapping[int, tuple[ListeningPlace, ...]]:
        found: dict[int, tuple[ListeningPlace, ...]] = {}
        for each in sorted(self.places, key=lambda each: (each.owner, each.port)):
            for port in range(each.port, max(each.port, each.last_port) + 1):
                found[port] = (*found.get(port, ()), each)
        return found

    def server_conflict(self, address: str, port: int, is_local: Callable[[str], bool]) -> str | None:
        """Return why a server cannot be at this address and port, as a clause; None if it can.

        `is_local` returns True if this machine has an address.
        """
        there = self._by_port.get(port)
        if there is None:
            return None
        there_at = plain(ip_address(address))
        owner = next((each.owner for each in there if each.is_at(there_at, is_local)), None)
        return None if owner is None else f"{address}, port {port}, is where {owner}"


def listening_places_in(text: str) -> frozenset[ListeningPlace]:
    """Return the places at which HAProxy listens with this configuration. Names and variables are left out."""
    return frozenset(
        place
        for words, options in _LINE.findall(text)
        for word in words.strip("'\"").split(",")
        for place in _places_at(word, v6only="v6only" in options.split())
    )


def _places_at(word: str, *, v6only: bool) -> Iterator[ListeningPlace]:
    match = _PLACE.fullmatch(word)
    if match is None:
        return
    family, host, first, last = match.groups()
    owner, port, last_port = f"HAProxy itself listens (bind {word})", int(first), int(last or 0)
    if not 0 < port <= PORT_MAX or last_port > PORT_MAX:
        return
    host = host.removeprefix("[").removesuffix("]")
    if host in ("", "*"):
        yield ListeningPlace(owner, port, ipv4=family != "6", ipv6=family == "6", last_port=last_port)
    for address in _LOOPBACK if host == "localhost" else (host,):
        try:
            found = plain(ip_address(address))
        except ValueError:  # a name or a variable, whose address is not known here
            continue
        if found.is_unspecified:  # `::` accepts connections of both families, unless it has v6only
            ipv6 = found.version == 6
            yield ListeningPlace(owner, port, ipv4=not (ipv6 and v6only), ipv6=ipv6, last_port=last_port)
        else:
            yield ListeningPlace(owner, port, str(found), last_port=last_port)


def plain(address: _Address) -> _Address:
    """Return an address; an IPv4 address that is mapped into IPv6 becomes an IPv4 address."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped
