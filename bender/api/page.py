"""The web page: the files of `bender/page`, served as they are, and the policy that confines them.

A browser may send requests only to this node, and runs only scripts that are files of the page: a name or `meta` of an
instance is never executed. The page itself shows that the node is not ready or requires a token, so its files are
served without a token, also by a node that is not ready.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from bender.api.responses import (
    ApiRequest,
    ApiResponse,
    Headers,
    accepted_names,
    etag_of,
    gzip_accepted,
    not_found_response,
    or_not_modified,
)
from bender.api.route import Need, Route
from bender.node.node import Node

#: The page itself, which is at `/`.
INDEX = "index.html"

MEDIA_TYPES = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}

#: Nothing inline, nothing of another origin, and no text that becomes markup or script (Trusted Types).
DIRECTIVES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}

CONTENT_SECURITY_POLICY = "; ".join(f"{name} {value}" for name, value in DIRECTIVES.items())

#: Browsers must check each time whether a file has changed, or old files would run with new ones after an upgrade.
HEADERS: Headers = (
    (b"Cache-Control", b"no-cache"),
    (b"Content-Security-Policy", CONTENT_SECURITY_POLICY.encode()),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"X-Frame-Options", b"DENY"),
)


def wants_page(request: ApiRequest) -> bool:
    """Return True if a client of `/` is a browser: its Accept header names HTML, and does not name JSON."""
    named = {name for name, takes in accepted_names(request.accept or "") if takes}
    return "text/html" in named and "application/json" not in named


def page(request: ApiRequest) -> ApiResponse:
    """Return the page itself."""
    return _file_response(request, INDEX, b"Accept, Accept-Encoding")


def _file(_node: Node, request: ApiRequest) -> ApiResponse:
    name = "/".join(request.path)
    if name not in _contents() or name == INDEX:
        return not_found_response(f"page/{name}", ": the page has no such file")
    return _file_response(request, name, b"Accept-Encoding")


#: All other files, also those in a folder.
ROUTES = tuple(
    Route(path, {"GET": _file}, while_not_ready=True, reads=Need.NOTHING)
    for path in ("/page/<file>", "/page/<folder>/<file>")
)


def _file_response(request: ApiRequest, name: str, vary: bytes) -> ApiResponse:
    plain, gzipped, etag = _contents()[name]
    media_type = MEDIA_TYPES[name[name.rindex(".") :]]
    headers = ((b"Content-Type", media_type), (b"Vary", vary), *HEADERS)
    if gzip_accepted(request):
        encoded = ((b"Content-Encoding", b"gzip"), (b"ETag", f'{etag[:-1]}-gzip"'.encode()))
        return or_not_modified(request, ApiResponse(200, gzipped, (*headers, *encoded)))
    return or_not_modified(request, ApiResponse(200, plain, (*headers, (b"ETag", etag.encode()))))


@cache
def _contents() -> dict[str, tuple[bytes, bytes, str]]:
    """Return the content of each file, plain and compressed, and its tag, by its path below `bender/page`."""
    found = _read(files("bender") / "page")
    return {name: (plain, gzip.compress(plain, mtime=0), etag_of(plain)) for name, plain in found}


def _read(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _read(entry, f"{prefix}{entry.name}/")
        elif any(entry.name.endswith(suffix) for suffix in MEDIA_TYPES):
            yield prefix + entry.name, entry.read_bytes()
