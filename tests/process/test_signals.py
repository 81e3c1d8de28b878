"""The effects and log lines of SIGHUP. Real signals are sent by the e2e tests."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from bender.process.log_files import LogFiles
from bender.process.options import OptionError
from bender.process.signals import Reload, RereadResult


class Unopenable(LogFiles):
    def __init__(self) -> None:
        super().__init__([])

    def reopen(self) -> list[str]:
        return ["the log file /var/log/node cannot be opened again (Permission denied)"]


class Reloading(SynchronousTestCase):
    def said(self, reread: Callable[[], RereadResult], log_files: LogFiles | None = None) -> list[str]:
        """Return the lines that a reload logs."""
        lines: list[str] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            if str(event.get("log_namespace")).startswith("bender."):
                lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        try:
            Reload(log_files or LogFiles([]), reread)()
        finally:
            globalLogPublisher.removeObserver(observe)
        return lines

    def test_what_changed_and_what_will(self) -> None:
        """Each changed option has a line."""
        self.assertEqual(
            self.said(lambda: RereadResult(["--peers: a:1730 added"], ["--ttl 20 instead of 10"])),
            [
                "Configuration changed after SIGHUP: --peers: a:1730 added.",
                "Configuration reread after SIGHUP: --ttl 20 instead of 10 takes effect at the next start.",
            ],
        )

    def test_nothing_changed(self) -> None:
        """The log has a line also if nothing has changed, so that an operator sees that the signal arrived."""
        self.assertEqual(self.said(RereadResult), ["Configuration reread after SIGHUP: nothing changed."])

    def test_a_configuration_that_is_not_valid(self) -> None:
        """The log has the reason why the configuration is invalid."""

        def reread() -> RereadResult:
            raise OptionError("ttl in n1.toml must be a number of seconds, not 'x'.")

        self.assertEqual(
            self.said(reread),
            ["Configuration not changed after SIGHUP: ttl in n1.toml must be a number of seconds, not 'x'."],
        )

    def test_a_defect_does_not_end_the_service(self) -> None:
        """A defect is logged with its traceback, and the service continues."""

        def reread() -> RereadResult:
            raise ZeroDivisionError

        self.assertEqual(self.said(reread), ["Rereading the configuration after SIGHUP failed."])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_log_file_that_cannot_be_opened(self) -> None:
        """The configuration is reread although a log file cannot be opened."""
        problem, reread = self.said(RereadResult, Unopenable())
        self.assertEqual(
            problem,
            "After SIGHUP, the log file /var/log/node cannot be opened again (Permission denied): "
            "the log continues in the old file.",
        )
        self.assertEqual(reread, "Configuration reread after SIGHUP: nothing changed.")
