"""Finds the structures that grow: those that never return to an earlier size.

A structure without a leak has, again and again, moments at which it holds no more than at such moments before,
because what ended was removed. So the smallest sizes in spans of time are compared. Each span is long enough for
everything that is remembered for a while to be forgotten. With a leak, the smallest size of each span is larger than
that of the span before. A structure with a documented limit may fill up to the limit, and must not exceed it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

from attrs import frozen

_T = TypeVar("_T")

#: The number of spans into which the time after the warm-up is divided.
SPANS = 6

#: The part of the time that is the warm-up.
WARM_UP = 1 / 12

#: The smallest size of the last span must exceed that of the first by this number of elements, and this share of it.
ELEMENTS = 5
SHARE = 0.05

#: The number of spans whose smallest size may be less than that of the span before although the structure grows.
EXCEPTIONS = 1


@frozen
class Sample:
    """All structures of a node at one moment, by path, while `listed` registrations were live."""

    at_s: float
    listed: int
    sizes: Mapping[str, int]


@frozen
class Limited:
    """The documented limit of a structure: the largest number of elements, and the reason."""

    most: int
    why: str


@frozen
class Growth:
    """A structure that grows or exceeds its limit: the smallest size in each span."""

    path: str
    fewest: Sequence[int]
    most: int
    limit: Limited | None = None

    def __str__(self) -> str:
        numbers = " → ".join(f"{each:,}" for each in self.fewest)
        if self.limit is not None:
            return f"{self.path}: {self.most:,} elements, at most {self.limit.most:,} are allowed ({self.limit.why})"
        return f"{self.path}: at least {numbers} elements in spans one after the other, up to {self.most:,}"


def growing(samples: Sequence[Sample], limits: Mapping[str, Limited] | None = None) -> list[Growth]:
    """Return the structures that grow or exceed their limit.

    `limits` are by path; `…*` matches all paths with this beginning.
    """
    limits = limits or {}
    paths = sorted({path for sample in samples for path in sample.sizes})
    settled = samples[int(len(samples) * WARM_UP) :]
    found = []
    for path in paths:
        limit = limits.get(path) or next((each for some, each in limits.items() if _is_among(path, some)), None)
        counts = [sample.sizes.get(path, 0) for sample in (settled if limit is None else samples)]
        fewest = [min(span) for span in _spans(counts)]
        if (max(counts) > limit.most) if limit is not None else _grows(fewest):
            found.append(Growth(path, fewest, max(counts), limit))
    return found


def _is_among(path: str, some: str) -> bool:
    return some.endswith("*") and path.startswith(some[:-1])


def _spans(counts: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for i in range(SPANS):
        yield counts[len(counts) * i // SPANS : len(counts) * (i + 1) // SPANS]


def _grows(fewest: Sequence[int]) -> bool:
    rises = sum(after > before for before, after in pairwise(fewest))
    never_back = min(fewest[1:]) > fewest[0]
    return never_back and rises >= SPANS - 1 - EXCEPTIONS and fewest[-1] > fewest[0] * (1 + SHARE) + ELEMENTS
