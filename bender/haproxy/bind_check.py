"""Whether an address can be listened on, found out before HAProxy tries.

An HAProxy that begins with an address which it cannot have asks the one that runs to let go of all of its own, and
tries again for two seconds, in which nobody is served. That is a high price for a frontend with a wrong address.
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
    """Why nobody could listen at `*:PORT` or `ADDRESS:PORT` now; None if that is not certain.

    Unless `shared`, nor may another HAProxy of the same user, with which it could share the address.
    """
    host, _, port = bind.rpartition(":")
    address = host.strip("[]")
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Another HAProxy of the same user shares its addresses, and so does one that was reloaded a moment ago.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
            probe.bind(("" if address == "*" else address, int(port)))
    except OSError as error:
        return _WHY.get(error.errno or 0)
    return None
