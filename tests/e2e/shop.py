"""`python shop.py PORT NAME`: an ordinary instance, to which load balancers send requests.

`GET /` is answered with its name. `GET /seen` returns the number of these, the time of the last one by the monotonic
clock, which all processes of a machine share, and the host that the last health check asked for. After `POST /ill` its
health check and everything else fails, until `POST /well`. It ends at SIGTERM at once: a test has to stop requests to
it first.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import Any

from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site

PORT, NAME = int(sys.argv[1]), sys.argv[2]


class Shop(Resource):
    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0
        self.last_at_s = 0.0
        self.ill = False
        self.checked_host: str | None = None

    def render_GET(self, request: Any) -> bytes:
        request.setHeader(b"Content-Type", b"text/plain")
        if request.path == b"/seen":
            said = {"requests": self.requests, "last": self.last_at_s, "checked_host": self.checked_host}
            return json.dumps(said).encode()
        if self.ill:
            request.setResponseCode(500)
        if request.path == b"/health":
            self.checked_host = request.getHeader("host")
        else:
            self.requests += 1
            self.last_at_s = time.monotonic()
        return NAME.encode()

    def render_POST(self, request: Any) -> bytes:
        self.ill = request.path == b"/ill"
        return b"well"


def main() -> None:
    any_reactor: Any = reactor
    any_reactor.listenTCP(PORT, Site(Shop()), interface="127.0.0.1")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    any_reactor.run(installSignalHandlers=False)


if __name__ == "__main__":
    main()
