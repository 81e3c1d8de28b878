"""Durations as people write them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.durations import parse_duration


class Durations(SynchronousTestCase):
    def test_a_number_is_seconds(self) -> None:
        """A number is a number of seconds, with or without a fraction."""
        for text, seconds in (("0", 0.0), ("90", 90.0), ("2.5", 2.5), (" 60 ", 60.0)):
            self.assertEqual(parse_duration(text), seconds)

    def test_units(self) -> None:
        """Units are added, from the largest to the smallest."""
        for text, seconds in (
            ("90s", 90.0),
            ("10m", 600.0),
            ("10min", 600.0),
            ("1h30m", 5400.0),
            ("2d", 172_800.0),
            ("1d1h1m1s", 90_061.0),
            ("250ms", 0.25),
            ("1.5h", 5400.0),
            ("1m250ms", 60.25),
        ):
            self.assertAlmostEqual(parse_duration(text), seconds)

    def test_anything_else_is_an_error(self) -> None:
        """Any other text is an error whose message shows the form."""
        for text in (
            "",
            " ",
            "h",
            "1x",
            "30m1h",
            "1h1h",
            "-5",
            "1e3",
            "nan",
            "1 h",
            "٣s",
            "1h 30m",
            "1.",
            ".5",
            "1H",
            "1mins",
        ):
            error = self.assertRaises(ValueError, parse_duration, text)
            self.assertIn("such as 90s, 10m, 1h30m", str(error))
