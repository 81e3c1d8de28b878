"""A node with registrations for tests of watchers, and an outlet whose client reads when a test allows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from twisted.internet.task import Clock

from bender.core.model import RegistrationRequest
from bender.net.fair_turns import Turns
from bender.node.event_selection import Selection, Subscription
from bender.node.journal import Entry
from bender.node.node import Node
from bender.node.watcher_stream import EventStream
from tests.api.conversation import a_node

__all__ = ["ALL", "Watched", "Window", "a_node", "events", "named", "never", "read"]

#: More bytes than any watcher is owed in these tests.
ALL = 1_000_000_000

SITE = b'{"id":"backend/site","resource":"Backend","name":"site","app":"web","version":"1"}'
EDGE = b'{"id":"frontend/edge","resource":"Frontend","name":"edge","backend":"site"}'


class Watched:
    """A ready node without peers, and short methods for its events."""

    def __init__(self, clock: Clock, **options: Any) -> None:
        self.node: Node = a_node(clock, **options)
        self.journal = self.node.journal

    def up(self, app: str = "web", version: str = "1", port: int = 80, **wanted: Any) -> None:
        self.node.register(RegistrationRequest(app, version, "10.0.0.1", port, **wanted))

    def down(self, app: str = "web", version: str = "1", port: int = 80) -> None:
        self.node.deregister(RegistrationRequest(app, version, "10.0.0.1", port).key)

    def configure(self) -> None:
        """Create a backend and a frontend."""
        self.node.configure("backend/site", SITE, "somebody")
        self.node.configure("frontend/edge", EDGE, "somebody")


class Window:
    """An outlet that keeps the sent events, and pauses its stream after `pieces_left` pieces."""

    def __init__(self, node: Node, clock: Clock, *, ticks: bool = False) -> None:
        self.stream = EventStream(node, Turns(clock), clock, self, ticks=ticks)
        self.sent: list[Entry] = []
        self.pieces_left: float = float("inf")
        self.dropped = self.ended = False
        self.displaced_because = ""
        self.times_caught_up = 0

    def follow(self, node: Node, **selection: Any) -> None:
        self.stream.follow(Subscription(node, Selection(**selection)))

    def read(self, pieces: float) -> None:
        """Let the client read everything that was written, and then allow this number of pieces."""
        self.pieces_left = pieces
        self.stream.resumeProducing()

    def send(self, entries: Sequence[Entry]) -> None:
        assert not (self.dropped or self.ended)
        self.sent += entries
        self.pieces_left -= 1
        if self.pieces_left <= 0:
            self.stream.pauseProducing()

    def on_caught_up(self) -> None:
        self.times_caught_up += 1

    def drop(self) -> None:
        assert not self.dropped
        self.dropped = True

    def end(self) -> None:
        self.ended = True

    def displace(self, reason: str) -> None:
        self.ended = True
        self.displaced_because = reason


def never(call: Callable[[], None]) -> None:
    """Fail: for a journal that must never schedule a later call."""
    raise AssertionError(call)


def read(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Return the entries as JSON objects."""
    return [msgspec.json.decode(entry.line) for entry in entries]


def events(received: bytes) -> list[dict[str, Any]]:
    """Return the events in bytes that have one event per line."""
    *lines, unfinished = received.split(b"\n")
    assert unfinished == b"", unfinished
    return [msgspec.json.decode(line) for line in lines]


def named(event_line: Iterable[dict[str, Any]]) -> list[str]:
    """Return each event with the port or the id of its object: `online 80`, `created backend/site`."""
    return [_named(event) for event in event_line]


def _named(event: dict[str, Any]) -> str:
    about: dict[str, Any] = next((event[kind] for kind in ("registration", "backend", "frontend") if kind in event), {})
    return f"{event['event']} {about.get('port', about.get('id', ''))}".strip()
