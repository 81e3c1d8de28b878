"""All durations follow from two, as in the architecture."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.timing import ABSENCE_S_MAX, Timing, format_duration


class Durations(SynchronousTestCase):
    def test_usual(self) -> None:
        """The default is an interval of a second, and a ttl of ten."""
        self.assertEqual(Timing(), Timing(1.0, 10.0))

    def test_limits(self) -> None:
        self.assertEqual(ABSENCE_S_MAX, 600.0)

    def test_in_intervals(self) -> None:
        timing = Timing(2.0, 20.0)
        self.assertEqual((timing.pause_s, timing.silent_s, timing.patience_s), (3.0, 6.0, 9.0))
        self.assertEqual((timing.confirming_s, timing.end_kept_s), (16.0, 16.0))
        self.assertEqual((timing.backlog_s, timing.asks_apart_s), (1.0, 0.5))

    def test_kept(self) -> None:
        """A ledger is kept for the longer of the default ttl and its own longest, 3·I and ten minutes."""
        timing = Timing(2.0, 20.0)
        self.assertEqual((timing.ledger_kept_s(0.0), timing.ledger_kept_s(60.0)), (626.0, 666.0))


class Formatting(SynchronousTestCase):
    """A duration is shown in the largest unit of which it has at least two."""

    def test_seconds(self) -> None:
        self.assertEqual([format_duration(s) for s in (0.25, 60.0, 119.9)], ["0.2 s", "60.0 s", "119.9 s"])

    def test_larger_units(self) -> None:
        self.assertEqual([format_duration(s) for s in (120.0, 7199.0)], ["2 min", "120 min"])
        self.assertEqual([format_duration(s) for s in (7200.0, 172_799.0)], ["2 h", "48 h"])
        self.assertEqual([format_duration(s) for s in (172_800.0, 864_000.0)], ["2 d", "10 d"])
