"""Mutations, and the ways to replace parts of the core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from bender.core.timing import Timing
from tests.simulation.patches import Patch
from tests.simulation.scenarios import Scenario

Changed = Callable[..., Any]


def instead(replacement: Any) -> Callable[[Any], Any]:
    """Return a change that ignores the original."""
    return lambda original: replacement


def around(change: Callable[..., Any]) -> Callable[[Changed], Changed]:
    """Return a change that is called with the original and its arguments."""
    return lambda original: lambda *arguments, **named: change(original, *arguments, **named)


@frozen
class Mutation:
    """A broken rule. `patches` break it; `shown_by` is the scenario that notices this, if seeds do not.

    A hunt begins with `first_seed`. If it takes many seeds, this is the first one that notices the mutation, or one
    shortly before.
    """

    rule: str
    patches: list[Patch]
    shown_by: Scenario | None
    first_seed: int


def mutation(rule: str, *patches: Patch, shown_by: Scenario | None = None, first_seed: int = 1) -> Mutation:
    return Mutation(rule, [*patches], shown_by, first_seed)


def timing(name: str, of: Callable[[Timing], float]) -> Patch:
    return (Timing, name, instead(property(of)))
