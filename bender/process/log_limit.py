"""Limit how often the log has lines of the same kind, and say how many were suppressed.

Clients and peers cause lines of the log: a connection that times out, a message that is refused, a connection that
finds no file descriptor left. An attacker could fill the disk with them, and hide what matters. So a few
lines of each kind (those with the same format) are logged in a while; the others are counted, and one line says how
many there were. It stands before all observers of the log, because Twisted's own lines are among those.
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

#: Seconds after the first line of a kind in which others of it are limited.
WINDOW_S = 60.0

#: Lines of a kind in that time: a cluster of some size has as many peers to name after a cut.
LINES_MAX = 10

#: The same in a window that follows one with suppressed lines.
LINES_MAX_WHILE_BUSY = 1

#: Kinds that are told apart; there are fewer, unless a text is made anew each time.
KINDS_MAX = 1000

#: The key of events that answer an operator's signal: they are logged always.
OF_OPERATOR = "of_operator"

_NUMBERS = re.compile(r"[0-9]+")

# Twisted logs three lines for each connection that it must close for lack of a file descriptor. The first is replaced
# by this text, the others are dropped.
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

# All kinds beyond `KINDS_MAX`.
_OTHERS: _Kind = ("", "", "")


@define
class _Lines:
    """The lines of one kind in the present window."""

    remaining: int
    example: LogEvent
    suppressed: int = 0


@implementer(ILogObserver)
class LogLimiter:
    """Passes on to `observer` the lines within the limit. `clock` does not jump; `wall_s` is the time of day."""

    def __init__(self, clock: IReactorTime, observer: ILogObserver, wall_s: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._observer = observer
        self._wall_s = wall_s
        self._kinds: dict[_Kind, _Lines] = {}

    def __call__(self, event: LogEvent) -> None:
        reworded = _reworded(event)
        if reworded is None:
            return
        if "log_io" in reworded or OF_OPERATOR in reworded:  # nobody else causes these
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
        """Return the line that says how many were suppressed, with their origin."""
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
    """Return the event as it is to be logged; None if it says nothing new."""
    text: Any = event.get("log_format")
    no_descriptor = event.get("acceptError") == "EMFILE"
    if text not in _REWORDED and not no_descriptor:
        return event
    instead = _NO_DESCRIPTORS if no_descriptor else _REWORDED[text]
    if instead is None:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {**event, "log_format": instead, "log_level": LogLevel.warn, "log_namespace": __name__, "limit": limit}
