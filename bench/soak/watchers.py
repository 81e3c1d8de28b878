"""The watchers of a soak: they connect, read or do not read their events, and disconnect, some with a reset."""

from __future__ import annotations

import random
import socket
import ssl
from collections import deque
from collections.abc import Sequence

from attrs import define

from bench.nodes import Node, connect
from bench.soak.instances import Requests, line_of, reset

#: One in this many of them reads nothing.
SILENT_EVERY = 10

ACCEPT = "Accept: text/event-stream\r\n"

_READ_BYTES = 1 << 18


@define(eq=False)
class Watcher:
    """A connection that gets events, and the received bytes."""

    socket: socket.socket
    reads: bool
    by_lines: bool
    received: int = 0

    def read(self) -> bool:
        """Read all available bytes; return False if the node has closed the connection."""
        try:
            while data := self.socket.recv(_READ_BYTES):
                self.received += len(data)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        return False


class Watchers:
    """A constant number of watchers at several nodes, the oldest of which is replaced now and then."""

    def __init__(self, nodes: Sequence[Node], requests: Requests, count: int, apps: int) -> None:
        self._nodes = nodes
        self._requests = requests
        self._apps = apps
        self._random = random.Random(2)  # noqa: S311 - the load is the same each time
        self._come = 0
        #: Of those that are gone: how many there were, how many a node dropped, and the bytes that they read.
        self.gone = 0
        self.dropped = 0
        self.received = 0
        self._all = deque(self._new() for _ in range(count))

    def _new(self) -> Watcher:
        self._come += 1
        node = self._nodes[self._come % len(self._nodes)]
        app = f"app-{self._random.randrange(self._apps)}"
        by_lines = self._random.random() < 0.5
        connection = connect(node.events if by_lines else node.api, node.context)
        if by_lines:
            if self._requests.token:
                connection.sendall(line_of({"token": self._requests.token}))
            connection.sendall(line_of({"subscribe": self._selection(app)}))
        else:
            query = self._random.choice(
                ["", f"?app={app}", f"?app={app}&snapshot=true", f"?name=soak-{self._come % 7}"]
            )
            connection.sendall(self._requests.http("GET", f"/events{query}", headers=ACCEPT))
        connection.setblocking(False)
        return Watcher(connection, self._come % SILENT_EVERY != 0, by_lines)

    def _selection(self, app: str) -> dict[str, object]:
        consumer: dict[str, object] = {"app": app, "name": f"soak-{self._come % 7}"}
        return self._random.choice([{"app": app, "snapshot": True}, {"snapshot": False}, {"app": app}, consumer])

    def read(self) -> None:
        """Read the events of the reading watchers. Replace those that a node has dropped as too slow."""
        for watcher in [each for each in self._all if each.reads and not each.read()]:
            self.dropped += 1
            self._all.remove(watcher)
            self._replace(watcher)

    def replace_oldest(self) -> None:
        """Replace one watcher by another one."""
        self._replace(self._all.popleft())

    def _replace(self, old: Watcher) -> None:
        self.gone += 1
        self.received += old.received
        if self._random.random() < 0.5:
            reset(old.socket)
        else:
            old.socket.close()
        self._all.append(self._new())
