"""Finds the checks that notice a mutation: its scenario, and the first seed."""

from __future__ import annotations

from attrs import frozen

from tests.simulation.mutations import MUTATIONS
from tests.simulation.patches import patched
from tests.simulation.scenarios import Scenario
from tests.simulation.seeds import simulate


@frozen
class Caught:
    """The seeds that noticed a mutation (0: none), the broken promise, and the failure of the mutation's scenario."""

    seeds: int = 0
    broken: str = ""
    shown: str = ""


def hunt(name: str, seeds_max: int) -> Caught:
    """Run seeds, hard and normal ones in turn, until one notices a mutation. Run its scenario too."""
    mutation = MUTATIONS[name]
    with patched(mutation.patches):
        shown = _shown(mutation.shown_by) if mutation.shown_by else ""
        for count, seed in enumerate(range(mutation.first_seed, mutation.first_seed + seeds_max), 1):
            broken = _broken(seed)
            if broken:
                return Caught(count, broken, shown)
    return Caught(shown=shown)


def _shown(scenario: Scenario) -> str:
    try:
        scenario()
    except AssertionError as failure:
        return f"{scenario.__name__}: {failure}"
    return ""


def _broken(seed: int) -> str:
    try:
        return next((str(each) for each in simulate(seed, hard=seed % 2 == 1).broken), "")
    except LookupError as error:  # The oracle has no record of what a node shows.
        return repr(error)
