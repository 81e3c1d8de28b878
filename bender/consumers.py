"""Those who act on the events of this node, and what they have confirmed.

A watcher is told of events; a consumer has a name and says what it has acted on, so others can wait for it: whoever
stops an instance wants to know that no load balancer sends there any more. A cursor means something at one node only,
so each node knows its own consumers, and asks the others for theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from bender.core.consumer import Confirmation, Consumer, Report
from bender.core.model import Invalid
from bender.core.replica import Full
from bender.journal import Entry, Journal

#: Consumers at one node; those that were here a while ago included.
CONSUMERS_MAX = 1000

#: Who confirms and never followed a stream is connected for so long after each request: longer than the longest poll.
PRESENT_S = 90.0

#: A consumer that is gone is shown for so long, so that somebody sees that it is missing.
REMEMBERED_S = 600.0


class Selecting(Protocol):
    """What a stream of a consumer lets through."""

    @property
    def app(self) -> str | None: ...

    @property
    def version(self) -> str | None: ...

    def admits(self, entry: Entry) -> bool: ...


@define(eq=False)
class _Standing:
    """What is known of one consumer: what its streams select, the last event that it has confirmed, and so on."""

    name: str
    seen_at: float
    at_ms: int
    position: int | None = None
    report: Report | None = None
    streams: list[Selecting] = field(factory=list)
    has_streamed: bool = False
    present_until: float = 0.0


@define(eq=False)
class _Waiting:
    key: str
    number: int
    done: Deferred[None] = field(factory=Deferred)


class Consumers:
    """The consumers of one node's journal."""

    def __init__(self, node: str, journal: Journal, clock: IReactorTime) -> None:
        self._node = node
        self._journal = journal
        self._clock = clock
        self._standing: dict[str, _Standing] = {}
        self._waiting: list[_Waiting] = []

    # What they do.

    def connect(self, name: str, selects: Selecting) -> Callable[[], None]:
        """A stream of a consumer begins; returns what to call once at its end. Raises `Full`.

        Where it had no other one it may have been started anew, and know nothing: it has to confirm again.
        """
        standing = self._named(name)
        if not standing.streams:
            standing.position = standing.report = None
        standing.streams.append(selects)
        standing.has_streamed = True

        def disconnect() -> None:
            standing.streams.remove(selects)
            standing.seen_at = self._clock.seconds()
            self._look()

        return disconnect

    def present(self, name: str) -> None:
        """A consumer was here, and will be again, without a stream. Raises `Full`."""
        self._named(name).present_until = self._clock.seconds() + PRESENT_S

    def confirm(self, name: str, said: Confirmation) -> Consumer:
        """A consumer has acted on all events up to a cursor, and may report. Raises `Invalid` and `Full`."""
        position = self._journal.position(said.cursor)
        if position is None:
            raise Invalid("cursor", "is none that this node has given, or so old that it is forgotten")
        standing = self._named(name)
        standing.position = max(position, standing.position or 0)
        standing.report = said.report or standing.report
        standing.at_ms = self._journal.wall_ms()
        self.present(name)
        self._look()
        return self._shown(standing)

    def _named(self, name: str) -> _Standing:
        standing = self._standing.get(name)
        if standing is None:
            self._forget()
            if len(self._standing) >= CONSUMERS_MAX:
                raise Full(f"this node has {CONSUMERS_MAX} consumers, as many as it may have")
            standing = self._standing[name] = _Standing(name, self._clock.seconds(), self._journal.wall_ms())
        standing.seen_at = self._clock.seconds()
        return standing

    def _forget(self) -> None:
        long_ago = self._clock.seconds() - REMEMBERED_S
        gone = [each.name for each in self._standing.values() if each.seen_at < long_ago and not each.streams]
        for name in gone:
            del self._standing[name]

    # What others want to know.

    def shown(self, key: str = "", number: int = 0) -> tuple[Consumer, ...]:
        """All of them, in order of name; whether each has applied what happened to a key, up to the event `number`.

        Whoever asks about a key is not told what they report, which may be much.
        """
        self._forget()
        return tuple(self._shown(self._standing[name], key, number) for name in sorted(self._standing))

    async def until_applied(self, key: str, number: int, within_s: float) -> tuple[Consumer, ...]:
        """Wait until all that are connected have applied this, for `within_s` at most; all of them as they are then."""
        waiting = _Waiting(key, number)
        if within_s > 0 and self._lacking(waiting):
            self._waiting.append(waiting)
            giving_up = self._clock.callLater(within_s, waiting.done.callback, None)
            try:
                await waiting.done
            finally:
                if giving_up.active():
                    giving_up.cancel()
                if waiting in self._waiting:
                    self._waiting.remove(waiting)
        return self.shown(key, number)

    def end(self) -> None:
        """Let nobody wait any longer, for this node stops."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.done.callback(None)

    def _look(self) -> None:
        """Somebody has got further, or is gone."""
        done = [waiting for waiting in self._waiting if not self._lacking(waiting)]
        for waiting in done:
            self._waiting.remove(waiting)
            waiting.done.callback(None)

    def _lacking(self, waiting: _Waiting) -> bool:
        connected = (standing for standing in self._standing.values() if self._is_connected(standing))
        return any(not self._has_applied(standing, waiting.key, waiting.number) for standing in connected)

    def _is_connected(self, standing: _Standing) -> bool:
        present = not standing.has_streamed and self._clock.seconds() < standing.present_until
        return bool(standing.streams) or present

    def _has_applied(self, standing: _Standing, key: str, number: int) -> bool:
        """Whether it has confirmed all up to an event that it is told of. Of a key that it selects out it need not."""
        streams = standing.streams
        if not key or (streams and not any(_selects(stream, key) for stream in streams)):
            return True
        if standing.position is None:
            return False
        later = map(self._journal.entry, range(number, standing.position, -1))  # the last of them says it, mostly
        return not any(not streams or entry is None or any(each.admits(entry) for each in streams) for entry in later)

    def _shown(self, standing: _Standing, key: str = "", number: int = 0) -> Consumer:
        position, journal = standing.position, self._journal
        return Consumer(
            name=standing.name,
            node=self._node,
            connected=self._is_connected(standing),
            applied=self._has_applied(standing, key, number),
            cursor=None if position is None else journal.cursor_at(position),
            behind=journal.number - (position or 0),
            at_ms=standing.at_ms,
            report=None if key else standing.report,
        )


def _selects(stream: Selecting, key: str) -> bool:
    """Whether a stream tells of a registration."""
    _, app, version, *_ = key.split("/")
    return stream.app in (None, app) and stream.version in (None, version)
