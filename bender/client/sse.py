"""Decode the server-sent events of one node, and pass on each event when it arrives.

A node that is silent for too long is considered gone. An event that cannot be read is skipped, because the node may
only relay the object of another node. A stream that begins with many such events is not from a node, and is ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from bender.client.decoding import decode_json
from bender.client.event_merge import Change
from bender.client.responses import check_body
from bender.client.types import Milliseconds
from bender.net.addresses import NoAnswer
from bender.net.escaping import escaped

#: Nodes send something every 15 s at least. A node that is silent for longer than this is considered gone.
SILENCE_S_MAX = 20.0

#: Limit for an event, which has less than 16 KiB at a node.
LINE_BYTES_MAX = 256 * 1024

#: Limit for unreadable events before the first readable event, and for the seconds from the first of them until then.
UNREADABLE_MAX = 100
READABLE_S_MAX = 5.0

#: Limit for the length of a cursor, which is a position in a node's events.
CURSOR_CHARACTERS_MAX = 1000


class SseEvent(msgspec.Struct):
    """One event of a node."""

    event: str
    cursor: Annotated[str, msgspec.Meta(max_length=CURSOR_CHARACTERS_MAX)] = ""
    at: Milliseconds = 0
    reason: str = ""
    snapshot: bool = False
    registration: dict[str, Any] | None = None
    backend: dict[str, Any] | None = None
    frontend: dict[str, Any] | None = None

    @property
    def id(self) -> str:
        """The id of the changed object, if the event has one."""
        body = self.registration or self.backend or self.frontend or {}
        id_ = body.get("id")
        return id_ if isinstance(id_, str) else ""

    def change(self) -> Change | None:
        """Return the change, or None if the event has only a cursor. Raises `NoAnswer` if the object is invalid."""
        for kind in ("registration", "backend", "frontend"):
            body: dict[str, Any] | None = getattr(self, kind)
            if body is not None:
                check_body(kind, body)
                reason = "snapshot" if self.snapshot else self.reason
                return Change(self.event, kind, body["id"], reason, body, self.at)
        return None


class SseStream(Protocol):
    """Receive the server-sent events of a node, and call `on_event` with each event and its change.

    `ended` fires when no more events will come. `on_unreadable` is called for each event that cannot be read, with the
    id of its object (empty if the id is unreadable too) and the problem. `node` is the name of the node in log lines.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        on_event: Callable[[SseEvent, Change | None], None],
        on_unreadable: Callable[[str, str], None] = lambda _id, _problem: None,
        node: str = "A node",
    ) -> None:
        self.ended: Deferred[None] = Deferred(lambda _: self.end())
        self.unparsed = b""
        #: Whether a readable event has arrived.
        self.has_event = False
        #: The problem that ended the stream, as a clause that follows the name of the node; empty if there is none.
        self.problem = ""
        #: The problem of the first unreadable event, as such a clause; empty if there is none.
        self.first_unreadable = ""
        self._clock = clock
        self._on_event = on_event
        self._on_unreadable = on_unreadable
        self._node = node
        self._unreadable_count = 0
        self._silence_limit: IDelayedCall | None = None
        self._paused = False

    def connectionMade(self) -> None:
        self._start_silence_limit()

    def _start_silence_limit(self) -> None:
        """Start the time limit for silence."""
        self._silence_limit = self._clock.callLater(SILENCE_S_MAX, self.end)

    def _restart_silence_limit(self, within_s: float = SILENCE_S_MAX) -> None:
        """Restart the time limit for silence."""
        if self._silence_limit is not None and self._silence_limit.active():
            self._silence_limit.reset(within_s)

    def _stop_silence_limit(self) -> None:
        if self._silence_limit is not None and self._silence_limit.active():
            self._silence_limit.cancel()

    def dataReceived(self, data: bytes) -> None:
        *lines, self.unparsed = (self.unparsed + data).split(b"\n")
        try:
            for line in lines:
                if line.startswith(b"data: ") and not self.ended.called:
                    self._read(line[6:])
        except NoAnswer as no_answer:
            self._give_up(str(no_answer))
        except Exception:
            self._log.failure("{node} sent events that cannot be read; requesting the events again.", node=self._node)
            self._give_up("sent events that cannot be read")
        if len(self.unparsed) > LINE_BYTES_MAX:
            self._give_up("sent a line that is too long")

    def _read(self, document: bytes) -> None:
        id_ = ""
        try:
            event = decode_json(document, SseEvent)
            id_ = event.id
            change = event.change()
        except NoAnswer as no_answer:
            self._skip(id_, str(no_answer))
            return
        self.has_event = True
        self._restart_silence_limit()
        self._on_event(event, change)

    def _skip(self, id_: str, problem: str) -> None:
        self._unreadable_count += 1
        self._on_unreadable(id_, problem)
        if self._unreadable_count == 1:
            self.first_unreadable = problem
            self._log.warn("{node} {problem}; the event is skipped.", node=self._node, problem=escaped(problem))
            if not self.has_event:
                self._restart_silence_limit(READABLE_S_MAX)
        if self._unreadable_count > UNREADABLE_MAX and not self.has_event:
            self._give_up(problem)

    def _give_up(self, problem: str) -> None:
        """Log a problem, and end the stream because of it."""
        self._log.error("{node} {problem}; requesting the events again.", node=self._node, problem=escaped(problem))
        self.problem = problem
        self.end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        del reason
        self._stop_silence_limit()
        if not self.ended.called:
            self.ended.callback(None)

    def pause(self) -> None:
        """Stop reading until `resume` is called."""
        transport: Any = self.transport
        if not self._paused and transport is not None:
            self._paused = True
            self._stop_silence_limit()
            transport.pauseProducing()

    def resume(self) -> None:
        """Continue to read after `pause`."""
        transport: Any = self.transport
        if self._paused and transport is not None:
            self._paused = False
            self._start_silence_limit()
            transport.resumeProducing()

    def end(self) -> None:
        """End the stream, and close its connection."""
        self._stop_silence_limit()
        if self.transport is not None:
            self.transport.loseConnection()
        if not self.ended.called:
            self.ended.callback(None)
