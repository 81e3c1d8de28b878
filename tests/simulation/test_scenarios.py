"""Every scenario holds with the real core."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.mutations import MUTATIONS
from tests.simulation.scenarios import Scenario


class Scenarios(SynchronousTestCase):
    """One test for each scenario, with the scenario's name."""


def _test(scenario: Scenario) -> None:
    setattr(Scenarios, f"test_{scenario.__name__}", lambda case: scenario())


for each in MUTATIONS.values():
    if each.shown_by is not None:
        _test(each.shown_by)
