"""Judge whether a version is worse than it was, or than the version before it.

The judgement uses two figures: the number of its members, and how many of its requests failed, as load balancers report
it. Their counts only ever rise; a count that fell starts anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import evolve, field, frozen

from bender.core.consumers import Report

#: With fewer requests a share of errors means nothing: of 100, three fail at a rate of 0.2 % once in a thousand times.
REQUESTS_MIN = 100

#: With few requests, this number of errors is enough if their share is larger by this many percentage points.
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
        """Return the count after `before`; all of it if the counter has restarted."""
        if self.requests < before.requests or self.errors < before.errors:
            return self
        return RequestCount(self.requests - before.requests, self.errors - before.errors)

    @property
    def percent(self) -> float:
        """The share of requests that failed, in percent."""
        return 100 * self.errors / self.requests if self.requests else 0.0


NOTHING = RequestCount()


def counts(report: Report, backend: str) -> dict[str, RequestCount]:
    """Return the counts of a backend in a report, by version."""
    counted = (report.counted or {}).get(backend, {})
    return {version: RequestCount(each.requests, each.errors) for version, each in counted.items()}


@frozen
class Rates:
    """The counts of the versions of one backend: the last of each reporter, and the sum since some moment."""

    _last: Mapping[tuple[str, str], RequestCount] = field(factory=dict)
    _since: Mapping[str, RequestCount] = field(factory=dict)

    def followed(self, reports: Mapping[str, Mapping[str, RequestCount]]) -> Rates:
        """Return the rates with new reports: counts by reporter and version. A first report is the start."""
        last, since = dict(self._last), dict(self._since)
        for reporter, counts in reports.items():
            for version, count in counts.items():
                before = last.get((reporter, version), count)
                last[reporter, version] = count
                since[version] = since.get(version, NOTHING).plus(count.since(before))
        return Rates(last, since)

    def from_now(self) -> Rates:
        """Return the same, counted from this moment."""
        return evolve(self, since={})

    def since(self, version: str) -> RequestCount:
        """Return the count of a version since the moment."""
        return self._since.get(version, NOTHING)

    def ever(self, version: str) -> RequestCount:
        """Return all that the reporters have counted of a version."""
        return _sum(count for (_, of), count in self._last.items() if of == version)

    def usual(self, version: str) -> RequestCount:
        """Return the count to compare with: since the moment, or all of it if there are too few requests."""
        since = self.since(version)
        return since if since.requests >= REQUESTS_MIN else self.ever(version)


@frozen
class Observation:
    """The figures of a version at one moment.

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
        """Whether there were enough requests for a judgement."""
        return self.errors.requests >= REQUESTS_MIN


def worse(look: Observation, *, members_min: int, errors_max: float) -> str | None:
    """Return why a version is worse than allowed, in a clause that follows its name; None if it is not."""
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
    """Return a number of members in words."""
    return "1 member" if number == 1 else f"{number or 'no'} members"


def _sum(counts: Iterable[RequestCount]) -> RequestCount:
    total = NOTHING
    for count in counts:
        total = total.plus(count)
    return total
