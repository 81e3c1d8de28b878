"""The weights (0 to 256) that divide the traffic of a backend among its members and those of its canary.

The canary's part of the sum of all weights is exactly its share, if whole numbers can express this. It does not depend
on the numbers of members.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from bender.core.model import WEIGHT_MAX


def shared_weights(stable: Sequence[int], canary: Sequence[int], percent: Fraction) -> tuple[list[int], list[int]]:
    """Return the weights of a version's members and of its canary's, so that the canary gets `percent` (0 to 100).

    `stable` and `canary` are the requested weights of the two groups. Within each group the weights returned are in
    proportion to these, as nearly as whole numbers allow. If all weights of one group are 0, the other group gets all
    traffic, with its requested weights. A share that is too small or too large for the weights of these members becomes
    the nearest possible share.
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
    """Return the largest sum that these weights can have in their proportion: the largest becomes `WEIGHT_MAX`."""
    return WEIGHT_MAX * sum(weights) // max(weights)


def _nearest(stable_max: int, canary_max: int, part: Fraction) -> tuple[int, int]:
    """Return the two sums, at least 1 and within these limits, that come nearest to `part` for the canary."""
    if part < Fraction(1, 2):
        of_stable = stable_max
        of_canary = min(canary_max, max(1, round(part / (1 - part) * of_stable)))
    else:
        of_canary = canary_max
        of_stable = min(stable_max, max(1, round((1 - part) / part * of_canary)))
    return of_stable, of_canary


def _divided(total: int, weights: Sequence[int]) -> list[int]:
    """Return whole numbers in proportion to `weights` whose sum is `total`; the largest remainders are rounded up."""
    everything = sum(weights)
    divided = [total * weight // everything for weight in weights]
    left = total - sum(divided)
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % everything), i))
    for i in by_remainder[:left]:
        divided[i] += 1
    return divided
