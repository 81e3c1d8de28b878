"""The selection of one watcher: which events it gets, from which cursor on, and after which snapshot.

The rules are the same for every transport, and a subscription knows no transport. It returns the events it owes in
pieces, when the caller asks for them. It reads them from the journal, so a slow watcher costs no memory. After the
watcher has caught up, events are sent as they happen.

A snapshot is the state of the registry at one instant. It is read piece by piece while events happen, and the events
after that instant follow it, so that no event is missing and none is sent twice.
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

#: The end of each cursor within a snapshot. A watcher cannot continue in the middle of a snapshot, so the journal does
#: not know such a cursor, and the watcher gets a `reset` and a new snapshot.
WITHIN_SNAPSHOT = "~"

#: A snapshot of more registrations is not sorted by id: sorting 100,000 at once takes 50 ms.
ORDERED_MAX = 20_000


_T = TypeVar("_T")


@frozen
class Selection:
    """The request of a watcher. Without any fields, the watcher gets every event from now on.

    - `app` and `version` limit the events to those of registrations of an app, or of one version.
    - `snapshot` requests a snapshot before the events.
    - `since` is the cursor after which the watcher continues. If the journal knows it, the watcher gets no snapshot,
      but a `synced` event when it has caught up. If `snapshot` is "always", it gets the snapshot after the missed
      events all the same: a watcher that changed nodes may have got something else from the other node.
    - `name` makes the watcher a consumer, and `instance` distinguishes it from others of this name. Without a name,
      the instance has no effect.
    - `last`, which excludes `snapshot` and `since`, is the number of past events that the watcher gets first; it gets
      fewer if the journal has fewer.
    """

    app: str | None = None
    version: str | None = None
    snapshot: bool | Literal["always"] = False
    since: str | None = None
    name: str | None = None
    instance: str | None = None
    last: int | None = None

    def __attrs_post_init__(self) -> None:
        """Raise `Invalid` if the app, version, name or instance is not valid."""
        for field, name in (("app", self.app), ("version", self.version), ("name", self.name)):
            if name is not None:
                parse_name(field, name)
        if self.instance is not None:
            parse_instance(self.instance)

    def admits(self, entry: Entry) -> bool:
        """Return True if this event is for the watcher."""
        return (self.app is None or entry.app == self.app) and (self.version is None or entry.version == self.version)


class Subscription:
    """The snapshot and events that a node owes a watcher with this `selection`, from the creation of the subscription.

    Call `take` until nothing is owed, and again when the journal has more. A caller that has taken everything and was
    not notified of later events must call `pass_over` before `take`: those events were not for its watcher, and the
    journal may have dropped them.
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
        # Whether the first owed event was looked up.
        self._begun = selection.last is None
        self._snapshot: Iterator[Entry] = iter(())
        # The rest of the snapshot, last object first.
        self._claims: list[Claim] = []
        self._statuses: dict[str, RegistrationStatus] = {}
        self._configured: dict[str, list[bytes]] = {}

    @property
    def owes_snapshot(self) -> bool:
        """Whether a snapshot is owed next, which only a ready node can make."""
        return self._position is None

    @property
    def cursor(self) -> str:
        """The cursor after the last taken event; valid only when nothing more is owed."""
        return self._journal.cursor_at(self._position or 0)

    def pass_over(self, number: int) -> None:
        """Owe no events up to this number any more, because they are not for the watcher."""
        if self._position is not None:
            self._position = max(self._position, number)

    def take(self, bytes_max: int) -> list[Entry]:
        """Return the next owed events, of `bytes_max` or one event more; none if nothing is owed.

        It returns none also if a slow watcher has lost events: `owes_snapshot` is True then.
        """
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
        """Return about how many bytes are owed. Counting stops above `enough`."""
        total = 0
        shown = (registration_bytes(claim.key, claim.body) for claim in self._claims)
        for size in chain(shown, map(len, chain.from_iterable(self._configured.values())), map(_size, self._ahead())):
            total += size
            if total > enough:
                break
        return total

    def _open(self) -> None:
        """Begin a snapshot of the present state."""
        node, app, version = self._node, self.selection.app, self.selection.version
        self._claims = node.claims(app, version, ordered=node.listed_count <= ORDERED_MAX)[::-1]
        self._statuses = node.registration_statuses()
        if app is None and version is None:
            self._configured = {kind: node.configured_objects(kind)[::-1] for kind in ("backend", "frontend")}
        self._snapshot = self._snapshot_of(self._journal.cursor, self._lost)
        self._position = self._journal.last_number
        self._sync_due = False

    def _snapshot_of(self, cursor: str, lost: bool) -> Iterator[Entry]:
        at_ms = self._journal.wall_ms()
        within = cursor + WITHIN_SNAPSHOT
        if lost:
            yield Entry(within, event_line("reset", cursor=within))
        statuses = self._statuses
        taken = _pop_all(self._claims)
        registrations = (registration(claim.key, claim.body, statuses.get(claim.key, USUAL)) for claim in taken)
        yield from snapshot_lines("registration", registrations, within, at_ms)
        for kind, bodies in self._configured.items():
            yield from snapshot_lines(kind, _pop_all(bodies), within, at_ms)
        yield Entry(cursor, event_line("synced", cursor=cursor))

    def _next_of_snapshot(self) -> Entry | None:
        """Return the next event of the present snapshot; None at its end."""
        return next(self._snapshot, None)

    def _missed(self) -> Iterator[Entry]:
        """Yield the events that the journal has for the watcher, and advance the position with each."""
        if self._position is not None and not self._begun:
            # The journal may have dropped events since the selection was made: past events begin with its oldest.
            self._begun = True
            self._position = max(self._position, self._journal.oldest_position)
        while self._position is not None and self._position < self._journal.last_number:
            entry = self._journal.entry(self._position + 1)
            if entry is None:  # the watcher is so slow that the journal has dropped the event
                self._lost = True
                self._position = None
                return
            self._position += 1
            if self.selection.admits(entry):
                yield entry
        if self._sync_due and self.selection.snapshot == "always":
            self._open()  # at this instant, so that no event falls between the missed events and the snapshot
        elif self._sync_due:
            self._sync_due = False
            yield Entry(self._journal.cursor, event_line("synced", cursor=self._journal.cursor))

    def _ahead(self) -> Iterator[Entry]:
        """Yield the events that the journal has for the watcher, and leave the position as it is."""
        if self._position is not None:
            entries = map(self._journal.entry, range(self._position + 1, self._journal.last_number + 1))
            yield from (entry for entry in entries if entry is not None and self.selection.admits(entry))


def _beginning(journal: Journal, selection: Selection) -> int | None:
    """Return the number of the event before a watcher's first event; None if the journal does not know its cursor."""
    if selection.last is not None:
        return journal.position_before_last(selection.last, selection.app, selection.version)
    return journal.last_number if selection.since is None else journal.position(selection.since)


def _pop_all(backwards: list[_T]) -> Iterator[_T]:
    while backwards:
        yield backwards.pop()


def _size(entry: Entry) -> int:
    return entry.size
