"""The events that a careful subscriber of a node receives, over all of its connections.

A watcher keeps a list of online objects, as any reader of events would, and records events that no node may send: an
`online` for an object that is online already, an `offline` or `changed` for one that is not. When its connection ends,
the watcher reconnects with its cursor, so a restarted node sends a `reset` and a snapshot; objects that are missing in
the snapshot have gone offline for the watcher.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from attrs import define, field, frozen
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from tests.e2e.nodes import PATIENCE_S, Node, pause

#: The pause between two attempts to reach a node.
AGAIN_S = 0.05

#: The events of one id alternate between these two kinds.
COMING = ("online", "created")
GOING = ("offline", "removed")

#: The `reason` in the event of a watcher itself for a registration that is missing in a new snapshot.
MISSING = "missing in a snapshot"


@frozen
class ObservedEvent:
    """One event of one id. `at_s` is `time.monotonic()` when it arrived."""

    at_s: float
    event: str
    id: str
    reason: str | None
    body: dict[str, Any]


class Lines(LineOnlyReceiver):
    """A connection to an event listener, which passes each event to a function."""

    delimiter = b"\n"
    MAX_LENGTH = 16_384

    def __init__(self, on_event: Callable[[dict[str, Any]], None], on_end: Callable[[], None]) -> None:
        self._on_event = on_event
        self._on_end = on_end

    def lineReceived(self, line: bytes) -> None:
        self._on_event(json.loads(line))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._on_end()


@define(eq=False)
class Watcher:
    """Follows one node during the whole test, also while the node does not run."""

    node: Node
    #: The online registrations by id, and the backends and frontends.
    online: dict[str, dict[str, Any]] = field(factory=dict)
    configured: dict[str, dict[str, Any]] = field(factory=dict)
    events: list[ObservedEvent] = field(factory=list)
    #: Descriptions of events that a node must never send.
    broken: list[str] = field(factory=list)
    #: The number of `reset` events.
    resets: int = 0
    _cursor: str | None = None
    _snapshot: dict[str, ObservedEvent] | None = None
    _pending: dict[str, ObservedEvent] = field(factory=dict)
    _synced: bool = False
    _lines: Lines | None = None
    _ended: bool = False
    _waiting: dict[Deferred[None], Callable[[], bool]] = field(factory=dict)

    @property
    def offline(self) -> list[ObservedEvent]:
        """Return the events by which ids went offline, in order."""
        return [observed for observed in self.events if observed.event == "offline"]

    def events_of(self, id_: str) -> list[ObservedEvent]:
        """Return the events of one id, in order."""
        return [observed for observed in self.events if observed.id == id_]

    def last_event(self, id_: str, event: str, reason: str | None = None) -> ObservedEvent | None:
        """Return the last event of an id with this name and reason; None if there is none."""
        found = [s for s in self.events_of(id_) if s.event == event and (reason is None or s.reason == reason)]
        return found[-1] if found else None

    # Waiting.

    async def until(self, what: str, condition: Callable[[Watcher], bool], within_s: float = PATIENCE_S) -> None:
        """Wait until a condition holds. Raises `AssertionError` with `what` if it does not in time."""
        if condition(self):
            return
        waiting: Deferred[None] = Deferred()
        self._waiting[waiting] = lambda: condition(self)
        waiting.addTimeout(within_s, reactor, onTimeoutCancel=lambda *_: self._fail(what, within_s))
        try:
            await waiting
        finally:
            del self._waiting[waiting]

    async def until_event(
        self, id_: str, event: str, reason: str | None = None, within_s: float = PATIENCE_S
    ) -> ObservedEvent:
        """Wait for an event of an id with this name and reason, unless it has come before; return the last one."""
        what = f"{event} {id_} ({reason or 'for any reason'})"
        await self.until(what, lambda _: self.last_event(id_, event, reason) is not None, within_s)
        observed = self.last_event(id_, event, reason)
        assert observed is not None
        return observed

    async def until_lists(self, ids: set[str], within_s: float = PATIENCE_S) -> None:
        """Wait until exactly these ids are online."""
        await self.until(f"{len(ids)} online", lambda _: self._synced and self.online.keys() == ids, within_s)

    def _fail(self, what: str, within_s: float) -> None:
        last = "\n".join(f"{s.at_s:.3f} {s.event} {s.id} {s.reason}" for s in self.events[-20:])
        raise AssertionError(f"{self.node.name} did not send within {within_s} s: {what}. Its last events:\n{last}")

    # Connections.

    async def connect(self) -> None:
        """Connect, and wait until the list is complete."""
        await self._connect()
        await self.until("synced", lambda _: self._synced)

    async def _connect(self) -> None:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.node.events_port)
        while not self._ended:
            try:
                self._lines = await connectProtocol(endpoint, Lines(self._receive, self._connection_ended))
            except ConnectError:
                await pause(AGAIN_S)
            else:
                since = {} if self._cursor is None else {"since": self._cursor}
                self._lines.sendLine(json.dumps({"subscribe": {"snapshot": True, **since}}).encode())
                return

    def _connection_ended(self) -> None:
        self._synced = False
        self._snapshot = None
        self._pending.clear()
        if not self._ended:
            Deferred.fromCoroutine(self._connect())

    def end(self) -> None:
        """Close the connection, and do not reconnect."""
        self._ended = True
        if self._lines is not None and self._lines.transport is not None:
            self._lines.transport.loseConnection()

    # Events.

    def _receive(self, message: dict[str, Any]) -> None:
        event = message["event"]
        if event == "error":
            self.broken.append(f"{self.node.name} sent {message}")
        elif event == "reset":
            self.resets += 1
            self._begin_snapshot()
        elif event == "synced":
            self._complete_list()
        elif event not in ("hello", "tick"):
            self._process(message)
        if event != "hello":  # its cursor is only for a later connection that has no other cursor
            self._cursor = message.get("cursor", self._cursor)
        for waiting, condition in tuple(self._waiting.items()):
            if not waiting.called and condition():
                waiting.callback(None)

    def _process(self, message: dict[str, Any]) -> None:
        kind = next(kind for kind in ("registration", "backend", "frontend") if kind in message)
        observed = ObservedEvent(
            time.monotonic(), message["event"], message[kind]["id"], message.get("reason"), message[kind]
        )
        if message.get("snapshot"):
            if self._snapshot is None:
                self._begin_snapshot()
            assert self._snapshot is not None
            self._snapshot[observed.id] = observed
        elif self._synced:
            self._apply(observed)
        else:
            # A new connection gets all present events until the node has read the subscription, which may begin
            # earlier. So an event that is repeated before `synced` counts at its last place.
            self._pending.pop(message["cursor"], None)
            self._pending[message["cursor"]] = observed

    def _begin_snapshot(self) -> None:
        self._snapshot = {}
        self._pending.clear()

    def _complete_list(self) -> None:
        """Process the pending events after a snapshot. Registrations that the snapshot lacks went offline."""
        if self._snapshot is not None:
            now = time.monotonic()
            for id_, body in self.online.items():
                if id_ not in self._snapshot:
                    self.events.append(ObservedEvent(now, "offline", id_, MISSING, body))
            self.online.clear()
            self.configured.clear()
            for observed in self._snapshot.values():
                self._objects_of(observed.id)[observed.id] = observed.body
            self.events += self._snapshot.values()
            self._snapshot = None
        for observed in self._pending.values():
            self._apply(observed)
        self._pending.clear()
        self._synced = True

    def _apply(self, observed: ObservedEvent) -> None:
        objects = self._objects_of(observed.id)
        if (observed.event in COMING) is (observed.id in objects):
            self.broken.append(
                f"{self.node.name} sent {observed.event} of {observed.id} ({observed.reason}) in the wrong place"
            )
        if observed.event in GOING:
            objects.pop(observed.id, None)
        else:
            objects[observed.id] = observed.body
        self.events.append(observed)

    def _objects_of(self, id_: str) -> dict[str, dict[str, Any]]:
        return self.online if id_.startswith("registration/") else self.configured


@asynccontextmanager
async def watching(nodes: Sequence[Node]) -> AsyncIterator[list[Watcher]]:
    """Start a watcher of each node. Fails at the end if a node sent an event that it must never send."""
    watchers = [Watcher(node) for node in nodes]
    try:
        for watcher in watchers:
            await watcher.connect()
        yield watchers
    finally:
        for watcher in watchers:
            watcher.end()
    assert [broken for watcher in watchers for broken in watcher.broken] == []
