"""Entries behave like a dict with ordered numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.core.entries import ROW, Entries, bits


def entries_of(kept: dict[int, str]) -> Entries[str]:
    entries: Entries[str] = Entries()
    for n, entry in kept.items():
        entries[n] = entry
    return entries


class Any(SynchronousTestCase):
    @given(st.lists(st.tuples(st.integers(1, 3 * ROW), st.integers(0, 9)), max_size=60), st.integers(0, 20 * ROW))
    def test_as_a_dict(self, steps: list[tuple[int, int]], beyond: int) -> None:
        """After any additions and removals, entries have the content of a dict."""
        entries: Entries[str] = Entries()
        model: dict[int, str] = {}
        n = 0
        for step, removal in steps:
            n += step
            entries[n] = model[n] = str(n)
            if removal < len(model):
                gone = [*model][removal]
                self.assertEqual(entries.pop(gone), model.pop(gone))
        self.assertEqual((len(entries), [*entries], [*entries.values()]), (len(model), [*model], [*model.values()]))
        self.assertEqual([*entries.newest_first()], [*model.values()][::-1])
        self.assertEqual([*entries.above(beyond)], [entry for n, entry in model.items() if n > beyond])
        self.assertEqual([*bits(entries.masks(beyond))], [n for n in model if n <= beyond])
        self.assertEqual([beyond in entries, entries.get(beyond)], [beyond in model, model.get(beyond)])

    def test_what_is_not_there(self) -> None:
        """The removal of an absent number is an error, in a present row or not, and changes nothing."""
        entries = entries_of({1: "a"})
        for n in (2, 5 * ROW):
            self.assertRaises(KeyError, entries.pop, n)
            self.assertRaises(KeyError, entries.__delitem__, n)
        self.assertEqual(dict(entries), {1: "a"})

    def test_masks(self) -> None:
        """A mask has a bit for each entry of a row, up to the given number; rows without entries have none."""
        entries = entries_of(dict.fromkeys(range(ROW, 2 * ROW), "a"))
        self.assertEqual(entries.masks(2 * ROW), {1: 2**64 - 1})
        self.assertEqual(entries.masks(ROW + 6), {1: 0b1111111})
        del entries[ROW]
        self.assertEqual((entries.masks(ROW), entries.masks(ROW + 1)), ({}, {1: 0b10}))

    def test_above(self) -> None:
        """The last place of a row is above the place before it."""
        entries = entries_of({ROW - 2: "a", ROW - 1: "b", ROW: "c"})
        self.assertEqual([[*entries.above(n)] for n in (ROW - 2, ROW - 1, ROW)], [["b", "c"], ["c"], []])

    def test_late(self) -> None:
        """A number that is added late gets its place in the order, in a present row or not."""
        entries = entries_of({2 * ROW: "d", 5 * ROW: "e", ROW + 3: "b", ROW + 4: "c", 1: "a"})
        self.assertEqual([*entries.values()], ["a", "b", "c", "d", "e"])
        self.assertEqual([*entries.above(ROW + 3)], ["c", "d", "e"])

    def test_rows_without_entries_take_no_room(self) -> None:
        """Rows without entries take no memory, however many entries were added and removed."""
        entries: Entries[str] = Entries()
        for n in range(10 * ROW):
            entries[n] = "a"
            del entries[n]
        self.assertEqual((len(entries), entries._rows), (0, {}))
