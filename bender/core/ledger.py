"""Claims, ends, and the ledger that one incarnation keeps of them.

A ledger is changed by its own incarnation alone; every other node holds a copy and joins the deltas it receives. That
is the whole CRDT: of two copies the one with the larger version is right, so joining is commutative, associative and
idempotent by inspection. Everything else here (deltas, pages, removal logs) only makes that join cheap, and each of
them is shown to equal it by a property test.

This module must never decide whether a claim counts or when it ends: that is `leases` and `replica`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice, takewhile
from zlib import crc32

import msgspec
from attrs import evolve, field, frozen

from bender.core.entries import Entries, bits

#: Names one entry for ever: the incarnation that wrote it and the version that added it.
Dot = tuple[int, int]

#: Orders the claims of a key: rev, root, ttl in seconds, body.
Rank = tuple[int, int, int, float, bytes]

#: The largest version, rev or number of heartbeats that nodes exchange. A node that counts one up in a microsecond gets
#: there in 285 years. What would exceed it because a peer sent such a number is not sent, since all would refuse it.
NUMBER_MAX = 2**53

#: How many removals a ledger remembers one by one. A copy that is further behind receives a bit for each older entry
#: that still lives instead, which costs a scan of the ledger; 1,024 covers 5 s, several rounds, at 200 removals a
#: second.
REMOVALS_REMEMBERED_MAX = 1024

# Keeps checksums below 2**64, because MessagePack has no larger numbers.
_MASK = 2**64 - 1

#: How many of its latest checksums an incarnation remembers, to compare those of copies that are behind: as above.
CHECKSUMS_REMEMBERED_MAX = 1024

#: Entries in one delta, so that building, decoding and joining it stay far below 20 ms (measured: 5 ms).
DELTA_ENTRIES_MAX = 1000

#: Bytes of bodies in one delta: with entries of 4 KiB the count alone would let a delta grow to 4 MiB.
DELTA_BYTES_MAX = 512 * 1024


# Structs and not attrs classes, unlike the other values: a node holds hundreds of thousands of these for their whole
# life. A Struct without garbage-collector header takes 80 bytes and is made in a fifth of the time.
class Claim(msgspec.Struct, frozen=True, gc=False):
    """One node's statement that it has heard from the instance that `key` names.

    `body` is opaque here (the registration as JSON), `ttl_s` the lease's length in seconds. The root is the dot of the
    claim with which the registration began; it stays the same for as long as the registration lasts. `rev` counts the
    changes of the body and the ttl.
    """

    node: int
    n: int
    key: str
    body: bytes
    ttl_s: float
    rev: int
    root_node: int
    root_n: int

    @property
    def dot(self) -> Dot:
        return (self.node, self.n)

    @property
    def checksum(self) -> int:
        """The checksum of all fields but node and n. The same at all nodes."""
        terms = f"{self.rev} {self.root_node} {self.root_n} {self.ttl_s}"
        return crc32(terms.encode(), crc32(self.body, crc32(self.key.encode())))

    def copied_by(self, node: int, n: int) -> Copy:
        """Return the copy by which a claim of `node` with the same rank is sent."""
        return Copy(node, n, self.node, self.n, self.checksum)

    @property
    def root(self) -> Dot:
        return (self.root_node, self.root_n)

    @property
    def rank(self) -> Rank:
        """The order of the claims of a key: the largest rank speaks. Claims of equal rank have equal terms.

        Two changes made at the same moment at two nodes have the same rev and root: every node takes the same one of
        them, the one whose ttl and body are larger.
        """
        return (self.rev, self.root_node, self.root_n, self.ttl_s, self.body)


class End(msgspec.Struct, frozen=True, gc=False):
    """One node's statement that the registrations which began at `roots` were deregistered.

    `ttl_s` is how long the end is kept, `rev` the largest rev known there, so that the next registration has a larger.
    `reason` is the one that the request gave, None if it gave none, or if a peer of an earlier release passed it on.
    """

    node: int
    n: int
    key: str
    ttl_s: float
    rev: int
    roots: tuple[Dot, ...]
    reason: str | None = None

    @property
    def dot(self) -> Dot:
        return (self.node, self.n)


Entry = Claim | End


class Copy(msgspec.Struct, frozen=True, gc=False):
    """A claim sent as the dot of an equal one which the receiver has shown to have: a few bytes instead of many.

    `checksum` is that of both claims, None if an earlier release sent the copy. By it a receiver finds out that it has
    another claim under that dot, because two processes wrote as the same incarnation.
    """

    node: int
    n: int
    of_node: int
    of_n: int
    checksum: int | None = None


@frozen
class Delta:
    """The changes of one ledger.

    It comes from a copy at `version`. `added` are the entries living there with `base < n <= reach`, in order of n;
    `removed` those removed since the version `since`; `live`, in its place, has a bit for every living entry up to
    `base` (see `Entries.masks`). A delta whose reach ends before its version is a page: its entries are taken ahead of
    the others. Some of `added` may be copies, which have to be `resolved` first.
    """

    incarnation: int
    since: int
    base: int
    version: int
    reach: int
    added: tuple[Entry | Copy, ...] = ()
    removed: tuple[int, ...] = ()
    live: dict[int, int] | None = None

    def resolved(self, find: Callable[[int, int], Entry | None]) -> Delta:
        """Return the delta with claims for its copies, found by node and n. Raises `Gap` if one is not found."""
        if not self.has_copies:
            return self
        return evolve(self, added=tuple([_resolved(entry, find) for entry in self.added]))

    @property
    def has_copies(self) -> bool:
        return any(isinstance(entry, Copy) for entry in self.added)

    @property
    def whole(self) -> bool:
        """Whether a copy is complete after this delta: it is the last page, or the only one."""
        return self.reach == self.version


@frozen
class Joined:
    """The entries that a join added to a copy and removed from it."""

    added: tuple[Entry, ...] = ()
    removed: tuple[Entry, ...] = ()


class Gap(Exception):
    """The delta builds on a version or claim that this node lacks. Nothing was changed: the next round repairs it."""


class Outdated(Gap):
    """The delta is older than the pages of this copy, so it cannot complete them. Nothing was changed."""


@frozen
class Head:
    """How far a copy has come: it equals the ledger at `version`, and has the living entries up to `reach`.

    `checksum` is that of its entries; None while a copy is being paged in, and if an earlier release sent the head.
    """

    version: int = 0
    reach: int = 0
    checksum: int | None = field(default=None, eq=False)


class Ledger:
    """The entries of one incarnation that live, or a copy of them.

    `version` counts its additions and removals. `reach` is the largest n up to which a copy has every entry that
    lives; it is ahead of `version` only while a copy is being paged in. `checksum` is the sum, modulo 2**64, of a
    number for each entry: it depends on the entries here, and not on how they came.
    """

    __slots__ = (
        "_checksums",
        "_floor",
        "_removals",
        "_removals_max",
        "_removals_since",
        "_unconfirmed",
        "checksum",
        "entries",
        "incarnation",
        "reach",
        "version",
    )

    def __init__(self, incarnation: int, removals_max: int = REMOVALS_REMEMBERED_MAX) -> None:
        self.incarnation = incarnation
        self._removals_max = removals_max
        self.version = 0
        self.reach = 0
        self.checksum = 0
        # The latest of an incarnation's own, one for each version.
        self._checksums = deque((0,), CHECKSUMS_REMEMBERED_MAX)
        # The least version that can complete this copy, that of its newest page: older ones have entries removed since.
        self._floor = 0
        # Entries from before this copy was begun anew, which the new one may have or not.
        self._unconfirmed: set[int] = set()
        self.entries: Entries[Entry] = Entries()
        self._removals: deque[tuple[int, int]] = deque()
        self._removals_since = 0

    @property
    def head(self) -> Head:
        return Head(self.version, self.reach, self.checksum if self.complete else None)

    # Only the incarnation itself may do this.

    @property
    def next_n(self) -> int:
        """The n that the next entry added must carry."""
        return self.version + 1

    def add(self, entry: Entry) -> None:
        """Add an entry of this incarnation, whose n is `next_n`."""
        assert entry.n == self.version + 1 and entry.node == self.incarnation
        self.entries[entry.n] = entry
        self.version = self.reach = entry.n
        self.checksum = (self.checksum + _number(entry)) & _MASK
        self._checksums.append(self.checksum)

    def remove(self, n: int) -> Entry:
        """Remove and return an entry of this incarnation. Raises `KeyError` if there is none."""
        entry = self.entries.pop(n)
        self.version = self.reach = self.version + 1
        self.checksum = (self.checksum - _number(entry)) & _MASK
        self._checksums.append(self.checksum)
        self._note_removal(n)
        return entry

    def knows(self, head: Head) -> bool:
        """Whether a copy at `head` may be one of this ledger: its checksum is that of the version, if remembered."""
        place = head.version - self.version - 1
        remembered = head.checksum is not None and -len(self._checksums) <= place < 0
        return not remembered or self._checksums[place] == head.checksum

    # Copies do this.

    @property
    def complete(self) -> bool:
        """Whether the whole ledger is here. A copy that is being paged in is not passed on."""
        return self.version >= self._floor

    def delta(self, head: Head, entries_max: int = DELTA_ENTRIES_MAX) -> Delta:
        """Return the delta, or its first page, for a copy at `head`, which is behind this complete one."""
        base = min(head.reach, self.reach)
        newer = self._after(base, entries_max + 1)
        page = _first_page(newer, entries_max)
        if len(page) < len(newer):
            return Delta(self.incarnation, head.version, base, self.version, page[-1].n, page)
        if head.version >= self._removals_since:
            removed = takewhile(lambda removal: removal[0] > head.version, reversed(self._removals))
            gone = tuple(sorted({n for _, n in removed}))
            return Delta(self.incarnation, head.version, base, self.version, self.version, page, gone)
        live = self.entries.masks(base)
        return Delta(self.incarnation, head.version, base, self.version, self.version, page, (), live)

    def join(self, delta: Delta) -> Joined:
        """Become the larger of this copy and the one that `delta` came from.

        Raises `Gap` if it does not fit, `Outdated` if pages of this copy are newer. Nothing is changed then.
        """
        if not (delta.version > self.version and (delta.whole or delta.reach > self.reach)):
            return Joined()
        if self.reach < delta.base:
            raise Gap
        return self._complete(delta) if delta.whole else self._put_in(delta)

    def give_up_pages(self) -> None:
        """Let an older copy complete this one, whose pages no node can complete. Their entries stay until then."""
        self.reach = self.version
        self._floor = self.version + 1
        self._unconfirmed = {entry.n for entry in self.entries.above(self.version)}

    def start_over(self) -> None:
        """Let a complete copy be replaced by another one, of this version or a larger one.

        The entries here stay until the whole other copy is here.
        """
        self.version = self.reach = 0
        self._removals.clear()  # of what the other has, some of them may live
        self._unconfirmed = {*self.entries}

    def _complete(self, delta: Delta) -> Joined:
        if delta.live is None and self.version < delta.since:
            raise Gap
        if delta.version < self._floor:
            raise Outdated
        absent = self._take_out(self._absent(delta))
        joined = self._put_in(delta)
        self._unconfirmed.clear()
        self._note_removals(delta)
        self.version = delta.version
        return Joined(joined.added, (*absent, *joined.removed))

    def _put_in(self, delta: Delta) -> Joined:
        added = tuple([entry for entry in delta.added if entry.n > self.reach and not isinstance(entry, Copy)])
        added, replaced = self._confirm(added) if self._unconfirmed else (added, ())
        for entry in added:
            self.entries[entry.n] = entry
        self.checksum = (self.checksum + sum(map(_number, added))) & _MASK
        self.reach = delta.reach
        self._floor = max(self._floor, delta.version)
        return Joined(added, replaced)

    def _confirm(self, entries: Sequence[Entry]) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
        """Return the entries of a delta that are not here yet, and the unconfirmed entries that they replace."""
        again = [entry for entry in entries if entry.n in self._unconfirmed]
        self._unconfirmed.difference_update([entry.n for entry in again])
        same = {entry.n for entry in again if self.entries[entry.n] == entry}
        replaced = self._take_out([entry.n for entry in again if entry.n not in same])
        return tuple([entry for entry in entries if entry.n not in same]), replaced

    def _absent(self, delta: Delta) -> set[int]:
        """Return the n of the entries here that no longer live in the copy that `delta` came from."""
        kept = {entry.n for entry in delta.added}
        beyond = takewhile(lambda entry: entry.n > delta.base, self.entries.newest_first())
        absent = {entry.n for entry in beyond if entry.n not in kept} | (self._unconfirmed - kept)
        if delta.live is None:
            return absent | {n for n in delta.removed if n <= delta.base and n in self.entries}
        here = self.entries.masks(delta.base)
        return absent | {*bits({number: mask & ~delta.live.get(number, 0) for number, mask in here.items()})}

    def _take_out(self, ns: Iterable[int]) -> tuple[Entry, ...]:
        removed = tuple([self.entries.pop(n) for n in sorted(ns)])
        self.checksum = (self.checksum - sum(map(_number, removed))) & _MASK
        return removed

    def _after(self, base: int, count_max: int) -> list[Entry]:
        """Return the oldest entries above `base`, at least `count_max` of them if there are as many."""
        if self.version - base <= count_max:
            return [*takewhile(lambda entry: entry.n > base, self.entries.newest_first())][::-1]
        return [*islice(self.entries.above(base), count_max)]

    def _note_removal(self, n: int) -> None:
        self._removals.append((self.version, n))
        while len(self._removals) > self._removals_max:
            self._removals_since = self._removals.popleft()[0]

    def _note_removals(self, delta: Delta) -> None:
        """Remember the removals of a delta, so that this copy can pass them on."""
        if delta.live is not None:  # which removals led there is not known
            self._removals.clear()
            self._removals_since = delta.version
            return
        # Nor are the exact versions known, but `delta.version` is a bound, and naming a removal twice is harmless.
        self._removals.extend((delta.version, n) for n in delta.removed)
        while len(self._removals) > self._removals_max:
            self._removals_since = self._removals.popleft()[0]


def _number(entry: Entry) -> int:
    """Return the number that an entry adds to the checksum of its ledger, the same at all nodes.

    It is computed at each change and takes half the time of `Claim.checksum`; n and rev identify the rest.
    """
    crc = crc32(entry.key.encode(), entry.rev & 0xFFFFFFFF)
    if isinstance(entry, Claim):
        crc = crc32(entry.body, crc)
    else:
        crc += sum([node ^ n for node, n in entry.roots])
    return crc * (2 * entry.n + 1)


def _resolved(entry: Entry | Copy, find: Callable[[int, int], Entry | None]) -> Entry:
    if not isinstance(entry, Copy):
        return entry
    of = find(entry.of_node, entry.of_n)
    if not isinstance(of, Claim) or entry.checksum not in (None, of.checksum):
        raise Gap
    return Claim(entry.node, entry.n, of.key, of.body, of.ttl_s, of.rev, of.root_node, of.root_n)


def _first_page(entries: list[Entry], entries_max: int) -> tuple[Entry, ...]:
    size = 0
    for i, entry in enumerate(entries):
        size += len(entry.body) if isinstance(entry, Claim) else 20 * len(entry.roots)
        if i >= entries_max or (i and size > DELTA_BYTES_MAX):
            return tuple(entries[:i])
    return tuple(entries)


def ended_roots(entries: Iterable[Entry]) -> set[Dot]:
    """Return the roots of the registrations that these entries end."""
    return {root for entry in entries if isinstance(entry, End) for root in entry.roots}
