"""A common limit for the memory of all connections to a port, for incomplete requests or for unread answers.

Each connection has its own limit, but there may be thousands of connections. If all of them together hold too many
bytes, the client that holds the most loses its largest connection. So no client can take the memory of the others. A
single connection may hold any number of bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

_Holder = TypeVar("_Holder")

#: A connection that holds fewer bytes is not counted.
NOTED_BYTES_MIN = 4 * 1024


class HeldBytes(Generic[_Holder]):
    """The numbers of bytes that are held, by client and holder (such as a connection)."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.used = self.peak = 0
        #: How often a holder lost what it held.
        self.refused = 0
        self._client_of: dict[_Holder, str] = {}
        self._held: dict[str, dict[_Holder, int]] = {}
        self._sums: dict[str, int] = {}

    def note(self, holder: _Holder, client: str, size: int) -> Sequence[_Holder]:
        """Record that `holder` holds `size` bytes now. Return the holders that must free what they hold."""
        held = self._held.setdefault(client, {})
        more = size - held.get(holder, 0)
        held[holder] = size
        self._client_of[holder] = client
        self._sums[client] = self._sums.get(client, 0) + more
        self.used += more
        self.peak = max(self.peak, self.used)
        if not size:
            self.forget(holder)
        return () if self.used <= self.maximum else self._make_room()

    def _make_room(self) -> Sequence[_Holder]:
        losers = []
        while self.used > self.maximum and len(self._client_of) > 1:
            largest = self._held[max(self._sums, key=self._sums.__getitem__)]
            loser = max(reversed(largest), key=largest.__getitem__)  # the newest among equals
            self.forget(loser)
            self.refused += 1
            losers.append(loser)
        return losers

    def forget(self, holder: _Holder) -> None:
        """Record that `holder` holds nothing any more."""
        client = self._client_of.pop(holder, None)
        if client is None:
            return
        size = self._held[client].pop(holder)
        self.used -= size
        self._sums[client] -= size
        if not self._held[client]:
            del self._held[client], self._sums[client]
