"""Find the events of another node that are new to a watcher.

Each node numbers its own events, so a watcher that changes nodes cannot continue at a number. Instead, it asks the
second node for its events since a position a short time ago, and for the objects that exist now. The events of the two
nodes overlap. For each id, the events after the last event that both nodes have are new. If an object still differs
from the object at the second node then, no node has the event any more, and the difference itself becomes an event.
This module uses no connections and no clocks.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

#: Changes that a watcher remembers, the same number as the events that a node keeps.
REMEMBERED_MAX = 10_000

#: Seconds for which a watcher remembers changes: longer than it takes to notice that a node is gone.
REMEMBERED_S = 90.0

#: The largest lag in seconds between the events of two nodes about the same change.
LAG_S = 2.0

_APPEARANCES = {"online", "created"}
_REMOVALS = {"offline", "removed"}

#: Reasons of events that show only an outcome: no node sent an event for the change itself.
_OUTCOMES = {"snapshot", "missed"}


@frozen
class Change:
    """One event. `at_ms` is from the wall clock of the node that sent it, and only compares equal events."""

    event: str
    kind: str
    id: str
    reason: str
    body: Mapping[str, Any]
    at_ms: int

    @property
    def is_removal(self) -> bool:
        return self.event in _REMOVALS

    def is_same_as(self, other: Change) -> bool:
        """Return True if the events of two nodes are about the same change.

        If this event shows only an outcome, return True if the other event leads to this outcome.
        """
        if self.reason in _OUTCOMES:
            return (self.is_removal, self.body) == (other.is_removal, other.body)
        return (self.event, self.reason, self.body) == (other.event, other.reason, other.body)


@frozen
class ReportedChange:
    """A change, and the time `at` when the watcher passed it on, by the watcher's own clock."""

    at: float
    change: Change


class History:
    """The events of one watcher: `listed` has the last event of each listed object, by id, beside recent changes."""

    def __init__(self) -> None:
        self.listed: dict[str, Change] = {}
        self._reported: deque[ReportedChange] = deque()
        self._complete_since = float("-inf")

    def note(self, change: Change, now: float) -> bool:
        """Record a change before it is passed on. Return False if it is not new and must not be passed on."""
        if not self._is_new(change):
            return False
        if change.is_removal:
            del self.listed[change.id]
        else:
            self.listed[change.id] = change
        self._reported.append(ReportedChange(now, change))
        while len(self._reported) > REMEMBERED_MAX or self._reported[0].at < now - REMEMBERED_S:
            self._complete_since = self._reported.popleft().at
        return True

    def _is_new(self, change: Change) -> bool:
        listed = self.listed.get(change.id)
        if change.event in _APPEARANCES:
            return listed is None
        return listed is not None and (change.is_removal or listed.body != change.body)

    def covers(self, since: float) -> bool:
        """Return True if all changes since a time are remembered, even if another node reports them with a lag."""
        return since - LAG_S > self._complete_since

    def new_changes(
        self, missed: Sequence[Change], since: float, present: Iterable[Change], at_ms: int
    ) -> Iterator[Change]:
        """Yield the changes in another node's events that are new, and then the differences to its objects.

        `missed` are its events since a time, and `present` its objects. Call `note` with each change before you take
        the next. `at_ms` is the time of the differences.
        """
        reported: dict[str, list[ReportedChange]] = defaultdict(list)
        for earlier in self._reported:
            if earlier.at > since - LAG_S:
                reported[earlier.change.id].append(earlier)
        by_id: dict[str, list[Change]] = defaultdict(list)
        for change in missed:
            by_id[change.id].append(change)
        skipped = {id_: known_count(reported[id_], changes, since) for id_, changes in by_id.items()}
        for change in missed:
            if skipped[change.id]:
                skipped[change.id] -= 1
            else:
                yield change
        yield from self._difference({change.id: change for change in present}, at_ms)

    def _difference(self, present: Mapping[str, Change], at_ms: int) -> Iterator[Change]:
        for id_, listed in [*self.listed.items()]:
            if id_ not in present:
                yield _removal(listed, at_ms)
            elif _is_other_registration(listed, present[id_]):
                yield _removal(listed, at_ms)
                yield _missed_change(present[id_], _appearance_event(listed), at_ms)
            elif listed.body != present[id_].body:
                yield _missed_change(present[id_], "changed", at_ms)
        for id_, change in present.items():
            if id_ not in self.listed:
                yield _missed_change(change, change.event, at_ms)


def known_count(reported: Sequence[ReportedChange], missed: Sequence[Change], since: float) -> int:
    """Return how many of another node's changes of one id, from the first, are already known.

    `missed` are these changes since a time, and `reported` the changes of the id that were passed on. The changes after
    the last reported change are new. If several missed changes equal it, it is the one before which most changes are
    equal too, or the one nearest in time. If no missed change equals it, either it happened before them, so all are
    new; or the two nodes saw different changes, so only the outcome matters and all count as known.
    """
    if not reported:
        return 0
    last = reported[-1].change
    places = [i for i, change in enumerate(missed) if last.is_same_as(change)]
    if not places:
        return 0 if reported[-1].at < since + LAG_S else len(missed)
    return 1 + max(places, key=lambda i: (_same_at_end(reported, missed[: i + 1]), -abs(missed[i].at_ms - last.at_ms)))


def _same_at_end(reported: Sequence[ReportedChange], missed: Sequence[Change]) -> int:
    """Return how many changes at the end of the two sequences are the same."""
    same = 0
    for earlier, other in zip(reversed(reported), reversed(missed), strict=False):
        if not earlier.change.is_same_as(other):
            break
        same += 1
    return same


def _is_other_registration(listed: Change, present: Change) -> bool:
    """Return True if the listed registration has ended, and another registration has begun under its id."""
    before, now = listed.body, present.body
    return (before.get("registered"), before.get("node")) != (now.get("registered"), now.get("node"))


def _appearance_event(change: Change) -> str:
    return "online" if change.kind == "registration" else "created"


def _removal(listed: Change, at_ms: int) -> Change:
    event = "offline" if listed.kind == "registration" else "removed"
    return Change(event, listed.kind, listed.id, "missed", listed.body, at_ms)


def _missed_change(present: Change, event: str, at_ms: int) -> Change:
    return Change(event, present.kind, present.id, "missed", present.body, at_ms)
