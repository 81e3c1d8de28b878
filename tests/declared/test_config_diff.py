"""The differences between a file and a registry, and the order of the changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bender.client import Word
from bender.declared.config_diff import ChangeSet, Contents, change_set, export_document
from bender.declared.document import DeclaredState, Document

NOW_MS = 1_795_447_942_248
ONE, TWO = "registration/web/1/10.0.0.5/80", "registration/web/2/10.0.0.6/80"
SHOP = {"app": "web", "version": "1"}


def a_word(id_: str, state: str, *, lasts_s: float = 3600, ago_s: float = 0, clock_error_s: float = 0) -> Word:
    """Return a state that was set some seconds ago at a node with a wrong wall clock."""
    at_ms = round(NOW_MS + (clock_error_s - ago_s) * 1000)
    return Word(id_, state, lasts_s, lasts_s - ago_s, at_ms, "10.0.0.9")


def contents(
    backends: Mapping[str, Any] = {}, frontends: Mapping[str, Any] = {}, *words: Word, now_ms: int = NOW_MS
) -> Contents:
    return Contents(backends, frontends, {word.id: word for word in words}, now_ms)


class ComparisonCase(SynchronousTestCase):
    def changes(self, document: Document, there: Contents, *, prune: bool = False) -> list[str]:
        """Return the changes in order, each as its sign and id."""
        signs = {"create": "+", "change": "~", "remove": "-"}
        found = change_set(document, there, prune=prune)
        return [f"{signs[change.action]}{change.id}" for change in found.changes]


class Differences(ComparisonCase):
    def test_what_is_as_declared(self) -> None:
        """An equal object is counted, and not changed."""
        document = Document({"shop": SHOP}, {"www": {"backend": "shop"}}, {ONE: DeclaredState("drain")})
        there = contents({"shop": SHOP}, {"www": {"backend": "shop"}}, a_word(ONE, "drain"))
        self.assertEqual(change_set(document, there, prune=True), ChangeSet((), 3))

    def test_fields(self) -> None:
        """Fields of the file are set, and other fields are removed."""
        document = Document({"shop": {**SHOP, "version": "2", "canary": {"version": "3", "percent": 20}}})
        there = contents(
            {"shop": {**SHOP, "balance": "leastconn", "canary": {"version": "3", "percent": 10}}},
        )
        (change,) = change_set(document, there, prune=False).changes
        self.assertEqual(
            (change.action, change.describe()),
            (
                "change",
                [
                    "version 1 → 2",
                    "canary version 3 with 20 % of the traffic (was 10 %)",
                    "balance removed (was leastconn)",
                ],
            ),
        )

    def test_values_of_another_type(self) -> None:
        """JSON distinguishes true from 1, but not 20 from 20.0."""
        there = contents({"shop": {**SHOP, "slow_start": 20.0, "meta": {"a": [True]}}})
        same_document = Document({"shop": {**SHOP, "slow_start": 20, "meta": {"a": [True]}}})
        self.assertEqual(self.changes(same_document, there), [])
        (change,) = change_set(
            Document({"shop": {**SHOP, "meta": {"a": [1]}, "slow_start": 20}}), there, prune=False
        ).changes
        self.assertEqual(change.describe(), ["meta with values of another type"])

    def test_what_the_file_does_not_have(self) -> None:
        """Undeclared objects stay and are listed; with `prune` they are removed."""
        there = contents({"shop": SHOP, "old": SHOP}, {"www": {}}, a_word(ONE, "drain"))
        document = Document({"shop": SHOP})
        found = change_set(document, there, prune=False)
        undeclared = ("backend/old", "frontend/www", "state/web/1/10.0.0.5/80")
        self.assertEqual(found, ChangeSet((), 1, undeclared))
        self.assertEqual(
            self.changes(document, there, prune=True),
            ["-state/web/1/10.0.0.5/80", "-frontend/www", "-backend/old"],
        )

    def test_the_order_keeps_traffic_going(self) -> None:
        """Members are changed first, and backends before frontends. Removals are last, and frontends before backends.

        An instance of a new version is drained before the switch to it, and one of an old version after the switch.
        """
        document = Document(
            {"new": {"app": "web", "version": "2"}, "shop": {**SHOP, "balance": "random"}},
            {"a": {"backend": "new"}, "www": {"backend": "new"}},
            {ONE: DeclaredState("drain"), TWO: DeclaredState("maint"), f"{ONE}1": DeclaredState("up")},
        )
        there = contents(
            {"shop": SHOP, "old": SHOP},
            {"www": {"backend": "old"}, "gone": {"backend": "old"}},
            a_word(f"{ONE}2", "drain"),
        )
        self.assertEqual(
            self.changes(document, there, prune=True),
            [
                "+state/web/1/10.0.0.5/801",
                "-state/web/1/10.0.0.5/802",
                "+state/web/2/10.0.0.6/80",
                "+backend/new",
                "~backend/shop",
                "+frontend/a",
                "~frontend/www",
                "+state/web/1/10.0.0.5/80",
                "-frontend/gone",
                "-backend/old",
            ],
        )


class States(ComparisonCase):
    def test_for_a_while(self) -> None:
        """A state with the same duration is as declared, and so is any state if no time is declared."""
        there = contents({}, {}, a_word(ONE, "drain", lasts_s=3600, ago_s=1800))
        for declared, changes in (
            (DeclaredState("drain", 3600.0), []),
            (DeclaredState("drain"), []),
            (DeclaredState("drain", 60.0), ["~state/web/1/10.0.0.5/80"]),
            (DeclaredState("maint", 3600.0), ["~state/web/1/10.0.0.5/80"]),
        ):
            self.assertEqual(self.changes(Document({}, {}, {ONE: declared}), there), changes)

    def test_until_a_moment(self) -> None:
        """A difference of a few seconds does not count, by either clock."""
        end_ms = NOW_MS + 3_600_000
        for error_s in (0, 30, -30, 1_000_000):
            there = contents({}, {}, a_word(ONE, "drain", clock_error_s=error_s))
            for until_ms, changes in (
                (end_ms, []),
                (end_ms + 1500, []),
                (end_ms + 5000, ["~state/web/1/10.0.0.5/80"]),
            ):
                declared = DeclaredState("drain", None, until_ms)
                self.assertEqual(self.changes(Document({}, {}, {ONE: declared}), there), changes)

    def test_over(self) -> None:
        """A state that has ended is not set; a present state counts as undeclared."""
        document = Document({}, {}, {ONE: DeclaredState("drain", None, NOW_MS + 999)})
        found = change_set(document, contents(), prune=False)
        self.assertEqual(found, ChangeSet((), expired=("state/web/1/10.0.0.5/80",)))
        self.assertEqual(
            self.changes(document, contents({}, {}, a_word(ONE, "up")), prune=True), ["-state/web/1/10.0.0.5/80"]
        )


class Exports(SynchronousTestCase):
    def test_the_end_of_a_state_is_the_same_each_time(self) -> None:
        """Exports at different times are equal, and an export does not differ from the registry."""
        first = contents({"shop": SHOP}, {}, a_word(ONE, "drain", clock_error_s=20))
        later = contents(
            {"shop": SHOP}, {}, a_word(ONE, "drain", ago_s=100, clock_error_s=120), now_ms=NOW_MS + 100_777
        )
        document, notes = export_document(first)
        self.assertEqual((export_document(later), notes), ((document, []), []))
        self.assertEqual(document.states[ONE].until_ms, (NOW_MS + 3_620_000) // 1000 * 1000)
        self.assertEqual(change_set(document, later, prune=True).changes, ())

    def test_the_clock_of_a_node_is_far_off(self) -> None:
        """If the clock of a node is far off, the remaining time counts."""
        document, _ = export_document(contents({}, {}, a_word(ONE, "drain", clock_error_s=-1_000_000_000)))
        self.assertEqual(document.states[ONE].until_ms, (NOW_MS + 3_600_000) // 1000 * 1000)

    def test_fields_of_an_earlier_release(self) -> None:
        """Old fields are moved to `meta`, because nodes refuse them, and this is noted."""
        document, notes = export_document(contents({"shop": {**SHOP, "owner": "anna", "meta": {"a": 1}}}))
        self.assertEqual(document.backends, {"shop": {**SHOP, "meta": {"a": 1, "owner": "anna"}}})
        self.assertEqual(len(notes), 1)
        self.assertIn("backend/shop has owner from an earlier release", notes[0])

    def test_meta_that_is_taken(self) -> None:
        """A user's field in `meta` is not overwritten: the old field stays, and `check` reports it."""
        fields = {**SHOP, "owner": "anna", "meta": {"owner": "bert"}}
        self.assertEqual(export_document(contents({"shop": fields}))[0].backends, {"shop": fields})
