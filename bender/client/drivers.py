"""The reports of drivers of load balancers: their problems, and whether they have applied a change.

A driver receives a change within milliseconds, and reports when its load balancer has it. One that does not report
that, such as one of an earlier release, or a consumer that drives nothing, is not waited for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any

from attrs import frozen

from bender.client.types import Consumer, NotFound
from bender.core.consumers import Report, ReportedProblem, digest_of, down_by_most, labels, report_of

#: How long a driver may take to apply a change, and the time between two looks at what it reports.
APPLIED_S_MAX = 5.0
LOOK_S = 0.2

#: The effect of each kind of problem, as a clause that follows the name of the driver.
_DOES = {
    "refused": "refuses the configuration",
    "held": "does not change its load balancer",
    "unwritable": "cannot write its files",
    "unreachable": "does not reach its load balancer",
}

#: The effect on one change, as a clause that follows the name of the driver.
_DOES_WITH_CHANGE = {
    "refused": "refuses it",
    "held": "holds it back",
    "unwritable": "cannot apply it",
    "unreachable": "cannot apply it",
}

#: The kind of a problem with one object, which is left out in whole or in part.
LEFT_OUT = "left-out"

#: Kinds that may pass within a moment, such as during a restart of a load balancer: they count only at the end.
_MOMENTARY = ("unreachable",)


@frozen
class Lack:
    """A driver that does not have a change, and why, in a sentence without its full stop.

    It `refuses` the change if its load balancer does not take it. It `has` it, but for a part, if that is left out.
    """

    driver: str
    text: str
    refuses: bool = False
    has: bool = False


@frozen
class DriversBehind:
    """Drivers that do not have a change for a known reason, and the names of those that may have it in a moment."""

    lacking: tuple[Lack, ...]
    waiting: tuple[str, ...]


def look(consumers: Sequence[Consumer], id_: str, digest: str, *, last: bool = False) -> DriversBehind:
    """Find the connected drivers that do not have a backend or frontend with this `digest`.

    The `last` look takes what may pass by itself for what it is.
    """
    lacking: list[Lack] = []
    waiting: list[str] = []
    for driver, report in _drivers(consumers):
        setting = next((each for each in report.received or () if each.id == id_ and each.digest == digest), None)
        if setting is not None and setting.applied:
            lacking += _left_out(driver, report, id_)
            continue
        problem = next((each for each in report.problems if each.kind in _DOES_WITH_CHANGE), None)
        if setting is None or problem is None or (problem.kind in _MOMENTARY and not last):
            waiting.append(driver)
        else:
            text = f"{driver} {_DOES_WITH_CHANGE[problem.kind]}: {_reason(problem)}"
            lacking.append(Lack(driver, text, refuses=problem.kind == "refused"))
    return DriversBehind((*lacking,), (*waiting,))


async def until_applied(
    consumers: Callable[[], Awaitable[Sequence[Consumer]]],
    pause: Callable[[float], Awaitable[object]],
    id_: str,
    settings: dict[str, Any] | None,
    within_s: float = APPLIED_S_MAX,
) -> list[Lack]:
    """Wait until all drivers have a change, and return those that do not, as soon as that is certain.

    `settings` are those that were set, None for what was removed. Without time to wait, only those are returned that
    say why they do not have it.
    """
    digest = digest_of(settings)
    looks = round(within_s / LOOK_S)
    for number in range(looks + 1):
        try:
            found = look(await consumers(), id_, digest, last=number == looks)
        except NotFound:  # the node has an older version, without consumers
            return []
        if not found.waiting or number == looks:
            late = found.waiting if within_s else ()
            when = f"after {within_s:g} s" if within_s >= APPLIED_S_MAX else "yet"
            return [*found.lacking, *(Lack(driver, f"{driver} has not applied it {when}") for driver in late)]
        await pause(LOOK_S)
    return []


def problems_of(consumer: Consumer, ago: Callable[[int], str]) -> Iterator[str]:
    """Return what a driver reports to be wrong, in clauses that follow its name; `ago` returns a time in words."""
    report = report_of(consumer.report)
    for problem in () if report is None else report.problems:
        does = _DOES.get(problem.kind, f"leaves out {problem.id}, or a part of it" if problem.id else "has a problem")
        yield f"{does}, for {ago(problem.since_ms)}: {_reason(problem)}"


def trouble_of(consumer: Consumer) -> str | None:
    """Return the kind of the problem that matters most, all of a load balancer before a part; None if all is well."""
    report = report_of(consumer.report)
    kinds = [] if report is None else [each.kind for each in report.problems]
    return next((kind for kind in kinds if kind in _DOES), LEFT_OUT if LEFT_OUT in kinds else None)


def found_down(consumers: Sequence[Consumer], ids: Iterable[str]) -> list[str]:
    """Return those of these members that most of the load balancers which report their checks find down."""
    reports = [report_of(each.report) for each in consumers if each.connected]
    return down_by_most([report for report in reports if report is not None], ids)


def unable(consumers: Sequence[Consumer]) -> list[str]:
    """Return which drivers cannot change the members of their load balancers now, and why, in sentences."""
    found = []
    for driver, report in _drivers(consumers):
        problem = next((each for each in report.problems if each.kind in ("held", "unreachable")), None)
        if problem is not None:
            found.append(f"{driver} {_DOES_WITH_CHANGE[problem.kind]} now: {_reason(problem)}")
    return found


def _drivers(consumers: Sequence[Consumer]) -> Iterator[tuple[str, Report]]:
    """Return those that are connected and report which settings they have, by their labels."""
    called = labels([(each.name, each.instance) for each in consumers])
    for label, each in zip(called, consumers, strict=True):
        report = report_of(each.report)
        if each.connected and report is not None and report.received is not None:
            yield label, report


def _left_out(driver: str, report: Report, id_: str) -> Iterable[Lack]:
    for problem in report.problems:
        if problem.id == id_:
            yield Lack(driver, f"{driver} leaves out {id_}, or a part of it: {problem.why}", has=True)


def _reason(problem: ReportedProblem) -> str:
    return problem.why if problem.instead is None else f"{problem.why}; {problem.instead}"
