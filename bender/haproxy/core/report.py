"""What HAProxy has counted since the driver began, whatever became of it and its servers meanwhile.

HAProxy begins again at 0 where it is started or a server is added, and what it counted of a server that was deleted is
gone with it. So what is added up are differences.

bender takes no report that is too large, nor what comes with it. So one has what fits in: of many members that are down
the first, and of many versions those that had requests last.
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

#: Bytes for all of this in a report, beside what the driver says of itself; how many of them ids may have, and what
#: numbers and punctuation of one count can have at most.
_COUNTS_BYTES_MAX = REPORT_BYTES_MAX - PROBLEMS_BYTES_MAX - SETTINGS_BYTES_MAX - 100
_DOWN_BYTES_MAX = _COUNTS_BYTES_MAX // 2
_COUNT_BYTES = 80


@define
class VersionCount:
    """Of one version of a backend."""

    requests: int = 0
    errors: int = 0


@frozen
class Owner:
    """Whose a server is: a backend's and a version's, and which member it is."""

    backend: str
    version: str
    id: str


@define
class TrafficCounts:
    """Totals by backend and version, and who is down."""

    #: By HAProxy's names of its pool and itself, whose each server is.
    owners: dict[Place, Owner] = field(factory=dict)
    began: bool = False
    # By backend and version, who has had requests last at the end.
    _totals: dict[tuple[str, str], VersionCount] = field(factory=dict)
    # What was counted of a server when it was last looked at.
    _seen: dict[Place, tuple[int, int]] = field(factory=dict)
    _down: frozenset[Place] = frozenset()

    def own(self, pool: Pool, servers: Iterable[DesiredServer]) -> None:
        """These are servers of a pool."""
        for server in servers:
            self.owners[pool.name, server.name] = Owner(pool.title, server.version, server.id)

    def keep(self, pools: Mapping[str, Iterable[DesiredServer]], leaving: Collection[Place]) -> None:
        """These are all servers of these pools, but for those that are `leaving` and not deleted yet."""
        kept = {(pool, server.name) for pool, servers in pools.items() for server in servers}
        for place in [place for place in self.owners if place[0] in pools]:
            if place not in kept and place not in leaving:
                del self.owners[place]
                self._seen.pop(place, None)

    def restarted(self) -> None:
        """HAProxy counts from 0 again."""
        self._seen = {}

    def take_all(self, rows: Sequence[Row]) -> None:
        """Count what was counted of all servers since they were last looked at; at first nothing."""
        if not self.began:
            self._seen = {(row.pool, row.name): (row.requests, row.errors) for row in rows}
            self.began = True
        self.take(rows)
        self._down = frozenset((row.pool, row.name) for row in rows if row.down)

    def take(self, rows: Iterable[Row]) -> None:
        """The same of some servers."""
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
        """Who is down, by id, and the totals."""
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
    """As many of them as a report may have."""
    left_bytes = _DOWN_BYTES_MAX
    for id_ in ids[:REPORTED_MAX]:
        left_bytes -= len(msgspec.json.encode(id_)) + 1
        if left_bytes < 0:
            return
        yield id_
