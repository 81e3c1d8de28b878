"""Checks whether an address can be listened on, before HAProxy tries.

If a new HAProxy process finds an address in use, it makes the running process close all addresses, and tries again for
two seconds. During this time no client is served. That is a high price for one frontend with a wrong address.
"""

from __future__ import annotations

import errno
import socket

_WHY = {
    errno.EADDRINUSE: "another program listens there",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EAFNOSUPPORT: "this machine has no addresses of that family",
}


def bind_problem(bind: str, *, shared: bool = True) -> str | None:
    """Return why no program can listen at `*:PORT` or `ADDRESS:PORT` now; None if it may be possible.

    Unless `shared`, an address at which another HAProxy of the same user listens is impossible too.
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
