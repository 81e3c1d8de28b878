"""Detection of browsers: a web page can make a browser send HTTP or TLS to the port of the line protocol.

The lines of an HTTP head are errors here, but a page chooses the lines of the body, which could register an instance.
So the request line ends the connection, as in Redis. So does the `Host` header, which browsers send next, because a
request line may be longer than a line can be here. A TLS handshake contains bytes that a site has chosen earlier, such
as a session ticket, and ends the connection as well. None of these lines is JSON.
"""

from __future__ import annotations

import re

# RFC 9112, 3: a method, a target and a version. RFC 8446, 5.1: the type of a handshake, and a version from 3.0 on.
_FIRST_LINE = re.compile(
    rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ +\S.* HTTP/[0-9.]+\s*|host:.*|\x16\x03.*", re.IGNORECASE | re.DOTALL
)


def is_from_browser(line: bytes) -> bool:
    """Return True for the first line of a request in HTTP, for the header `Host`, and for a TLS handshake."""
    return _FIRST_LINE.fullmatch(line) is not None
