"""A limit for the bytes that all connections to a port hold together, of incomplete requests or of unread answers.

Each connection is limited on its own, but there may be thousands of them. Where all together hold too much, the client
that holds the most loses its largest, so none can keep others from theirs. The only one there is may have any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

_T = TypeVar("_T")

#: Bytes that one connection may hold without being counted.
NOTED_BYTES_MIN = 4 * 1024


class HeldBytes(Generic[_T]):
    """The bytes that are held, by client and holder."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.used = self.peak = 0
        #: How often a holder had to lose what it held.
        self.refused = 0
        self._client_of: dict[_T, str] = {}
        self._held: dict[str, dict[_T, int]] = {}
        self._sums: dict[str, int] = {}

    def note(self, holder: _T, client: str, size: int) -> Sequence[_T]:
        """Note how many bytes a holder has now; return those that must lose their own if it is too much together."""
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

    def _make_room(self) -> Sequence[_T]:
        losers = []
        while self.used > self.maximum and len(self._client_of) > 1:
            largest = self._held[max(self._sums, key=self._sums.__getitem__)]
            loser = max(reversed(largest), key=largest.__getitem__)  # of equals the newest
            self.forget(loser)
            self.refused += 1
            losers.append(loser)
        return losers

    def forget(self, holder: _T) -> None:
        """Note that a holder has nothing any more."""
        client = self._client_of.pop(holder, None)
        if client is None:
            return
        size = self._held[client].pop(holder)
        self.used -= size
        self._sums[client] -= size
        if not self._held[client]:
            del self._held[client], self._sums[client]
