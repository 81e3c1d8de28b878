"""The valid entries of all ledgers by key, in little memory."""

from __future__ import annotations

from bender.core.leases import Lease
from bender.core.ledger import Entry

#: The number of dicts among which the keys are distributed. A dict that doubles with 700,000 keys takes 50 ms; a dict
#: with a sixty-fourth of these keys takes less than 1 ms.
SHARDS = 64


class Index:
    """The valid entries of all ledgers by key. This node's own claims are held through their leases."""

    def __init__(self) -> None:
        # Nearly all keys have a single entry, which is the value itself: a tuple around each would cost 64 bytes.
        self._shards: list[dict[str, _Indexed | tuple[_Indexed, ...]]] = [{} for _ in range(SHARDS)]

    def __len__(self) -> int:
        return sum(map(len, self._shards))

    def entries(self, key: str) -> tuple[Entry, ...]:
        """Return all entries of a key, this node's own among them."""
        found = self._shards[hash(key) % SHARDS].get(key, ())
        if isinstance(found, tuple):
            return tuple([_entry(each) for each in found])
        return (_entry(found),)

    def lease(self, key: str) -> Lease | None:
        """Return the lease of this node's own claim of a key; None if it has no claim."""
        found = self._shards[hash(key) % SHARDS].get(key)
        if isinstance(found, Lease):
            return found
        leases = [each for each in found if isinstance(each, Lease)] if isinstance(found, tuple) else []
        return leases[0] if leases else None

    def add(self, entry: _Indexed) -> None:
        """Add an entry; a claim of this node is added as its lease."""
        key = _entry(entry).key
        shard = self._shards[hash(key) % SHARDS]
        present = shard.get(key, ())
        if present == ():
            shard[key] = entry
        else:
            shard[key] = (*present, entry) if isinstance(present, tuple) else (present, entry)

    def discard(self, entry: Entry) -> None:
        """Remove an entry, or the lease that holds it, if it is here."""
        shard = self._shards[hash(entry.key) % SHARDS]
        found = shard.pop(entry.key, ())
        left = [each for each in (found if isinstance(found, tuple) else (found,)) if _entry(each) is not entry]
        if left:
            shard[entry.key] = tuple(left) if len(left) > 1 else left[0]


_Indexed = Entry | Lease


def _entry(indexed: _Indexed) -> Entry:
    return indexed.entry if isinstance(indexed, Lease) else indexed
