"""Which structures grow: those that never get back to what they were.

A structure without a leak has moments, again and again, at which it holds no more than at such moments of before: what
ended was removed. So the fewest elements in spans of time are compared, each of them long enough for all that is
remembered for a while to be forgotten. With a leak the fewest of each span are more than those of the span before.
A structure that has a documented limit may fill up to it, and must stay within it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

from attrs import frozen

_T = TypeVar("_T")

#: Spans in which the time after the warm-up is divided.
SPANS = 6

#: Part of the time that is the warm-up.
WARM_UP = 1 / 12

#: Elements by which the fewest of the last span must exceed those of the first one, beside the share of these.
ELEMENTS = 5
SHARE = 0.05

#: From one span to the next the fewest may be less, in so many cases, and a structure grows all the same.
EXCEPTIONS = 1


@frozen
class Sample:
    """All structures of a node at one moment, by path, while `listed` registrations were live."""

    at_s: float
    listed: int
    sizes: Mapping[str, int]


@frozen
class Limited:
    """The documented limit of a structure: the most elements, and why."""

    most: int
    why: str


@frozen
class Growth:
    """A structure that grows, or exceeds its limit: the fewest elements in each span."""

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
    """Return the structures that grow or exceed their limit; `limits` are by path, `…*` is all that begins so."""
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
