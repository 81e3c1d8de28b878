"""Registrations of different apps or versions with the same host and port.

Only one process listens at an address. So at most one of several registrations at an address is right, and the others
send requests to the wrong program. For a short time this is normal: a new version is started at the port of the old
one, whose registration has not ended yet. It is a conflict if each of these registrations has been renewed while the
others were listed. This is certain once they have been listed together for longer than any of them could be without a
renewal.

The view keeps an `AddressIndex` of all listed registrations. The index must stay small and fast, because a node may
list a million registrations. It must also stay fast if thousands are registered with one address, by mistake or on
purpose. So additions and removals only note the address, and no call reads all keys of such an address.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import islice

from attrs import frozen

from bender.core.timing import Timing

#: The number of parts of the index. With a million addresses, an addition moves at most 16 KB in its part.
SHARDS = 1024

#: The largest number of keys of one address that are read and reported: those that were added first.
KEYS_MAX = 100

#: The largest number of changed addresses that one call reads. With the due addresses, a call reads twice this number
#: at most, in 10 ms. The next call reads the others.
ADDRESSES_PER_LOOK = 1000

#: While its nodes are up, a registration without renewals is listed for at most its ttl and this number of intervals.
LATE_INTERVALS = 5


#: The hashes of addresses in ascending order, and the keys at the same positions.
_Shard = tuple["array[int]", list[str]]


def address_of(key: str) -> str:
    """Return the host and the port of a registration's key, with a slash between them."""
    return key.split("/", 3)[3]


class AddressIndex:
    """The keys of the listed registrations by address.

    The keys are sorted by the hash of their address; keys of one address stay in the order in which they were added.
    This takes 17 bytes for each key, where a dict would take 100.
    """

    def __init__(self) -> None:
        self._shards: list[_Shard | None] = [None] * SHARDS
        # Addresses at which a key was added or removed, and which had several keys before or after that.
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
        """Return up to `most` addresses at which keys were added or removed, and forget them.

        Only addresses that had several keys before or after the change are returned.
        """
        changed = [*islice(self._changed, most)]
        for address in changed:
            del self._changed[address]
        return changed

    def _begin(self, number: int) -> _Shard:
        shard = self._shards[number % SHARDS] = (array("q"), [])
        return shard


@frozen
class ConflictChanges:
    """The addresses at which a conflict has begun or changed, and those at which a conflict is over."""

    begun: tuple[str, ...] = ()
    over: tuple[str, ...] = ()


class AddressConflicts:
    """Finds the addresses at which several registrations stay listed at the same time."""

    def __init__(self, index: AddressIndex, ttl_s: Callable[[str], float], timing: Timing) -> None:
        """`ttl_s` returns the ttl of a listed registration by its key."""
        self._index = index
        self._ttl_s = ttl_s
        self._late_s = LATE_INTERVALS * timing.interval_s
        # By address and key: the time since which this key has been seen there together with others.
        self._since: dict[str, dict[str, float]] = {}
        # The time at which each address is to be read again. An address is read once, even if its registrations
        # change before.
        self._due: list[tuple[float, str]] = []
        self._due_at: dict[str, float] = {}
        #: The keys that are in conflict, by address. The addresses are in the order in which their conflicts began.
        self.current: dict[str, tuple[str, ...]] = {}

    def find_changes(self, now: float) -> ConflictChanges:
        """Return the conflicts that have begun, changed or ended by the time `now`, in seconds.

        One call reads at most `2 * ADDRESSES_PER_LOOK` addresses.
        """
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
        """Return the keys that were listed together for long enough, and schedule the next check of the others.

        The result is empty if there are fewer than two such keys.
        """
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
