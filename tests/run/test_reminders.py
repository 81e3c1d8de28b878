"""The times at which the reason for a missing registration is logged."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.run.reminders import Reminder


class Reminding(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.said: list[tuple[float, str]] = []
        self.reminder = Reminder(self.clock, lambda reason: self.said.append((self.clock.seconds(), reason)))

    def pass_time(self, seconds: int, reason: str) -> list[tuple[float, str]]:
        """Return the lines that are logged within this time, while the reason stays the same."""
        self.said.clear()
        for _ in range(seconds):
            self.clock.advance(1)
            self.reminder.note(reason)
        return [*self.said]

    def test_one_that_stays(self) -> None:
        """A lasting reason is logged after 5 s, a minute later, and every ten minutes from then on."""
        said = self.pass_time(2000, "a")
        self.assertEqual(said, [(5, "a"), (65, "a"), (665, "a"), (1265, "a"), (1865, "a")])

    def test_one_that_changes(self) -> None:
        """A new reason is logged at once, a minute later, and every ten minutes from then on."""
        self.pass_time(100, "a")
        self.assertEqual(self.pass_time(700, "b"), [(101, "b"), (161, "b"), (761, "b")])

    def test_one_that_changes_all_the_time(self) -> None:
        """If the reason changes all the time, there are 5 s between two lines."""
        said = []
        for turn in range(20):
            said += self.pass_time(1, f"reason {turn}")
        self.assertEqual([at for at, _ in said], [5, 10, 15, 20])

    def test_a_reason_that_was_logged_elsewhere(self) -> None:
        """A reason that was logged elsewhere is repeated after a minute."""
        self.reminder.note_logged("a")
        self.assertEqual(self.pass_time(70, "a"), [(60, "a")])
        self.reminder.note_logged("b")
        self.assertEqual(self.pass_time(70, "b"), [(130, "b")])
