"""The options of the log."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.process.log_options import LogSettings, log_changes, parse_log_settings
from bender.process.options import OptionError, RawOption


class Options(SynchronousTestCase):
    def parsed(self, **values: object) -> LogSettings:
        given = {option.replace("_", "-"): value for option, value in values.items()}
        return parse_log_settings({option: RawOption(f"--{option}", value) for option, value in given.items()})

    def test_values(self) -> None:
        self.assertEqual(self.parsed(), LogSettings("text", "info"))
        self.assertEqual(self.parsed(log_format="json", log_level="debug"), LogSettings("json", "debug"))

    def test_mistakes(self) -> None:
        """The error has the valid values."""
        for option, value, words in (
            ("log_format", "JSON", "text or json, not 'JSON'."),
            ("log_level", "warning", "debug, info, warn or error, not 'warning'."),
        ):
            error = self.assertRaises(OptionError, self.parsed, **{option: value})
            self.assertEqual(str(error), f"--{option.replace('_', '-')} must be {words}")
        self.assertRaises(OptionError, self.parsed, log_level=20)

    def test_changes(self) -> None:
        before, after = LogSettings("text", "info"), LogSettings("json", "warn")
        self.assertEqual(log_changes(before, before), [])
        self.assertEqual(
            log_changes(before, after), ["--log-format: json instead of text", "--log-level: warn instead of info"]
        )
