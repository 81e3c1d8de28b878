"""Registrations of different apps or versions with the same host and port.

One process listens at an address, so at most one of several registrations there is right: the others send requests to
the wrong program. For a short time this is normal: a new version is started at the port of the old one, whose
registration has not ended yet. It is a conflict when each of them has been renewed while the other was listed, which
is certain once they are listed beside each other for longer than any of them could be without a renewal.

`AddressIndex` is kept by the view, for every registration that is listed. It must stay small and fast: a node lists a
million of them. Nor must it become slow if thousands are registered with one address, by mistake or on purpose: so
additions and removals only note the address, and nothing reads more than some of the keys there.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import islice

from attrs import frozen

from bender.core.timing import Timing

#: Parts of the index, so that an addition to it moves 16 KB with a million addresses.
SHARDS = 1024

#: Keys of one address that are read and reported, those that were added first.
KEYS_MAX = 100

#: Changed addresses that one look reads, and up to twice as many with due ones, in 10 ms. Others wait for the next.
ADDRESSES_PER_LOOK = 1000

#: A registration without renewals is listed for at most its ttl and this number of intervals while its nodes live.
LATE_INTERVALS = 5


#: The hashes of addresses in ascending order, and the keys in the same places.
_Shard = tuple["array[int]", list[str]]


def address_of(key: str) -> str:
    """Return the host and the port of a registration's key, with a slash between them."""
    return key.split("/", 3)[3]


class AddressIndex:
    """The keys of the listed registrations by address.

    Keys are kept in order of the hash of their address, and those of one address in the order in which they were added:
    17 bytes for each, where a dict would take 100.
    """

    def __init__(self) -> None:
        self._shards: list[_Shard | None] = [None] * SHARDS
        # Addresses that several keys have or had, at which one was added or removed.
        self._changed: dict[str, None] = {}

    def add(self, key: str, address: str) -> None:
        """Add a key that is not in the index, at its address."""
        number = hash(address)
        numbers, keys = self._shards[number % SHARDS] or self._begin(number)
        place = bisect_right(numbers, number)
        if place > 0 and numbers[place - 1] == number:
            self._changed[address] = None
        numbers.insert(place, number)
        keys.insert(place, key)

    def discard(self, key: str, address: str) -> None:
        """Remove a key that is in the index."""
        number = hash(address)
        numbers, keys = self._shards[number % SHARDS] or self._begin(number)
        first = bisect_left(numbers, number)
        if numbers[first : first + 2].count(number) > 1:
            self._changed[address] = None
        place = keys.index(key, first)
        del numbers[place], keys[place]

    def at(self, address: str) -> tuple[str, ...]:
        """Return the keys of the registrations at an address in order, at most the `KEYS_MAX` that were added first."""
        number = hash(address)
        numbers, keys = self._shards[number % SHARDS] or self._begin(number)
        place = bisect_left(numbers, number)
        found: list[str] = []
        while place < len(numbers) and numbers[place] == number and len(found) < KEYS_MAX:
            if address_of(keys[place]) == address:
                found.append(keys[place])
            place += 1
        return tuple(sorted(found))

    def take_changed(self, most: int = ADDRESSES_PER_LOOK) -> list[str]:
        """Return and forget addresses that several keys have or had, at which one was added or removed."""
        changed = [*islice(self._changed, most)]
        for address in changed:
            del self._changed[address]
        return changed

    def _begin(self, number: int) -> _Shard:
        shard = self._shards[number % SHARDS] = (array("q"), [])
        return shard


@frozen
class ConflictChanges:
    """The addresses at which a conflict has begun or changed, and those at which one is over."""

    begun: tuple[str, ...] = ()
    over: tuple[str, ...] = ()


class AddressConflicts:
    """Finds the addresses at which several registrations stay listed beside each other."""

    def __init__(self, index: AddressIndex, ttl_s: Callable[[str], float], timing: Timing) -> None:
        """`ttl_s` returns the ttl of a listed registration by its key."""
        self._index = index
        self._ttl_s = ttl_s
        self._late_s = LATE_INTERVALS * timing.interval_s
        # By address, since when each key was seen there beside another.
        self._since: dict[str, dict[str, float]] = {}
        # When an address is to be read again: once, though its registrations change meanwhile.
        self._due: list[tuple[float, str]] = []
        self._due_at: dict[str, float] = {}
        #: The keys that are in conflict, by address, in the order in which the conflicts began.
        self.current: dict[str, tuple[str, ...]] = {}

    def find_changes(self, now: float) -> ConflictChanges:
        """Return the conflicts that have begun and that are over, at a time in seconds; only a part of very many."""
        again = self._index.take_changed()
        for address in again:
            before, keys = self._since.pop(address, {}), self._index.at(address)
            if len(keys) > 1:
                self._since[address] = {key: before.get(key, now) for key in keys}
        while self._due and self._due[0][0] <= now and len(again) < 2 * ADDRESSES_PER_LOOK:
            due_at, address = heappop(self._due)
            if self._due_at.get(address) == due_at:
                del self._due_at[address]
                again.append(address)
        begun, over = [], []
        for address in dict.fromkeys(again):
            before_keys, keys = self.current.get(address), self._in_conflict(address, now)
            if keys and keys != before_keys:
                self.current[address] = keys
                begun.append(address)
            elif before_keys and not keys:
                del self.current[address]
                over.append(address)
        return ConflictChanges(tuple(begun), tuple(over))

    def _in_conflict(self, address: str, now: float) -> tuple[str, ...]:
        """Return the keys that were beside each other for long enough, and schedule the next look at the others."""
        since = self._since.get(address)
        if since is None:
            return ()
        wait_s = max(map(self._ttl_s, since)) + self._late_s
        lasting = tuple([key for key, at in since.items() if now >= at + wait_s])
        later = [at + wait_s for at in since.values() if now < at + wait_s]
        if later and min(later) < self._due_at.get(address, float("inf")):
            self._due_at[address] = min(later)
            heappush(self._due, (min(later), address))
        return lasting if len(lasting) > 1 else ()
