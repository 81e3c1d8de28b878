"""Decode the events of one node: server-sent events, each passed on as it arrives.

A node that is silent too long is considered gone. An event that cannot be read is skipped, because the node may only
relay what another one made. A stream that begins with nothing but such events is not a node's, and ends.
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

from bender.client.decoding import decoded
from bender.client.event_merge import Change
from bender.client.responses import check_body
from bender.client.types import Milliseconds
from bender.net.addresses import NoAnswer
from bender.net.escaping import escaped

#: Nodes send something every 15 s at least. A node that is silent for longer than this is considered gone.
SILENCE_S_MAX = 20.0

#: Limit for an event, which has less than 16 KiB at a node.
LINE_BYTES_MAX = 256 * 1024

#: Events that cannot be read before the first that can be, and seconds from the first of them until then.
UNREADABLE_MAX = 100
READABLE_S_MAX = 5.0

#: Limit for the position in a node's events.
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
        """Return the change; None for an event with a position only. Raises `NoAnswer` if it is not a node's."""
        for kind in ("registration", "backend", "frontend"):
            body: dict[str, Any] | None = getattr(self, kind)
            if body is not None:
                check_body(kind, body)
                reason = "snapshot" if self.snapshot else self.reason
                return Change(self.event, kind, body["id"], reason, body, self.at)
        return None


class SseStream(Protocol):
    """Server-sent events as they come, each handed to `hear` with what has changed.

    `ended` fires when there are no more. `on_unreadable` is called with the id that an event is about which cannot be
    read, empty if even that cannot be, and with what is wrong.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        hear: Callable[[SseEvent, Change | None], None],
        on_unreadable: Callable[[str, str], None] = lambda _id, _problem: None,
    ) -> None:
        self.ended: Deferred[None] = Deferred(lambda _: self.end())
        self.unread = b""
        #: Whether any event was read.
        self.heard = False
        #: The problem of the stream, as a clause about the node that begins with a verb; empty if there is none.
        self.problem = ""
        #: The problem of the first event that could not be read, likewise.
        self.unreadable = ""
        self._clock = clock
        self._hear = hear
        self._on_unreadable = on_unreadable
        self._unreadable = 0
        self._silence: IDelayedCall | None = None
        self._paused = False

    def connectionMade(self) -> None:
        self._expect()

    def _expect(self) -> None:
        """Start the limit for silence."""
        self._silence = self._clock.callLater(SILENCE_S_MAX, self.end)

    def _expect_more(self, within_s: float = SILENCE_S_MAX) -> None:
        """Restart the limit for silence after an event."""
        if self._silence is not None and self._silence.active():
            self._silence.reset(within_s)

    def _expect_nothing(self) -> None:
        if self._silence is not None and self._silence.active():
            self._silence.cancel()

    def dataReceived(self, data: bytes) -> None:
        *lines, self.unread = (self.unread + data).split(b"\n")
        try:
            for line in lines:
                if line.startswith(b"data: ") and not self.ended.called:
                    self._read(line[6:])
        except NoAnswer as no_answer:
            self._give_up(str(no_answer))
        except Exception:
            self._log.failure("A node sent events that cannot be read; asking again.")
            self._give_up("sent events that cannot be read")
        if len(self.unread) > LINE_BYTES_MAX:
            self._give_up("sent a line that is too long")

    def _read(self, document: bytes) -> None:
        id_ = ""
        try:
            event = decoded(document, SseEvent)
            id_ = event.id
            change = event.change()
        except NoAnswer as no_answer:
            self._pass_over(id_, str(no_answer))
            return
        self.heard = True
        self._expect_more()
        self._hear(event, change)

    def _pass_over(self, id_: str, problem: str) -> None:
        self._unreadable += 1
        self._on_unreadable(id_, problem)
        if self._unreadable == 1:
            self.unreadable = problem
            self._log.warn("A node {problem}; the event is skipped.", problem=escaped(problem))
            if not self.heard:
                self._expect_more(READABLE_S_MAX)
        if self._unreadable > UNREADABLE_MAX and not self.heard:
            self._give_up(problem)

    def _give_up(self, problem: str) -> None:
        """End the stream because of a problem."""
        self._log.error("A node {problem}; asking again.", problem=escaped(problem))
        self.problem = problem
        self.end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        del reason
        self._expect_nothing()
        if not self.ended.called:
            self.ended.callback(None)

    def pause(self) -> None:
        """Read no more for now."""
        transport: Any = self.transport
        if not self._paused and transport is not None:
            self._paused = True
            self._expect_nothing()
            transport.pauseProducing()

    def resume(self) -> None:
        transport: Any = self.transport
        if self._paused and transport is not None:
            self._paused = False
            self._expect()
            transport.resumeProducing()

    def end(self) -> None:
        """Read no more."""
        self._expect_nothing()
        if self.transport is not None:
            self.transport.loseConnection()
        if not self.ended.called:
            self.ended.callback(None)
