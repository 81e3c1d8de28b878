"""Limits for repeated lines of the log."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogLevel, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from bender.process import log_limit
from bender.process.log_limit import LogLimiter

#: The time of day at the start, which the steady clock does not know.
NOON_S = 1_795_448_000.0


class LimitCase(SynchronousTestCase):
    """The limit is three lines of a kind in 60 s, and one in a window after suppressed lines."""

    def setUp(self) -> None:
        self.patch(log_limit, "LINES_MAX", 3)
        self.clock = Clock()
        self.events: list[LogEvent] = []
        observer: Any = self.events.append
        self.limiter = LogLimiter(self.clock, observer, lambda: NOON_S + self.clock.seconds())
        self._log = Logger("bender.here", observer=self.limiter)

    def lines(self) -> list[str]:
        """Return the lines that were logged since the last call."""
        lines = [formatEvent(event) for event in self.events]
        self.events.clear()
        return lines


class Flood(LimitCase):
    def test_few(self) -> None:
        """Few lines are logged unchanged, and nothing is counted."""
        for n in range(3):
            self._log.info("The client {n} is gone.", n=n)
        self.assertEqual(self.lines(), [f"The client {n} is gone." for n in range(3)])
        self.clock.advance(60)
        self.assertEqual((self.lines(), self.clock.getDelayedCalls()), ([], []))

    def test_many(self) -> None:
        """The first lines are logged, the others counted. While they continue, each window has two lines."""
        for n in range(1237):
            self._log.info("The client {n} is gone.", n=n)
        self.assertEqual(len(self.lines()), 3)
        self.clock.advance(60)
        counted = "1,234 more lines like this in the last 60 s: The client 0 is gone."
        self.assertEqual([event["log_time"] for event in self.events], [NOON_S + 60])
        self.assertEqual(self.lines(), [counted])
        for n in range(5):
            self._log.info("The client {n} is gone.", n=n)
        self.assertEqual(self.lines(), ["The client 0 is gone."])
        self.clock.advance(60)
        self.assertEqual(self.lines(), ["4 more lines like this in the last 60 s: The client 0 is gone."])
        self.clock.advance(60)
        for n in range(5):
            self._log.info("The client {n} is gone.", n=n)
        self.assertEqual(len(self.lines()), 3)

    def test_level_and_place(self) -> None:
        """The line with the count has the level and the namespace of the suppressed lines."""
        for _ in range(5):
            self._log.warn("Peer {address} is odd.", address="x")
        self.clock.advance(60)
        self.assertEqual([event["log_level"] for event in self.events], [LogLevel.warn] * 4)
        self.assertEqual({event["log_namespace"] for event in self.events}, {"bender.here"})

    def test_kinds(self) -> None:
        """Lines with other namespaces, formats or failures have their own limits."""
        for _ in range(5):
            self._log.info("One.")
            self._log.info("Two.")
            Logger("bender.there", observer=self.limiter).info("One.")
            for error in (ValueError(), KeyError()):
                self._log.failure("It failed.", Failure(error))
        self.assertEqual(len(self.lines()), 5 * 3)

    def test_texts_of_the_old_kind(self) -> None:
        """Lines without a format are of one kind if they differ in numbers."""
        for n in range(5):
            self.limiter({"log_namespace": "log_legacy", "log_format": "{log_text}", "log_text": f"Port {n} closed"})
        self.limiter({"log_namespace": "log_legacy", "log_format": "{log_text}", "log_text": "Something else"})
        self.assertEqual(self.lines(), [*(f"Port {n} closed" for n in range(3)), "Something else"])
        self.clock.advance(60)
        self.assertEqual(self.lines(), ["2 more lines like this in the last 60 s: Port 0 closed"])

    def test_what_is_printed(self) -> None:
        """Printed lines are never limited, because they may be parts of a longer text."""
        for _ in range(5):
            self.limiter({"log_namespace": "stdout", "log_io": "line", "log_format": "{log_io}"})
        self.assertEqual(len(self.lines()), 5)

    def test_answers_to_an_operator(self) -> None:
        """Every line that answers an operator's signal is logged."""
        for n in range(20):
            self._log.info("{n} is changed.", n=n, of_operator=True)
        self.assertEqual(len(self.lines()), 20)

    def test_too_many_kinds(self) -> None:
        """Beyond the maximum of kinds, all other lines are one kind."""
        self.patch(log_limit, "KINDS_MAX", 4)
        for n in range(20):
            self._log.info("x" * (n + 1))
        self.assertEqual(len(self.lines()), 4 + 3)
        self.clock.advance(60)
        self.assertEqual(self.lines(), ["13 more lines like this in the last 60 s: lines of many kinds"])


class NoDescriptors(LimitCase):
    def test_in_words(self) -> None:
        """The log has one line with the limit to raise, instead of three lines of Twisted for each connection."""
        for n in range(20):
            self._log.info("EMFILE encountered; releasing reserved file descriptor.")
            self._log.info("EMFILE recovery: Closed socket from {address}", address=n)
            self._log.info("Re-reserving EMFILE recovery file descriptor.")
            self._log.info("Could not accept new connection ({acceptError})", acceptError="EMFILE")
        (line,) = self.lines()
        self.assertIn("LimitNOFILE=", line)
        self.clock.advance(60)
        (line,) = self.lines()
        self.assertTrue(line.startswith("39 more lines like this in the last 60 s: No file descriptor is left"), line)
