"""Log events as JSON, one object per line, for Loki, Elastic, jq and the like.

An object has `time` (RFC 3339, UTC, milliseconds), `level`, `namespace` and `message`, then the fields in the message
that are simple values, and `traceback` if the event has a failure. A field that is not part of the message is left out,
so the log as JSON never contains more than the log as text.

A line is always ASCII, because it has to be valid JSON in a file or terminal of any encoding.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from math import isfinite
from string import Formatter
from typing import Any

from twisted.logger import LogEvent, formatEvent
from twisted.python.failure import Failure

#: Keys with a fixed meaning. A field of the same name is only in the message.
RESERVED = ("time", "level", "namespace", "message", "traceback")

#: The largest integer that all programs read without loss. Larger ones are written as hexadecimal text.
INTEGER_MAX = 2**53 - 1

#: Formats whose field names are cached. There are fewer, unless a program makes a new format for each line.
_FORMATS_REMEMBERED = 1000


def json_line(event: LogEvent) -> str:
    """Return an event as a line of JSON with a newline. Never raises, whatever the event contains."""
    level, namespace, failure = event.get("log_level"), event.get("log_namespace"), event.get("log_failure")
    line = {
        "time": _timestamp(event.get("log_time")),
        "level": getattr(level, "name", "info"),
        "namespace": str(namespace or event.get("log_system") or "-"),
        "message": formatEvent(event),
        **dict(_fields(event)),
    }
    if isinstance(failure, Failure):
        line["traceback"] = failure.getTraceback()
    return f"{json.dumps({key: _readable(value) for key, value in line.items()}, separators=(',', ':'))}\n"


def _timestamp(seconds: Any) -> str | None:
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def _fields(event: LogEvent) -> Iterator[tuple[str, str | int | float | bool | None]]:
    """Yield the fields of the message that are simple values, with their names."""
    format_: Any = event.get("log_format")
    for name in _names_in(format_) if isinstance(format_, str) else ():
        value = event.get(name)
        if name in event and (value is None or isinstance(value, str | int | float)):
            yield name, value


@lru_cache(_FORMATS_REMEMBERED)
def _names_in(format_: str) -> tuple[str, ...]:
    """Return the names of the fields in a format, without those that Twisted adds and without reserved keys."""
    try:
        names = {name for _, name, _, _ in Formatter().parse(format_) if name}
    except ValueError:
        return ()
    return tuple(sorted(name for name in names if not name.startswith("log_") and name not in RESERVED))


def _readable(value: Any) -> Any:
    """Return the value, or a replacement that JSON can represent and programs can read."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # half a surrogate pair is not a character
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value) if abs(value) <= INTEGER_MAX else hex(value)  # Python prints no thousands of decimal digits
    return float(value) if isfinite(value) else str(value)
