"""What the scenarios show is so; and without the rule that each is about it is not."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.hunt import hunt
from tests.simulation.mutations import MUTATIONS
from tests.simulation.scenarios import Scenario

#: All mutations that no scenario shows are noticed by fewer seeds than this.
SEEDS_MAX = 40


class Scenarios(SynchronousTestCase):
    """One test for each scenario, by its name."""


def _test(scenario: Scenario) -> None:
    setattr(Scenarios, f"test_{scenario.__name__}", lambda case: scenario())


for each in MUTATIONS.values():
    if each.shown_by is not None:
        _test(each.shown_by)


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
