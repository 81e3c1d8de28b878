"""Orders facts for the judge: a fact has an earliest and a latest moment, and both are steps."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from math import inf
from typing import Literal

from attrs import frozen

from tests.faults.facts import (
    ClientRequest,
    Cut,
    Fact,
    Healed,
    Hindered,
    ReceivedEvent,
    Relieved,
    Starved,
    StatusAnswer,
)

#: `begins`: the fact is possible from now on; `is over`: the fact is certain from now on.
Phase = Literal["begins", "is over", "look"]


@frozen
class Moment:
    """One step of the judge."""

    at: float
    phase: Phase
    fact: Fact | None


def moments(facts: Iterable[Fact], look_s: float) -> Iterator[Moment]:
    """Yield all steps in the order of time, with regular looks between them."""
    known = [*facts]
    steps = [Moment(fact.at, "is over", fact) for fact in known]
    for fact in known:
        if isinstance(fact, ClientRequest):
            steps.append(Moment(fact.sent_at, "begins", fact))
        elif isinstance(fact, Cut | Healed | Starved):
            steps.append(Moment(fact.began_at, "begins", fact))
    begin, end = known[0].at, max(fact.at for fact in known)
    looks = int((end - begin) / look_s)
    steps += [Moment(begin + look_s * number, "look", None) for number in range(1, looks)]
    order = {"begins": 0, "is over": 1, "look": 2}
    return iter(sorted(steps, key=lambda step: (step.at, order[step.phase])))


class Lateness:
    """The time by which observations may be late because processes waited for a processor.

    An event and its observation pass several processes. Each of them may have waited as long as the process that
    waited longest. If a process waits repeatedly, all its actions take longer by the sum.
    """

    #: Seconds that an observation may take on an idle machine: the times on the way of a request and of an event.
    BASE_S = 0.06

    #: The number of processes that an event passes.
    STEPS = 3

    def __init__(self, facts: Iterable[Fact], interval_s: float) -> None:
        starved = [fact for fact in facts if isinstance(fact, Starved)]
        self._interval_s = interval_s
        self._at = [fact.at for fact in starved]
        self._late = [{"watchdog": fact.late_s, **fact.nodes} for fact in starved]

    @property
    def worst_s(self) -> float:
        return max((max(late.values()) for late in self._late), default=0.0)

    def slack_s(self, now: float) -> float:
        """Return the allowance on bounds at a moment."""
        once = self._between(now - 4 * self._interval_s, now + 0.1)
        longest_s = max((max(late.values()) for late in once), default=0.0)
        total: Counter[str] = Counter()
        for late in self._between(now - 2 * self._interval_s, now + 0.1):
            total.update(late)
        return self.BASE_S + self.STEPS * longest_s + max(total.values(), default=0)

    def _between(self, begin: float, end: float) -> list[dict[str, float]]:
        return self._late[bisect_left(self._at, begin) : bisect_right(self._at, end)]


#: A node is overloaded if it waits for a processor for more than this share of the time, and its answer takes more
#: than this many intervals. The promises to connected nodes do not hold for a node that hardly runs.
OVERLOAD, SLOW = 0.5, 0.4


def overloaded(facts: Iterable[Fact], interval_s: float) -> Iterator[Hindered | Relieved]:
    """Yield the spans in which nodes were overloaded, as pairs of facts, like those of hindered nodes."""
    known = [*facts]
    waits = [fact for fact in known if isinstance(fact, Starved)]
    at = [fact.at for fact in waits]
    until: dict[str, float] = {}
    for looked in known:
        if not isinstance(looked, StatusAnswer) or looked.at - looked.sent_at < SLOW * interval_s:
            continue
        begin, end = looked.sent_at - interval_s, looked.at + interval_s
        recent = waits[bisect_left(at, begin) : bisect_right(at, end)]
        waited_s = sum(fact.nodes.get(looked.node, 0.0) for fact in recent)
        if waited_s > OVERLOAD * (end - begin) and begin > until.get(looked.node, -inf):
            until[looked.node] = end
            yield Hindered(at=begin, node=looked.node, what=f"overload at {begin:.3f}")
            yield Relieved(at=end, node=looked.node, what=f"overload at {begin:.3f}")


class EventTimes:
    """The times of the events of each node."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self._at: dict[str, list[float]] = {}
        for fact in facts:
            if isinstance(fact, ReceivedEvent):
                self._at.setdefault(fact.node, []).append(fact.at)

    def any_between(self, node: str, begin: float, end: float) -> bool:
        at = self._at.get(node, [])
        return bisect_left(at, begin) < bisect_right(at, end)
