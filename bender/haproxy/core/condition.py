"""The part of the driver's report about the driver itself: which settings HAProxy has, and which problems exist.

bender refuses a report that is too large. So a report has the settings that changed last, and the most important
problems: first those about HAProxy as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any

import msgspec
from attrs import define, field, frozen

from bender.core.consumers import PROBLEMS_MAX, SETTINGS_MAX, digest_of

#: Limits for one report: bytes of problems and bytes of settings, both as JSON, and characters of each reason.
PROBLEMS_BYTES_MAX = 10 * 1024
SETTINGS_BYTES_MAX = 8 * 1024
REASON_CHARACTERS_MAX = 1000

#: The pause before a report with problems is repeated, because a node drops a report when the driver's stream ends.
REPEAT_S = 10.0

#: The kinds of problems, as in `bender.core.consumers`.
REFUSED, HELD, UNWRITABLE, UNREACHABLE, LEFT_OUT = "refused", "held", "unwritable", "unreachable", "left-out"


@frozen
class DriverProblem:
    """A reason why HAProxy's state differs from bender's.

    `id` is the object with the problem, None for HAProxy as a whole. `instead` is a clause about what HAProxy serves.
    """

    kind: str
    why: str
    id: str | None = None
    instead: str | None = None


@define
class Condition:
    """The last settings from bender, and the present problems, each with its start."""

    # The digest of the last setting, by id of the backend or frontend; the latest at the end.
    _received: dict[str, str] = field(factory=dict)
    # The ids of backends and frontends whose servers are not updated yet.
    _pending: set[str] = field(factory=set)
    _since_ms: dict[tuple[str, str | None], int] = field(factory=dict)
    _problems: tuple[DriverProblem, ...] = ()
    # The last report that was sent, and when.
    _last_report: dict[str, Any] = field(factory=dict)
    _last_report_at: float = -inf

    def receive(self, id_: str, settings: Mapping[str, Any] | None) -> None:
        """Note that a backend or frontend was set; `settings` is None if it was removed."""
        self._received.pop(id_, None)
        self._received[id_] = digest_of(settings)
        self._pending.add(id_)
        while len(self._received) > SETTINGS_MAX:
            first = next(iter(self._received))
            del self._received[first]
            self._pending.discard(first)

    def note_servers_applied(self) -> None:
        """Note that HAProxy's servers are updated for all settings so far."""
        self._pending.clear()

    def set_problems(self, problems: Iterable[DriverProblem], at_ms: int) -> None:
        """Set the present problems, the most important first; `at_ms` is the start of new ones."""
        self._problems = (*problems,)
        present = {(each.kind, each.id) for each in self._problems}
        self._since_ms = {key: since for key, since in self._since_ms.items() if key in present}
        for key in present:
            self._since_ms.setdefault(key, at_ms)

    def report(self, has: Callable[[str], bool]) -> dict[str, Any]:
        """Return this part of the report. `has` returns True if HAProxy has all of a backend or frontend, by id."""
        problems = [self._problem(each) for each in self._problems[:PROBLEMS_MAX]]
        settings = [
            {"id": id_, "digest": digest, "applied": id_ not in self._pending and has(id_)}
            for id_, digest in reversed(self._received.items())
        ]
        return {
            "problems": _fitting(problems, PROBLEMS_BYTES_MAX),
            "settings": _fitting(settings, SETTINGS_BYTES_MAX),
        }

    def report_to_send(self, has: Callable[[str], bool], now: float) -> dict[str, Any]:
        """Return this part of the report, and note that it is sent now."""
        self._last_report, self._last_report_at = self.report(has), now
        return self._last_report

    def is_due(self, has: Callable[[str], bool], now: float) -> bool:
        """Return True if the report differs from the last one, or has problems and must be repeated."""
        report = self.report(has)
        return report != self._last_report or (bool(report["problems"]) and now >= self._last_report_at + REPEAT_S)

    def _problem(self, problem: DriverProblem) -> dict[str, Any]:
        """Return a problem as it is in a report."""
        fields: dict[str, Any] = {
            "kind": problem.kind,
            "why": problem.why[:REASON_CHARACTERS_MAX],
            "since": self._since_ms[problem.kind, problem.id],
        }
        fields |= {} if problem.id is None else {"id": problem.id}
        return fields | ({} if problem.instead is None else {"instead": problem.instead[:REASON_CHARACTERS_MAX]})


def _fitting(items: Iterable[dict[str, Any]], bytes_max: int) -> list[dict[str, Any]]:
    """Return the first items, as many as fit into `bytes_max` as JSON."""
    fitting = []
    for item in items:
        bytes_max -= len(msgspec.json.encode(item)) + 1
        if bytes_max < 0:
            break
        fitting.append(item)
    return fitting
