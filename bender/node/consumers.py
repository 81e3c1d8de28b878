"""The consumers of this node's events, and the events that they have confirmed.

A watcher receives events. A consumer also has a name and confirms the events that it has applied, so that clients can
wait for it: before an instance stops, no load balancer may send requests to it any more. A cursor is valid at one node
only, so each node knows its own consumers, and asks the other nodes for theirs.

If two programs have one name by mistake, clients must wait for both. So a consumer is an instance of a name: a token
that the program chose at its start. Clients that send no token are distinguished by their connections while they have
a stream, and by their addresses otherwise.
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
from bender.node.consumer_limits import ConsumerTable, EventFilter, KnownConsumer, Origin
from bender.node.journal import Journal

#: Seconds for which a consumer without a stream counts as connected after each request: longer than the longest poll.
PRESENT_S = 90.0

#: Seconds for which a disconnected consumer is still listed, so that an operator sees that it is missing.
REMEMBERED_S = 600.0


#: The origin of clients that are not connected over a network.
LOCAL_ORIGIN = Origin()

# A report is kept encoded, because as objects it takes up to ten times as much memory.
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
        self._table = ConsumerTable()
        self._waiting: list[_Waiting] = []
        self._openings = count(1)
        #: The number of consumers that were added since the start.
        self.added_count = 0

    # Streams and confirmations.

    def connect(
        self, name: str, event_filter: EventFilter, origin: Origin = LOCAL_ORIGIN, instance: str | None = None
    ) -> ConsumerStream:
        """Begin a stream of a consumer. Raises `Full`.

        A consumer without another stream may have been restarted, so its confirmations and its report are dropped.
        """
        known = self._following(name, origin, instance)
        if not known.streams:
            known.position = None
            self._table.keep_report(known, b"")
        known.streams.append(event_filter)
        known.has_streamed = True
        known.opened = next(self._openings)
        known.alive_at = known.seen_at = self._clock.seconds()
        return ConsumerStream(self, known, event_filter)

    def end_stream(self, known: KnownConsumer, event_filter: EventFilter) -> None:
        """Note the end of a stream."""
        known.streams.remove(event_filter)
        known.seen_at = self._clock.seconds()
        self._look()

    def confirm(self, name: str, confirmation: Confirmation, origin: Origin = LOCAL_ORIGIN) -> ConsumerState:
        """Note that a consumer has applied all events up to a cursor, and its report. Raises `Invalid` and `Full`.

        Without a cursor, only the report is noted. On failure the consumer is unchanged.
        """
        return self.confirm_as(self._confirming(name, origin, confirmation.instance), name, confirmation, origin)

    def confirm_as(
        self, found: KnownConsumer | None, name: str, confirmation: Confirmation, origin: Origin
    ) -> ConsumerState:
        """Note a confirmation of a consumer as `confirm` does; `found` is the consumer, or None to add it."""
        now = self._clock.seconds()
        position = None if confirmation.cursor is None else self._journal.position(confirmation.cursor)
        if position is None and confirmation.cursor is not None:
            raise Invalid("cursor", "is not from this node, or too old: send the cursor of a later event")
        known = found or self._new(name, Origin(origin.host), confirmation.instance)
        report = known.report if confirmation.report is None else _encoded(confirmation.report)
        self._table.require_room(known, report, now)
        if found is None:
            self._add(known, streaming=False)
        self._table.keep_report(known, report, now)
        if position is not None:
            known.position = max(position, known.position or 0)
            known.at_ms = self._journal.wall_ms()
        known.alive_at = known.seen_at = now
        known.present_until = now + PRESENT_S
        self._look()
        return self._shown(known)

    def _following(self, name: str, origin: Origin, instance: str | None) -> KnownConsumer:
        """Return the consumer of a new stream; add it if it is not known.

        Without an instance it is the consumer at this address whose stream ended last: it may have reconnected.
        """
        if instance is not None:
            known = self._table.get(name, instance)
        else:
            here = (each for each in self._at(name, origin) if not each.sent_instance and not each.streams)
            known = max(here, key=_last_seen, default=None)
            if known is not None and known.instance != str(origin):
                self._table.rename(known, self._table.new_instance(name, origin))
        if known is None:
            known = self._new(name, origin, instance)
            self._add(known, streaming=True)
        return known

    def _confirming(self, name: str, origin: Origin, instance: str | None) -> KnownConsumer | None:
        """Return the consumer of a confirmation; None if it is not known.

        Without an instance it is the consumer at this address that opened its stream last. If there are several, the
        others never confirm, and so never count as having applied a change.
        """
        if instance is not None:
            return self._table.get(name, instance)
        return max(self._at(name, origin), key=_last_opened, default=None)

    def _at(self, name: str, origin: Origin) -> list[KnownConsumer]:
        return [each for each in self._table.instances_of(name) if each.origin.host == origin.host]

    def _new(self, name: str, origin: Origin, instance: str | None) -> KnownConsumer:
        label = self._table.new_instance(name, origin) if instance is None else instance
        given = instance is not None
        return KnownConsumer(name, label, given, origin, self._clock.seconds(), self._journal.wall_ms())

    def _add(self, known: KnownConsumer, *, streaming: bool) -> None:
        self._forget()
        self._table.add(known, self._clock.seconds(), streaming=streaming)
        self.added_count += 1
        self._look()  # a consumer that others wait for may have been evicted

    def _forget(self) -> None:
        self._table.forget(self._clock.seconds() - REMEMBERED_S)

    # Queries.

    def states(self, key: str = "", number: int = 0) -> tuple[ConsumerState, ...]:
        """Return the states of all consumers, sorted by name, and whether each has applied the events of a key.

        The events are those up to `number`. With a key, the reports are left out, because they may be large.
        """
        self._forget()
        return tuple(self._shown(known, key, number) for known in self._table.in_order())

    @property
    def any_connected(self) -> bool:
        now = self._clock.seconds()
        return any(known.is_connected(now) for known in self._table)

    def connected_instances(self, names: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Return the names and instances of the connected consumers with one of these names."""
        now = self._clock.seconds()
        consumers = chain.from_iterable(map(self._table.instances_of, names))
        return ((known.name, known.instance) for known in consumers if known.is_connected(now))

    def shared_names(self) -> set[str]:
        """Return the names that more than one consumer has, connected or not."""
        return self._table.shared_names()

    async def until_applied(self, key: str, number: int, within_s: float) -> tuple[ConsumerState, ...]:
        """Wait until all connected consumers have applied a key's events up to `number`; return the states of all.

        Waits for `within_s` at most.
        """
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
        return self.states(key, number)

    def end(self) -> None:
        """End all waiting, because this node stops."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.done.callback(None)

    def _look(self) -> None:
        """End the waits that are over; call this after a consumer has confirmed, disconnected or was evicted."""
        done = [waiting for waiting in self._waiting if not self._lacking(waiting)]
        for waiting in done:
            self._waiting.remove(waiting)
            waiting.done.callback(None)

    def _lacking(self, waiting: _Waiting) -> bool:
        now = self._clock.seconds()
        connected = (known for known in self._table if known.is_connected(now))
        return any(not self._has_applied(known, waiting.key, waiting.number) for known in connected)

    def _has_applied(self, known: KnownConsumer, key: str, number: int) -> bool:
        """Return True if a consumer has confirmed all events up to `number` that it receives.

        It is also True if none of its streams selects the key, so that there is nothing to confirm.
        """
        streams = known.streams
        if not key or (streams and not any(_admits_key(stream, key) for stream in streams)):
            return True
        if known.position is None:
            return False
        later = map(self._journal.entry, range(number, known.position, -1))  # mostly the last event decides
        return not any(not streams or entry is None or any(each.admits(entry) for each in streams) for entry in later)

    def _shown(self, known: KnownConsumer, key: str = "", number: int = 0) -> ConsumerState:
        position, journal, now = known.position, self._journal, self._clock.seconds()
        return ConsumerState(
            name=known.name,
            node=self._node,
            connected=known.is_connected(now),
            applied=self._has_applied(known, key, number),
            cursor=None if position is None else journal.cursor_at(position),
            behind=journal.last_number - (position or 0),
            at_ms=known.at_ms,
            report=None if key or not known.report else _reports.decode(known.report),
            instance=known.instance,
            age_s=now - known.began_at,
            idle_s=now - known.alive_at,
        )


@define(eq=False)
class ConsumerStream:
    """A stream of a consumer, over which its client confirms events."""

    _consumers: Consumers
    _known: KnownConsumer
    _admits_key: EventFilter
    _ended: bool = False

    def confirm(self, confirmation: Confirmation) -> ConsumerState:
        """Note a confirmation, also after the end of the stream. Raises `Invalid` and `Full`."""
        known = self._known
        return self._consumers.confirm_as(known if known.in_table else None, known.name, confirmation, known.origin)

    def end(self) -> None:
        """Note the end of the stream, once."""
        if not self._ended:
            self._ended = True
            self._consumers.end_stream(self._known, self._admits_key)


def _last_seen(known: KnownConsumer) -> float:
    return known.seen_at


def _last_opened(known: KnownConsumer) -> tuple[bool, bool, int, float]:
    """Return the rank for a confirmation without an instance: with a stream first, then without a sent instance."""
    return bool(known.streams), not known.sent_instance, known.opened, known.seen_at


def _admits_key(stream: EventFilter, key: str) -> bool:
    """Return True if a stream selects the events of a registration."""
    _, app, version, *_ = key.split("/")
    return stream.app in (None, app) and stream.version in (None, version)
