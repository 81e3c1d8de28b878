"""Without the rule that each is about, scenarios fail; and what has none is noticed by seeds.

It takes a minute, and five where coverage is measured, to which it adds nothing: so it has a file of its own.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.hunt import hunt
from tests.simulation.mutations import MUTATIONS

#: All mutations that no scenario shows are noticed by fewer seeds than this.
SEEDS_MAX = 40


class Mutations(SynchronousTestCase):
    """Every rule of the architecture, broken on purpose, is missed."""

    def test_shown(self) -> None:
        """A scenario fails without its rule."""
        named = [name for name, mutation in MUTATIONS.items() if mutation.shown_by]
        self.assertEqual([name for name in named if not hunt(name, 0).shown], [])

    def test_found(self) -> None:
        """Whatever has no scenario is found by chance, and soon."""
        others = [name for name, mutation in MUTATIONS.items() if not mutation.shown_by]
        self.assertEqual([name for name in others if not hunt(name, SEEDS_MAX).seeds], [])
