"""Scenarios fail without the rule that each of them is about, and seeds notice the mutations without a scenario.

This takes a minute, and five minutes with coverage, to which it adds nothing. So it has a file of its own.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.hunt import hunt
from tests.simulation.mutations import MUTATIONS

#: The largest number of seeds that it takes to notice a mutation without a scenario.
SEEDS_MAX = 40


class Mutations(SynchronousTestCase):
    """For every rule of the architecture, a test notices that the rule is broken on purpose."""

    def test_shown(self) -> None:
        """A scenario fails if its rule is broken."""
        named = [name for name, mutation in MUTATIONS.items() if mutation.shown_by]
        self.assertEqual([name for name in named if not hunt(name, 0).shown], [])

    def test_found(self) -> None:
        """Seeds notice each mutation without a scenario within a few runs."""
        others = [name for name, mutation in MUTATIONS.items() if not mutation.shown_by]
        self.assertEqual([name for name in others if not hunt(name, SEEDS_MAX).seeds], [])
