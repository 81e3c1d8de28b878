"""A service under twistd refuses to start with one sentence, and stops once after any number of signals."""

from __future__ import annotations

import errno
import signal

from twisted.internet.error import CannotListenError
from twisted.trial.unittest import SynchronousTestCase

from bender.process.lifecycle import StartRefused, refuse_listen_errors, stop_on_first_signal


class Refusing(SynchronousTestCase):
    def refusal(self, error: Exception) -> str:
        """Return the sentence with which the process ends after this error of a shell."""

        def listen() -> None:
            with refuse_listen_errors("exchange"):
                raise error

        return str(self.assertRaises(StartRefused, listen))

    def test_every_failure_to_listen_is_refused(self) -> None:
        """The sentence names the option and the place: an interface, a Unix socket, or its lock."""
        for error, words in (
            (CannotListenError("", 9, OSError(errno.EACCES, "Permission denied")), "on *:9 (Permission denied)"),
            (CannotListenError("::1", 9, OSError(errno.EACCES, "No")), "on [::1]:9 (No)"),
            (CannotListenError("nowhere", 9, "unknown"), "on nowhere:9 (unknown)"),
            (CannotListenError(None, b"/run/a", "locked"), "on /run/a (locked)"),
            (FileNotFoundError(errno.ENOENT, "No such file", "/a.lock"), "'/a.lock'"),
            (OverflowError("signed integer is greater than maximum"), "greater than maximum"),
        ):
            sentence = self.refusal(error)
            self.assertIn("--exchange cannot listen", sentence)
            self.assertIn(words, sentence)

    def test_a_refusal_ends_the_process_though_twisted_catches_it(self) -> None:
        """As an `Exception`, the error makes `twistd` remove its PID file; as a `SystemExit`, it has no traceback."""
        self.assertTrue(issubclass(StartRefused, Exception))
        self.assertTrue(issubclass(StartRefused, SystemExit))
        self.assertEqual(StartRefused("why").code, "why")


class Reactor:
    """Records the signals that stop it."""

    def __init__(self) -> None:
        self.stopped_by: list[str] = []

    def sigInt(self, number: int, frame: object = None) -> None:
        self.stopped_by.append("SIGINT")

    def sigTerm(self, number: int, frame: object = None) -> None:
        self.stopped_by.append("SIGTERM")


class Stopping(SynchronousTestCase):
    def test_only_the_first_signal_stops_the_reactor(self) -> None:
        """Only the first signal counts, because terminals signal the process group, and supervisors repeat signals."""
        for numbers, stopped_by in (
            ((signal.SIGINT, signal.SIGTERM), ["SIGINT"]),
            ((signal.SIGTERM, signal.SIGTERM, signal.SIGINT), ["SIGTERM"]),
        ):
            reactor = Reactor()
            leave = stop_on_first_signal(reactor)
            for number in numbers:
                leave(number, None)
            self.assertEqual(reactor.stopped_by, stopped_by)
