"""The events of one node in the order in which it saw them, kept for watchers that reconnect.

An event is encoded once, when the first watcher reads it. A node that starts among 100,000 registrations makes as many
events and nine tenths of them are never read; encoding them all would take 0.2 s of the second that the start takes.

A journal knows no clock but the wall clock, whose times are shown to people, and no connections. A listener must never
call the node from its callback: the resulting events would overtake those that are being sent.

Listeners are notified of new events and then read them. They are notified in rounds, and a round of many listeners in
slices, because writing to 10,000 connections takes a tenth of a second. Events that happen during a round are sent
together in the next one, so the delay stays bounded for any number of events and watchers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Protocol

import msgspec
from twisted.logger import Logger

from bender.core.diagnosis import PastEvent
from bender.core.model import registration
from bender.core.replica import Full
from bender.core.view import Change, Reason, ViewEvent
from bender.net.fair_shares import FairShares, NoPlace

#: The most events that are kept, and their bytes: at 200 events a second a watcher may be disconnected for 50 s.
EVENTS_MAX = 10_000
BYTES_MAX = 16 * 1024 * 1024

#: The default limit of watchers at one node, over all transports. Each costs some 15 µs for every event that it gets.
LISTENERS_MAX = 10_000

#: Watchers notified without a pause, which takes some 4 ms.
NOTIFIED_AT_ONCE = 256


class Entry:
    """One event as every watcher gets it: `line` is JSON with a newline at its end, of `size` bytes.

    The line contains the `cursor` too. `app` and `version` are those of a registration; None for other events.
    """

    __slots__ = ("app", "cursor", "line", "version")

    def __init__(self, cursor: str, line: bytes, app: str | None = None, version: str | None = None) -> None:
        self.cursor = cursor
        self.line = line
        self.app = app
        self.version = version

    @classmethod
    def of_event(cls, event: ViewEvent, cursor: str, at_ms: int) -> Entry:
        """Return the entry of an event at a time, in ms since the epoch."""
        app, version = _app_and_version(event)
        return cls(cursor, _line(event, at_ms, cursor), app, version)

    @property
    def size(self) -> int:
        """The bytes of the line."""
        return len(self.line)


def _app_and_version(event: ViewEvent) -> tuple[str, str] | tuple[None, None]:
    kind, *path = event.key.split("/", 3)
    return (path[0], path[1]) if kind == "registration" else (None, None)


#: About the bytes of an event's line without its body and its key.
_FORM_BYTES_ABOUT = 250


# Bodies are JSON already, so they are spliced in; nothing else here needs escaping.
_FORM = b'{"event":"%b","cursor":"%b","at":%b,"reason":"%b","%b":%b}\n'


def _line(event: ViewEvent, at_ms: int, cursor: str) -> bytes:
    kind = event.key.partition("/")[0]
    parts = (event.change, cursor, str(at_ms), event.reason, kind)
    body = registration(event.key, event.body, event.status) if kind == "registration" else event.body
    return _FORM % (*(part.encode() for part in parts), body)


class JournalListener(Protocol):
    """A listener for events of a journal."""

    @property
    def client(self) -> str:
        """The client whose listeners are counted together."""

    def on_events(self, since: int) -> None:
        """Read the new events: those up to number `since` were received before, or were not for this listener."""

    def end(self) -> None:
        """End: there will be no more events."""

    def displace(self, reason: str) -> None:
        """End: another client needs the place, and this client has the most listeners."""


class Journal:
    """The last events of a node, and the listeners for the next.

    A cursor is `prefix`, a hyphen and the number of an event. The prefix must differ after each start of a node, or a
    watcher would continue at a wrong event; and it must need no escaping in JSON or a URL. `call_soon` schedules a call
    for a later turn of the reactor.
    """

    _log = Logger()

    def __init__(
        self,
        prefix: str,
        wall_ms: Callable[[], int],
        call_soon: Callable[[Callable[[], None]], object],
        *,
        events_max: int = EVENTS_MAX,
        bytes_max: int = BYTES_MAX,
        listeners_max: int = LISTENERS_MAX,
    ) -> None:
        self.wall_ms = wall_ms
        #: The number of the last event, which is also the count of all events so far.
        self.last_number = 0
        #: The number of the last event of which all its listeners have been notified.
        self.last_delivered = 0
        self._call_soon = call_soon
        # The listeners that are still to be notified in the present round, and the number of the round's last event.
        self._undelivered: Iterator[JournalListener] | None = None
        self._delivering = 0
        self._prefix = prefix
        self._events_max = events_max
        self._bytes_max = bytes_max
        #: The limited number of listeners, shared among clients.
        self.places: FairShares[JournalListener] = FairShares(listeners_max)
        #: The counts of all events so far, by what happened and the reason.
        self.counts: dict[tuple[Change, Reason], int] = {}
        # An event and its time are replaced by an encoded entry when the first listener reads it.
        self._entries: dict[int, Entry | tuple[ViewEvent, int]] = {}
        self._bytes = 0
        # By app, because thousands may listen to one app each. The dicts are used as ordered sets.
        self._listeners: dict[str | None, dict[JournalListener, None]] = {None: {}}
        self._app_of: dict[JournalListener, str | None] = {}
        self._observers: list[Callable[[ViewEvent], None]] = []

    @property
    def listeners(self) -> int:
        """The number of listeners."""
        return len(self._app_of)

    # Writing.

    def append(self, events: Iterable[ViewEvent]) -> None:
        """Number and keep these events, and notify the listeners."""
        at_ms = self.wall_ms()
        counts = self.counts
        for event in events:
            self.last_number += 1
            counted = event.change, event.reason
            counts[counted] = counts.get(counted, 0) + 1
            self._keep(event, at_ms)
            for observe in self._observers:
                observe(event)
            # Early enough that no event is dropped before its listeners were notified.
            if self.last_number - self.last_delivered >= self._events_max // 2:
                self._deliver()
        self._deliver()

    def observe(self, observer: Callable[[ViewEvent], None]) -> None:
        """Call `observer` with each event from now on, before any listener is notified of it.

        Observers are for shells that keep a state derived from all events. They count against no limit, and no event is
        encoded for them. An observer must be quick and must not raise.
        """
        self._observers.append(observer)

    def close(self) -> None:
        """Notify all listeners that there will be no more events."""
        for listener in tuple(self._app_of):
            listener.end()

    def _keep(self, event: ViewEvent, at_ms: int) -> None:
        self._entries[self.last_number] = (event, at_ms)
        self._bytes += _bytes_about(event)
        while len(self._entries) > self._events_max or self._bytes > self._bytes_max:
            oldest = self._entries.pop(self.last_number + 1 - len(self._entries))
            self._bytes -= oldest.size if isinstance(oldest, Entry) else _bytes_about(oldest[0])

    def _deliver(self) -> None:
        """Begin a round of notifications, unless one is in progress: another round follows it then."""
        if self._undelivered is None and self.last_number > self.last_delivered:
            self._begin_round()
            self._continue_round()

    def _begin_round(self) -> None:
        apps: dict[str | None, None] = {None: None}
        if len(self._listeners) > 1:  # somebody listens to one app
            new = map(self.entry, range(self.last_delivered + 1, self.last_number + 1))
            apps |= dict.fromkeys(entry.app for entry in new if entry is not None)
        self._undelivered = iter([listener for app in apps for listener in self._listeners.get(app, ())])
        self._delivering = self.last_number

    def _continue_round(self) -> None:
        for _ in range(NOTIFIED_AT_ONCE):
            assert self._undelivered is not None
            listener = next(self._undelivered, None)
            if listener is None:
                self.last_delivered = self._delivering
                self._undelivered = None
                if self.last_number == self.last_delivered:
                    return
                self._begin_round()
            elif listener in self._app_of:
                self._deliver_to(listener)
        self._call_soon(self._continue_round)

    def _deliver_to(self, listener: JournalListener) -> None:
        """Notify a listener. An exception, which is a defect, ends this listener alone: the others are notified."""
        try:
            listener.on_events(self.last_delivered)
        except Exception:
            self._log.failure("Sending events to a watcher failed; its stream is closed.")
            self.unlisten(listener)
            listener.end()

    # Reading.

    @property
    def cursor(self) -> str:
        """The cursor after the last event."""
        return self.cursor_at(self.last_number)

    def cursor_at(self, number: int) -> str:
        """Return the cursor after the event with this number."""
        return f"{self._prefix}-{number}"

    @property
    def oldest_position(self) -> int:
        """The number of the event before the oldest kept one."""
        return self.last_number - len(self._entries)

    def position_before_last(self, count: int, app: str | None = None, version: str | None = None) -> int:
        """Return the number of the event before the last `count` kept ones; of an app and version, if given.

        With an app or a version it takes up to 5 ms.
        """
        if app is None and version is None:
            return max(self.oldest_position, self.last_number - count)
        newest_first = range(self.last_number, self.oldest_position, -1)
        admitted = (number for number in newest_first if _is_in(self._entries[number], app, version))
        return min(islice(admitted, count), default=self.last_number + 1) - 1

    def position(self, cursor: str) -> int | None:
        """Return the number of the event before a cursor; None if this journal does not have all later events."""
        number = cursor.rpartition("-")[2]
        # The length is checked first, because Python refuses to parse thousands of digits.
        if len(number) > len(str(self.last_number)) or not (number.isascii() and number.isdigit()):
            return None
        position = int(number)
        held = self.oldest_position <= position <= self.last_number
        return position if held and cursor == self.cursor_at(position) else None

    def entry(self, number: int) -> Entry | None:
        """Return the event with this number; None if it is no longer kept."""
        found = self._entries.get(number)
        if isinstance(found, tuple):
            event, at_ms = found
            entry = self._entries[number] = Entry.of_event(event, self.cursor_at(number), at_ms)
            self._bytes += entry.size - _bytes_about(event)
            return entry
        return found

    def past_events(self, key: str, count_max: int) -> tuple[PastEvent, ...]:
        """Return the last `count_max` kept events of one id, newest first. It takes up to 5 ms."""
        newest_first = (self._entries[number] for number in range(self.last_number, self.oldest_position, -1))
        mark = b'"id":"%b",' % msgspec.json.encode(key)[1:-1]
        found = (entry for entry in newest_first if _is_of(entry, key, mark))
        return tuple(_happened(entry) for entry in islice(found, count_max))

    # Listening.

    def listen(self, listener: JournalListener, app: str | None = None) -> None:
        """Notify `listener` of all events from now on, or only of those of one app's registrations.

        If it listens already, this replaces its app. At the maximum number of listeners, a client that has more of them
        than this one loses a listener, which is displaced. Raises `Full` if there is no such client.
        """
        if listener in self._app_of:
            self._drop_app(listener)
        else:
            self._take_place(listener)
        self._listeners.setdefault(app, {})[listener] = None
        self._app_of[listener] = app

    def _take_place(self, listener: JournalListener) -> None:
        maximum = self.places.maximum
        try:
            loser = self.places.take(listener, listener.client)
        except NoPlace:
            raise Full(
                f"this node has {maximum} subscribers, the maximum (--max-subscribers): end some, or use another node"
            ) from None
        if loser is not None:
            self._drop_app(loser)
            loser.displace(
                f"this node has {maximum} subscribers, the maximum (--max-subscribers), most of them from "
                f"{loser.client}: this subscription is ended to make room for another client"
            )

    def unlisten(self, listener: JournalListener) -> None:
        """Stop notifying `listener`; does nothing if it does not listen."""
        if listener in self._app_of:
            self.places.release(listener)
            self._drop_app(listener)

    def _drop_app(self, listener: JournalListener) -> None:
        app = self._app_of.pop(listener)
        del self._listeners[app][listener]
        if app is not None and not self._listeners[app]:
            del self._listeners[app]


def _bytes_about(event: ViewEvent) -> int:
    return _FORM_BYTES_ABOUT + 2 * len(event.key) + len(event.body)


def _is_in(entry: Entry | tuple[ViewEvent, int], app: str | None, version: str | None) -> bool:
    """Return True if an event is of this app and version; None admits all, but at least one of them is given."""
    if isinstance(entry, Entry):
        return app in (None, entry.app) and version in (None, entry.version)
    key = entry[0].key
    if app is not None and not key.startswith(f"registration/{app}/"):  # a cheap check that excludes most events
        return False
    return version is None or _app_and_version(entry[0])[1] == version


def _is_of(entry: Entry | tuple[ViewEvent, int], key: str, mark: bytes) -> bool:
    return mark in entry.line if isinstance(entry, Entry) else entry[0].key == key


def _happened(entry: Entry | tuple[ViewEvent, int]) -> PastEvent:
    if isinstance(entry, Entry):
        return msgspec.json.decode(entry.line, type=PastEvent)
    event, at_ms = entry
    return PastEvent(event.change, at_ms, event.reason)


def event_line(event: str, **fields: object) -> bytes:
    """Return the line of an event that has no number in the journal, such as a tick."""
    return msgspec.json.encode({"event": event, **fields}) + b"\n"


def snapshot_lines(kind: str, bodies: Iterable[bytes], cursor: str, at_ms: int) -> Iterable[Entry]:
    """Yield the present objects of a kind (`registration`, `backend`, `frontend`) as events of a snapshot."""
    what = b"online" if kind == "registration" else b"created"
    head = b'{"event":"%b","cursor":"%b","at":%d,"snapshot":true,"%b":' % (what, cursor.encode(), at_ms, kind.encode())
    for body in bodies:
        yield Entry(cursor, head + body + b"}\n")
