"""HAProxy's counts since the driver started, across restarts of HAProxy and changes of its servers.

HAProxy's counters start at 0 when it is started or a server is added, and those of a deleted server are gone. So the
totals are sums of differences.

bender refuses a report that is too large. So a report is limited: if many members are down it has the first, and if
there are many versions it has those that had requests last.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from attrs import define, field, frozen

from bender.core.consumers import REPORT_BYTES_MAX, REPORTED_MAX
from bender.haproxy.core.actual_state import Row
from bender.haproxy.core.condition import PROBLEMS_BYTES_MAX, SETTINGS_BYTES_MAX
from bender.haproxy.core.pending_acks import Place
from bender.haproxy.core.servers import DesiredServer
from bender.haproxy.core.topology import Pool

#: Bytes for the counts in a report, beside the driver's condition; the bytes of these for ids of members that are down;
#: and the bytes of the numbers and punctuation of one count at most.
_COUNTS_BYTES_MAX = REPORT_BYTES_MAX - PROBLEMS_BYTES_MAX - SETTINGS_BYTES_MAX - 100
_DOWN_BYTES_MAX = _COUNTS_BYTES_MAX // 2
_COUNT_BYTES = 80


@define
class VersionCount:
    """Counts for one version of a backend."""

    requests: int = 0
    errors: int = 0


@frozen
class Owner:
    """The member that a server is, with its backend and version."""

    backend: str
    version: str
    id: str


@define
class TrafficCounts:
    """Totals by backend and version, and the servers that are down."""

    #: The owners of servers, by HAProxy's names of the pool and the server.
    owners: dict[Place, Owner] = field(factory=dict)
    began: bool = False
    # By backend and version; those with the latest requests are at the end.
    _totals: dict[tuple[str, str], VersionCount] = field(factory=dict)
    # The counts of each server when they were read last.
    _seen: dict[Place, tuple[int, int]] = field(factory=dict)
    _down: frozenset[Place] = frozenset()

    def own(self, pool: Pool, servers: Iterable[DesiredServer]) -> None:
        """Note the owners of these servers of a pool."""
        for server in servers:
            self.owners[pool.name, server.name] = Owner(pool.title, server.version, server.id)

    def keep(self, pools: Mapping[str, Iterable[DesiredServer]], leaving: Collection[Place]) -> None:
        """Forget the servers of these pools that are neither given nor `leaving`, that is, not deleted yet."""
        kept = {(pool, server.name) for pool, servers in pools.items() for server in servers}
        for place in [place for place in self.owners if place[0] in pools]:
            if place not in kept and place not in leaving:
                del self.owners[place]
                self._seen.pop(place, None)

    def restarted(self) -> None:
        """Note that HAProxy counts from 0 again."""
        self._seen = {}

    def take_all(self, rows: Sequence[Row]) -> None:
        """Add the counts of all servers since the last call; none at the first call."""
        if not self.began:
            self._seen = {(row.pool, row.name): (row.requests, row.errors) for row in rows}
            self.began = True
        self.take(rows)
        self._down = frozenset((row.pool, row.name) for row in rows if row.down)

    def take(self, rows: Iterable[Row]) -> None:
        """Add the counts of some servers."""
        if self.began:
            for row in rows:
                self._take(row)

    def _take(self, row: Row) -> None:
        place = row.pool, row.name
        owner = self.owners.get(place)
        if owner is None:
            return
        requests, errors = self._seen.get(place, (0, 0))
        self._seen[place] = row.requests, row.errors
        if row.requests < requests or row.errors < errors:
            requests = errors = 0
        key = owner.backend, owner.version
        total = self._totals.get(key)
        if total is None:
            total = self._totals[key] = VersionCount()
        elif row.requests > requests:
            self._totals[key] = self._totals.pop(key)
        total.requests += row.requests - requests
        total.errors += row.errors - errors
        while len(self._totals) > REPORTED_MAX:
            del self._totals[next(iter(self._totals))]

    def report(self) -> dict[str, Any]:
        """Return the ids of members that are down, and the totals."""
        down = sorted({self.owners[place].id for place in self._down if place in self.owners})
        totals: dict[str, dict[str, Any]] = {}
        left_bytes = _COUNTS_BYTES_MAX - _DOWN_BYTES_MAX
        for (backend, version), count in reversed(self._totals.items()):
            left_bytes -= len(msgspec.json.encode((backend, version))) + _COUNT_BYTES
            if left_bytes < 0:
                break
            totals.setdefault(backend, {})[version] = {"requests": count.requests, "errors": count.errors}
        return {"down": [*_fitting(down)], "backends": totals}


def _fitting(ids: Sequence[str]) -> Iterator[str]:
    """Yield as many ids as a report may have."""
    left_bytes = _DOWN_BYTES_MAX
    for id_ in ids[:REPORTED_MAX]:
        left_bytes -= len(msgspec.json.encode(id_)) + 1
        if left_bytes < 0:
            return
        yield id_
