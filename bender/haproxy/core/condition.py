"""The part of a driver's report about itself: which settings HAProxy has, and its problems.

bender refuses a report that is too large. So if there are many settings, a report has those that changed last; if there
are many problems, it has those about HAProxy as a whole first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any

import msgspec
from attrs import define, field, frozen

from bender.core.consumers import PROBLEMS_MAX, SETTINGS_MAX, digest_of

#: Bytes of problems, and of settings, in one report as JSON, and characters of each reason.
PROBLEMS_BYTES_MAX = 10 * 1024
SETTINGS_BYTES_MAX = 8 * 1024
REASON_CHARACTERS_MAX = 1000

#: The pause before a report with problems is repeated: a node drops it when the driver's stream ends.
AGAIN_S = 10.0

#: Kinds of problems, as `bender.core.consumers` has them.
REFUSED, HELD, UNWRITABLE, UNREACHABLE, LEFT_OUT = "refused", "held", "unwritable", "unreachable", "left-out"


@frozen
class DriverProblem:
    """A reason why HAProxy's state differs from bender's, the object it is about, and what HAProxy serves instead."""

    kind: str
    why: str
    id: str | None = None
    instead: str | None = None


@define
class Condition:
    """The settings that were received last, and the present problems, each with its start."""

    # By id of backends and frontends, the digest of the last setting; the latest at the end.
    _received: dict[str, str] = field(factory=dict)
    # Those of them whose servers are not updated yet.
    _pending: set[str] = field(factory=set)
    _since_ms: dict[tuple[str, str | None], int] = field(factory=dict)
    _problems: tuple[DriverProblem, ...] = ()
    # The last report, and when it was sent.
    _sent: dict[str, Any] = field(factory=dict)
    _sent_at: float = -inf

    def receive(self, id_: str, settings: Mapping[str, Any] | None) -> None:
        """Note that a backend or frontend was set, or removed."""
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

    def note(self, problems: Iterable[DriverProblem], at_ms: int) -> None:
        """Set the present problems, the most important first."""
        self._problems = (*problems,)
        present = {(each.kind, each.id) for each in self._problems}
        self._since_ms = {key: since for key, since in self._since_ms.items() if key in present}
        for key in present:
            self._since_ms.setdefault(key, at_ms)

    def report(self, has: Callable[[str], bool]) -> dict[str, Any]:
        """Return the part of a report. `has` returns True if HAProxy has all of a backend or frontend."""
        problems = [self._problem(each) for each in self._problems[:PROBLEMS_MAX]]
        settings = [
            {"id": id_, "digest": digest, "applied": id_ not in self._pending and has(id_)}
            for id_, digest in reversed(self._received.items())
        ]
        return {
            "problems": _fitting(problems, PROBLEMS_BYTES_MAX),
            "settings": _fitting(settings, SETTINGS_BYTES_MAX),
        }

    def sent(self, has: Callable[[str], bool], now: float) -> dict[str, Any]:
        """Return the same, and note that it is sent now."""
        self._sent, self._sent_at = self.report(has), now
        return self._sent

    def is_due(self, has: Callable[[str], bool], now: float) -> bool:
        """Return True if it differs from the last one sent, or has problems and is due again."""
        report = self.report(has)
        return report != self._sent or (bool(report["problems"]) and now >= self._sent_at + AGAIN_S)

    def _problem(self, trouble: DriverProblem) -> dict[str, Any]:
        problem: dict[str, Any] = {
            "kind": trouble.kind,
            "why": trouble.why[:REASON_CHARACTERS_MAX],
            "since": self._since_ms[trouble.kind, trouble.id],
        }
        problem |= {} if trouble.id is None else {"id": trouble.id}
        return problem | ({} if trouble.instead is None else {"instead": trouble.instead[:REASON_CHARACTERS_MAX]})


def _fitting(items: Iterable[dict[str, Any]], bytes_max: int) -> list[dict[str, Any]]:
    """Return the first items, as many as fit into `bytes_max` as JSON."""
    fitting = []
    for item in items:
        bytes_max -= len(msgspec.json.encode(item)) + 1
        if bytes_max < 0:
            break
        fitting.append(item)
    return fitting
