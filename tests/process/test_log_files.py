"""Opening the files of the log again after they were renamed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, Any

from twisted.logger import ILogObserver, LogEvent, textFileLogObserver
from twisted.python.logfile import LogFile
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from bender.process.log_files import LogFiles


@implementer(ILogObserver)
class Elsewhere:
    """An observer without a file, such as that of syslog."""

    def __call__(self, event: LogEvent) -> None: ...


class Reopening(SynchronousTestCase):
    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path, self.renamed = folder / "node.log", folder / "node.log.1"

    def log_files(self, file: IO[Any]) -> LogFiles:
        return LogFiles([Elsewhere(), textFileLogObserver(sys.stdout), textFileLogObserver(file)])

    def file_of_twistd(self) -> Any:
        file = LogFile.fromFullPath(str(self.path))
        self.addCleanup(file.close)
        return file

    def write_around_a_rename(self, file: IO[Any]) -> None:
        log_files = self.log_files(file)
        file.write("before\n")
        self.path.rename(self.renamed)
        file.write("renamed\n")
        self.assertEqual(log_files.reopen(), [])
        file.write("after\n")

    def texts(self) -> tuple[str, str]:
        return self.renamed.read_text("utf-8"), self.path.read_text("utf-8")

    def test_the_file_of_twistd(self) -> None:
        """Lines go to a new file under the old name, and no line is lost."""
        self.write_around_a_rename(self.file_of_twistd())
        self.assertEqual(self.texts(), ("before\nrenamed\n", "after\n"))

    def test_the_file_of_twist(self) -> None:
        """An ordinary file is replaced behind the same descriptor."""
        with self.path.open("a") as file:
            self.write_around_a_rename(file)
        self.assertEqual(self.texts(), ("before\nrenamed\n", "after\n"))

    def test_a_file_that_was_not_renamed(self) -> None:
        """A file that was not renamed is continued at its end."""
        file = self.file_of_twistd()
        log_files = self.log_files(file)
        file.write("before\n")
        self.assertEqual(log_files.reopen(), [])
        file.write("after\n")
        self.assertEqual(self.path.read_text("utf-8"), "before\nafter\n")

    def test_a_file_that_cannot_be_opened(self) -> None:
        """If a file cannot be opened, the log continues in the old file, and the problem is returned."""
        file = self.file_of_twistd()
        log_files = self.log_files(file)
        file.write("before\n")
        self.path.rename(self.renamed)
        self.path.mkdir()
        self.assertEqual(
            log_files.reopen(),
            [f"the log file {self.path.absolute()} cannot be opened again (Is a directory)"],
        )
        file.write("after\n")
        self.assertEqual(self.renamed.read_text("utf-8"), "before\nafter\n")
