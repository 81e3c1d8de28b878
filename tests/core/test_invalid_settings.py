"""The remembered problems of invalid settings."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.invalid_settings import KEPT_S, REMEMBERED_MAX, InvalidSettings

NOW = 1000.0


class Noted(SynchronousTestCase):
    """Problems by the address of their sender."""

    def setUp(self) -> None:
        self.invalid = InvalidSettings()

    def test_the_latest(self) -> None:
        """The latest problem of an address replaces the one before."""
        self.invalid.note("n2:1730", "it is wrong", NOW)
        self.invalid.note("n2:1730", "it is long", NOW + 1.0)
        self.assertEqual(self.invalid.problems(NOW + 1.0), {"n2:1730": "it is long"})

    def test_many(self) -> None:
        """The address without invalid settings for the longest time is forgotten first."""
        for number in range(2, REMEMBERED_MAX + 2):
            self.invalid.note(f"n{number}:1730", "it is wrong", NOW)
        self.invalid.note("n2:1730", "it is wrong", NOW)
        self.invalid.note("n1000:1730", "it is wrong", NOW)
        addresses = [*self.invalid.problems(NOW)]
        self.assertEqual((len(self.invalid), len(addresses)), (REMEMBERED_MAX, REMEMBERED_MAX))
        self.assertNotIn("n3:1730", addresses)
        self.assertEqual(addresses[-2:], ["n2:1730", "n1000:1730"])

    def test_kept(self) -> None:
        """A problem is reported, and remembered, for some time after the last invalid setting."""
        self.invalid.note("n2:1730", "it is wrong", NOW)
        self.invalid.note("n3:1730", "it is wrong", NOW + 1.0)
        self.assertEqual([*self.invalid.problems(NOW + KEPT_S - 0.5)], ["n2:1730", "n3:1730"])
        self.assertEqual([*self.invalid.problems(NOW + KEPT_S)], ["n3:1730"])
        self.assertEqual(len(self.invalid), 2)
        self.invalid.forget(NOW + KEPT_S)
        self.assertEqual((len(self.invalid), [*self.invalid.problems(NOW)]), (1, ["n3:1730"]))
