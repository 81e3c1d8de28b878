"""Signals of a service: SIGTERM and SIGINT end it, SIGHUP makes it reload.

On SIGHUP, the service opens its log files again, so that logrotate can rename them, and rereads its configuration. A
terminal that is closed sends SIGHUP, too; then the service ends, as it would without a handler. A signal that was
ignored when the process began, such as SIGHUP under `nohup`, stays ignored.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from types import FrameType

from attrs import frozen
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from bender.process.lifecycle import SignalledReactor, stop_on_first_signal
from bender.process.log_files import LogFiles
from bender.process.options import OptionError
from bender.process.service_log import ServiceLog

_log = Logger()


@frozen
class RereadResult:
    """Result of rereading a configuration: clauses about the changes in force, and about changes at the next start."""

    changed: Sequence[str] = ()
    at_next_start: Sequence[str] = ()


def handle_signals(reactor: SignalledReactor, log: ServiceLog, reread: Callable[[], RereadResult]) -> None:
    """Handle signals from now on. Call it when the reactor runs, after the log has begun.

    `reread` applies the reread configuration. It must raise `OptionError` and change nothing if this is not valid.
    """
    stop = stop_on_first_signal(reactor)
    reload = Reload(log.files, reread)
    had_terminal = _has_terminal()

    def hang_up(number: int, frame: FrameType | None) -> None:
        if had_terminal and not _has_terminal():
            stop(number, frame)
        else:
            IReactorFromThreads(reactor).callFromThread(reload)

    for number, act in ((signal.SIGTERM, stop), (signal.SIGINT, stop), (signal.SIGHUP, hang_up)):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, act)


def _has_terminal() -> bool:
    """Return True if this process has a controlling terminal. A process loses it when the terminal is closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


class Reload:
    """Opens the log files again, rereads the configuration, and logs the changes: what SIGHUP causes."""

    def __init__(self, log_files: LogFiles, reread: Callable[[], RereadResult]) -> None:
        self._log_files = log_files
        self._reread = reread

    def __call__(self) -> None:
        for problem in self._log_files.reopen():
            _log.error("After SIGHUP, {problem}: the log continues in the old file.", problem=problem, of_operator=True)
        try:
            reread = self._reread()
        except OptionError as error:
            _log.error("Configuration not changed after SIGHUP: {error}", error=str(error), of_operator=True)
            return
        except Exception:  # the service continues with the old configuration
            _log.failure("Rereading the configuration after SIGHUP failed.", of_operator=True)
            return
        for change in reread.changed:
            _log.info("Configuration changed after SIGHUP: {change}.", change=change, of_operator=True)
        for change in reread.at_next_start:
            later = "Configuration reread after SIGHUP: {change} takes effect at the next start."
            _log.warn(later, change=change, of_operator=True)
        if not (reread.changed or reread.at_next_start):
            _log.info("Configuration reread after SIGHUP: nothing changed.", of_operator=True)
