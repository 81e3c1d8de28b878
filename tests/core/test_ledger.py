"""The laws of ledgers: a copy equals the ledger at the copy's version, however it reached this version."""

from __future__ import annotations

from zlib import crc32

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.core.ledger import (
    CHECKSUMS_REMEMBERED_MAX,
    DELTA_BYTES_MAX,
    Claim,
    Delta,
    End,
    Entry,
    Gap,
    Head,
    Joined,
    Ledger,
    Outdated,
)
from tests.core.ledgers import OWNER, claim, copy_of, histories, ledger_of


class JoinTests(SynchronousTestCase):
    """The larger version wins, without exception."""

    @given(histories(), st.data())
    @settings(max_examples=200, deadline=None)
    def test_lattice(self, history: list[dict[int, Entry]], data: st.DataObject) -> None:
        """Joining full states is commutative, associative and idempotent."""
        states = [
            Delta(OWNER, 0, 0, version, version, tuple(history[version].values()), (), {})
            for version in data.draw(st.lists(st.integers(0, len(history) - 1), min_size=1, max_size=6))
        ]
        one, other = Ledger(OWNER), Ledger(OWNER)
        for state in states:
            one.join(state)
        for state in data.draw(st.permutations(states + states[:2])):
            other.join(state)
        largest = max(state.version for state in states)
        self.assertEqual((one.version, one.entries), (largest, history[largest]))
        self.assertEqual((other.version, other.entries), (largest, history[largest]))

    def test_nothing_new(self) -> None:
        """A delta without anything new changes nothing, and its join is empty."""
        ledger = ledger_of(0, 0)
        copy = copy_of(ledger)
        self.assertEqual(copy.join(ledger.delta(Head(1, 1))), Joined())

    def test_gap(self) -> None:
        """A delta that needs missing entries is refused, and nothing is changed."""
        ledger = ledger_of(0, 0, 0)
        copy = Ledger(OWNER)
        self.assertRaises(Gap, copy.join, ledger.delta(Head(2, 2)))
        self.assertEqual((copy.version, copy.entries), (0, {}))

    def test_removals_unknown(self) -> None:
        """Removals that need a missing version are refused, even if all entries are present."""
        ledger = ledger_of(0, 0, 1, 0)
        copy = copy_of(ledger_of(0, 0))
        self.assertRaises(Gap, copy.join, ledger.delta(Head(3, 2)))
        self.assertEqual((copy.version, [*copy.entries]), (2, [1, 2]))

    def test_reports_changes(self) -> None:
        """A join returns the added and the removed entries."""
        ledger = ledger_of(0, 0)
        copy = copy_of(ledger)
        gone = ledger.remove(1)
        ledger.add(claim(4))
        self.assertEqual(copy.join(ledger.delta(copy.head)), Joined((claim(4),), (gone,)))


class GapTests(SynchronousTestCase):
    """Deltas that a copy refuses or ignores."""

    def test_base_unknown(self) -> None:
        """A page, or a delta with live entries, is refused if it needs missing entries."""
        ledger = ledger_of(0, 0, 0, 1, 2, removals_max=1)
        self.assertRaises(Gap, Ledger(OWNER).join, ledger.delta(Head(3, 3)))
        self.assertRaises(Gap, Ledger(OWNER).join, ledger_of(0, 0, 0, 0).delta(Head(2, 2), 1))

    def test_older_than_a_page(self) -> None:
        """A delta older than a page does not complete the copy, and does not change earlier entries."""
        ledger = ledger_of(0, 0)
        copy, known = copy_of(ledger), ledger.delta(Head())
        for _ in range(2):
            ledger.add(claim(ledger.next_n))
        older = ledger.delta(copy.head)
        ledger.add(claim(ledger.next_n))
        copy.join(ledger.delta(copy.head, 1))
        self.assertRaises(Gap, copy.join, older)
        self.assertEqual((copy.join(known), copy.head), (Joined(), Head(2, 3)))

    def test_page_again(self) -> None:
        """A page without new entries changes nothing, whatever its version."""
        ledger, copy = ledger_of(0, 0, 0), Ledger(OWNER)
        copy.join(ledger.delta(Head(), 2))
        whole = ledger.delta(copy.head)
        ledger.add(claim(ledger.next_n))
        self.assertEqual(copy.join(ledger.delta(Head(), 2)), Joined())
        copy.join(whole)
        self.assertEqual(copy.head, Head(3, 3))


class BeginningAnewTests(SynchronousTestCase):
    """A copy that begins again keeps its entries until it is complete."""

    def test_pages_given_up(self) -> None:
        """After pages are given up, an older delta completes the copy, and only entries that it lacks are removed."""
        ledger = ledger_of(0, 0)
        copy = copy_of(ledger_of(0))
        older = ledger.delta(copy.head)
        for step in (0, 2, 0, 0):
            ledger.remove(step) if step else ledger.add(claim(ledger.next_n))
        copy.join(ledger.delta(copy.head, 2))
        self.assertRaises(Outdated, copy.join, older)
        copy.give_up_pages()
        self.assertEqual((copy.head, copy.is_complete, [*copy.entries]), (Head(1, 1), False, [1, 3, 5]))
        self.assertEqual(copy.join(older), Joined((claim(2),), (claim(3), claim(5))))
        self.assertEqual((copy.head.checksum, copy.is_complete), (ledger_of(0, 0).checksum, True))
        self.assertEqual([*copy.entries], [1, 2])

    def test_start_over(self) -> None:
        """A copy that begins again accepts its version or a larger one; equal entries are not removed and added."""
        copy = copy_of(ledger_of(0, 0, 0, 1))
        ledger = ledger_of(0, 0, 1)
        older = ledger.delta(Head())
        ledger.add(claim(4, body=b"other"))
        copy.start_over()
        self.assertEqual((copy.head, copy.is_complete, [*copy.entries]), (Head(0, 0), False, [2, 3]))
        self.assertRaises(Outdated, copy.join, older)
        self.assertEqual(copy.join(ledger.delta(copy.head, 1)), Joined())
        self.assertEqual(copy.head, Head(0, 2))
        self.assertEqual(copy.join(ledger.delta(copy.head)), Joined((claim(4, body=b"other"),), (claim(3),)))
        self.assertEqual((copy.head.checksum, copy.is_complete), (ledger.checksum, True))

    def test_other_entry_in_a_place(self) -> None:
        """An entry with another content replaces the entry with the same number."""
        ledger, copy = Ledger(OWNER), copy_of(ledger_of(0, 0))
        for _ in range(2):
            ledger.add(claim(ledger.next_n, body=b"%d" % (ledger.next_n % 2)))
        copy.start_over()
        first = copy.join(ledger.delta(copy.head, 1))
        self.assertEqual(first, Joined((claim(1, body=b"1"),), (claim(1),)))
        self.assertEqual(copy.join(ledger.delta(copy.head)), Joined((claim(2, body=b"0"),), (claim(2),)))
        self.assertEqual((copy.entries, copy.checksum), (ledger.entries, ledger.checksum))

    def test_removals_from_before(self) -> None:
        """Earlier removals are not passed on after a new beginning, because their versions are unknown."""
        copy, ledger = copy_of(ledger_of(0, 0, 1)), ledger_of(0, 0, 2)
        copy.start_over()
        copy.join(ledger.delta(copy.head))
        self.assertEqual(copy.delta(Head(2, 2)).removed, (2,))


class PassingOnTests(SynchronousTestCase):
    """A copy passes on the removals that it received."""

    def test_removals(self) -> None:
        """Removals that were received one by one are passed on, as many as the copy remembers."""
        ledger = ledger_of(0, 0, 0)
        copy = copy_of(ledger, removals_max=1)
        for n in (2, 3):
            ledger.remove(n)
            copy.join(ledger.delta(copy.head))
        self.assertEqual((copy.delta(Head(4, 4)).removed, copy.delta(Head(4, 4)).live), ((3,), None))
        self.assertEqual((copy.delta(Head(3, 3)).removed, copy.delta(Head(3, 3)).live), ((), {0: 0b10}))

    def test_the_living(self) -> None:
        """After a list of live entries, the copy does not know earlier removals."""
        ledger = ledger_of(0, 0, 0, removals_max=1)
        copy = copy_of(ledger)
        for n in (1, 2):
            ledger.remove(n)
        joined = copy.join(ledger.delta(copy.head))
        self.assertEqual(([entry.n for entry in joined.removed], [*copy.entries]), ([1, 2], [3]))
        self.assertEqual((copy.delta(Head(3, 3)).removed, copy.delta(Head(3, 3)).live), ((), {0: 0b1000}))
        ledger.remove(3)
        copy.join(ledger.delta(copy.head))
        self.assertEqual((copy.delta(Head(5, 5)).removed, copy.delta(Head(5, 5)).live), ((3,), None))

    def test_the_living_between_removals(self) -> None:
        """Removals before a list of live entries are not passed on."""
        ledger = ledger_of(*[0] * 8, removals_max=2)
        copy = copy_of(ledger, removals_max=2)
        for gone in ((1,), (2,), (3, 4, 5), (6,)):
            for n in gone:
                ledger.remove(n)
            copy.join(ledger.delta(copy.head))
        self.assertEqual((copy.delta(Head(13, 13)).removed, copy.delta(Head(13, 13)).live), ((6,), None))
        self.assertEqual((copy.delta(Head(11, 11)).removed, copy.delta(Head(11, 11)).live), ((), {0: 0b110000000}))

    def test_many_of_which_none_lives(self) -> None:
        """Whole ranges of entries may be removed at once."""
        ledger = ledger_of(*[0] * 300, removals_max=1)
        copy = copy_of(ledger)
        for n in range(1, 300):
            ledger.remove(n)
        copy.join(ledger.delta(copy.head))
        self.assertEqual([*copy.entries], [300])

    def test_removed_twice(self) -> None:
        """The removal of an absent entry changes nothing."""
        copy = copy_of(ledger_of(0, 0))
        joined = copy.join(Delta(OWNER, 2, 2, 4, 4, (), (1, 2)))
        self.assertEqual([entry.n for entry in joined.removed], [1, 2])
        self.assertEqual(copy.join(Delta(OWNER, 4, 4, 5, 5, (), (1,))), Joined())


class ChecksumTests(SynchronousTestCase):
    """The checksum distinguishes the copies of a ledger from those of another ledger with the same incarnation."""

    def test_whatever_differs(self) -> None:
        """Another entry leads to another checksum, and so does the same entry in another place."""
        first = End(OWNER, 1, "registration/web/1/h/80", 10.0, 1, ((OWNER, 9),))
        entries: list[Entry] = [first, claim(1), claim(1, key="registration/web/1/h/81"), claim(1, body=b"[]")]
        entries.append(msgspec.structs.replace(claim(1), rev=2))
        entries.append(msgspec.structs.replace(first, roots=((OWNER, 8),)))
        ledgers = [Ledger(OWNER) for _ in entries]
        for ledger, entry in zip(ledgers, entries, strict=True):
            ledger.add(entry)
        ledgers.append(ledger_of(0, 0, 1))
        self.assertEqual(len({ledger.checksum for ledger in ledgers}), len(entries) + 1)

    def test_number(self) -> None:
        """The checksum has the value that docs/protocol.md defines, and 64 bits."""
        ledger = Ledger(OWNER)
        ledger.version = 2**39
        made = Claim(OWNER, ledger.next_n, "registration/web/1/h/80", b"{}", 10.0, 3, OWNER, 1)
        ledger.add(made)
        said = crc32(b"{}", crc32(b"registration/web/1/h/80", 3))
        self.assertEqual(ledger.checksum, (2 * made.n + 1) * said % 2**64)
        self.assertTrue((2 * made.n + 1) * said >> 64 & 1)
        end = End(OWNER, ledger.next_n, "registration/web/1/h/80", 10.0, 3, ((OWNER, 9), (3, 5)))
        ledger.add(end)
        said = crc32(b"registration/web/1/h/80", 3) + (OWNER ^ 9) + (3 ^ 5)
        ledger.remove(made.n)
        self.assertEqual(ledger.checksum, (2 * end.n + 1) * said % 2**64)

    def test_versions_that_are_remembered(self) -> None:
        """A head is compared with the checksums of the latest versions, and not with older or future ones."""
        ledger = ledger_of(*[0] * (CHECKSUMS_REMEMBERED_MAX + 1))
        version = ledger.version
        known = [ledger.matches(Head(v, v, 1)) for v in (1, 2, 3, version, version + 1)]
        self.assertEqual(known, [True, False, False, False, True])
        self.assertTrue(ledger.matches(Head(version, version)))
        self.assertFalse(Ledger(OWNER).matches(Head(0, 0, 1)))

    def test_of_a_part(self) -> None:
        """A copy that is not complete has no checksum."""
        ledger, copy = ledger_of(0, 0), Ledger(OWNER)
        copy.join(ledger.delta(copy.head, 1))
        self.assertIsNone(copy.head.checksum)
        copy.join(ledger.delta(copy.head, 1))
        self.assertEqual(copy.head.checksum, ledger.checksum)


class DeltaTests(SynchronousTestCase):
    """A delta has everything that the receiver needs, and nothing else."""

    def test_lists_removals(self) -> None:
        """Recent removals are listed one by one."""
        delta = ledger_of(0, 0, 0, 2).delta(Head(3, 3))
        self.assertEqual((delta.added, delta.removed, delta.live), ((), (2,), None))

    def test_lists_those_since(self) -> None:
        """Only removals since the known version are listed; there are none before the first version."""
        for removals_max in (1, 1024):
            delta = ledger_of(0, 0, 0, 1, 2, removals_max=removals_max).delta(Head(4, 4))
            self.assertEqual((delta.removed, delta.live), ((2,), None))
        self.assertIsNone(ledger_of(0).delta(Head()).live)

    def test_what_is_known_already(self) -> None:
        """If a delta begins earlier, only its new entries are accepted."""
        ledger = ledger_of(0, 0)
        copy = copy_of(ledger)
        ledger.add(claim(3))
        self.assertEqual(copy.join(ledger.delta(Head())), Joined((claim(3),)))

    def test_names_the_living(self) -> None:
        """A delta for a copy that is too far behind lists the live entries instead of removals."""
        delta = ledger_of(0, 0, 0, 1, 2, removals_max=1).delta(Head(3, 3))
        self.assertEqual((delta.added, delta.removed, delta.live), ((), (), {0: 0b1000}))

    def test_pages(self) -> None:
        """A large delta is sent in pages; the copy is complete after the last one."""
        ledger = ledger_of(0, 0, 0, 0, 0)
        copy = Ledger(OWNER)
        reached = []
        while copy.version < ledger.version:
            copy.join(ledger.delta(copy.head, 2))
            reached.append((copy.head.version, copy.head.reach, copy.is_complete))
        self.assertEqual(reached, [(0, 2, False), (0, 4, False), (5, 5, True)])

    def test_pages_by_bytes(self) -> None:
        """Large bodies make smaller pages, and a page has at least one entry."""
        ledger = Ledger(OWNER)
        for _ in range(2):
            ledger.add(claim(ledger.next_n, body=b"x" * (DELTA_BYTES_MAX + 1)))
        self.assertEqual([entry.n for entry in ledger.delta(Head()).added], [1])

    def test_bytes_of_ends(self) -> None:
        """An end counts twenty bytes for each root, and a page may have exactly the limit of bytes."""
        end = End(OWNER, 2, "k", 18.0, 1, tuple((1, n) for n in range(1000)))
        for more, found in ((0, [1, 2]), (1, [1])):
            ledger = Ledger(OWNER)
            ledger.add(claim(1, body=b"x" * (DELTA_BYTES_MAX - 20_000 + more)))
            ledger.add(end)
            self.assertEqual([entry.n for entry in ledger.delta(Head()).added], found)

    def test_push_while_paging(self) -> None:
        """A push between two pages is refused, and the next page has its changes."""
        ledger = ledger_of(0, 0, 0, 0)
        copy = Ledger(OWNER)
        copy.join(ledger.delta(copy.head, 2))
        ledger.remove(1)
        self.assertRaises(Gap, copy.join, ledger.delta(Head(4, 4)))
        copy.join(ledger.delta(copy.head))
        self.assertEqual(copy.entries, ledger.entries)


class EntryTests(SynchronousTestCase):
    """Claims and ends have dots, and claims have a rank."""

    def test_dots(self) -> None:
        """The dot of an entry is its incarnation and the version that added it."""
        self.assertEqual(claim(3).dot, (OWNER, 3))
        self.assertEqual(End(OWNER, 4, "k", 18.0, 1, ((1, 2),)).dot, (OWNER, 4))

    def test_rank(self) -> None:
        """The claim with the larger rev has the larger rank; of equal revs, that with the larger root."""
        older = Claim(1, 9, "k", b"", 10.0, 1, 8, 9)
        newer = Claim(1, 2, "k", b"", 10.0, 2, 1, 1)
        self.assertGreater(newer.rank, older.rank)
        self.assertGreater(older.rank, Claim(1, 9, "k", b"", 10.0, 1, 7, 99).rank)
