"""The events of one node in the order in which it saw them, kept for those who come back.

Each is encoded once, for the first who wants it: where nobody watches it costs nothing, and a node that starts among
100,000 registrations makes as many events, of which nobody will ever see nine tenths (0.2 s of the second it takes).

A journal knows no clock but the wall clock it is given, which is for people, and no connections. Whoever listens must
never call back into the node from there: the events that came of it would overtake those that are being told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from bender.core.replica import Full
from bender.core.view import Event

#: Events that are kept, and their bytes: at 200 events a second a watcher may be away for 50 s.
EVENTS_MAX = 10_000
BYTES_MAX = 16 * 1024 * 1024

#: Watchers at one node, of all transports together. Each costs some 40 µs with every event that it gets.
LISTENERS_MAX = 10_000


class Entry:
    """One event as every watcher gets it: `line` is JSON with a newline at its end, of `size` bytes.

    `cursor` stands in the line too. `app` and `version` are those of a registration, and None with all else.
    """

    __slots__ = ("_line", "_told", "app", "cursor", "size", "version")

    app: str | None
    version: str | None

    def __init__(self, cursor: str, line: bytes) -> None:
        self.cursor = cursor
        self.size = len(line)
        self.app = self.version = None
        self._line: bytes | None = line
        self._told: tuple[Event, int] | None = None

    @classmethod
    def told(cls, event: Event, cursor: str, at_ms: int) -> Entry:
        """A change of visibility at a time, encoded when somebody wants it."""
        entry = cls(cursor, b"")
        entry._line, entry._told = None, (event, at_ms)
        kind, *path = event.key.split("/")
        if kind == "registration":
            entry.app, entry.version = path[0], path[1]
        entry.size = _FORM_BYTES + sum(map(len, (event.what, cursor, str(at_ms), event.reason, kind, event.body)))
        return entry

    @property
    def line(self) -> bytes:
        if self._line is None:
            assert self._told is not None
            self._line = _line(*self._told, self.cursor)
            self._told = None
        return self._line


# Bodies are JSON already, so they are spliced in; nothing else here needs escaping.
_FORM = b'{"event":"%b","cursor":"%b","at":%b,"reason":"%b","%b":%b}\n'
_FORM_BYTES = len(_FORM) - 6 * len("%b")


def _line(event: Event, at_ms: int, cursor: str) -> bytes:
    kind = event.key.partition("/")[0]
    parts = (event.what, cursor, str(at_ms), event.reason, kind)
    return _FORM % (*(part.encode() for part in parts), event.body)


class Listener(Protocol):
    """Who is told of events. `heard` is called with each, in order, and `closed` when there will be no more."""

    def heard(self, entry: Entry) -> None: ...

    def closed(self) -> None: ...


class Journal:
    """The last events of a node, and who listens for the next.

    `prefix` stands before the number of an event in its cursor. It must be new with each start of a node, or a watcher
    would go on where it never was; and it must need no escaping in JSON or a URL.
    """

    def __init__(
        self,
        prefix: str,
        wall_ms: Callable[[], int],
        *,
        events_max: int = EVENTS_MAX,
        bytes_max: int = BYTES_MAX,
        listeners_max: int = LISTENERS_MAX,
    ) -> None:
        self.wall_ms = wall_ms
        #: How many events there have been; also the number of the last.
        self.number = 0
        self._prefix = prefix
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._listeners_max = listeners_max
        self._entries: dict[int, Entry] = {}
        self._bytes = 0
        # By app, because thousands may listen to one app each; dicts, because they keep the order.
        self._listeners: dict[str | None, dict[Listener, None]] = {None: {}}
        self._app_of: dict[Listener, str | None] = {}

    # Writing.

    def append(self, events: Iterable[Event]) -> None:
        """Number and keep these events, and tell all who listen, one event after the other."""
        at_ms = self.wall_ms()
        for event in events:
            self.number += 1
            entry = Entry.told(event, self.cursor, at_ms)
            self._keep(entry)
            self._tell(entry)

    def close(self) -> None:
        """Tell all who listen that there will be no more."""
        for listener in tuple(self._app_of):
            listener.closed()

    def _keep(self, entry: Entry) -> None:
        self._entries[self.number] = entry
        self._bytes += entry.size
        while len(self._entries) > self._events_max or self._bytes > self._bytes_max:
            oldest = self._entries.pop(self.number + 1 - len(self._entries))
            self._bytes -= oldest.size

    def _tell(self, entry: Entry) -> None:
        of_this_app = self._listeners.get(entry.app, ()) if entry.app is not None else ()
        for listener in (*self._listeners[None], *of_this_app):
            listener.heard(entry)

    # Reading.

    @property
    def cursor(self) -> str:
        """The place after the last event."""
        return f"{self._prefix}-{self.number}"

    def position(self, cursor: str) -> int | None:
        """The number of the event that a cursor stands after; None where what came later is not all known here."""
        number = cursor.rpartition("-")[2]
        # The length first: Python refuses to read thousands of digits.
        if len(number) > len(str(self.number)) or not (number.isascii() and number.isdigit()):
            return None
        position = int(number)
        held = self.number - len(self._entries) <= position <= self.number
        return position if held and cursor == f"{self._prefix}-{position}" else None

    def entry(self, number: int) -> Entry | None:
        """The event with this number; None where it is no longer held."""
        return self._entries.get(number)

    # Listening.

    def listen(self, listener: Listener, app: str | None = None) -> None:
        """Tell `listener` of everything from now on, or of the registrations of one app only.

        Who listens already listens so from now on. Raises `Full` where too many others do.
        """
        self.unlisten(listener)
        if len(self._app_of) >= self._listeners_max:
            raise Full(f"this node has {self._listeners_max} watchers, as many as it may have")
        self._listeners.setdefault(app, {})[listener] = None
        self._app_of[listener] = app

    def unlisten(self, listener: Listener) -> None:
        """Tell `listener` nothing more; it need not listen."""
        if listener not in self._app_of:
            return
        app = self._app_of.pop(listener)
        del self._listeners[app][listener]
        if app is not None and not self._listeners[app]:
            del self._listeners[app]


def said(event: str, **fields: object) -> bytes:
    """The line of something that is no change of visibility, such as a tick."""
    return msgspec.json.encode({"event": event, **fields}) + b"\n"


def snapshot_lines(kind: str, bodies: list[bytes], cursor: str, at_ms: int) -> Iterable[Entry]:
    """What is shown of a kind at present, as events. Takes the bodies out of the list, from its end."""
    what = b"online" if kind == "registration" else b"created"
    head = b'{"event":"%b","cursor":"%b","at":%d,"snapshot":true,"%b":' % (what, cursor.encode(), at_ms, kind.encode())
    while bodies:
        yield Entry(cursor, head + bodies.pop() + b"}\n")
