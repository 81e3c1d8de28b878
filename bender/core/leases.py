"""Leases: the deadlines of the entries that this node wrote.

A renewal only moves a deadline in memory and does not touch the wheel, which looks at a lease when the deadline it was
seated with has come, and seats it again if there is time left. So a renewal costs one assignment, and the wheel costs
each lease one visit per ttl, whatever the number of renewals (a heap that is kept in order costs 3.3 µs at each).

Nothing here decides that an entry ends. Leases that are due go to `claims`, which asks the peers first.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from bender.core.ledger import Claim, End


# A Struct for the reason given in `ledger`: one more object for each registration that the collector never looks at.
class Lease(msgspec.Struct, eq=False, gc=False):
    """The time that one of this node's own entries has left.

    `current` says that the entry is a claim of the winner's rank, so that a renewal need only move the deadline; or an
    end that had no claims left to end when it was last looked at. `slot` is where the wheel finds it.
    """

    entry: Claim | End
    deadline: float
    current: bool = False
    slot: list[Lease] | None = None


class Leases:
    """The wheel that finds the leases of this node's own claims and ends that are due."""

    def __init__(self, slot_s: float, now: float) -> None:
        """`slot_s`: how late a lease may be found; a slot is one step of the wheel."""
        self._slot_s = slot_s
        self._slots: dict[int, list[Lease]] = {}
        self._turned_to = self._slot(now)
        #: Leases whose deadline has come (None), or whose claim was ended (when an end that names its root was first
        #: seen), in the order in which that was found.
        self.due: dict[Lease, float | None] = {}

    def __len__(self) -> int:
        """Return the number of leases, with those of ends and those revoked but still seated."""
        return sum(map(len, self._slots.values())) + len(self.due)

    def __iter__(self) -> Iterator[Lease]:
        """Yield every lease of an entry that is still there."""
        for slot in self._slots.values():
            yield from (lease for lease in slot if lease.slot is slot and lease not in self.due)
        yield from self.due

    def claims(self) -> Iterator[Lease]:
        """Return the leases of claims."""
        return filter(_is_claim, self)

    def grant(self, entry: Claim | End, deadline: float) -> Lease:
        """Return a lease for a new entry of this node."""
        lease = Lease(entry, deadline)
        self.seat(lease)
        return lease

    def revoke(self, lease: Lease) -> None:
        """Drop the lease of an entry that was removed."""
        lease.slot = None
        self.due.pop(lease, None)

    def seat(self, lease: Lease) -> None:
        """Look at a lease again when its deadline has come."""
        self.due.pop(lease, None)
        slot = self._slots.setdefault(max(self._slot(lease.deadline), self._turned_to), [])
        slot.append(lease)
        lease.slot = slot

    def shorten(self, lease: Lease, deadline: float) -> None:
        """Move the deadline of a lease nearer; a renewal moves it away again. The lease leaves its former slot."""
        if deadline < lease.deadline:
            lease.deadline = deadline
            if lease not in self.due:
                self.seat(lease)

    def turn(self, now: float, visits_max: int) -> bool:
        """Move leases due by `now` to `due`, looking at no more than `visits_max` leases; True if there are more."""
        until = self._slot(now)
        while self._turned_to < until:
            slot = self._slots.get(self._turned_to)
            while slot:
                if visits_max <= 0:
                    return True
                visits_max -= 1
                lease = slot.pop()
                if lease.slot is slot:
                    self._visit(lease, now)
            self._slots.pop(self._turned_to, None)
            self._turned_to += 1
            if not self._slots:
                self._turned_to = until
        return False

    def shift(self, by_s: float, away_s: float) -> None:
        """Prolong by `by_s` each claim whose ttl is longer than `away_s`, for which this node was away.

        Its instance may have renewed within that time, and could not be heard.
        """
        for lease in self.claims():
            if lease.entry.ttl_s > away_s:
                lease.deadline += by_s

    def _visit(self, lease: Lease, now: float) -> None:
        if lease in self.due:
            return
        if lease.deadline > now:
            self.seat(lease)
        else:
            self.due[lease] = None

    def _slot(self, at: float) -> int:
        return int(at // self._slot_s)


def _is_claim(lease: Lease) -> bool:
    return isinstance(lease.entry, Claim)
