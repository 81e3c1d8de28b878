"""Checks whether an address can be listened on, before HAProxy tries.

An HAProxy that starts with an address that is in use makes the running one close all of its own, and tries again for
two seconds, in which no client is served. That is a high price for a frontend with a wrong address.
"""

from __future__ import annotations

import errno
import socket

_WHY = {
    errno.EADDRINUSE: "another program listens there",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EAFNOSUPPORT: "this machine has no addresses of that family",
}


def why_not(bind: str, *, shared: bool = True) -> str | None:
    """Return why listening at `*:PORT` or `ADDRESS:PORT` is impossible now; None if that is not certain.

    Unless `shared`, an address that another HAProxy of the same user listens at counts as impossible too.
    """
    host, _, port = bind.rpartition(":")
    address = host.strip("[]")
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # HAProxys of one user share their addresses, also with one that was reloaded a moment ago.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
            probe.bind(("" if address == "*" else address, int(port)))
    except OSError as error:
        return _WHY.get(error.errno or 0)
    return None
