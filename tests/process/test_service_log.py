"""The log of a service: its format, its level, and where its lines come from."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogBeginner,
    LogEvent,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    LogPublisher,
    textFileLogObserver,
)
from twisted.python.logfile import LogFile
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from bender.process import log_limit
from bender.process.log_options import LogSettings
from bender.process.service_log import ServiceLog


@implementer(ILogObserver)
class Collected:
    """An observer without a file, such as that of syslog."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        self.events.append(event)


class Begun(SynchronousTestCase):
    """A process whose log was begun by `twistd`."""

    def begin(self, log_format: str = "json", level: str = "info", *observers: ILogObserver) -> None:
        self.file = io.StringIO()
        self.stdio = SimpleNamespace(stdout=io.StringIO(), stderr=io.StringIO())
        publisher = LogPublisher()
        self._log = Logger("bender.here", observer=publisher)
        beginner = LogBeginner(publisher, io.StringIO(), self.stdio, SimpleNamespace(showwarning=None))
        self.showwarning = beginner
        self.libraries = logging.getLogger(self.id())
        self.addCleanup(self.libraries.handlers.clear)
        self.log = ServiceLog(LogSettings(log_format, level), self.libraries)
        self.log.insert_before(beginner)
        self._log.info("Before the log has begun.")
        beginner.beginLoggingTo(observers or [textFileLogObserver(self.file)])

    def written(self) -> list[str]:
        """Return the lines that were written since the last call."""
        text = self.file.getvalue()
        self.file.seek(0)
        self.file.truncate()
        return text.splitlines()

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.written()]

    def messages(self) -> list[str]:
        return [each["message"] for each in self.objects()]


class Formats(Begun):
    def test_json(self) -> None:
        """All lines are JSON, also those of events before the beginning of the log."""
        self.begin()
        self._log.info("Then.")
        self.assertEqual(self.messages(), ["Before the log has begun.", "Then."])

    def test_text(self) -> None:
        """The text format is that of `twistd`."""
        self.begin("text")
        (line,) = self.written()
        self.assertRegex(line, r"^[0-9T:+-]+ \[bender.here#info\] Before the log has begun\.$")

    def test_a_change(self) -> None:
        """A new format is used at once, and the result names the change."""
        self.begin("text")
        self.written()
        self.assertEqual(self.log.change(LogSettings("json", "info")), ["--log-format: json instead of text"])
        self._log.info("Now.")
        self.assertEqual(self.messages(), ["Now."])
        self.assertEqual(self.log.change(LogSettings("json", "info")), [])

    def test_that_of_twist(self) -> None:
        """The format also applies under `twist`, which has a filter before its file."""
        file = io.StringIO()
        own = FilteringLogObserver(textFileLogObserver(file), [LogLevelFilterPredicate(LogLevel.warn)])
        self.begin("json", "debug", own)
        self._log.warn("Odd.")
        self.assertEqual([json.loads(line)["message"] for line in file.getvalue().splitlines()], ["Odd."])

    def test_an_observer_without_a_file(self) -> None:
        """An observer without a file gets the events from the configured level on."""
        collected = Collected()
        self.begin("json", "warn", collected)
        self._log.warn("Odd.")
        self.assertEqual([event["log_format"] for event in collected.events], ["Odd."])


class Levels(Begun):
    def say_all(self) -> None:
        for level in LogLevel.iterconstants():
            self._log.emit(level, level.name)

    def test_each(self) -> None:
        """Lines of this level and those above it are logged."""
        names = ["debug", "info", "warn", "error", "critical"]
        for least, level in enumerate(names[:4]):
            self.begin("json", level)
            self.written()
            self.say_all()
            self.assertEqual(self.messages(), names[least:])

    def test_a_change(self) -> None:
        """A new level is used at once, also for libraries."""
        self.begin("json", "error")
        self.assertEqual(self.log.change(LogSettings("json", "debug")), ["--log-level: debug instead of error"])
        self.written()
        self._log.debug("Ours.")
        self.libraries.debug("Theirs.")
        self.assertEqual(self.messages(), ["Ours.", "Theirs."])

    def test_events_without_a_level(self) -> None:
        """Events without a level are always logged."""
        self.begin("json", "error")
        self.log({"log_format": "{log_text}", "log_text": "old"})
        self.assertEqual(self.messages(), ["old"])


class Limited(Begun):
    def test_too_many(self) -> None:
        """Lines of one kind are limited; those below the level are not even counted."""
        self.begin()
        clock = Clock()
        self.log.limit_repeats(clock)
        self.written()
        for _ in range(log_limit.LINES_MAX + 3):
            self._log.info("The same.")
            self._log.debug("Less.")
        self.assertEqual(self.messages(), ["The same."] * log_limit.LINES_MAX)
        clock.advance(log_limit.WINDOW_S)
        (line,) = self.objects()
        self.assertEqual((line["level"], line["count"]), ("info", "3"))
        self.assertEqual(line["message"], "3 more lines like this in the last 60 s: The same.")


class Sources(Begun):
    """Events from all sources in the process are in the log, each as one object."""

    def test_libraries(self) -> None:
        """Events of libraries that use Python's `logging` are logged."""
        self.begin()
        self.written()
        self.libraries.warning("%s of %d", "one", 2)
        self.libraries.debug("Not that.")
        self.libraries.error("It failed.", exc_info=ZeroDivisionError("why"))
        warned, failed = self.objects()
        self.assertEqual([warned[key] for key in ("level", "message")], ["warn", "one of 2"])
        self.assertEqual(warned["namespace"], self.libraries.name)
        self.assertEqual([failed[key] for key in ("level", "message")], ["error", "It failed."])
        self.assertIn("ZeroDivisionError: why", failed["traceback"])

    def test_a_library_whose_arguments_do_not_fit(self) -> None:
        """If the arguments of a log call do not fit its text, the text is logged without them."""
        self.begin()
        self.written()
        self.libraries.critical("%d", "text")
        ((level, message),) = [(line["level"], line["message"]) for line in self.objects()]
        self.assertEqual((level, message), ("critical", "%d"))

    def test_output(self) -> None:
        """Text that is printed to stdout and stderr is logged."""
        self.begin()
        self.written()
        self.stdio.stdout.write("printed\nby lines\n")
        self.stdio.stderr.write("wrong\n")
        self.assertEqual(
            [(line["level"], line["namespace"], line["message"]) for line in self.objects()],
            [("info", "stdout", "printed"), ("info", "stdout", "by lines"), ("error", "stderr", "wrong")],
        )

    def test_warnings(self) -> None:
        self.begin()
        self.written()
        self.showwarning.showwarning("careful", DeprecationWarning, "a.py", 7)
        (line,) = self.objects()
        self.assertEqual((line["level"], line["lineno"], line["warning"]), ("warn", 7, "careful"))


class Files(Begun):
    def test_renamed(self) -> None:
        """The log files that were found are opened again, and the format stays."""
        folder = Path(self.mktemp())
        folder.mkdir()
        path = folder / "node.log"
        file = LogFile.fromFullPath(str(path))
        self.addCleanup(file.close)
        self.begin("json", "info", textFileLogObserver(file))
        path.rename(folder / "node.log.1")
        self.assertEqual(self.log.files.reopen(), [])
        self._log.info("Later.")
        self.assertEqual([json.loads(line)["message"] for line in path.read_text().splitlines()], ["Later."])
