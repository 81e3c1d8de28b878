"""Limit the number of log lines of the same kind, and log how many lines were suppressed.

Clients and peers cause log lines: a connection times out, a message is refused, no file descriptor is left for a
connection. An attacker could fill the disk with such lines, and hide important ones among them. So only a few lines of
each kind (lines with the same format) are logged in a window of time. The others are counted, and one line at the end
of the window has their number. The limit applies before all observers of the log, because Twisted causes such lines,
too.
"""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

#: Length of a window, which begins with the first line of a kind, in seconds.
WINDOW_S = 60.0

#: Lines of a kind in a window: a cluster of usual size logs about ten lines of a kind, one for each peer, after a cut.
LINES_MAX = 10

#: Lines of a kind in a window that follows a window with suppressed lines.
LINES_MAX_WHILE_BUSY = 1

#: Kinds that are counted separately. There are fewer, unless a program makes a new format for each line.
KINDS_MAX = 1000

#: The key of events that answer a signal of the operator. They are always logged.
OF_OPERATOR = "of_operator"

_NUMBERS = re.compile(r"[0-9]+")

# Twisted logs three lines for each connection that it closes because no file descriptor is left. This text replaces the
# first line; the other two are dropped.
_NO_DESCRIPTORS = (
    "No file descriptor is left: new connections are closed at once, existing ones go on. The limit of {limit} open "
    "files is too low (LimitNOFILE= of a systemd unit, ulimit -n of a shell)."
)
_REWORDED = {
    "EMFILE encountered; releasing reserved file descriptor.": _NO_DESCRIPTORS,
    "EMFILE recovery: Closed socket from {address}": None,
    "Re-reserving EMFILE recovery file descriptor.": None,
}

_Kind = tuple[str, str, str]

# The kind of all lines beyond `KINDS_MAX` kinds.
_OTHERS: _Kind = ("", "", "")


@define
class _Lines:
    """The lines of one kind in the present window."""

    remaining: int
    example: LogEvent
    suppressed: int = 0


@implementer(ILogObserver)
class LogLimiter:
    """Passes log events within the limit to `observer`.

    `clock` must not jump; `wall_s` returns the time of day in seconds since 1970.
    """

    def __init__(self, clock: IReactorTime, observer: ILogObserver, wall_s: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._observer = observer
        self._wall_s = wall_s
        self._kinds: dict[_Kind, _Lines] = {}

    def __call__(self, event: LogEvent) -> None:
        reworded = _reworded(event)
        if reworded is None:
            return
        if "log_io" in reworded or OF_OPERATOR in reworded:  # neither clients nor peers cause these
            self._observer(reworded)
            return
        kind = self._kind(reworded)
        lines = self._kinds.get(kind)
        if lines is None:
            lines = self._begin(kind, reworded, LINES_MAX if reworded is event else 1)
        if lines.remaining:
            lines.remaining -= 1
            self._observer(reworded)
        else:
            lines.suppressed += 1

    def _kind(self, event: LogEvent) -> _Kind:
        text = event.get("log_format") or ""
        if text in ("", "{log_text}"):
            text = _NUMBERS.sub("", str(event.get("log_text", "")))
        failure = event.get("log_failure")
        kind = (str(event.get("log_namespace", "")), text, "" if failure is None else failure.type.__name__)
        return kind if kind in self._kinds or len(self._kinds) < KINDS_MAX else _OTHERS

    def _begin(self, kind: _Kind, event: LogEvent, lines_max: int) -> _Lines:
        lines = self._kinds[kind] = _Lines(lines_max, event)
        self._clock.callLater(WINDOW_S, self._end, kind)
        return lines

    def _end(self, kind: _Kind) -> None:
        lines = self._kinds.pop(kind)
        if lines.suppressed:
            self._begin(kind, lines.example, LINES_MAX_WHILE_BUSY)
            self._observer(self._summary(kind, lines))

    def _summary(self, kind: _Kind, lines: _Lines) -> LogEvent:
        """Return the event with the number of suppressed lines, and with their namespace and level."""
        about = {key: lines.example.get(key) for key in ("log_namespace", "log_source", "log_level", "log_logger")}
        like = formatEvent(lines.example)
        if kind == _OTHERS:
            about, like = {"log_namespace": __name__, "log_level": LogLevel.warn}, "lines of many kinds"
        return {
            **about,
            "log_time": self._wall_s(),
            "log_format": "{count} more lines like this in the last {seconds:g} s: {like}",
            "count": f"{lines.suppressed:,}",
            "seconds": WINDOW_S,
            "like": like,
        }


def _reworded(event: LogEvent) -> LogEvent | None:
    """Return the event as it is to be logged; None for an event to drop."""
    text: Any = event.get("log_format")
    no_descriptor = event.get("acceptError") == "EMFILE"
    if text not in _REWORDED and not no_descriptor:
        return event
    instead = _NO_DESCRIPTORS if no_descriptor else _REWORDED[text]
    if instead is None:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {**event, "log_format": instead, "log_level": LogLevel.warn, "log_namespace": __name__, "limit": limit}
