"""The entries of a ledger by their numbers, which each entry got when it was added.

`Entries` behaves like a dict but takes less memory. Numbers only grow, and most living entries have numbers close to
each other, so entries are kept in short rows. This takes 10 bytes for each entry, while a dict takes 50. No single step
takes long, even with very many entries (a dict that doubles with a million entries takes 30 ms).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, MutableMapping, ValuesView
from typing import Generic, TypeVar

_Entry = TypeVar("_Entry")

#: The number of places in a row. A row with a single entry takes 600 bytes as well.
ROW = 64

_WHOLE_ROW = (1 << ROW) - 1


class Entries(MutableMapping[int, _Entry], Generic[_Entry]):
    """Entries in order of their numbers. Each number is added once only; nearly always it is the largest so far."""

    __slots__ = ("_count", "_rows")

    def __init__(self) -> None:
        self._count = 0
        # In order of number: a dict keeps the order of insertion, and `__setitem__` sorts it after a late row.
        self._rows: dict[int, list[_Entry | None]] = {}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, n: int) -> _Entry:
        row = self._rows.get(n // ROW)
        entry = row[n % ROW] if row else None
        if entry is None:
            raise KeyError(n)
        return entry

    def __setitem__(self, n: int, entry: _Entry) -> None:
        row = self._rows.get(n // ROW)
        if row is None:
            late = bool(self._rows) and n // ROW < next(reversed(self._rows))
            row = self._rows[n // ROW] = [None] * ROW
            if late:
                self._rows = dict(sorted(self._rows.items()))
        row[n % ROW] = entry
        self._count += 1

    def __delitem__(self, n: int) -> None:
        self[n]  # raises KeyError if there is none
        row = self._rows[n // ROW]
        row[n % ROW] = None
        self._count -= 1
        if not any(row):
            del self._rows[n // ROW]

    def __iter__(self) -> Iterator[int]:
        for number, row in self._rows.items():
            for place, entry in enumerate(row, number * ROW):
                if entry is not None:
                    yield place

    def masks(self, up_to: int) -> dict[int, int]:
        """Return the numbers up to and including `up_to` that exist: for each row, a bit for each of its places."""
        masks = {number: _mask(row) for number, row in self._rows.items() if number <= up_to // ROW}
        last = up_to // ROW
        if last in masks:
            masks[last] &= (2 << up_to % ROW) - 1
        return {number: mask for number, mask in masks.items() if mask}

    def values(self) -> ValuesView[_Entry]:
        return _Values(self)

    def newest_first(self) -> Iterator[_Entry]:
        """Return the entries in descending order of their numbers."""
        for row in reversed(self._rows.values()):
            for entry in reversed(row):
                if entry is not None:
                    yield entry

    def above(self, n: int) -> Iterator[_Entry]:
        """Return the entries with a number larger than `n`, in order."""
        numbers = [*self._rows]
        for number in numbers[bisect_left(numbers, (n + 1) // ROW) :]:
            for place, entry in enumerate(self._rows[number], number * ROW):
                if entry is not None and place > n:
                    yield entry


def bits(masks: dict[int, int]) -> Iterator[int]:
    """Return the numbers whose bits are set in `masks` (see `Entries.masks`), row by row in the order of `masks`."""
    for number, mask in masks.items():
        yield from (number * ROW + place for place in range(ROW) if mask >> place & 1)


def _mask(row: list[_Entry | None]) -> int:
    if None not in row:
        return _WHOLE_ROW
    return sum(1 << place for place, entry in enumerate(row) if entry is not None)


class _Values(ValuesView[_Entry]):
    def __iter__(self) -> Iterator[_Entry]:
        rows: dict[int, list[_Entry | None]] = self._mapping._rows  # type: ignore[attr-defined]  # noqa: SLF001
        for row in rows.values():
            for entry in row:
                if entry is not None:
                    yield entry
