"""What part of a backend's traffic each of its members gets, as weights from 0 to 256.

A canary's share is exact wherever whole numbers can say it: it is the sum of its members' weights beside that of the
others which counts, and not how many there are of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from bender.core.model import WEIGHT_MAX


def shared(stable: Sequence[int], canary: Sequence[int], percent: Fraction) -> tuple[list[int], list[int]]:
    """The weights of a version's members and of its canary's, so that the canary gets `percent` (0 to 100) of all.

    `stable` and `canary` are the weights that they ask for; within each of the two they keep to these as nearly as
    whole numbers can. Where nobody of one of them takes traffic the other gets it all, as it asks for. A share that is
    too small, or too large, to be said with so few members becomes the nearest that can be.
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
    """What these can sum up to, if the largest of them becomes the largest that there is."""
    return WEIGHT_MAX * sum(weights) // max(weights)


def _nearest(stable_max: int, canary_max: int, part: Fraction) -> tuple[int, int]:
    """The two sums within these limits whose shares come nearest; neither is 0."""
    if part < Fraction(1, 2):
        of_stable = stable_max
        of_canary = min(canary_max, max(1, round(part / (1 - part) * of_stable)))
    else:
        of_canary = canary_max
        of_stable = min(stable_max, max(1, round((1 - part) / part * of_canary)))
    return of_stable, of_canary


def _divided(total: int, weights: Sequence[int]) -> list[int]:
    """Whole numbers in proportion to `weights` that sum up to `total`: what is left goes to the largest remainders."""
    everything = sum(weights)
    divided = [total * weight // everything for weight in weights]
    left = total - sum(divided)
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % everything), i))
    for i in by_remainder[:left]:
        divided[i] += 1
    return divided
