"""The selection of one watcher: which events it gets, from which cursor on, and after which snapshot.

The rules are the same for every transport. A subscription knows none of them: it returns what it owes in pieces, as
many and as fast as the caller asks for. Until all of that is taken it looks up events in the journal, so a slow reader
costs no memory; from then on events are sent as they come.

A snapshot is what is shown at one instant. It is read piece by piece while events go on, and what followed that
instant follows it, so nothing is missing between the two and nothing is there twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Literal, TypeVar

from attrs import frozen

from bender.core.consumers import parse_instance
from bender.core.ledger import Claim
from bender.core.model import parse_name, registration, registration_bytes
from bender.core.registration_status import USUAL, RegistrationStatus
from bender.node.journal import Entry, Journal, event_line, snapshot_lines
from bender.node.node import Node

#: Stands at the end of a cursor that was given within a snapshot. To go on after half a snapshot is not possible, so
#: such a cursor is never known and leads to a `reset`, as it should.
WITHIN_SNAPSHOT = "~"

#: A snapshot is in order of id, but of more than this: to put 100,000 in order takes 50 ms in one go.
ORDERED_MAX = 20_000


_T = TypeVar("_T")


@frozen
class Selection:
    """The request of a watcher. All of it may be left out: then it gets every event from now on.

    `since` is the cursor to go on after. With one that is known there is no snapshot if `snapshot` is True, for the
    watcher has had one; but it is told by `synced` when it has caught up. If it is "always" the snapshot follows what
    was missed, for a watcher that comes from another node, which may have told it otherwise. One with
    a `name` is a consumer, and `instance` tells it apart from others of this name; it means nothing without one.

    With `last`, which excludes a snapshot and `since`, the watcher first gets this number of past events, or as many as
    the journal has.
    """

    app: str | None = None
    version: str | None = None
    snapshot: bool | Literal["always"] = False
    since: str | None = None
    name: str | None = None
    instance: str | None = None
    last: int | None = None

    def __attrs_post_init__(self) -> None:
        """Raise `Invalid` if the app, version, name or instance is not a valid one."""
        for field, name in (("app", self.app), ("version", self.version), ("name", self.name)):
            if name is not None:
                parse_name(field, name)
        if self.instance is not None:
            parse_instance(self.instance)

    def admits(self, entry: Entry) -> bool:
        """Whether this event is for the watcher."""
        return (self.app is None or entry.app == self.app) and (self.version is None or entry.version == self.version)


class Subscription:
    """The events and snapshot that a node owes a watcher with this `selection`, from when it was made.

    Take all of it, and again whenever there is more in the journal. Who has taken everything, and was told of nothing
    since, says so by `pass_over` before he goes on: of what is not for him the journal tells nothing, and it forgets.
    """

    def __init__(self, node: Node, selection: Selection) -> None:
        journal = node.journal
        known = _beginning(journal, selection)
        self.selection = selection
        self._node = node
        self._journal = journal
        self._lost = known is None
        # The number of the last event before what is owed; None if a snapshot has to be made first.
        self._position = None if selection.snapshot and selection.since is None else known
        self._sync_due = bool(selection.snapshot)
        # Whether the first event that is owed was looked up.
        self._begun = selection.last is None
        self._snapshot: Iterator[Entry] = iter(())
        # What of a snapshot was not taken yet, backwards.
        self._claims: list[Claim] = []
        self._statuses: dict[str, RegistrationStatus] = {}
        self._configured: dict[str, list[bytes]] = {}

    @property
    def opening(self) -> bool:
        """Whether the next thing owed is a snapshot, which only a node that is ready can make."""
        return self._position is None

    @property
    def cursor(self) -> str:
        """The cursor after what was taken; only valid once everything was taken."""
        return self._journal.cursor_at(self._position or 0)

    def pass_over(self, number: int) -> None:
        """Owe nothing up to an event that is not for the watcher, nor any before it that was not taken."""
        if self._position is not None:
            self._position = max(self._position, number)

    def take(self, bytes_max: int) -> list[Entry]:
        """Return the next piece owed, of `bytes_max` or just above. If empty, nothing is owed, unless `opening`."""
        if self._position is None:
            self._open()
        taken: list[Entry] = []
        size = 0
        for entry in chain(self._snapshot, self._missed(), iter(self._next_of_snapshot, None)):
            taken.append(entry)
            size += entry.size
            if size >= bytes_max:
                break
        return taken

    def owed_bytes(self, enough: int) -> int:
        """Return about how much is owed, counted no further than just above `enough`."""
        total = 0
        shown = (registration_bytes(claim.key, claim.body) for claim in self._claims)
        for size in chain(shown, map(len, chain.from_iterable(self._configured.values())), map(_size, self._ahead())):
            total += size
            if total > enough:
                break
        return total

    def _open(self) -> None:
        """Begin with all that is shown now."""
        node, app, version = self._node, self.selection.app, self.selection.version
        self._claims = node.claims(app, version, ordered=node.listed <= ORDERED_MAX)[::-1]
        self._statuses = node.registration_statuses()
        if app is None and version is None:
            self._configured = {kind: node.configuration(kind)[::-1] for kind in ("backend", "frontend")}
        self._snapshot = self._snapshot_of(self._journal.cursor, self._lost)
        self._position = self._journal.number
        self._sync_due = False

    def _snapshot_of(self, cursor: str, lost: bool) -> Iterator[Entry]:
        at_ms = self._journal.wall_ms()
        within = cursor + WITHIN_SNAPSHOT
        if lost:
            yield Entry(within, event_line("reset", cursor=within))
        statuses = self._statuses
        taken = _taken_out(self._claims)
        registrations = (registration(claim.key, claim.body, statuses.get(claim.key, USUAL)) for claim in taken)
        yield from snapshot_lines("registration", registrations, within, at_ms)
        for kind, bodies in self._configured.items():
            yield from snapshot_lines(kind, _taken_out(bodies), within, at_ms)
        yield Entry(cursor, event_line("synced", cursor=cursor))

    def _next_of_snapshot(self) -> Entry | None:
        """Of the one that is there by the time of the call."""
        return next(self._snapshot, None)

    def _missed(self) -> Iterator[Entry]:
        """Yield the events that the journal has for the watcher, moving on with each."""
        if self._position is not None and not self._begun:
            # The journal may have gone on before the first turn; past events were asked for as far as it has them.
            self._begun = True
            self._position = max(self._position, self._journal.held_after)
        while self._position is not None and self._position < self._journal.number:
            entry = self._journal.entry(self._position + 1)
            if entry is None:  # so slow that the journal went on without it
                self._lost = True
                self._position = None
                return
            self._position += 1
            if self.selection.admits(entry):
                yield entry
        if self._sync_due and self.selection.snapshot == "always":
            self._open()  # at this instant, so that nothing comes between what was missed and the snapshot
        elif self._sync_due:
            self._sync_due = False
            yield Entry(self._journal.cursor, event_line("synced", cursor=self._journal.cursor))

    def _ahead(self) -> Iterator[Entry]:
        """Yield the events that the journal has for the watcher, without moving on."""
        if self._position is not None:
            entries = map(self._journal.entry, range(self._position + 1, self._journal.number + 1))
            yield from (entry for entry in entries if entry is not None and self.selection.admits(entry))


def _beginning(journal: Journal, selection: Selection) -> int | None:
    """Return the number of the event before the first that a watcher gets; None if its cursor is not known."""
    if selection.last is not None:
        return journal.before_last(selection.last, selection.app, selection.version)
    return journal.number if selection.since is None else journal.position(selection.since)


def _taken_out(backwards: list[_T]) -> Iterator[_T]:
    while backwards:
        yield backwards.pop()


def _size(entry: Entry) -> int:
    return entry.size
