"""Any sequence of claims, gaps and deltas leads to copies that equal their ledger."""

from __future__ import annotations

from itertools import permutations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from bender.core.ledger import (
    Claim,
    Copy,
    Delta,
    End,
    Entry,
    Gap,
    Ledger,
    Outdated,
)
from tests.core.ledgers import OWNER, claim, ledger_of
from tests.effort import effort


class Copies(RuleBasedStateMachine):
    """An owner and three copies send each other deltas, which get lost, doubled, delayed and reordered."""

    @initialize(removals_max=st.sampled_from([0, 1, 3, 1024]))
    def begin(self, removals_max: int) -> None:
        self.owner = Ledger(OWNER, removals_max)
        self.history = [dict(self.owner.entries)]
        self.checksums = [self.owner.checksum]
        self.copies = [Ledger(OWNER, removals_max) for _ in range(3)]
        self.deltas: list[Delta] = []

    @rule()
    def add(self) -> None:
        self.owner.add(claim(self.owner.next_n))
        self.note()

    @precondition(lambda self: self.owner.entries)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        self.owner.remove(data.draw(st.sampled_from(sorted(self.owner.entries))))
        self.note()

    def note(self) -> None:
        self.history.append(dict(self.owner.entries))
        self.checksums.append(self.owner.checksum)

    @rule(source=st.integers(0, 2), to=st.integers(0, 2), entries_max=st.sampled_from([1, 2, 1000]), late=st.booleans())
    def tell(self, source: int, to: int, entries_max: int, late: bool) -> None:
        """Send a delta to a copy: 0 and 2 get deltas of the owner or of copies, 1 only of copies."""
        ledger = self.owner if source == to and source != 1 else self.copies[source]
        head = self.copies[to].head
        if ledger.is_complete and ledger.version > head.version:
            self.deltas.append(ledger.delta(head, entries_max))
            if not late:
                self.take(self.copies[to], self.deltas[-1])

    @precondition(lambda self: self.deltas)
    @rule(to=st.integers(0, 2), data=st.data())
    def tell_late(self, to: int, data: st.DataObject) -> None:
        """Receive an earlier delta, which may have been for another copy."""
        self.take(self.copies[to], data.draw(st.sampled_from(self.deltas)))

    @rule(to=st.integers(0, 2))
    def begin_anew(self, to: int) -> None:
        """Give up the pages of a copy, or begin a complete copy again."""
        copy = self.copies[to]
        if copy.is_complete:
            copy.start_over()
        else:
            copy.give_up_pages()

    def take(self, copy: Ledger, delta: Delta) -> None:
        before = (copy.head, dict(copy.entries))
        try:
            joined = copy.join(delta)
        except Gap:
            assert (copy.head, dict(copy.entries)) == before
        else:
            assert {*copy.entries} == {*before[1]} - {e.n for e in joined.removed} | {e.n for e in joined.added}
            assert not {*before[1]} - {e.n for e in joined.removed} & {e.n for e in joined.added}
            assert copy.head.version >= before[0].version
            assert copy.head.reach >= before[0].reach

    @invariant()
    def complete_copies_are_the_ledger_as_it_was(self) -> None:
        for copy in getattr(self, "copies", ()):
            assert [*copy.entries] == sorted(copy.entries)
            if copy.is_complete:
                assert copy.entries == self.history[copy.version]
                assert copy.checksum == self.checksums[copy.version]
                assert self.owner.matches(copy.head)

    def teardown(self) -> None:
        """A few pages of the owner lead from any state of a copy to the owner's state."""
        for copy in getattr(self, "copies", ()):
            for _ in range(2 * len(self.history) + 2):
                if copy.version < self.owner.version:
                    copy.join(self.owner.delta(copy.head, 1))
            assert copy.entries == self.owner.entries
            assert copy.is_complete


class CopiesTests(SynchronousTestCase):
    """Deltas are equivalent to the join of full states."""

    def test_any_exchange_of_deltas(self) -> None:
        """Copies are right after any deltas and pages, from any sender, from any base, in any order."""
        run_state_machine_as_test(
            Copies, settings=settings(max_examples=effort(120, 600), stateful_step_count=60, deadline=None)
        )


def tell(source: Ledger, to: Ledger, entries_max: int) -> None:
    """Bring one copy up to another one, page by page, as nodes do if the ledger's node is unreachable."""
    told = source.head
    if source.is_complete and to.is_complete and told.version == to.version and (told.checksum or 0) > to.checksum:
        to.start_over()
    while source.is_complete and source.version > to.version:
        try:
            to.join(source.delta(to.head, entries_max))
        except Outdated:
            to.give_up_pages()


#: A step of a clone: which of the two, whether it adds or which entry it removes, and the copy that gets it.
CLONES_STEPS = st.lists(st.tuples(st.integers(0, 1), st.booleans(), st.integers(0, 9), st.integers(0, 3)), max_size=20)


class CloneTests(SynchronousTestCase):
    """Two processes write as one incarnation."""

    @given(st.integers(0, 3), CLONES_STEPS, st.sampled_from([0, 2, 1024]))
    @settings(max_examples=effort(150, 500), deadline=None)
    def test_copies_converge(self, common: int, steps: list[tuple[int, bool, int, int]], removals_max: int) -> None:
        """Copies of both ledgers become equal when both processes are gone."""
        clones = [ledger_of(*[0] * common, removals_max=removals_max) for _ in range(2)]
        copies = [Ledger(OWNER, removals_max) for _ in range(3)]
        for number, adding, place, told in steps:
            clone = clones[number]
            if adding or not clone.entries:
                clone.add(claim(clone.next_n, body=b"%d" % number))
            else:
                clone.remove(sorted(clone.entries)[place % len(clone.entries)])
            for copy in copies[told : told + 1]:
                tell(clone, copy, 1000)
        for _ in range(6):
            for source, to in permutations(copies, 2):
                tell(source, to, 2)
        self.assertEqual([copy.head for copy in copies], [copies[0].head] * 3)
        self.assertEqual([dict(copy.entries) for copy in copies], [dict(copies[0].entries)] * 3)
        self.assertTrue(all(copy.is_complete for copy in copies))


class CopyTests(SynchronousTestCase):
    """A claim with the terms of another one can be sent as a copy of that."""

    def setUp(self) -> None:
        self.of = Claim(2, 7, "registration/web/1/h/80", b"{}", 10.0, 3, 5, 1)
        self.delta = Delta(OWNER, 0, 0, 2, 2, (claim(1), Copy(OWNER, 2, 2, 7)))

    def find(self, node: int, n: int) -> Entry | None:
        return self.of if (node, n) == self.of.dot else None

    def test_resolved(self) -> None:
        """A resolved copy has its own dot, and everything else of the other claim."""
        first, second = self.delta.with_copies_resolved(self.find).added
        self.assertEqual((first, second), (claim(1), msgspec.structs.replace(self.of, node=OWNER, n=2)))

    def test_copied(self) -> None:
        """A copy has the checksum of the claim, so another claim with the same dot does not fit."""
        copy = self.of.copied_by(OWNER, 2)
        self.assertEqual(copy, Copy(OWNER, 2, 2, 7, self.of.checksum))
        (entry,) = Delta(OWNER, 1, 1, 2, 2, (copy,)).with_copies_resolved(self.find).added
        assert isinstance(entry, Claim)
        self.assertEqual((entry.root, entry.rank, entry.checksum), ((5, 1), self.of.rank, self.of.checksum))
        self.of = msgspec.structs.replace(self.of, body=b"other")
        self.assertRaises(Gap, Delta(OWNER, 1, 1, 2, 2, (copy,)).with_copies_resolved, self.find)

    def test_of_what_is_not_here(self) -> None:
        """A delta with a copy of an unknown claim is a gap, and nothing of it is accepted."""
        self.assertRaises(Gap, self.delta.with_copies_resolved, lambda node, n: None)
        self.assertRaises(Gap, self.delta.with_copies_resolved, lambda node, n: End(2, 7, "k", 18.0, 1, ()))

    def test_without_copies(self) -> None:
        """A delta without copies stays the same object."""
        delta = Delta(OWNER, 0, 0, 1, 1, (claim(1),))
        self.assertIs(delta.with_copies_resolved(self.find), delta)
