"""What backends and frontends say of the traffic itself: the servers and the ways in which it is shared out.

All of it may end up in the configuration of a load balancer, a line each, so nothing passes that could end a line or a
word of one.
"""

from __future__ import annotations

import re
from typing import Any

from attrs import frozen

from bender.core.model import Invalid, canonical_host, parse_port

#: Fixed servers of one backend; what is more of them than that should be registered.
SERVERS_MAX = 100

_HOST_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+)):([0-9]+)", re.ASCII)


@frozen
class Server:
    """A server that is always there, whether anybody registers it or not."""

    host: str
    port: int


def parse_servers(servers: Any) -> tuple[Server, ...]:
    """Fixed servers as they were sent, a list of `host:port`, with an address of IPv6 in brackets."""
    if not isinstance(servers, list) or len(servers) > SERVERS_MAX:
        raise Invalid("servers", f"must be a list of at most {SERVERS_MAX} of the form host:port")
    parsed: dict[Server, None] = {}
    for text in servers:
        server = _server(text)
        if server in parsed:
            raise Invalid("servers", f"has {text} twice")
        parsed[server] = None
    return (*parsed,)


def _server(text: Any) -> Server:
    match = _HOST_PORT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise Invalid("servers", "must be of the form host:port each, with an address of IPv6 in brackets")
    in_brackets, host, port = match.groups()
    try:
        return Server(canonical_host(in_brackets or host), parse_port(port))
    except Invalid as error:
        raise Invalid("servers", f"{text}: {error}") from None
