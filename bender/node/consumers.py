"""The consumers of the events of this node, and what they have confirmed.

A watcher receives events; a consumer has a name and confirms the events it has acted on, so others can wait for it: a
client that stops an instance has to know that no load balancer sends there any more. A cursor means something at one
node only, so each node knows its own consumers, and asks the others for theirs.

Two programs may have one name by mistake, and both have to be waited for. So a consumer is an instance of a name: a
token that the program chose at its start. Clients that give none are told apart by their connections as long as they
have a stream, and by their addresses otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, count

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from bender.core.consumers import Confirmation, ConsumerState, Report
from bender.core.invalid import Invalid
from bender.node.consumer_limits import ConsumerTable, Known, Origin, Selecting
from bender.node.journal import Journal

#: Seconds after each request for which a consumer without any stream is connected: longer than the longest poll.
PRESENT_S = 90.0

#: Seconds for which a consumer that is gone is still shown, so that an operator sees that it is missing.
REMEMBERED_S = 600.0


#: For those that did not come over a network.
NOWHERE = Origin()

# A report is kept as it is encoded: as objects it takes up to ten times as much.
_encoded = msgspec.msgpack.Encoder().encode
_reports = msgspec.msgpack.Decoder(Report)


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
        self._roster = ConsumerTable()
        self._waiting: list[_Waiting] = []
        self._openings = count(1)
        #: How many were added so far.
        self.added = 0

    # What they do.

    def connect(
        self, name: str, selects: Selecting, origin: Origin = NOWHERE, instance: str | None = None
    ) -> ConsumerStream:
        """Begin a stream of a consumer. Raises `Full`.

        A consumer without another stream may have been started anew, and know nothing: it has to confirm again.
        """
        known = self._following(name, origin, instance)
        if not known.streams:
            known.position = None
            self._roster.keep_report(known, b"")
        known.streams.append(selects)
        known.has_streamed = True
        known.opened = next(self._openings)
        known.alive_at = known.seen_at = self._clock.seconds()
        return ConsumerStream(self, known, selects)

    def end_stream(self, known: Known, selects: Selecting) -> None:
        """Note the end of a stream."""
        known.streams.remove(selects)
        known.seen_at = self._clock.seconds()
        self._look()

    def confirm(self, name: str, confirmation: Confirmation, origin: Origin = NOWHERE) -> ConsumerState:
        """Note that a consumer has acted on all events up to a cursor, and its report. Raises `Invalid` and `Full`.

        Without a cursor only the report is noted.
        """
        return self.confirm_as(self._confirming(name, origin, confirmation.instance), name, confirmation, origin)

    def confirm_as(self, found: Known | None, name: str, confirmation: Confirmation, origin: Origin) -> ConsumerState:
        """Note the same for a consumer that was found already, or was not."""
        now = self._clock.seconds()
        position = None if confirmation.cursor is None else self._journal.position(confirmation.cursor)
        if position is None and confirmation.cursor is not None:
            raise Invalid("cursor", "is not from this node, or too old: send the cursor of a later event")
        known = found or self._new(name, Origin(origin.host), confirmation.instance)
        report = known.report if confirmation.report is None else _encoded(confirmation.report)
        self._roster.require_room(known, report, now)
        if found is None:
            self._add(known, streaming=False)
        self._roster.keep_report(known, report, now)
        if position is not None:
            known.position = max(position, known.position or 0)
            known.at_ms = self._journal.wall_ms()
        known.alive_at = known.seen_at = now
        known.present_until = now + PRESENT_S
        self._look()
        return self._shown(known)

    def _following(self, name: str, origin: Origin, instance: str | None) -> Known:
        """Find the consumer that a stream belongs to, or add one.

        Without an instance it is the one at this address whose last stream has ended, for it may have come back.
        """
        if instance is not None:
            known = self._roster.get(name, instance)
        else:
            here = (each for each in self._at(name, origin) if not each.given and not each.streams)
            known = max(here, key=_last_seen, default=None)
            if known is not None and known.instance != str(origin):
                self._roster.rename(known, self._roster.label(name, origin))
        if known is None:
            known = self._new(name, origin, instance)
            self._add(known, streaming=True)
        return known

    def _confirming(self, name: str, origin: Origin, instance: str | None) -> Known | None:
        """Find the consumer that a confirmation belongs to.

        Without an instance it is the one of this address that opened its stream last: where there are several, the
        others never confirm, and are never taken for done.
        """
        if instance is not None:
            return self._roster.get(name, instance)
        return max(self._at(name, origin), key=_last_opened, default=None)

    def _at(self, name: str, origin: Origin) -> list[Known]:
        return [each for each in self._roster.named(name) if each.origin.host == origin.host]

    def _new(self, name: str, origin: Origin, instance: str | None) -> Known:
        label = self._roster.label(name, origin) if instance is None else instance
        given = instance is not None
        return Known(name, label, given, origin, self._clock.seconds(), self._journal.wall_ms())

    def _add(self, known: Known, *, streaming: bool) -> None:
        self._forget()
        self._roster.add(known, self._clock.seconds(), streaming=streaming)
        self.added += 1
        self._look()  # another one may have been evicted

    def _forget(self) -> None:
        self._roster.forget(self._clock.seconds() - REMEMBERED_S)

    # What others want to know.

    def shown(self, key: str = "", number: int = 0) -> tuple[ConsumerState, ...]:
        """Return all in order of name; whether each has applied the events of a key, up to the event `number`.

        An answer about a key leaves out their reports, which may be large.
        """
        self._forget()
        return tuple(self._shown(known, key, number) for known in self._roster.in_order())

    @property
    def any_connected(self) -> bool:
        now = self._clock.seconds()
        return any(known.is_connected(now) for known in self._roster)

    def connected(self, names: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Return the names and instances of the connected consumers that have one of these names."""
        now = self._clock.seconds()
        consumers = chain.from_iterable(map(self._roster.named, names))
        return ((known.name, known.instance) for known in consumers if known.is_connected(now))

    def several(self) -> set[str]:
        """Return the names that more than one has, connected or not."""
        return self._roster.several()

    async def until_applied(self, key: str, number: int, within_s: float) -> tuple[ConsumerState, ...]:
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
        """End all waiting, because this node stops."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.done.callback(None)

    def _look(self) -> None:
        """End each wait that lacks no consumer any more; call this when one has confirmed more, or is gone."""
        done = [waiting for waiting in self._waiting if not self._lacking(waiting)]
        for waiting in done:
            self._waiting.remove(waiting)
            waiting.done.callback(None)

    def _lacking(self, waiting: _Waiting) -> bool:
        now = self._clock.seconds()
        connected = (known for known in self._roster if known.is_connected(now))
        return any(not self._has_applied(known, waiting.key, waiting.number) for known in connected)

    def _has_applied(self, known: Known, key: str, number: int) -> bool:
        """Whether it has confirmed all up to an event that it is told of. Of a key that it selects out it need not."""
        streams = known.streams
        if not key or (streams and not any(_selects(stream, key) for stream in streams)):
            return True
        if known.position is None:
            return False
        later = map(self._journal.entry, range(number, known.position, -1))  # the last of them says it, mostly
        return not any(not streams or entry is None or any(each.admits(entry) for each in streams) for entry in later)

    def _shown(self, known: Known, key: str = "", number: int = 0) -> ConsumerState:
        position, journal, now = known.position, self._journal, self._clock.seconds()
        return ConsumerState(
            name=known.name,
            node=self._node,
            connected=known.is_connected(now),
            applied=self._has_applied(known, key, number),
            cursor=None if position is None else journal.cursor_at(position),
            behind=journal.number - (position or 0),
            at_ms=known.at_ms,
            report=None if key or not known.report else _reports.decode(known.report),
            instance=known.instance,
            age_s=now - known.began_at,
            idle_s=now - known.alive_at,
        )


@define(eq=False)
class ConsumerStream:
    """A stream of a consumer, and what its client confirms by way of it."""

    _consumers: Consumers
    _known: Known
    _selects: Selecting
    _ended: bool = False

    def confirm(self, confirmation: Confirmation) -> ConsumerState:
        """Note how far the client has got, also after its stream. Raises `Invalid` and `Full`."""
        known = self._known
        return self._consumers.confirm_as(known if known.listed else None, known.name, confirmation, known.origin)

    def end(self) -> None:
        """Note the end of the stream, once."""
        if not self._ended:
            self._ended = True
            self._consumers.end_stream(self._known, self._selects)


def _last_seen(known: Known) -> float:
    return known.seen_at


def _last_opened(known: Known) -> tuple[bool, bool, int, float]:
    """Those with a stream first, and of these the ones whose client gives no instance elsewhere either."""
    return bool(known.streams), not known.given, known.opened, known.seen_at


def _selects(stream: Selecting, key: str) -> bool:
    """Whether a stream tells of a registration."""
    _, app, version, *_ = key.split("/")
    return stream.app in (None, app) and stream.version in (None, version)
