"""The part of a backend's traffic that each of its members gets, as weights from 0 to 256.

A canary's share is exact if whole numbers can express it. It depends on the sum of its members' weights and that of the
others, and not on the number of members of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from bender.core.model import WEIGHT_MAX


def shared_weights(stable: Sequence[int], canary: Sequence[int], percent: Fraction) -> tuple[list[int], list[int]]:
    """Return the weights of a version's members and of its canary's, so that the canary gets `percent` (0 to 100).

    `stable` and `canary` are the weights that they ask for; within each of the two the weights are in proportion to
    these as nearly as whole numbers can be. If no member of one of them takes traffic the other gets it all, with the
    weights that it asks for. A share that is too small or too large to be expressed with the weights of these members
    becomes the nearest possible one.
    """
    part = percent / 100
    if not sum(stable) or not sum(canary):
        return [*stable], [*canary]
    if part in (0, 1):
        return ([*stable], [0] * len(canary)) if part == 0 else ([0] * len(stable), [*canary])
    of_canary, of_all = part.numerator, part.denominator
    of_stable = of_all - of_canary
    times = min(_sum_max(stable) // of_stable, _sum_max(canary) // of_canary)
    if times == 0:
        of_stable, of_canary = _nearest(_sum_max(stable), _sum_max(canary), part)
        times = 1
    return _divided(times * of_stable, stable), _divided(times * of_canary, canary)


def _sum_max(weights: Sequence[int]) -> int:
    """Return the largest possible sum of these weights in proportion: the largest of them becomes `WEIGHT_MAX`."""
    return WEIGHT_MAX * sum(weights) // max(weights)


def _nearest(stable_max: int, canary_max: int, part: Fraction) -> tuple[int, int]:
    """Return the two sums within these limits whose shares are nearest; neither is 0."""
    if part < Fraction(1, 2):
        of_stable = stable_max
        of_canary = min(canary_max, max(1, round(part / (1 - part) * of_stable)))
    else:
        of_canary = canary_max
        of_stable = min(stable_max, max(1, round((1 - part) / part * of_canary)))
    return of_stable, of_canary


def _divided(total: int, weights: Sequence[int]) -> list[int]:
    """Return whole numbers in proportion to `weights` that sum up to `total`; the largest remainders are rounded up."""
    everything = sum(weights)
    divided = [total * weight // everything for weight in weights]
    left = total - sum(divided)
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % everything), i))
    for i in by_remainder[:left]:
        divided[i] += 1
    return divided
