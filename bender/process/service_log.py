"""Apply the log options to the log of this process.

`twistd` and `twist` decide where the log goes; they begin it after the options are known, and before anything runs.
`ServiceLog` stands in front of their observers: it filters by level, applies the format, and later limits repeated
lines (`log_limit`). So the first line is in the chosen format already, and both options change at once after SIGHUP.
The log at syslog has the level of these options, but is always text.

What Python's `logging` gets, from libraries that do not know Twisted, goes the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogBeginner,
    LogEvent,
    Logger,
    LogLevel,
    LogPublisher,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from bender.process.json_log import json_line
from bender.process.log_files import LogFiles
from bender.process.log_limit import OF_OPERATOR, LogLimiter
from bender.process.log_options import LogSettings, log_changes


@implementer(ILogObserver)
class ServiceLog:
    """Stands between the events of this process and the observers that write them."""

    def __init__(self, settings: LogSettings, libraries: logging.Logger | None = None) -> None:
        """`libraries` is the logger of Python's `logging` that gets what libraries log, if not the root."""
        self._libraries = libraries or logging.getLogger()
        self._observers = LogPublisher()
        self._next: ILogObserver = self._observers
        #: The files that are written.
        self.files = LogFiles(())
        self._use(settings)

    def insert_before(self, beginner: LogBeginner) -> None:
        """Take the place of the observers that the log is begun with, and pass on to them."""
        begin = beginner.beginLoggingTo

        def begin_with_this(
            observers: Iterable[ILogObserver], discardBuffer: bool = False, redirectStandardIO: bool = True
        ) -> None:
            self.set_observers([*observers])
            begin([self], discardBuffer, redirectStandardIO)

        beginner.beginLoggingTo = begin_with_this  # type: ignore[method-assign]
        self._libraries.addHandler(LibraryLogs(self))

    def set_observers(self, observers: Sequence[ILogObserver]) -> None:
        """Pass on to these observers from now on."""
        found = [_file_observer(observer) for observer in observers]
        in_files = [observer for observer in found if observer is not None]
        for observer in in_files:
            self._choose_format(observer)
        for each in observers:
            self._observers.addObserver(each)
        self.files = LogFiles(in_files)

    def limit_repeats(self, clock: IReactorTime) -> None:
        """Limit the lines of one kind from now on."""
        self._next = LogLimiter(clock, self._observers)

    def change(self, settings: LogSettings) -> list[str]:
        """Use these settings from now on, and return what differs."""
        changed = log_changes(self._settings, settings)
        self._use(settings)
        return changed

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level")
        if level is None or level >= self._level or OF_OPERATOR in event:
            self._next(event)

    def _use(self, settings: LogSettings) -> None:
        self._settings = settings
        self._level = LogLevel.lookupByName(settings.level)
        self._libraries.setLevel(settings.level.upper())

    def _choose_format(self, observer: FileLogObserver) -> None:
        as_text = observer.formatEvent

        def format_event(event: LogEvent) -> str | None:
            return json_line(event) if self._settings.format == "json" else as_text(event)

        observer.formatEvent = format_event


def _file_observer(observer: ILogObserver) -> FileLogObserver | None:
    """Return the observer that writes to a file or stream, if there is one; `twist` puts a filter before its own."""
    if isinstance(observer, FilteringLogObserver):
        observer = observer._observer  # noqa: SLF001 - there is no other way to know it
    return observer if isinstance(observer, FileLogObserver) else None


class LibraryLogs(logging.Handler):
    """Passes on to an observer what Python's `logging` gets."""

    def __init__(self, observer: ILogObserver) -> None:
        super().__init__()
        self._observer = observer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except (KeyError, TypeError, ValueError):  # the arguments do not fit the text, which says more than nothing
            text = str(record.msg)
        level = _level_of(record.levelno)
        log = Logger(record.name, observer=self._observer)
        if record.exc_info and record.exc_info[1] is not None:
            log.emit(level, "{log_text}", log_text=text, log_failure=Failure(record.exc_info[1]))
        else:
            log.emit(level, "{log_text}", log_text=text)


def _level_of(number: int) -> Any:
    """Return the level of Twisted for one of Python's, which are numbers."""
    levels = {50: LogLevel.critical, 40: LogLevel.error, 30: LogLevel.warn, 20: LogLevel.info}
    return next((level for least, level in levels.items() if number >= least), LogLevel.debug)
