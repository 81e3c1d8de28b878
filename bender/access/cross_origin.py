"""Changes that web pages of other sites ask for: they are refused.

A browser sends whatever a page tells it to, to any address that it can reach, such as a node on the same machine. The
page cannot read the answer, but a change would be made. Browsers say where a page is from, in `Sec-Fetch-Site` (since
2023) and `Origin`; other clients send neither. The rules are those of `http.CrossOriginProtection` in Go 1.25.
"""

from __future__ import annotations

from bender.access.tokens import AccessDenied
from bender.core.model import shown_name

#: Methods that change nothing. Without CORS, which no answer here allows, pages of other sites cannot read what comes.
_SAFE_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})

#: Values of `Sec-Fetch-Site` for a page of the node itself, and for what the user has typed.
_OWN_PAGES = frozenset({b"same-origin", b"none"})


class CrossOrigin(AccessDenied):
    """A page of another site asks for a change. The message names the site."""

    code = "FORBIDDEN"


def require_same_origin(method: bytes, fetch_site: bytes | None, origin: bytes | None, host: bytes | None) -> None:
    """Raise `CrossOrigin` where a page of another site asks for a change.

    The others are the values of the headers `Sec-Fetch-Site`, `Origin` and `Host`, None where there is none. A header
    that was sent several times has its values joined by commas, which equals nothing.
    """
    if method in _SAFE_METHODS or (fetch_site in _OWN_PAGES if fetch_site else not origin):
        return
    # The schemes are not compared, because TLS may end at a proxy.
    if not fetch_site and origin and host and origin.partition(b"://")[2].lower() == host.lower():
        return
    site = shown_name(origin.decode("latin-1")) if origin else "another site"
    raise CrossOrigin(
        f"a web page of {site} has sent this, and only pages of this node may change something: use the page of this "
        "node, and let a proxy before it pass on the Host header unchanged"
    )
