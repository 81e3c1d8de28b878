"""What a mutation is, and how parts of the core are changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from bender.core.timing import Timing
from tests.simulation.patches import Patch
from tests.simulation.scenarios import Scenario

Changed = Callable[..., Any]


def instead(replacement: Any) -> Callable[[Any], Any]:
    """A change that pays no heed to the original."""
    return lambda original: replacement


def around(change: Callable[..., Any]) -> Callable[[Changed], Changed]:
    """A change that is called with the original and its arguments."""
    return lambda original: lambda *arguments, **named: change(original, *arguments, **named)


@frozen
class Mutation:
    """What is broken, of which rule: `patches` do it; `shown_by` is the scenario that notices, where seeds do not.

    A hunt begins with `first_seed`: the first one that notices it, or shortly before, where that takes many.
    """

    rule: str
    patches: list[Patch]
    shown_by: Scenario | None
    first_seed: int


def mutation(rule: str, *patches: Patch, shown_by: Scenario | None = None, first_seed: int = 1) -> Mutation:
    return Mutation(rule, [*patches], shown_by, first_seed)


def timing(name: str, of: Callable[[Timing], float]) -> Patch:
    return (Timing, name, instead(property(of)))
