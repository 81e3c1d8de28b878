"""The client that a connection comes from, as limits count it."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

#: Providers assign each customer an IPv6 network of at least this size, so all addresses in it are one client's.
IPV6_CLIENT_PREFIX = 64

#: The client of all connections over a Unix socket.
UNIX = "unix"


def host_of(peer: Any) -> str:
    """Return the host of a connection's other end, as Twisted gives it; `UNIX` if it has none."""
    return getattr(peer, "host", None) or UNIX


@lru_cache(1000)
def client_at(host: str) -> str:
    """Return the client at an address: the address, or its network if it is an IPv6 address."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((int(address), IPV6_CLIENT_PREFIX), strict=False))
