"""A node that sends invalid answers, and `bender` commands that send requests to it.

`Hostile` is a real server, in a separate thread. It sends good answers, except on one route, on which it sends the set
answer. `Commands` runs commands that send requests to it.
"""

from __future__ import annotations

import json
import re
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from attrs import frozen

from tests.e2e.forking import Ended, Forks
from tests.e2e.nodes import PATIENCE_S
from tests.twistd_command import environment

WEB = "web/1.2.0/10.0.0.5/8080"
ID = f"registration/{WEB}"

Json = Any

REGISTRATION: Json = {
    "id": ID, "resource": "Registration", "app": "web", "version": "1.2.0", "host": "10.0.0.5", "port": 8080,
    "ttl": 10.0, "weight": 1, "meta": {"zone": "a"}, "registered": 1_795_652_595_056, "node": "n1", "state": "up",
}  # fmt: skip
BACKEND: Json = {
    "id": "backend/shop", "resource": "Backend", "name": "shop", "app": "web", "version": "1.2.0", "note": "hi",
    "canary": {"version": "2", "percent": 5},
}  # fmt: skip
FRONTEND: Json = {
    "id": "frontend/www", "resource": "Frontend", "name": "www", "backend": "shop", "rules": [{"backend": "other"}],
}  # fmt: skip
WORD: Json = {"id": ID, "state": "drain", "for": 600.0, "left": 599.0, "at": 1_795_652_595_056, "author": "10.0.0.9"}
APPLIED: Json = {"applied": ["n1", "n2"], "consumers": ["edge-1"], "missing": ["n3"]}
HELD: Json = {"ttl": 10.0, "held": 3.0, "renewed": 1.0, "left": 9.0, "rev": 1, "speaks": True}
EXPLANATION: Json = {
    "id": ID, "listed": True, "why": "listed: n1 heard from it", "registration": REGISTRATION, "word": WORD,
    "checks": [{"consumer": "edge-1", "down": True}],
    "backends": [{"name": "shop", "as": "version", "frontends": ["www"]}],
    "nodes": [
        {
            "answered": True, "node": "n1", "address": "10.0.0.1:1730", "ready": True, "listed": True, "hidden": False,
            "claim": HELD, "ended": ["n3"], "suspect": None, "hears": [{"node": "n2", "heard": 0.1, "left": False}],
            "sees": [
                {"node": "n2", "earlier": True, "rev": 1, "counts": False, "why": "silent", "heard": 0.5},
                {"node": "n3", "earlier": False, "rev": 1, "counts": True, "why": None, "heard": None},
            ],
            "events": [{"event": "online", "at": 1_795_652_595_056, "reason": "registered"}],
        },
        {"answered": False, "node": "n2", "address": "10.0.0.2:1730", "problem": "does not answer"},
    ],
}  # fmt: skip
STATUS: Json = {
    "node": "n1", "version": "0.1", "incarnation": "0" * 16, "address": "10.0.0.1:1730", "api": None, "cluster": "c",
    "ready": True, "uptime": 60.0, "interval": 1.0, "ttl": 10.0, "guard": 60, "digest": "0123456789abcdef",
    "counts": {"registrations": 1, "backends": 1, "frontends": 0, "claims": 1, "held": 1, "watchers": 0},
    "peers": [
        {
            "node": "n2", "address": "10.0.0.2:1730", "api": None, "incarnation": "1" * 16, "state": "silent",
            "lag": 3.5,
        }
    ],
    "problems": {"10.0.0.3:1730": "is twice there"}, "unanswered": ["10.0.0.4:1730"],
    "guarded": [{"app": "web", "suspects": 2, "left": 30.0}],
}  # fmt: skip
CONSUMERS: Json = [
    {
        "name": "edge-1", "node": "n1", "connected": True, "cursor": "x-1", "behind": 0, "at": 1_795_652_595_056,
        "report": {"down": [ID], "backends": {"shop": {"1.2.0": {"requests": 9, "errors": 1}}}},
    }
]  # fmt: skip
MEMBER: Json = {**REGISTRATION, "fixed": False}

#: The good answers: method, path, status, JSON.
GOOD: list[tuple[str, str, int, Json]] = [
    ("GET", r"/status", 200, STATUS),
    ("GET", r"/consumers", 200, CONSUMERS),
    ("GET", r"/guard", 200, STATUS["guarded"]),
    ("DELETE", r"/guard/.*", 204, None),
    ("GET", r"/explain/.*", 200, EXPLANATION),
    ("PUT", r"/registrations/.*/state", 200, WORD),
    ("DELETE", r"/registrations/.*/state", 204, None),
    ("GET", r"/registrations.*", 200, [REGISTRATION]),
    ("POST", r"/registrations.*|/renewals", 200, REGISTRATION),
    ("DELETE", r"/registrations/.*wait.*", 200, APPLIED),
    ("DELETE", r"/registrations/.*", 204, None),
    ("GET", r"/backends/.*/members", 200, [MEMBER]),
    ("GET", r"/backends/.*/history", 200, [{"at": 1_795_652_595_056, "author": "10.0.0.9", "backend": BACKEND}]),
    ("POST", r"/backends/.*/rollback", 200, BACKEND),
    ("GET", r"/backends", 200, [BACKEND]),
    ("GET|PUT", r"/backends/.*", 200, BACKEND),
    ("DELETE", r"/backends/.*", 204, None),
    ("GET", r"/frontends", 200, [FRONTEND]),
    ("GET|PUT", r"/frontends/.*", 200, FRONTEND),
    ("DELETE", r"/frontends/.*", 204, None),
]

#: All commands that send requests to nodes, except `watch` and `run`.
COMMANDS = [
    ["ls"],
    ["explain", WEB],
    ["register", WEB],
    ["deregister", WEB, "--force"],
    ["deregister", WEB, "--wait=1", "--force"],
    ["drain", WEB],
    ["up", WEB],
    ["up", WEB, "--for=60"],
    ["backend", "ls"],
    ["backend", "ls", "shop"],
    ["backend", "set", "shop", "--version=1.2.0"],
    ["backend", "history", "shop"],
    ["backend", "rm", "shop", "--force"],
    ["frontend", "ls"],
    ["frontend", "set", "www", "--backend=shop"],
    ["frontend", "rm", "www"],
    ["deploy", "shop", "3", "--watch=0", "--steps=50,100", "--every=0"],
    ["rollback", "shop"],
    ["guard", "ls"],
    ["guard", "end", "web"],
    ["status"],
    ["diff"],
    ["top"],
    ["top", "web"],
]


@frozen
class Answer:
    """The bytes to send: first `head` and `body`, and then `more` repeatedly, with a pause of `apart_s`."""

    body: bytes
    status: int = 200
    head: bytes | None = None
    more: bytes = b""
    apart_s: float = 0.0

    def begin(self) -> bytes:
        if self.head is not None:
            return self.head + self.body
        length = b"" if self.more else b"Content-Length: %d\r\n" % len(self.body)
        if self.status == 204:
            return b"HTTP/1.1 204 No Content\r\n\r\n" + self.body
        return b'HTTP/1.1 %d OK\r\nETag: "x"\r\n%s\r\n' % (self.status, length) + self.body


def good(method: str, path: str) -> tuple[int, Json]:
    """Return the number of the route, and the JSON of its good answer."""
    for number, (methods, pattern, _, answer) in enumerate(GOOD):
        if method in methods.split("|") and re.fullmatch(pattern, path):
            return number, answer
    raise AssertionError(f"{method} {path} is not asked by any command")


class Hostile:
    """The server. `bad` is the route with the bad `answer`; `requested_routes` are the routes of all requests."""

    def __init__(self) -> None:
        self.bad: int | None = None
        self.answer = Answer(b"")
        self.requested_routes: list[int] = []
        self.change: dict[str, Json] = {}
        #: The lines that watchers get, and the number of watchers.
        self.events = Answer(b"")
        self.watched = 0
        node = self

        class Connection(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    node.converse(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 100

        self._server = Server(("127.0.0.1", 0), Connection)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def begin_anew(self, bad: int | None, answer: Answer) -> None:
        """Send this answer on this route from now on, and forget earlier requests."""
        self.bad, self.answer = bad, answer
        self.requested_routes.clear()
        self.change.clear()
        self.watched = 0

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def converse(self, connection: socket.socket) -> None:
        """Answer requests until the connection ends."""
        waiting = b""
        while True:
            while b"\r\n\r\n" not in waiting:
                received = connection.recv(65536)
                if not received:
                    return
                waiting += received
            head, _, waiting = waiting.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            while length and len(waiting) < int(length[1]):
                waiting += connection.recv(65536)
            body, waiting = (waiting[: int(length[1])], waiting[int(length[1]) :]) if length else (b"", waiting)
            method, path, _ = head.partition(b"\r\n")[0].decode().split(" ")
            self._answer(connection, method, path, body)

    def _answer(self, connection: socket.socket, method: str, path: str, body: bytes) -> None:
        if path.startswith("/events?snapshot") or "&snapshot" in path:
            self.watched += 1
            answer = self.events
            connection.sendall(answer.begin())
            self._go_on(connection, answer)
        number, json_ = good(method, path)
        self.requested_routes.append(number)
        if method == "PUT" and json_ is BACKEND:
            self.change |= {key: value for key, value in json.loads(body).items() if key != "min_members"}
        json_ = {**json_, **self.change} if json_ is BACKEND else json_
        status = GOOD[number][2]
        answer = Answer(b"" if json_ is None else json.dumps(json_).encode(), status)
        if number == self.bad:
            answer = self.answer
        connection.sendall(answer.begin())
        self._go_on(connection, answer)

    def _go_on(self, connection: socket.socket, answer: Answer) -> None:
        while answer.more:
            time.sleep(answer.apart_s)
            connection.sendall(answer.more)


def bodies() -> Iterator[bytes]:
    """Yield bodies, some of them well-formed JSON, that are not valid answers."""
    values: tuple[Json, ...] = (
        None,
        True,
        0,
        -1,
        10**30,
        "x",
        "",
        [],
        {},
        [None],
        [[]],
        [{}],
        [1],
        ["x"],
        {"x": 1},
        [{"id": 1}],
    )
    for value in values:
        yield json.dumps(value).encode()
    yield from (b"", b" ", b"{", b"<html>welcome</html>", b"NaN", b"1e400", b"1" * 5000, b"\xff\xfe", b'{"id":"\xff"}')
    yield from (b"[" * 5000, b'{"a":' * 5000, b"[" * 300 + b"]" * 300, b'"\x1b[2J"', b'{"\\ud800":1}')
    yield b"[{" + b'"x":{' * 200 + b"}" * 200 + b"}]"


def mutations(value: Json) -> Iterator[Json]:
    """Yield copies of a JSON value with one part replaced or removed, for each part and each replacement."""
    yield from (None, True, -1, 0.5, 10**30, 1e308, -1e308, "x", "", [], {}, [None], [[]], {"x": {}}, [{}])
    if isinstance(value, dict):
        for key, part in value.items():
            yield {k: v for k, v in value.items() if k != key}
            yield from ({**value, key: changed} for changed in mutations(part))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from ([*value[:index], changed, *value[index + 1 :]] for changed in mutations(part))


class Commands:
    """Runs commands of this checkout, one after the other, which send requests to the node at an address."""

    def __init__(self, forks: Forks, home: str, address: str) -> None:
        self._forks = forks
        self._variables = {**environment(), "HOME": home, "XDG_CACHE_HOME": home, "BENDER_NODES": address}
        for name in ("BENDER_TOKEN", "BENDER_CA", "NO_COLOR"):
            self._variables.pop(name, None)

    def __call__(self, *arguments: str, within_s: float = PATIENCE_S) -> Ended:
        return self._forks(arguments, self._variables, within_s)
