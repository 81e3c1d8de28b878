"""The names that a shell completes, from the answer of a node."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.cli.completion_values import matching_names


class Fitting(SynchronousTestCase):
    def test_what_was_typed(self) -> None:
        """Names with the typed prefix are returned, in order and once each."""
        self.assertEqual(matching_names(["web", "api", "worker", "web"], "w"), ["web", "worker"])
        self.assertEqual(matching_names(["b c", "a"], ""), ["a", "b c"])

    def test_what_disturbs_a_terminal(self) -> None:
        """Names with control characters are left out: they would reach the terminal, or be two names to the shell."""
        self.assertEqual(matching_names(["web\x1b]0;x\x07", "web\nplain,evil", "web\x9b", "web"], "web"), ["web"])
