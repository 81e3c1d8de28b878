"""The rate of requests from each client, limited by a token bucket.

A client with a full bucket may send the requests of one second at once, and then each request as soon as the rate
allows. Without a limit, counting costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

#: Clients whose buckets are remembered. If there are more, the first ones are forgotten: their buckets are full again.
CLIENTS_MAX = 100_000


class RequestRate:
    """Counts and limits the requests of each client. `seconds` is the clock."""

    _log = Logger()

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        #: Requests per second from one client; 0 sets no limit.
        self.per_s = 0.0
        #: The number of requests that were refused.
        self.refused = 0
        #: The largest number of requests that any client has sent in a second.
        self.peak = 0
        # The time at which the bucket of each client is full again, and the requests of each client in this second.
        self._full_at: dict[str, float] = {}
        self._second = 0
        self._counts: dict[str, int] = {}
        self._highest_before = 0
        # The last second in which a refusal was logged.
        self._logged_s = -1

    def take(self, client: str) -> float:
        """Count a request. Return 0 if it is within the rate, else the seconds after which the client may send one."""
        if not self.per_s:
            return 0.0
        now = self._seconds()
        self._count(client, now)
        step_s = 1 / self.per_s
        full_at = max(self._full_at.get(client, now), now) + step_s
        wait_s = full_at - now - max(1.0, step_s)
        if wait_s > 1e-9:
            self.refused += 1
            if self._logged_s != self._second:
                self._logged_s = self._second
                self._log.warn(
                    "{client} sends more than {rate:g} requests a second, the maximum: some are refused.",
                    client=client,
                    rate=self.per_s,
                )
            return wait_s
        self._full_at[client] = full_at
        return 0.0

    def give_back(self, client: str) -> None:
        """Undo `take` for a request that will be counted again."""
        if client in self._full_at:
            self._full_at[client] -= 1 / self.per_s
        if client in self._counts:
            self._counts[client] -= 1

    @property
    def highest_recent(self) -> int:
        """The largest number of requests that any client has sent in the last second or in this one."""
        if self._seconds() >= self._second + 2:
            return 0
        return max(self._highest_before, *self._counts.values(), 0)

    def _count(self, client: str, now: float) -> None:
        if now >= self._second + 1:
            self._highest_before = max(self._counts.values(), default=0) if now < self._second + 2 else 0
            self._second = int(now)
            self._counts.clear()
            self._forget(now)
        count = self._counts[client] = self._counts.get(client, 0) + 1
        self.peak = max(self.peak, count)

    def _forget(self, now: float) -> None:
        """Forget clients whose buckets are full, and the first clients if there are more than `CLIENTS_MAX`."""
        for client in [each for each, full_at in self._full_at.items() if full_at <= now]:
            del self._full_at[client]
        while len(self._full_at) > CLIENTS_MAX:
            del self._full_at[next(iter(self._full_at))]
