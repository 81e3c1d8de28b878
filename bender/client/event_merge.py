"""Find the events of another node that are new to a watcher.

Each node numbers its own events, so a watcher that changes nodes cannot continue at a number. It asks the second node
for its events since a while ago, which overlap with those of the first, and for the objects that exist now. Here the
two are merged: for each id, the events after the last one that both nodes have are news. If an object then still
differs from the second node's, no node has the event for that any more, and the difference itself becomes an event.
Nothing here knows connections or clocks.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

#: Events that are remembered, the same number that a node has.
TOLD_MAX = 10_000

#: For how long, in seconds: longer than it takes to notice that a node is gone.
TOLD_S = 90.0

#: The largest lag between the events of two nodes about the same change.
LAG_S = 2.0

_APPEARS = {"online", "created"}
_GOES = {"offline", "removed"}

#: Reasons of events about an outcome, for which no node sent an event of its own.
_OUTCOMES = {"snapshot", "missed"}


@frozen
class Change:
    """One event: `at_ms` is the wall clock of the node that sent it, and is used only between equal events."""

    event: str
    kind: str
    id: str
    reason: str
    body: Mapping[str, Any]
    at_ms: int

    @property
    def goes(self) -> bool:
        return self.event in _GOES

    def is_the_same(self, other: Change) -> bool:
        """Return True if two nodes' events are about one change; for an outcome, if the other led to it."""
        if self.reason in _OUTCOMES:
            return (self.goes, self.body) == (other.goes, other.body)
        return (self.event, self.reason, self.body) == (other.event, other.reason, other.body)


@frozen
class ReportedChange:
    """A change, and the watcher's own time when it was passed on."""

    at: float
    change: Change


class History:
    """The events of one watcher: all objects that are shown, and the last changes with the times of their events."""

    def __init__(self) -> None:
        self.shown: dict[str, Change] = {}
        self._told: deque[ReportedChange] = deque()
        self._complete_since = float("-inf")

    def note(self, change: Change, now: float) -> bool:
        """Record a change before it is passed on. Return False if it is not new, and must not be passed on."""
        if not self._fits(change):
            return False
        if change.goes:
            del self.shown[change.id]
        else:
            self.shown[change.id] = change
        self._told.append(ReportedChange(now, change))
        while len(self._told) > TOLD_MAX or self._told[0].at < now - TOLD_S:
            self._complete_since = self._told.popleft().at
        return True

    def _fits(self, change: Change) -> bool:
        shown = self.shown.get(change.id)
        if change.event in _APPEARS:
            return shown is None
        return shown is not None and (change.goes or shown.body != change.body)

    def covers(self, since: float) -> bool:
        """Return True if all changes after a time are remembered, with the lag of another node."""
        return since - LAG_S > self._complete_since

    def news(self, missed: Sequence[Change], since: float, present: Iterable[Change], at_ms: int) -> Iterator[Change]:
        """Return the news in another node's events since a time, `missed`, and then the differences to `present`.

        Call `note` with each, before the next is taken.
        """
        reported: dict[str, list[ReportedChange]] = defaultdict(list)
        for one in self._told:
            if one.at > since - LAG_S:
                reported[one.change.id].append(one)
        by_id: dict[str, list[Change]] = defaultdict(list)
        for change in missed:
            by_id[change.id].append(change)
        skipped = {id_: overlap(reported[id_], changes, since) for id_, changes in by_id.items()}
        for change in missed:
            if skipped[change.id]:
                skipped[change.id] -= 1
            else:
                yield change
        yield from self._difference({change.id: change for change in present}, at_ms)

    def _difference(self, present: Mapping[str, Change], at_ms: int) -> Iterator[Change]:
        for id_, shown in [*self.shown.items()]:
            if id_ not in present:
                yield _gone(shown, at_ms)
            elif _is_another(shown, present[id_]):
                yield _gone(shown, at_ms)
                yield _missed(present[id_], _appears(shown), at_ms)
            elif shown.body != present[id_].body:
                yield _missed(present[id_], "changed", at_ms)
        for id_, change in present.items():
            if id_ not in self.shown:
                yield _missed(change, change.event, at_ms)


def overlap(reported: Sequence[ReportedChange], missed: Sequence[Change], since: float) -> int:
    """Return how many of another node's changes of one id since a time, from the first, are not news.

    All changes after the last one that was passed on are news. If several equal it, the one counts before which most
    changes are the same as well, or which is nearest in time. If none equals it, it came before all of them, or the two
    nodes saw different changes, and only the outcome matters.
    """
    if not reported:
        return 0
    last = reported[-1].change
    places = [i for i, change in enumerate(missed) if last.is_the_same(change)]
    if not places:
        return 0 if reported[-1].at < since + LAG_S else len(missed)
    return 1 + max(places, key=lambda i: (_in_common(reported, missed[: i + 1]), -abs(missed[i].at_ms - last.at_ms)))


def _in_common(reported: Sequence[ReportedChange], missed: Sequence[Change]) -> int:
    """Return how many are the same, counted from the end."""
    common = 0
    for one, other in zip(reversed(reported), reversed(missed), strict=False):
        if not one.change.is_the_same(other):
            break
        common += 1
    return common


def _is_another(shown: Change, present: Change) -> bool:
    """Return True if a registration has ended, and another one has begun under the same id."""
    one, other = shown.body, present.body
    return (one.get("registered"), one.get("node")) != (other.get("registered"), other.get("node"))


def _appears(change: Change) -> str:
    return "online" if change.kind == "registration" else "created"


def _gone(shown: Change, at_ms: int) -> Change:
    event = "offline" if shown.kind == "registration" else "removed"
    return Change(event, shown.kind, shown.id, "missed", shown.body, at_ms)


def _missed(present: Change, event: str, at_ms: int) -> Change:
    return Change(event, present.kind, present.id, "missed", present.body, at_ms)
