"""Whether a version is worse than it was, or than the one before it.

Two things are looked at: how many of its members there are, and how many of its requests failed, as far as those who
send the traffic report it. Their counts only ever rise; one that fell begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import evolve, field, frozen

from bender.core.consumers import Report

#: With fewer requests than that a share of errors says nothing: of 100, three fail at a rate of 0.2 % once in a
#: thousand times.
REQUESTS_MIN = 100

#: Where little is asked for, so many errors are enough if the share of them is larger by so much: then it is plain.
PLAIN_ERRORS_MIN = 5
PLAIN_PERCENT = 50.0


@frozen
class RequestCount:
    """Requests, and how many of them failed."""

    requests: int = 0
    errors: int = 0

    def plus(self, other: RequestCount) -> RequestCount:
        return RequestCount(self.requests + other.requests, self.errors + other.errors)

    def since(self, before: RequestCount) -> RequestCount:
        """What came after `before`; all of it if whoever counts has begun anew."""
        if self.requests < before.requests or self.errors < before.errors:
            return self
        return RequestCount(self.requests - before.requests, self.errors - before.errors)

    @property
    def percent(self) -> float:
        """How many of a hundred failed."""
        return 100 * self.errors / self.requests if self.requests else 0.0


NOTHING = RequestCount()


def counts(report: Report, backend: str) -> dict[str, RequestCount]:
    """What a report counts of a backend, by version."""
    counted = (report.counted or {}).get(backend, {})
    return {version: RequestCount(each.requests, each.errors) for version, each in counted.items()}


@frozen
class Rates:
    """What was reported of the versions of one backend: by whom last, and in all since some moment."""

    _last: Mapping[tuple[str, str], RequestCount] = field(factory=dict)
    _since: Mapping[str, RequestCount] = field(factory=dict)

    def followed(self, reports: Mapping[str, Mapping[str, RequestCount]]) -> Rates:
        """With what is reported now: counts by reporter and version. What is heard for the first time is the start."""
        last, since = dict(self._last), dict(self._since)
        for reporter, counts in reports.items():
            for version, count in counts.items():
                before = last.get((reporter, version), count)
                last[reporter, version] = count
                since[version] = since.get(version, NOTHING).plus(count.since(before))
        return Rates(last, since)

    def from_now(self) -> Rates:
        """The same, counted from this moment."""
        return evolve(self, since={})

    def since(self, version: str) -> RequestCount:
        """What was counted of a version since the moment."""
        return self._since.get(version, NOTHING)

    def ever(self, version: str) -> RequestCount:
        """All that those who report have counted of it."""
        return _sum(count for (_, of), count in self._last.items() if of == version)

    def usual(self, version: str) -> RequestCount:
        """What it is measured by: what was counted since the moment, or all of it if that is too little."""
        since = self.since(version)
        return since if since.requests >= REQUESTS_MIN else self.ever(version)


@frozen
class Observation:
    """What is to be seen of a version at one moment.

    `members` are those that are online and take traffic, and `down` how many of these cannot be reached. `errors` are
    counted since the step began, and `usual` is what they are measured by; neither is known where `reported` is False.
    """

    members: int
    down: int = 0
    errors: RequestCount = NOTHING
    usual: RequestCount = NOTHING
    reported: bool = False

    @property
    def telling(self) -> bool:
        """Whether there were enough requests to judge by."""
        return self.errors.requests >= REQUESTS_MIN


def worse(look: Observation, *, members_min: int, errors_max: float) -> str | None:
    """Why a version is worse than it may be, in a clause that follows its name; None where it is not."""
    if look.members < members_min:
        return f"has {members(look.members)} left of {members_min}"
    if 2 * look.down > look.members:
        return f"has {members(look.members)}, of which {look.down} cannot be reached"
    more = look.errors.percent - look.usual.percent
    plain = look.errors.errors >= PLAIN_ERRORS_MIN and more >= PLAIN_PERCENT
    if plain or (look.errors.requests >= REQUESTS_MIN and more > errors_max):
        shares = f"{look.errors.percent:.1f} % of its requests, against {look.usual.percent:.1f} %"
        return f"fails in {shares}"
    return None


def members(number: int) -> str:
    """So many members, in words."""
    return "1 member" if number == 1 else f"{number or 'no'} members"


def _sum(counts: Iterable[RequestCount]) -> RequestCount:
    total = NOTHING
    for count in counts:
        total = total.plus(count)
    return total
