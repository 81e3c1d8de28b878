"""Judge whether a version performs worse than at the beginning of a deploy, or than the version before it.

The judgement uses two figures: the number of the version's members, and the share of its requests that failed. Load
balancers report the counts of requests, which only rise; a count that has fallen was started again from 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import evolve, field, frozen

from bender.core.consumers import Report

#: The number of requests below which a share of errors means nothing. At an error rate of 0.2 %, three of 100 requests
#: fail once in a thousand times.
REQUESTS_MIN = 100

#: Below that number of requests, this number of errors is enough for a judgement if their share is larger by this many
#: percentage points.
CLEAR_ERRORS_MIN = 5
CLEAR_PERCENT = 50.0


@frozen
class RequestCount:
    """A number of requests, and the number of them that failed (`errors`)."""

    requests: int = 0
    errors: int = 0

    def plus(self, other: RequestCount) -> RequestCount:
        """Return the sum of two counts."""
        return RequestCount(self.requests + other.requests, self.errors + other.errors)

    def since(self, before: RequestCount) -> RequestCount:
        """Return the count since the earlier count `before`, or the whole count if the counter was restarted."""
        if self.requests < before.requests or self.errors < before.errors:
            return self
        return RequestCount(self.requests - before.requests, self.errors - before.errors)

    @property
    def percent(self) -> float:
        """The share of requests that failed, in percent; 0 if there were no requests."""
        return 100 * self.errors / self.requests if self.requests else 0.0


NO_REQUESTS = RequestCount()


def counts_by_version(report: Report, backend: str) -> dict[str, RequestCount]:
    """Return the request counts of a backend in a report, by version."""
    counted = (report.counted or {}).get(backend, {})
    return {version: RequestCount(each.requests, each.errors) for version, each in counted.items()}


@frozen
class Rates:
    """The request counts of the versions of one backend: the latest of each reporter, and the sums since a moment."""

    _latest: Mapping[tuple[str, str], RequestCount] = field(factory=dict)
    _since: Mapping[str, RequestCount] = field(factory=dict)

    def with_reports(self, reports: Mapping[str, Mapping[str, RequestCount]]) -> Rates:
        """Return the rates with new reports added. `reports` has the counts by reporter and version.

        The first report of a reporter adds nothing to the sums, because it only shows where the reporter began.
        """
        last, since = dict(self._latest), dict(self._since)
        for reporter, counts in reports.items():
            for version, count in counts.items():
                before = last.get((reporter, version), count)
                last[reporter, version] = count
                since[version] = since.get(version, NO_REQUESTS).plus(count.since(before))
        return Rates(last, since)

    def restarted(self) -> Rates:
        """Return the rates with sums that begin at this moment."""
        return evolve(self, since={})

    def since(self, version: str) -> RequestCount:
        """Return the sum of a version's counts since the moment."""
        return self._since.get(version, NO_REQUESTS)

    def all_time(self, version: str) -> RequestCount:
        """Return the sum of all that the reporters have counted for a version."""
        return _sum(count for (_, counted), count in self._latest.items() if counted == version)

    def baseline(self, version: str) -> RequestCount:
        """Return the count of a version to compare with: since the moment, or of all time if that is too small."""
        since = self.since(version)
        return since if since.requests >= REQUESTS_MIN else self.all_time(version)


@frozen
class Observation:
    """The figures of a version at one moment.

    `members` is the number of members that are online and take traffic, and `down` the number of these that cannot be
    reached. `errors` has the requests since the step began, and `baseline` those of the other version to compare with.
    Both are unknown if `has_reports` is False.
    """

    members: int
    down: int = 0
    errors: RequestCount = NO_REQUESTS
    baseline: RequestCount = NO_REQUESTS
    has_reports: bool = False

    @property
    def has_enough_requests(self) -> bool:
        """Whether there were enough requests in this step for a judgement."""
        return self.errors.requests >= REQUESTS_MIN


def regression(observation: Observation, *, members_min: int, errors_max: float) -> str | None:
    """Return the reason why a version performs worse than allowed, as a clause that follows its name, or None."""
    if observation.members < members_min:
        return f"has {members_phrase(observation.members)} left of {members_min}"
    if 2 * observation.down > observation.members:
        return f"has {members_phrase(observation.members)}, of which {observation.down} cannot be reached"
    more = observation.errors.percent - observation.baseline.percent
    is_clear = observation.errors.errors >= CLEAR_ERRORS_MIN and more >= CLEAR_PERCENT
    if is_clear or (observation.errors.requests >= REQUESTS_MIN and more > errors_max):
        failing, usual = (f"{each.percent:.1f} %" for each in (observation.errors, observation.baseline))
        return f"fails {failing} of its requests, and the other version fails {usual}"
    return None


def members_phrase(number: int) -> str:
    """Return a phrase with a number of members."""
    return "1 member" if number == 1 else f"{number or 'no'} members"


def _sum(counts: Iterable[RequestCount]) -> RequestCount:
    total = NO_REQUESTS
    for count in counts:
        total = total.plus(count)
    return total
