"""Leases: the deadlines of the entries that this node wrote.

A renewal only moves a deadline in memory. The wheel visits a lease at the deadline that it had when it was seated, and
seats it again if the deadline has moved. So a renewal costs one assignment, and the wheel visits each lease once per
ttl, whatever the number of renewals (a heap kept in order costs 3.3 µs at each renewal).

This module does not decide when an entry is removed: `claims` asks the peers about the leases that are due.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from bender.core.ledger import Claim, End


# A Struct for the reason given in `ledger`: one more object for each registration that the collector never looks at.
class Lease(msgspec.Struct, eq=False, gc=False):
    """The time that one of this node's own entries has left.

    `is_current` is True for a claim of the winner's rank, so that a renewal need only move the deadline, and for an end
    whose claims were all gone when it was last checked. `slot` is its place in the wheel.
    """

    entry: Claim | End
    deadline: float
    is_current: bool = False
    slot: list[Lease] | None = None


class Leases:
    """The wheel that finds the due leases of this node's claims and ends."""

    def __init__(self, slot_s: float, now: float) -> None:
        """`slot_s` is the length of one step of the wheel: a lease may be found due so much late."""
        self._slot_s = slot_s
        self._slots: dict[int, list[Lease]] = {}
        self._turned_to = self._slot(now)
        #: Leases whose deadline has come (value None), or whose claim was ended (the time at which this node first had
        #: an end that names its root), in the order in which they were found.
        self.due: dict[Lease, float | None] = {}

    def __len__(self) -> int:
        """Return the number of leases, of claims and ends, including revoked ones that are still in the wheel."""
        return sum(map(len, self._slots.values())) + len(self.due)

    def __iter__(self) -> Iterator[Lease]:
        """Yield every lease that was not revoked."""
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
        """Drop the lease of a removed entry."""
        lease.slot = None
        self.due.pop(lease, None)

    def seat(self, lease: Lease) -> None:
        """Put a lease into the wheel, which visits it at its present deadline."""
        self.due.pop(lease, None)
        slot = self._slots.setdefault(max(self._slot(lease.deadline), self._turned_to), [])
        slot.append(lease)
        lease.slot = slot

    def shorten(self, lease: Lease, deadline: float) -> None:
        """Move the deadline of a lease to an earlier time, and the lease to that slot; a renewal prolongs it again."""
        if deadline < lease.deadline:
            lease.deadline = deadline
            if lease not in self.due:
                self.seat(lease)

    def turn(self, now: float, visits_max: int) -> bool:
        """Move leases due by `now` to `due`, visiting at most `visits_max`; return True if more are left to visit."""
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
        """Prolong by `by_s` each claim whose ttl is longer than `away_s`, the length of a pause of this node.

        The instance may have sent a renewal during the pause, which this node could not receive.
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
