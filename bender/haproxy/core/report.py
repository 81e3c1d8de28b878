"""What HAProxy has counted since the driver began, whatever became of it and its servers meanwhile.

HAProxy begins again at 0 where it is started or a server is added, and what it counted of a server that was deleted is
gone with it. So what is added up are differences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import define, field

from bender.haproxy.core.reality import Row


@define
class Count:
    """Of one version of a backend."""

    requests: int = 0
    errors: int = 0


@define
class Counts:
    """Totals by backend and version."""

    _totals: dict[str, dict[str, Count]] = field(factory=dict)
    # By HAProxy's names, what was counted of a server when it was last looked at.
    _seen: dict[tuple[str, str], tuple[int, int]] = field(factory=dict)
    _began: bool = False

    def begin(self, rows: Iterable[Row]) -> None:
        """What was counted before does not count."""
        self._seen = {(row.pool, row.name): (row.requests, row.errors) for row in rows}
        self._began = True

    @property
    def began(self) -> bool:
        return self._began

    def restarted(self) -> None:
        """HAProxy counts from 0 again."""
        self._seen = {}

    def deleted(self, pool: str, server: str) -> None:
        """HAProxy would count from 0 if it came back."""
        self._seen.pop((pool, server), None)

    def take(self, backend: str, version: str, row: Row) -> None:
        """Count what was counted of a server of this version since it was last looked at."""
        requests, errors = self._seen.get((row.pool, row.name), (0, 0))
        self._seen[row.pool, row.name] = row.requests, row.errors
        if row.requests < requests or row.errors < errors:
            requests = errors = 0
        total = self._totals.setdefault(backend, {}).setdefault(version, Count())
        total.requests += row.requests - requests
        total.errors += row.errors - errors

    def totals(self) -> Mapping[str, Mapping[str, Mapping[str, int]]]:
        """As they are reported."""
        return {
            backend: {
                version: {"requests": count.requests, "errors": count.errors} for version, count in versions.items()
            }
            for backend, versions in self._totals.items()
        }
