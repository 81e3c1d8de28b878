"""The events that a careful subscriber of a node receives, over all of its connections.

A watcher keeps a list of what is online, as any reader of events would, and takes down whatever no node may ever say:
an `online` for what is online already, an `offline` or `changed` for what is not. Where its connection ends it comes
back with the cursor it has, so a restarted node gives it a `reset` and a snapshot; what is missing in that has gone
offline too, as far as a watcher can tell.
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

#: These alternate for one id.
COMING = ("online", "created")
GOING = ("offline", "removed")

#: The `reason` that a watcher itself gives if a registration is missing in a new snapshot.
MISSING = "missing in a snapshot"


@frozen
class Seen:
    """One event of one id. `at_s` is `time.monotonic()` when it arrived."""

    at_s: float
    event: str
    id: str
    reason: str | None
    body: dict[str, Any]


class Lines(LineOnlyReceiver):
    """A connection to an event listener, which passes on each event."""

    delimiter = b"\n"
    MAX_LENGTH = 16_384

    def __init__(self, heard: Callable[[dict[str, Any]], None], lost: Callable[[], None]) -> None:
        self._heard = heard
        self._lost = lost

    def lineReceived(self, line: bytes) -> None:
        self._heard(json.loads(line))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost()


@define(eq=False)
class Watcher:
    """Follows one node during the whole test, also while the node does not run."""

    node: Node
    #: Registrations by id, and backends and frontends.
    online: dict[str, dict[str, Any]] = field(factory=dict)
    configured: dict[str, dict[str, Any]] = field(factory=dict)
    seen: list[Seen] = field(factory=list)
    #: Events that a node must never send, described.
    broken: list[str] = field(factory=list)
    #: The number of new connections to the node.
    resets: int = 0
    _cursor: str | None = None
    _snapshot: dict[str, Seen] | None = None
    _held: dict[str, Seen] = field(factory=dict)
    _synced: bool = False
    _lines: Lines | None = None
    _ended: bool = False
    _waiting: dict[Deferred[None], Callable[[], bool]] = field(factory=dict)

    @property
    def offline(self) -> list[Seen]:
        """Return the ids that went offline, in order."""
        return [seen for seen in self.seen if seen.event == "offline"]

    def of(self, id_: str) -> list[Seen]:
        """Return the events of one id, in order."""
        return [seen for seen in self.seen if seen.id == id_]

    def said(self, id_: str, event: str, reason: str | None = None) -> Seen | None:
        """Return the time of the last such event of an id."""
        found = [s for s in self.of(id_) if s.event == event and (reason is None or s.reason == reason)]
        return found[-1] if found else None

    # Waiting.

    async def until(self, what: str, true: Callable[[Watcher], bool], within_s: float = PATIENCE_S) -> None:
        """Wait for the event that makes a condition hold. Raises `AssertionError` with `what` if none does."""
        if true(self):
            return
        waiting: Deferred[None] = Deferred()
        self._waiting[waiting] = lambda: true(self)
        waiting.addTimeout(within_s, reactor, onTimeoutCancel=lambda *_: self._fail(what, within_s))
        try:
            await waiting
        finally:
            del self._waiting[waiting]

    async def until_said(self, id_: str, event: str, reason: str | None = None, within_s: float = PATIENCE_S) -> Seen:
        """Wait for such an event of an id, unless there was one before."""
        what = f"{event} {id_} ({reason or 'for any reason'})"
        await self.until(what, lambda _: self.said(id_, event, reason) is not None, within_s)
        seen = self.said(id_, event, reason)
        assert seen is not None
        return seen

    async def until_lists(self, ids: set[str], within_s: float = PATIENCE_S) -> None:
        """Wait until exactly this is online."""
        await self.until(f"{len(ids)} online", lambda _: self._synced and self.online.keys() == ids, within_s)

    def _fail(self, what: str, within_s: float) -> None:
        last = "\n".join(f"{s.at_s:.3f} {s.event} {s.id} {s.reason}" for s in self.seen[-20:])
        raise AssertionError(f"{self.node.name} did not say within {within_s} s: {what}. The last it said:\n{last}")

    # Connections.

    async def connect(self) -> None:
        """Connect, and wait until everything that was online before is known."""
        await self._connect()
        await self.until("synced", lambda _: self._synced)

    async def _connect(self) -> None:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.node.events_port)
        while not self._ended:
            try:
                self._lines = await connectProtocol(endpoint, Lines(self._hear, self._lose))
            except ConnectError:
                await pause(AGAIN_S)
            else:
                since = {} if self._cursor is None else {"since": self._cursor}
                self._lines.sendLine(json.dumps({"subscribe": {"snapshot": True, **since}}).encode())
                return

    def _lose(self) -> None:
        self._synced = False
        self._snapshot = None
        self._held.clear()
        if not self._ended:
            Deferred.fromCoroutine(self._connect())

    def end(self) -> None:
        """Stop listening."""
        self._ended = True
        if self._lines is not None and self._lines.transport is not None:
            self._lines.transport.loseConnection()

    # Events.

    def _hear(self, said: dict[str, Any]) -> None:
        event = said["event"]
        if event == "error":
            self.broken.append(f"{self.node.name} said {said}")
        elif event == "reset":
            self.resets += 1
            self._begin_snapshot()
        elif event == "synced":
            self._sync()
        elif event not in ("hello", "tick"):
            self._take(said)
        if event != "hello":  # it is only the place to resume without a better one
            self._cursor = said.get("cursor", self._cursor)
        for waiting, true in tuple(self._waiting.items()):
            if not waiting.called and true():
                waiting.callback(None)

    def _take(self, said: dict[str, Any]) -> None:
        kind = next(kind for kind in ("registration", "backend", "frontend") if kind in said)
        seen = Seen(time.monotonic(), said["event"], said[kind]["id"], said.get("reason"), said[kind])
        if said.get("snapshot"):
            if self._snapshot is None:
                self._begin_snapshot()
            assert self._snapshot is not None
            self._snapshot[seen.id] = seen
        elif self._synced:
            self._show(seen)
        else:
            # A new connection gets all events from now on until it has read the subscription, which may begin earlier;
            # so an event that is repeated before `synced` counts at its last place.
            self._held.pop(said["cursor"], None)
            self._held[said["cursor"]] = seen

    def _begin_snapshot(self) -> None:
        self._snapshot = {}
        self._held.clear()

    def _sync(self) -> None:
        """Take the events that were held back; registrations that are missing in a snapshot are gone."""
        if self._snapshot is not None:
            now = time.monotonic()
            for id_, body in self.online.items():
                if id_ not in self._snapshot:
                    self.seen.append(Seen(now, "offline", id_, MISSING, body))
            self.online.clear()
            self.configured.clear()
            for seen in self._snapshot.values():
                self._shown(seen.id)[seen.id] = seen.body
            self.seen += self._snapshot.values()
            self._snapshot = None
        for seen in self._held.values():
            self._show(seen)
        self._held.clear()
        self._synced = True

    def _show(self, seen: Seen) -> None:
        shown = self._shown(seen.id)
        if (seen.event in COMING) is (seen.id in shown):
            self.broken.append(f"{self.node.name} said {seen.event} of {seen.id} ({seen.reason}) in the wrong place")
        if seen.event in GOING:
            shown.pop(seen.id, None)
        else:
            shown[seen.id] = seen.body
        self.seen.append(seen)

    def _shown(self, id_: str) -> dict[str, dict[str, Any]]:
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
