"""Apply the log options to the log of this process.

`twistd` and `twist` decide where the log goes. They begin the log after the options are parsed, and before any service
runs. `ServiceLog` receives all events before their observers: it filters by level, sets the format, and later limits
repeated lines (`log_limit`). So even the first line has the configured format, and a change of the options after SIGHUP
takes effect at once. Lines for syslog are filtered by level, too, but are always text.

Events of Python's `logging`, which libraries without Twisted use, are treated in the same way.
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
    """Filters the log events of this process, and passes them to the observers that write them."""

    def __init__(self, settings: LogSettings, libraries: logging.Logger | None = None) -> None:
        """`libraries` is the logger of Python's `logging` whose events are passed on, by default the root logger."""
        self._libraries = libraries or logging.getLogger()
        self._observers = LogPublisher()
        self._next: ILogObserver = self._observers
        #: The files that the log is written to.
        self.files = LogFiles(())
        self._use(settings)

    def insert_before(self, beginner: LogBeginner) -> None:
        """Become the observer with which `beginner` begins the log, and pass events to the observers given to it."""
        begin = beginner.beginLoggingTo

        def begin_with_self(
            observers: Iterable[ILogObserver], discardBuffer: bool = False, redirectStandardIO: bool = True
        ) -> None:
            self.set_observers([*observers])
            begin([self], discardBuffer, redirectStandardIO)

        beginner.beginLoggingTo = begin_with_self  # type: ignore[method-assign]
        self._libraries.addHandler(LibraryLogs(self))

    def set_observers(self, observers: Sequence[ILogObserver]) -> None:
        """Pass events to these observers from now on."""
        found = [_file_observer(observer) for observer in observers]
        file_observers = [observer for observer in found if observer is not None]
        for file_observer in file_observers:
            self._set_format(file_observer)
        for observer in observers:
            self._observers.addObserver(observer)
        self.files = LogFiles(file_observers)

    def limit_repeats(self, clock: IReactorTime) -> None:
        """Limit the number of lines of each kind from now on."""
        self._next = LogLimiter(clock, self._observers)

    def change(self, settings: LogSettings) -> list[str]:
        """Use these settings from now on, and return a clause for each option that has changed."""
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

    def _set_format(self, observer: FileLogObserver) -> None:
        as_text = observer.formatEvent

        def format_event(event: LogEvent) -> str | None:
            return json_line(event) if self._settings.format == "json" else as_text(event)

        observer.formatEvent = format_event


def _file_observer(observer: ILogObserver) -> FileLogObserver | None:
    """Return the observer that writes to a file or stream, which `twist` wraps in a filter; None for any other."""
    if isinstance(observer, FilteringLogObserver):
        observer = observer._observer  # noqa: SLF001 - Twisted has no public name for it
    return observer if isinstance(observer, FileLogObserver) else None


class LibraryLogs(logging.Handler):
    """Passes the records of Python's `logging` to an observer of Twisted."""

    def __init__(self, observer: ILogObserver) -> None:
        super().__init__()
        self._observer = observer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except (KeyError, TypeError, ValueError):  # the arguments do not fit the text: log the text without them
            text = str(record.msg)
        level = _level_of(record.levelno)
        log = Logger(record.name, observer=self._observer)
        if record.exc_info and record.exc_info[1] is not None:
            log.emit(level, "{log_text}", log_text=text, log_failure=Failure(record.exc_info[1]))
        else:
            log.emit(level, "{log_text}", log_text=text)


def _level_of(number: int) -> Any:
    """Return the level of Twisted for a level of Python's `logging`, which is a number."""
    levels = {50: LogLevel.critical, 40: LogLevel.error, 30: LogLevel.warn, 20: LogLevel.info}
    return next((level for least, level in levels.items() if number >= least), LogLevel.debug)
