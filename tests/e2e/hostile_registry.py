"""`python hostile_registry.py PORT FILE`: a registry that sends a file to every client that follows events.

Each line of the file is an event of a node or any other text, and is sent unchanged. Lines that are added later are
sent when they are added. The registry answers the driver's other requests like a node.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType

PORT, FILE = int(sys.argv[1]), Path(sys.argv[2])


class Registry(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/events") and "snapshot" in self.path:
            self.send_event()
        elif self.path.startswith("/events"):
            self.answer({"events": [], "cursor": "c1"})
        else:
            self.answer({"ready": True, "peers": []})

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer({})

    def answer(self, said: object) -> None:
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_event(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        sent = 0
        while True:
            lines = FILE.read_bytes().splitlines()
            for line in lines[sent:]:
                self.wfile.write(b"data: %b\n\n" % line)
            sent = len(lines)
            self.wfile.flush()
            time.sleep(0.05)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the library
        """Log nothing."""


def ended(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, ended)
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Registry)
    server.daemon_threads = True
    server.serve_forever()
