"""`python serving.py PORT FOLDER [BEHAVIOUR …]`: a service with good or bad behaviour, for tests of `bender run`.

The service answers HTTP requests, with 500 while there is a file `ill` in its folder. It appends lines with the time to
the file `noted` there: signals by name, and the end of its reaction to SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType

PORT, FOLDER, BEHAVIOURS = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]


def note(what: str) -> None:
    with (FOLDER / "noted").open("a") as noted:
        noted.write(f"{time.time():.3f} {what}\n")


def signalled(number: int, _frame: FrameType | None) -> None:
    note(signal.Signals(number).name)
    if number in (signal.SIGTERM, signal.SIGINT) and "stubborn" not in BEHAVIOURS:
        if "slow" in BEHAVIOURS:
            time.sleep(1)
        os._exit(3 if "slow" in BEHAVIOURS else 0)


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        while (FOLDER / "hang").exists():
            time.sleep(0.05)
        self.send_response(500 if (FOLDER / "ill").exists() else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def main() -> None:
    note(f"begins {os.getpid()}")
    if "default" not in BEHAVIOURS:
        for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"):
            signal.signal(getattr(signal, name), signalled)
    if "late" in BEHAVIOURS:
        time.sleep(1)
    if "forks" in BEHAVIOURS:
        for _ in range(2):  # like a daemon, whose parent does not wait for it
            if os.fork():
                os._exit(0)
            if os.getsid(0) != os.getpid():
                os.setsid()
        note(f"begins {os.getpid()}")  # so that the test can end it
    if "mute" in BEHAVIOURS:
        os.close(1)
        os.close(2)
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Page)
    note("serves")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while True:
        time.sleep(0.5 if "brief" in BEHAVIOURS else 60)
        if "brief" in BEHAVIOURS:
            os._exit(5)


if __name__ == "__main__":
    main()
