"""The events of one node in the order in which it saw them, kept for watchers that come back.

Each is encoded once, for the first watcher that takes it: without watchers it costs nothing, and a node that starts
among 100,000 registrations makes as many events, nine tenths of which are never read (0.2 s of the second it takes).

A journal knows no clock but the wall clock it is given, which is for people, and no connections. A listener must
never call back into the node from there: the events that came of it would overtake those that are being sent.

Listeners are notified that there is something new, and look it up: in rounds, and a round of very many in slices,
because to write to 10,000 connections takes a tenth of a second. What happens during a round is sent in the next one,
together, so that no number of events and watchers can make this fall ever further behind.
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
from bender.core.view import Reason, ViewEvent, What
from bender.net.fair_shares import FairShares, NoPlace

#: Events that are kept, and their bytes: at 200 events a second a watcher may be away for 50 s.
EVENTS_MAX = 10_000
BYTES_MAX = 16 * 1024 * 1024

#: Watchers at one node, of all transports together, unless the node has another limit. Each costs some 15 µs with every
#: event that it gets.
LISTENERS_MAX = 10_000

#: Watchers notified in one go, which takes some 4 ms.
NOTIFIED_AT_ONCE = 256


class Entry:
    """One event as every watcher gets it: `line` is JSON with a newline at its end, of `size` bytes.

    `cursor` stands in the line too. `app` and `version` are those of a registration, and None with all else.
    """

    __slots__ = ("app", "cursor", "line", "version")

    def __init__(self, cursor: str, line: bytes, app: str | None = None, version: str | None = None) -> None:
        self.cursor = cursor
        self.line = line
        self.app = app
        self.version = version

    @classmethod
    def of_event(cls, event: ViewEvent, cursor: str, at_ms: int) -> Entry:
        """A change of visibility at a time."""
        app, version = _app_and_version(event)
        return cls(cursor, _line(event, at_ms, cursor), app, version)

    @property
    def size(self) -> int:
        return len(self.line)


def _app_and_version(event: ViewEvent) -> tuple[str, str] | tuple[None, None]:
    kind, *path = event.key.split("/", 3)
    return (path[0], path[1]) if kind == "registration" else (None, None)


#: About the bytes that an event takes beside its body and its key.
_FORM_BYTES_ABOUT = 250


# Bodies are JSON already, so they are spliced in; nothing else here needs escaping.
_FORM = b'{"event":"%b","cursor":"%b","at":%b,"reason":"%b","%b":%b}\n'


def _line(event: ViewEvent, at_ms: int, cursor: str) -> bytes:
    kind = event.key.partition("/")[0]
    parts = (event.what, cursor, str(at_ms), event.reason, kind)
    body = registration(event.key, event.body, event.status) if kind == "registration" else event.body
    return _FORM % (*(part.encode() for part in parts), body)


class JournalListener(Protocol):
    """A listener for events: `on_events` is called when there are some, and `closed` when there will be no more.

    What came up to the event number `since` it has received before, or was not concerned by. `displaced` is called
    when it listens no more because its `client` has the most listeners, and another client needs the place.
    """

    @property
    def client(self) -> str: ...

    def on_events(self, since: int) -> None: ...

    def closed(self) -> None: ...

    def displaced(self, why: str) -> None: ...


class Journal:
    """The last events of a node, and the listeners for the next.

    `prefix` stands before the number of an event in its cursor. It must be new with each start of a node, or a watcher
    would go on where it never was; and it must need no escaping in JSON or a URL. `later` calls what it is given when
    others had their turn.
    """

    _log = Logger()

    def __init__(
        self,
        prefix: str,
        wall_ms: Callable[[], int],
        later: Callable[[Callable[[], None]], object],
        *,
        events_max: int = EVENTS_MAX,
        bytes_max: int = BYTES_MAX,
        listeners_max: int = LISTENERS_MAX,
    ) -> None:
        self.wall_ms = wall_ms
        #: How many events there have been; also the number of the last.
        self.number = 0
        #: The number of the last event that all were told of whom it concerns.
        self.delivered = 0
        self._later = later
        # The others of the present round, and the number of the last event that it tells of.
        self._undelivered: Iterator[JournalListener] | None = None
        self._delivering = 0
        self._prefix = prefix
        self._events_max = events_max
        self._bytes_max = bytes_max
        #: The places of the listeners.
        self.places: FairShares[JournalListener] = FairShares(listeners_max)
        #: How many events there have been, by what happened and the reason.
        self.counts: dict[tuple[What, Reason], int] = {}
        # Each is encoded for the first listener that takes it; until then there is only what happened, and when.
        self._entries: dict[int, Entry | tuple[ViewEvent, int]] = {}
        self._bytes = 0
        # By app, because thousands may listen to one app each; dicts, because they keep the order.
        self._listeners: dict[str | None, dict[JournalListener, None]] = {None: {}}
        self._app_of: dict[JournalListener, str | None] = {}
        self._observers: list[Callable[[ViewEvent], None]] = []

    @property
    def listeners(self) -> int:
        """The number of listeners."""
        return len(self._app_of)

    # Writing.

    def append(self, events: Iterable[ViewEvent]) -> None:
        """Number and keep these events, and notify all listeners, one event after the other."""
        at_ms = self.wall_ms()
        counts = self.counts
        for event in events:
            self.number += 1
            counted = event.what, event.reason
            counts[counted] = counts.get(counted, 0) + 1
            self._keep(event, at_ms)
            for observe in self._observers:
                observe(event)
            # Well before the first that nobody was told of goes.
            if self.number - self.delivered >= self._events_max // 2:
                self._deliver()
        self._deliver()

    def observe(self, observer: Callable[[ViewEvent], None]) -> None:
        """Call `observer` with each event from now on, before any listener is notified of it.

        It is for a shell that keeps something of all events for its clients: it needs no place, and nothing is encoded
        for it. It must be quick and must not raise.
        """
        self._observers.append(observer)

    def close(self) -> None:
        """Notify all listeners that there will be no more events."""
        for listener in tuple(self._app_of):
            listener.closed()

    def _keep(self, event: ViewEvent, at_ms: int) -> None:
        self._entries[self.number] = (event, at_ms)
        self._bytes += _bytes_about(event)
        while len(self._entries) > self._events_max or self._bytes > self._bytes_max:
            oldest = self._entries.pop(self.number + 1 - len(self._entries))
            self._bytes -= oldest.size if isinstance(oldest, Entry) else _bytes_about(oldest[0])

    def _deliver(self) -> None:
        """Begin a round, unless one is going on, which will be followed by another."""
        if self._undelivered is None and self.number > self.delivered:
            self._begin_round()
            self._go_round()

    def _begin_round(self) -> None:
        apps: dict[str | None, None] = {None: None}
        if len(self._listeners) > 1:  # somebody listens to one app
            new = map(self.entry, range(self.delivered + 1, self.number + 1))
            apps |= dict.fromkeys(entry.app for entry in new if entry is not None)
        self._undelivered = iter([listener for app in apps for listener in self._listeners.get(app, ())])
        self._delivering = self.number

    def _go_round(self) -> None:
        for _ in range(NOTIFIED_AT_ONCE):
            assert self._undelivered is not None
            listener = next(self._undelivered, None)
            if listener is None:
                self.delivered = self._delivering
                self._undelivered = None
                if self.number == self.delivered:
                    return
                self._begin_round()
            elif listener in self._app_of:
                self._deliver_to(listener)
        self._later(self._go_round)

    def _deliver_to(self, listener: JournalListener) -> None:
        """Notify a listener; if it fails, because of a defect, the others must be notified all the same."""
        try:
            listener.on_events(self.delivered)
        except Exception:
            self._log.failure("Sending events to a watcher failed; its stream is closed.")
            self.unlisten(listener)
            listener.closed()

    # Reading.

    @property
    def cursor(self) -> str:
        """The cursor after the last event."""
        return self.cursor_at(self.number)

    def cursor_at(self, number: int) -> str:
        """Return the cursor after the event with a number."""
        return f"{self._prefix}-{number}"

    @property
    def held_after(self) -> int:
        """The number of the event before the oldest that is held."""
        return self.number - len(self._entries)

    def before_last(self, count: int, app: str | None = None, version: str | None = None) -> int:
        """Return the number of the event before the last `count` that are held, of an app and a version if given.

        With an app or a version it takes up to 5 ms.
        """
        if app is None and version is None:
            return max(self.held_after, self.number - count)
        newest_first = range(self.number, self.held_after, -1)
        admitted = (number for number in newest_first if _is_in(self._entries[number], app, version))
        return min(islice(admitted, count), default=self.number + 1) - 1

    def position(self, cursor: str) -> int | None:
        """Return the number of the event before a cursor; None if not all later events are known here."""
        number = cursor.rpartition("-")[2]
        # The length first: Python refuses to read thousands of digits.
        if len(number) > len(str(self.number)) or not (number.isascii() and number.isdigit()):
            return None
        position = int(number)
        held = self.held_after <= position <= self.number
        return position if held and cursor == self.cursor_at(position) else None

    def entry(self, number: int) -> Entry | None:
        """Return the event with this number; None if it is no longer held."""
        found = self._entries.get(number)
        if isinstance(found, tuple):
            event, at_ms = found
            entry = self._entries[number] = Entry.of_event(event, self.cursor_at(number), at_ms)
            self._bytes += entry.size - _bytes_about(event)
            return entry
        return found

    def happened(self, key: str, count_max: int) -> tuple[PastEvent, ...]:
        """Return the last events of one id, newest first, as far as they are held. It takes up to 5 ms."""
        newest_first = (self._entries[number] for number in range(self.number, self.held_after, -1))
        mark = b'"id":"%b",' % msgspec.json.encode(key)[1:-1]
        found = (entry for entry in newest_first if _is_of(entry, key, mark))
        return tuple(_happened(entry) for entry in islice(found, count_max))

    # Listening.

    def listen(self, listener: JournalListener, app: str | None = None) -> None:
        """Notify `listener` of everything from now on, or of the registrations of one app only.

        If it listens already, this replaces its app. Raises `Full` if there are too many others, unless a client that
        has more of them can lose one for this.
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
            loser.displaced(
                f"this node has {maximum} subscribers, the maximum (--max-subscribers), most of them from "
                f"{loser.client}: another client needs the place of this one"
            )

    def unlisten(self, listener: JournalListener) -> None:
        """Notify `listener` no more; it need not be a listener."""
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
    """Return True if an event is of an app, or of any for None, and likewise of a version; one of them is given."""
    if isinstance(entry, Entry):
        return app in (None, entry.app) and version in (None, entry.version)
    key = entry[0].key
    if app is not None and not key.startswith(f"registration/{app}/"):  # most are left out by this alone
        return False
    return version is None or _app_and_version(entry[0])[1] == version


def _is_of(entry: Entry | tuple[ViewEvent, int], key: str, mark: bytes) -> bool:
    return mark in entry.line if isinstance(entry, Entry) else entry[0].key == key


def _happened(entry: Entry | tuple[ViewEvent, int]) -> PastEvent:
    if isinstance(entry, Entry):
        return msgspec.json.decode(entry.line, type=PastEvent)
    event, at_ms = entry
    return PastEvent(event.what, at_ms, event.reason)


def event_line(event: str, **fields: object) -> bytes:
    """Return the line of an event that is not a change of visibility, such as a tick."""
    return msgspec.json.encode({"event": event, **fields}) + b"\n"


def snapshot_lines(kind: str, bodies: Iterable[bytes], cursor: str, at_ms: int) -> Iterable[Entry]:
    """Yield the objects of a kind that are shown at present, as events."""
    what = b"online" if kind == "registration" else b"created"
    head = b'{"event":"%b","cursor":"%b","at":%d,"snapshot":true,"%b":' % (what, cursor.encode(), at_ms, kind.encode())
    for body in bodies:
        yield Entry(cursor, head + body + b"}\n")
