"""The client behind a connection: limits count all connections of one client together."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

#: Providers assign each customer an IPv6 network with this prefix, or a larger one. All addresses in a network of this
#: size are therefore one client.
IPV6_CLIENT_PREFIX = 64

#: The client behind all connections over a Unix socket.
UNIX = "unix"


def host_of(peer: Any) -> str:
    """Return the host in an address of Twisted, that of the other end of a connection; `UNIX` if it has none."""
    return getattr(peer, "host", None) or UNIX


@lru_cache(1000)
def client_at(host: str) -> str:
    """Return the client at a host: an IPv4 address itself, or the network of an IPv6 address."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((int(address), IPV6_CLIENT_PREFIX), strict=False))
