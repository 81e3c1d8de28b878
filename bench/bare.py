"""Twisted's web server without an application: one Resource that answers every request 200, with the same few bytes.

Use: python -m bench.bare PORT FILE [silent]; FILE holds the bytes. It uses the Python and the reactor of a node,
ignores the request, and sets no header that Twisted does not set by itself. `Site` is Twisted's own, which logs a line
for each request, unless `silent` is given.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import Site

from bench.nodes import LOOPBACK


class Same(Resource):
    """Answers every request alike, whatever its method and path."""

    isLeaf = True

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._body = body

    def render(self, request: http.Request) -> bytes:
        del request
        return self._body


class Silent(Site):
    """Logs no requests."""

    def log(self, request: http.Request) -> None:
        pass


def main() -> None:
    port, body = int(sys.argv[1]), Path(sys.argv[2]).read_bytes()
    site = Silent if sys.argv[3:] == ["silent"] else Site
    reactor: Any = installed
    reactor.listenTCP(port, site(Same(body)), interface=LOOPBACK)
    reactor.run()


if __name__ == "__main__":
    main()
