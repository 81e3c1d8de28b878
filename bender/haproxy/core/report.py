"""HAProxy's counts since the driver started, across restarts of HAProxy and changes of its servers.

HAProxy's counters begin at 0 when HAProxy starts or a server is added, and end when a server is deleted. So the totals
are sums of differences.

bender refuses a report that is too large. So a report is limited: it has the first ids of the members that are down,
and the versions with the latest requests.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from attrs import define, field, frozen

from bender.core.consumers import REPORT_BYTES_MAX, REPORTED_MAX
from bender.haproxy.core.actual_state import Row
from bender.haproxy.core.condition import PROBLEMS_BYTES_MAX, SETTINGS_BYTES_MAX
from bender.haproxy.core.pending_acks import ServerKey
from bender.haproxy.core.servers import DesiredServer
from bender.haproxy.core.topology import Pool

#: Bytes for the counts in a report, which also has the driver's condition; the part of these bytes for the ids of
#: members that are down; and the most bytes of the numbers and punctuation of one count.
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
    """The member of bender to which a server belongs, with its backend and version."""

    backend: str
    version: str
    id: str


@define
class TrafficCounts:
    """Totals by backend and version, and the servers that are down."""

    #: The owners of servers, by HAProxy's names of the pool and the server.
    owners: dict[ServerKey, Owner] = field(factory=dict)
    has_baseline: bool = False
    # By backend and version; the versions with the latest requests are at the end.
    _totals: dict[tuple[str, str], VersionCount] = field(factory=dict)
    # The counts of each server when they were read last.
    _last_counts: dict[ServerKey, tuple[int, int]] = field(factory=dict)
    _down: frozenset[ServerKey] = frozenset()

    def set_owners(self, pool: Pool, servers: Iterable[DesiredServer]) -> None:
        """Note the owners of these servers of a pool."""
        for server in servers:
            self.owners[pool.name, server.name] = Owner(pool.title, server.version, server.id)

    def forget_deleted(self, pools: Mapping[str, Iterable[DesiredServer]], leaving: Collection[ServerKey]) -> None:
        """Forget the servers of these pools that are neither in `pools` nor `leaving`, because they are deleted."""
        kept = {(pool, server.name) for pool, servers in pools.items() for server in servers}
        for place in [place for place in self.owners if place[0] in pools]:
            if place not in kept and place not in leaving:
                del self.owners[place]
                self._last_counts.pop(place, None)

    def note_restart(self) -> None:
        """Note that HAProxy counts from 0 again."""
        self._last_counts = {}

    def add_all_rows(self, rows: Sequence[Row]) -> None:
        """Add the counts of all servers since the last call; none at the first call."""
        if not self.has_baseline:
            self._last_counts = {(row.pool, row.name): (row.requests, row.errors) for row in rows}
            self.has_baseline = True
        self.add_rows(rows)
        self._down = frozenset((row.pool, row.name) for row in rows if row.down)

    def add_rows(self, rows: Iterable[Row]) -> None:
        """Add the counts of some servers."""
        if self.has_baseline:
            for row in rows:
                self._add_row(row)

    def _add_row(self, row: Row) -> None:
        place = row.pool, row.name
        owner = self.owners.get(place)
        if owner is None:
            return
        requests, errors = self._last_counts.get(place, (0, 0))
        self._last_counts[place] = row.requests, row.errors
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
    """Yield the first ids, as many as a report may have."""
    left_bytes = _DOWN_BYTES_MAX
    for id_ in ids[:REPORTED_MAX]:
        left_bytes -= len(msgspec.json.encode(id_)) + 1
        if left_bytes < 0:
            return
        yield id_
