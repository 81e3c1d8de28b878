"""Hosts and ports: the valid ones, and the canonical form in which each is kept."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from bender.core.invalid import Invalid

PORT_MAX = 65_535

#: The number of hosts whose canonical form is cached. It takes about 4 µs to find, and clients send the same few
#: thousand hosts repeatedly.
_HOSTS_REMEMBERED = 4096

# Labels may contain letters, digits, `-` and, because Docker and Windows have such names, `_`. A text that ends in a
# number is an invalid address and not a name (RFC 3696). Resolvers take even a bare number of up to ten digits for an
# address.
_DNS_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_DNS_NAME = re.compile(rf"(?!(.*\.)?[0-9]{{1,10}}\Z)(?=.{{1,253}}\Z){_DNS_LABEL}(\.{_DNS_LABEL})*\Z")

_BROADCAST = IPv4Address("255.255.255.255")


@lru_cache(_HOSTS_REMEMBERED)
def parse_address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the IP address that a text is; None if it is a name, or anything else."""
    try:
        return ip_address(host)
    except ValueError:
        return None


@lru_cache(_HOSTS_REMEMBERED)
def canonical_host(host: str) -> str:
    """Return a DNS name in lower case without a final dot, or an address in the form of `ipaddress`.

    Raises `Invalid`.
    """
    address = parse_address(host)
    if address is None:
        name = host.lower().removesuffix(".")
        if not host.isascii() or not _DNS_NAME.match(name):
            raise Invalid("host", "must be a DNS name or an IP address, without brackets or an IPv6 zone (%eth0)")
        return name
    if "%" in host:
        raise Invalid("host", "must be an address without an IPv6 zone (%eth0)")
    return str(address)


def is_destination(address: IPv4Address | IPv6Address) -> bool:
    """Return True if an instance may be at an address: the address is not unspecified, multicast or broadcast.

    A connection to an unspecified address reaches the machine itself or, in HAProxy, the destination of the client's
    connection. An IPv6 address with a zone is refused too, because it has a meaning on one machine only.
    """
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        address = address.ipv4_mapped or address
    return not (address.is_unspecified or address.is_multicast or address == _BROADCAST)


@lru_cache(_HOSTS_REMEMBERED)
def destination(host: str) -> str:
    """Return the canonical form of a host. Raises `Invalid` if an instance cannot be there; see `is_destination`."""
    canonical, address = canonical_host(host), parse_address(host)
    if address is not None and not is_destination(address):
        raise Invalid(
            "host", f"must be an address at which clients reach the instance, not {_kind(address)} {canonical}"
        )
    return canonical


def _kind(address: IPv4Address | IPv6Address) -> str:
    plain = (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
    if plain.is_unspecified:
        return "the unspecified address"
    return "the multicast address" if plain.is_multicast else "the broadcast address"


def parse_port(port: str) -> int:
    """Return the number of a port that was sent as text. Raises `Invalid`."""
    if port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= PORT_MAX:
        return int(port)
    raise Invalid("port", f"must be a number from 1 to {PORT_MAX}")


def is_loopback(host: str) -> bool:
    """Return True if `host` is an address or a name by which a machine reaches itself."""
    address = parse_address(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback
