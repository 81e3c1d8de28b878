"""Where somebody is to be reached, by a name or an address."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

#: Twisted's own. Whoever is in more of a hurry says so.
CONNECT_S_MAX = 30.0


def endpoint_of(reactor: Any, host: str, port: int, connect_s_max: float = CONNECT_S_MAX) -> IStreamClientEndpoint:
    """An address needs no looking up: that would wait in line with the names that no name server knows."""
    try:
        version = ip_address(host).version
    except ValueError:
        return HostnameEndpoint(reactor, host, port, connect_s_max)
    return (TCP4ClientEndpoint if version == 4 else TCP6ClientEndpoint)(reactor, host, port, connect_s_max)


def host_port(host: str, port: int) -> str:
    """As one writes it: with brackets around an address of IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
