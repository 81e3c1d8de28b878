"""Refuse changes that web pages of other sites request (cross-site request forgery).

A web page can make a browser send any request to any address that the browser can reach, such as a node on the same
machine. The page cannot read the answer, but the node would make the change. Browsers send the origin of the page in
`Sec-Fetch-Site` (since 2023) and `Origin`; other clients send neither header. The rules are those of
`http.CrossOriginProtection` in Go 1.25.
"""

from __future__ import annotations

from bender.access.tokens import AccessDenied
from bender.core.model import printable_name

#: Methods that change nothing. Pages of other sites cannot read the answers, because no answer of a node permits CORS.
_SAFE_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})

#: Values of `Sec-Fetch-Site` for a page of the node itself, and for an address that the user has typed.
_OWN_PAGES = frozenset({b"same-origin", b"none"})


class CrossOrigin(AccessDenied):
    """A page of another site requests a change. The message names the site."""

    code = "FORBIDDEN"


def require_same_origin(method: bytes, fetch_site: bytes | None, origin: bytes | None, host: bytes | None) -> None:
    """Raise `CrossOrigin` if a page of another site requests a change.

    `fetch_site`, `origin` and `host` are the values of the headers `Sec-Fetch-Site`, `Origin` and `Host`; None without
    the header. The values of a header that was sent several times are joined by commas, so they equal no valid value.
    """
    if method in _SAFE_METHODS or (fetch_site in _OWN_PAGES if fetch_site else not origin):
        return
    # The schemes are not compared, because TLS may end at a proxy.
    if not fetch_site and origin and host and origin.partition(b"://")[2].lower() == host.lower():
        return
    site = printable_name(origin.decode("latin-1")) if origin else "another site"
    raise CrossOrigin(
        f"this request comes from a web page of {site}, and only pages of this node may change something: use the page "
        "of this node; a proxy in front of the node must pass on the Host header unchanged"
    )
