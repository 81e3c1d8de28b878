"""Claims, ends, and the ledger that one incarnation keeps of them.

Only its own incarnation changes a ledger; every other node holds a copy and joins the deltas it receives. This is the
whole CRDT: of two copies the one with the larger version is right, so joining is commutative, associative and
idempotent. Everything else here (deltas, pages, removal logs) only makes this join cheap; property tests show that each
has the same result.

This module never decides whether a claim counts or when it is removed: `claims` and `lapse` do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice, takewhile
from zlib import crc32

import msgspec
from attrs import evolve, field, frozen

from bender.core.entries import Entries, bits

#: The permanent name of an entry: the incarnation that wrote it and the version that added it.
Dot = tuple[int, int]

#: Orders the claims of a key: rev, root, ttl in seconds, body.
Rank = tuple[int, int, int, float, bytes]

#: The largest version, rev or number of heartbeats that nodes exchange. A node that counted one up each microsecond
#: would reach it in 285 years. If a peer sent such a number, this node sends no larger one: all nodes would refuse it.
NUMBER_MAX = 2**53

#: How many removals a ledger remembers one by one. A copy that is further behind receives a bit for each living entry
#: instead, which costs a scan of the ledger. At 200 removals a second, 1,024 cover 5 s, which are several rounds.
REMOVALS_REMEMBERED_MAX = 1024

# Keeps checksums below 2**64, because MessagePack has no larger numbers.
_MASK = 2**64 - 1

#: How many of its latest checksums an incarnation remembers, to compare them with those of copies that are behind.
CHECKSUMS_REMEMBERED_MAX = 1024

#: Entries in one delta, so that building, decoding and joining it stay far below 20 ms (measured: 5 ms).
DELTA_ENTRIES_MAX = 1000

#: Bytes of bodies in one delta: with entries of 4 KiB the count alone would let a delta grow to 4 MiB.
DELTA_BYTES_MAX = 512 * 1024


# Structs and not attrs classes, unlike the other values: a node holds hundreds of thousands of these for their whole
# life. A Struct without garbage-collector header takes 80 bytes and is made in a fifth of the time.
class Claim(msgspec.Struct, frozen=True, gc=False):
    """One node's statement that it has heard from the instance that `key` names.

    `body` is the registration's terms as JSON, which this module does not read. `ttl_s` is the length of the lease in
    seconds. The root is the dot of the claim with which the registration began; it does not change while the
    registration lasts. `rev` counts the changes of the body and the ttl.
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
        """The checksum of all fields except node and n, the same at all nodes."""
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
        """The order of the claims of a key: the largest rank wins. Claims of equal rank have equal terms.

        Two changes made at the same moment at two nodes have the same rev and root: on every node the one with the
        larger ttl, then the larger body, wins.
        """
        return (self.rev, self.root_node, self.root_n, self.ttl_s, self.body)


class End(msgspec.Struct, frozen=True, gc=False):
    """One node's statement that the registrations which began at `roots` were deregistered.

    `ttl_s` is how many seconds the end is kept. `rev` is the largest rev known to its node, so that the next
    registration gets a larger one. `reason` is that of the request; None if it had none, or if a peer of an earlier
    release passed the end on.
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
    """A claim sent as the dot of an equal claim which the receiver already has: a few bytes instead of many.

    `checksum` is that of both claims, None if an earlier release sent the copy. It shows a receiver that it has a
    different claim under that dot, because two processes wrote as the same incarnation.
    """

    node: int
    n: int
    of_node: int
    of_n: int
    checksum: int | None = None


@frozen
class Delta:
    """The changes of one ledger, sent from a copy at `version`.

    `added` are the entries living there with `base < n <= reach`, in order of n. `removed` are the n of the entries
    removed since the version `since`. If `live` is set it replaces `removed`: a bit for every living entry up to `base`
    (see `Entries.masks`). If `reach` is less than `version`, the delta is a page, and others follow. Some of `added`
    may be copies, which `with_copies_resolved` replaces.
    """

    incarnation: int
    since: int
    base: int
    version: int
    reach: int
    added: tuple[Entry | Copy, ...] = ()
    removed: tuple[int, ...] = ()
    live: dict[int, int] | None = None

    def with_copies_resolved(self, find: Callable[[int, int], Entry | None]) -> Delta:
        """Return the delta with claims in place of its copies, found by node and n. Raises `Gap` if one is missing."""
        if not self.has_copies:
            return self
        return evolve(self, added=tuple([_resolved(entry, find) for entry in self.added]))

    @property
    def has_copies(self) -> bool:
        return any(isinstance(entry, Copy) for entry in self.added)

    @property
    def is_final(self) -> bool:
        """Whether a copy is complete after this delta: this is the last page, or the only one."""
        return self.reach == self.version


@frozen
class Joined:
    """The entries that a join added to a copy and removed from it."""

    added: tuple[Entry, ...] = ()
    removed: tuple[Entry, ...] = ()


class Gap(Exception):
    """The delta needs a version or claim that this node lacks. Nothing was changed: the next round repairs it."""


class Outdated(Gap):
    """The delta is older than the pages of this copy, so it cannot complete them. Nothing was changed."""


@frozen
class Head:
    """The state of a copy: it equals the ledger at `version`, and has the living entries up to `reach`.

    `checksum` is that of its entries; None while pages are missing, and if an earlier release sent the head.
    """

    version: int = 0
    reach: int = 0
    checksum: int | None = field(default=None, eq=False)


class Ledger:
    """The living entries of one incarnation, or a copy of them.

    `version` counts the additions and removals. `reach` is the largest n up to which a copy has every living entry; it
    is larger than `version` only while pages are missing. `checksum` is the sum, modulo 2**64, of a number for each
    entry: it depends on the entries here, and not on the order of their arrival.
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
        # The latest checksums of this node's own ledger, one for each version.
        self._checksums = deque((0,), CHECKSUMS_REMEMBERED_MAX)
        # The least version that can complete this copy: that of its newest page. Older versions have entries that were
        # removed since.
        self._floor = 0
        # The n of entries from before this copy was started over; the new copy may have them or not.
        self._unconfirmed: set[int] = set()
        self.entries: Entries[Entry] = Entries()
        self._removals: deque[tuple[int, int]] = deque()
        self._removals_since = 0

    @property
    def head(self) -> Head:
        return Head(self.version, self.reach, self.checksum if self.is_complete else None)

    # Changes, made only by the incarnation itself.

    @property
    def next_n(self) -> int:
        """The n that the next added entry must have."""
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

    def matches(self, head: Head) -> bool:
        """Whether a copy at `head` may be a copy of this ledger: the checksums of its version, if remembered, agree."""
        place = head.version - self.version - 1
        remembered = head.checksum is not None and -len(self._checksums) <= place < 0
        return not remembered or self._checksums[place] == head.checksum

    # Joins, made only by copies.

    @property
    def is_complete(self) -> bool:
        """Whether no page is missing. An incomplete copy is not passed on."""
        return self.version >= self._floor

    def delta(self, head: Head, entries_max: int = DELTA_ENTRIES_MAX) -> Delta:
        """Return the delta, or its first page, for a copy at `head`. This copy must be complete and newer."""
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
        """Make this copy equal to the one that `delta` came from if that one is newer.

        Raises `Gap` if this copy lacks what the delta builds on, `Outdated` if pages of this copy are newer. Nothing is
        changed then.
        """
        if not (delta.version > self.version and (delta.is_final or delta.reach > self.reach)):
            return Joined()
        if self.reach < delta.base:
            raise Gap
        return self._complete(delta) if delta.is_final else self._put_in(delta)

    def give_up_pages(self) -> None:
        """Let an older copy complete this one, because no node can send the missing pages. Entries stay until then."""
        self.reach = self.version
        self._floor = self.version + 1
        self._unconfirmed = {entry.n for entry in self.entries.above(self.version)}

    def start_over(self) -> None:
        """Let another copy, of this version or a larger one, replace this complete copy.

        The entries here stay until the other copy is complete.
        """
        self.version = self.reach = 0
        self._removals.clear()  # some of these entries may live in the other copy
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
        """Return the oldest entries above `base`: all, or at least `count_max` of them."""
        if self.version - base <= count_max:
            return [*takewhile(lambda entry: entry.n > base, self.entries.newest_first())][::-1]
        return [*islice(self.entries.above(base), count_max)]

    def _note_removal(self, n: int) -> None:
        self._removals.append((self.version, n))
        while len(self._removals) > self._removals_max:
            self._removals_since = self._removals.popleft()[0]

    def _note_removals(self, delta: Delta) -> None:
        """Remember the removals of a delta, so that this copy can pass them on."""
        if delta.live is not None:  # the single removals are not known
            self._removals.clear()
            self._removals_since = delta.version
            return
        # The exact versions are not known, but `delta.version` is a bound, and sending a removal twice is harmless.
        self._removals.extend((delta.version, n) for n in delta.removed)
        while len(self._removals) > self._removals_max:
            self._removals_since = self._removals.popleft()[0]


def _number(entry: Entry) -> int:
    """Return the number that an entry adds to the checksum of its ledger, the same at all nodes.

    It is computed at each change and takes half the time of `Claim.checksum`; n and rev identify the other fields.
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
