"""The events of another node that are new to a watcher."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bender.client.event_merge import LAG_S, REMEMBERED_MAX, REMEMBERED_S, Change, History, ReportedChange, known_count


def body(id_: str, **fields: Any) -> dict[str, Any]:
    return {"id": id_, "registered": 1, "node": "n1", **fields}


def change(text: str, at_ms: int = 0) -> Change:
    """Return changes: `a` appears, `-a` is removed, `a'` changes; `a2` is the second registration of this id."""
    gone, changed = text.startswith("-"), text.endswith("'")
    name = text.strip("-'")
    fields = body(name[0], registered=int(name[1:] or 1), weight=2 if changed else 1)
    event, reason = ("offline", "expired") if gone else ("changed" if changed else "online", "registered")
    return Change(event, "registration", name[0], reason, fields, at_ms)


def changes(texts: str) -> list[Change]:
    return [change(text) for text in texts.split()]


def told(texts: str, at: float) -> list[ReportedChange]:
    return [ReportedChange(at, each) for each in changes(texts)]


def in_short(change: Change) -> str:
    sign = {"offline": "-", "changed": "~"}.get(change.event, "")
    number = change.body["registered"]
    return f"{sign}{change.id}{'' if number == 1 else number}{'?' if change.reason == 'missed' else ''}"


class Overlaps(SynchronousTestCase):
    def new_changes(self, texts: str, missed: str, at: float = 10.0) -> str:
        """Return the new changes among those missed since the time 0."""
        all_missed = changes(missed)
        return " ".join(map(in_short, all_missed[known_count(told(texts, at), all_missed, 0.0) :]))

    def test_what_follows_the_last_that_was_told(self) -> None:
        """Changes up to the last reported one are known."""
        self.assertEqual(self.new_changes("a -a", "-a a2 -a2"), "a2 -a2")
        self.assertEqual(self.new_changes("a", "a"), "")
        self.assertEqual(self.new_changes("-a a2", "a -a a2 -a2"), "-a2")

    def test_nothing_was_told(self) -> None:
        """If nothing was reported, all changes are new."""
        self.assertEqual(self.new_changes("", "-a a2"), "-a a2")

    def test_nothing_in_common(self) -> None:
        """If the two nodes saw different changes, or the other node lags, only the outcome counts."""
        self.assertEqual(self.new_changes("a'", "a -a"), "")
        self.assertEqual(self.new_changes("a -a a2", "a -a"), "")

    def test_what_was_told_last_came_before(self) -> None:
        """If the last reported change happened before the missed changes, all of them are new."""
        self.assertEqual(self.new_changes("a", "-a a2", at=1.0), "-a a2")

    def test_what_was_told_of_a_snapshot(self) -> None:
        """The event that led to an object of the snapshot is known."""
        snapshot = Change("online", "registration", "a", "snapshot", body("a", weight=1), 0)
        self.assertEqual(known_count([ReportedChange(10.0, snapshot)], changes("a -a"), 0.0), 1)

    def test_several_that_are_the_same(self) -> None:
        """Among equal changes, the one with most equal changes before it counts, then the nearest in time."""
        self.assertEqual(self.new_changes("a -a a", "a -a a -a"), "-a")
        self.assertEqual(self.new_changes("-a a -a", "a -a a"), "a")
        missed = [change("-a", 1000), change("a", 2000), change("-a", 3000)]
        self.assertEqual(known_count([ReportedChange(10.0, change("-a", 900))], missed, 0.0), 1)
        self.assertEqual(known_count([ReportedChange(10.0, change("-a", 3100))], missed, 0.0), 3)


class Histories(SynchronousTestCase):
    def setUp(self) -> None:
        self.history = History()

    def tell(self, texts: str, now: float = 0.0) -> list[bool]:
        return [self.history.note(each, now) for each in changes(texts)]

    def new_changes(self, missed: str, present: str) -> str:
        new_changes = []
        for each in self.history.new_changes(changes(missed), 0.0, changes(present), 7):
            if self.history.note(each, 1.0):
                new_changes.append(in_short(each))
        return " ".join(new_changes)

    def test_only_news_is_taken(self) -> None:
        """For one id, appearances and removals alternate."""
        self.assertEqual(self.tell("a a -a -a b' b b' b'"), [True, False, True, False, False, True, True, False])
        self.assertEqual([*self.history.listed], ["b"])

    def test_what_was_missed(self) -> None:
        """All missed changes of all ids are new, in their order."""
        self.tell("a b")
        self.assertEqual(self.new_changes("b -a c a2 -c", "a2 b"), "-a c a2 -c")

    def test_what_nobody_tells_any_more(self) -> None:
        """A difference without an event becomes an event."""
        self.tell("a b c")
        self.assertEqual(self.new_changes("", "a2 b' d"), "-a? a2? ~b? -c? d?")
        self.assertEqual([*self.history.listed], ["b", "a", "d"])

    def test_what_went_and_came_back_unchanged(self) -> None:
        """A removal and an equal reappearance are new changes if the other node has their events."""
        self.tell("a")
        self.assertEqual(self.new_changes("a -a a", "a"), "-a a")

    def test_backends(self) -> None:
        """Backends and frontends are created and removed."""
        backend = Change("created", "backend", "backend/x", "snapshot", {"id": "backend/x", "app": "a"}, 0)
        self.history.note(backend, 0)
        (removed,) = self.history.new_changes([], 0.0, [], 7)
        self.assertEqual((removed.event, removed.reason, removed.at_ms), ("removed", "missed", 7))
        self.history.note(removed, 0)
        (created,) = self.history.new_changes([], 0.0, [backend], 7)
        self.assertEqual((created.event, created.reason), ("created", "missed"))

    def test_what_is_remembered_is_bounded(self) -> None:
        """The number and age of remembered changes are limited; older changes of another node cannot be merged."""
        self.tell("a")
        self.assertTrue(self.history.covers(0.0))
        self.tell("-a", REMEMBERED_S + 1)
        self.assertEqual((self.history.covers(0.0), self.history.covers(LAG_S)), (False, False))
        self.assertTrue(self.history.covers(LAG_S + 0.5))
        for _ in range(REMEMBERED_MAX // 2):
            self.tell("a2 -a2", REMEMBERED_S + 2)
        self.assertFalse(self.history.covers(REMEMBERED_S + 1))
        self.assertEqual(len(self.history._reported), REMEMBERED_MAX)
