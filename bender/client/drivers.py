"""The reports of drivers of load balancers: their problems, and whether they have applied a change.

A driver receives a change within milliseconds, and reports when its load balancer has applied it. Nothing here waits
for consumers that do not report this, such as drivers of an earlier release and consumers without a load balancer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any

from attrs import frozen

from bender.client.types import Consumer, NotFound
from bender.core.consumers import Report, ReportedProblem, digest_of, down_by_most, labels, report_of

#: Time limit for a driver to apply a change, and the seconds between two looks at its report.
APPLIED_S_MAX = 5.0
LOOK_INTERVAL_S = 0.2

#: The effect of each kind of problem with a whole load balancer, as a clause that follows the name of the driver.
_EFFECTS = {
    "refused": "refuses the configuration",
    "held": "does not change its load balancer at present",
    "unwritable": "cannot write its files",
    "unreachable": "cannot reach its load balancer",
}

#: The effect on one change, as a clause that follows the name of the driver.
_EFFECTS_ON_CHANGE = {
    "refused": "refuses the change",
    "held": "does not apply the change",
    "unwritable": "cannot apply the change",
    "unreachable": "cannot apply the change",
}

#: The kind of a problem with one object, all or a part of which the driver leaves out.
LEFT_OUT = "left-out"

#: Kinds of problems that may end by themselves, such as during a restart of a load balancer. They count only at the
#: end of the wait.
_MOMENTARY_KINDS = ("unreachable",)


@frozen
class UnappliedChange:
    """A change that a driver has not applied, or only in part. `text` is a sentence about it without its full stop.

    `is_refused` is True if the load balancer refuses the change. `is_partly_applied` is True if the driver leaves out a
    part of the object.
    """

    driver: str
    text: str
    is_refused: bool = False
    is_partly_applied: bool = False


@frozen
class DriversBehind:
    """The drivers without a change: those with a known reason, and the names of those that may apply it soon."""

    unapplied: tuple[UnappliedChange, ...]
    pending: tuple[str, ...]


def drivers_behind(consumers: Sequence[Consumer], id_: str, digest: str, *, last: bool = False) -> DriversBehind:
    """Return the connected drivers that have not applied the backend or frontend with this `digest`.

    Problems that may end by themselves are a reason only if this is the `last` look.
    """
    unapplied: list[UnappliedChange] = []
    pending: list[str] = []
    for driver, report in _reports_by_label(consumers):
        setting = next((each for each in report.received or () if each.id == id_ and each.digest == digest), None)
        if setting is not None and setting.applied:
            unapplied += _left_out_parts(driver, report, id_)
            continue
        problem = next((each for each in report.problems if each.kind in _EFFECTS_ON_CHANGE), None)
        if setting is None or problem is None or (problem.kind in _MOMENTARY_KINDS and not last):
            pending.append(driver)
        else:
            text = f"{driver} {_EFFECTS_ON_CHANGE[problem.kind]}: {_reason(problem)}"
            unapplied.append(UnappliedChange(driver, text, is_refused=problem.kind == "refused"))
    return DriversBehind((*unapplied,), (*pending,))


async def wait_until_applied(
    consumers: Callable[[], Awaitable[Sequence[Consumer]]],
    pause: Callable[[float], Awaitable[object]],
    id_: str,
    settings: dict[str, Any] | None,
    within_s: float = APPLIED_S_MAX,
) -> list[UnappliedChange]:
    """Wait until all drivers have applied a change, at most `within_s`, and return those that have not.

    `settings` are the settings of the changed object, None if it was removed. The wait ends early when the report of
    every driver without the change gives a reason. If `within_s` is 0, only drivers with a reason are returned.
    """
    digest = digest_of(settings)
    looks = round(within_s / LOOK_INTERVAL_S)
    for number in range(looks + 1):
        try:
            found = drivers_behind(await consumers(), id_, digest, last=number == looks)
        except NotFound:  # the node runs an older release, which does not list consumers
            return []
        if not found.pending or number == looks:
            late = found.pending if within_s else ()
            when = f"after {within_s:g} s" if within_s >= APPLIED_S_MAX else "yet"
            return [
                *found.unapplied,
                *(UnappliedChange(driver, f"{driver} has not applied the change {when}") for driver in late),
            ]
        await pause(LOOK_INTERVAL_S)
    return []


def problem_clauses(consumer: Consumer, ago: Callable[[int], str]) -> Iterator[str]:
    """Return the problems that a driver reports, as clauses that follow its name; `ago` formats the age of a time."""
    report = report_of(consumer.report)
    for problem in () if report is None else report.problems:
        does = _EFFECTS.get(
            problem.kind, f"leaves out {problem.id}, or a part of it" if problem.id else "has a problem"
        )
        yield f"{does}, for {ago(problem.since_ms)}: {_reason(problem)}"


def main_problem_kind(consumer: Consumer) -> str | None:
    """Return the kind of a driver's most important problem, or None if it reports no problem.

    A problem with the whole load balancer is more important than one with a single object.
    """
    report = report_of(consumer.report)
    kinds = [] if report is None else [each.kind for each in report.problems]
    return next((kind for kind in kinds if kind in _EFFECTS), LEFT_OUT if LEFT_OUT in kinds else None)


def members_found_down(consumers: Sequence[Consumer], ids: Iterable[str]) -> list[str]:
    """Return the ids of the members that most load balancers find down, among those that report health checks."""
    reports = [report_of(each.report) for each in consumers if each.connected]
    return down_by_most([report for report in reports if report is not None], ids)


def drivers_unable_to_drain(consumers: Sequence[Consumer]) -> list[str]:
    """Return a sentence for each driver that cannot change the members of its load balancer now, with the reason."""
    found = []
    for driver, report in _reports_by_label(consumers):
        problem = next((each for each in report.problems if each.kind in ("held", "unreachable")), None)
        if problem is not None:
            found.append(f"{driver} {_EFFECTS_ON_CHANGE[problem.kind]} now: {_reason(problem)}")
    return found


def _reports_by_label(consumers: Sequence[Consumer]) -> Iterator[tuple[str, Report]]:
    """Return the labels and reports of the connected consumers that report the settings they have received."""
    driver_labels = labels([(each.name, each.instance) for each in consumers])
    for label, each in zip(driver_labels, consumers, strict=True):
        report = report_of(each.report)
        if each.connected and report is not None and report.received is not None:
            yield label, report


def _left_out_parts(driver: str, report: Report, id_: str) -> Iterable[UnappliedChange]:
    for problem in report.problems:
        if problem.id == id_:
            yield UnappliedChange(
                driver, f"{driver} leaves out {id_}, or a part of it: {problem.why}", is_partly_applied=True
            )


def _reason(problem: ReportedProblem) -> str:
    return problem.why if problem.instead is None else f"{problem.why}; {problem.instead}"
