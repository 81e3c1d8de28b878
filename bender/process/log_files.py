"""The files that this process logs to. They can be opened again after another program has renamed them.

Twisted opens the log once. After logrotate has renamed the file, the process would write to the renamed file until it
ends; `LogFiles.reopen` makes it write to a new file under the original name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.logger import FileLogObserver, ILogObserver
from twisted.python.logfile import BaseLogFile


@frozen
class _LogFile:
    path: Path
    reopen: Callable[[], None]


class LogFiles:
    """The files to which the log observers of `twistd` and `twist` write. Standard output and syslog are not files."""

    def __init__(self, observers: Iterable[ILogObserver]) -> None:
        self._files = [file for file in map(_file_of, observers) if file is not None]

    def reopen(self) -> list[str]:
        """Open each file again under its name, and return a clause about each that cannot be opened.

        If a file cannot be opened, the log continues in the renamed file. No line is lost.
        """
        problems = []
        for file in self._files:
            try:
                # Opened once beforehand: Twisted closes the old file first, and would have no file after an error.
                os.close(os.open(file.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666))
                file.reopen()
            except OSError as error:
                problems.append(f"the log file {file.path} cannot be opened again ({error.strerror})")
        return problems


def _file_of(observer: ILogObserver) -> _LogFile | None:
    if not isinstance(observer, FileLogObserver):
        return None
    file: Any = observer._outFile  # noqa: SLF001 - there is no other way to know it
    if isinstance(file, BaseLogFile):  # from twistd
        reopen = getattr(file, "reopen", None)
        return _LogFile(Path(file.path), reopen) if reopen else None
    name = getattr(file, "name", None)  # from twist; for standard output a number, or a name in brackets
    if not isinstance(name, str) or not Path(name).is_file():
        return None
    path = Path(name).absolute()  # the working directory may change
    return _LogFile(path, lambda: _replace(file, path))


def _replace(file: Any, path: Path) -> None:
    """Open `path`, and have `file` write to it under the same file descriptor."""
    with suppress(ValueError):
        file.flush()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.dup2(descriptor, file.fileno())
    finally:
        os.close(descriptor)
