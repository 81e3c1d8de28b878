"""Run a deploy: step after step, with observations between, and a rollback if the version performs worse.

However it ends, the backend is left in a state that is known and reported: with the new version, as it was found, or as
another client has set it.
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from bender.client import BenderError, Client, Consumer, NotFound, Refused, Registration
from bender.client.drivers import APPLIED_S_MAX, UnappliedChange, wait_until_applied
from bender.client.objects import describe_serving
from bender.client.responses import backend_of
from bender.core.consumers import Report, down_by_most, labels, report_of
from bender.core.members import canary_of
from bender.deploy.analysis import Observation, Rates, counts, members, worse
from bender.deploy.backend_update import ChangedMeanwhile, Hold
from bender.deploy.conflicting_change import command, interruption
from bender.deploy.plan import DeployPlan, Settings, Step, are_same, percentage, way_back
from bender.deploy.recent_change import recent_change

#: Time between two observations; load balancers report every other second.
LOOK_S = 1.0


#: Extra time for drivers that do not have the last step yet, because one may be busy.
LAST_LOOK_S = 1.0


#: The number of versions that a sentence names.
VERSIONS_LISTED_MAX = 10


def takes_traffic(registration: Registration) -> bool:
    """Return True if an instance gets requests where its version serves."""
    return registration.state == "up" and bool(registration.weight)


class DeployProgress(Protocol):
    """Receives the progress of a deploy."""

    def begins(self, found: Settings, look: Observation) -> None:
        """The deploy begins: the backend as it was found, and the new version's members."""

    def plans(self, step: Step, number: int, of: int) -> None:
        """A step would be done, and watched."""

    def takes(self, step: Step, number: int, of: int) -> None:
        """A step is done, and will be watched."""

    def sees(self, step: Step, look: Observation, left_s: float) -> None:
        """The last observation, and how long the step will still be watched."""

    def keeps(self, step: Step, look: Observation) -> None:
        """A step was watched to its end without a problem."""

    def notes(self, text: str) -> None:
        """Another remark for people, in a sentence."""


@frozen
class DeployOutcome:
    """Whether the version serves as planned, a sentence without its full stop, and the backend as JSON."""

    done: bool
    text: str
    backend: bytes


@frozen
class _Prepared:
    """The steps to do, and how many members the version needs."""

    ahead: Sequence[Step]
    members_wanted: int


class _Worse(Exception):
    """The version performs worse; the message is a clause that follows its name."""


class Deploy:
    """One deploy. `reports` returns the consumers, with their reports about the traffic.

    `wall_ms` is the wall clock, which shows how long ago another operator has changed the backend.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        client: Client,
        plan: DeployPlan,
        progress: DeployProgress,
        reports: Callable[[], Awaitable[Sequence[Consumer]]],
        wall_ms: Callable[[], int],
    ) -> None:
        self._reactor = reactor
        self._client = client
        self._plan = plan
        self._progress = progress
        self._reports = reports
        self._wall_ms = wall_ms
        self._hold = Hold(reactor, client, plan.name, lambda problem: progress.notes(f"{problem}; retrying."))
        self._members_min = 0
        self._rates = Rates()
        self._look = Observation(0)
        # Consumers that have disconnected.
        self._gone: list[str] = []

    async def run(self) -> DeployOutcome:
        """Run the deploy. Raises `BenderError` if it could not begin."""
        prepared = await self._prepare()
        if isinstance(prepared, DeployOutcome):
            return prepared
        try:
            return await self._do_steps(prepared.ahead, prepared.members_wanted)
        except (BenderError, ChangedMeanwhile) as error:
            return self._failed(await self._left(error))

    async def rehearse(self) -> DeployOutcome:
        """Report what would be done, and change nothing. It is done if the deploy could begin. Raises as `run` does."""
        prepared = await self._prepare()
        if isinstance(prepared, DeployOutcome):
            return prepared
        if not self._look.members:
            self._progress.notes(f"{self._new} has no members: its requests would be answered 503.")
        for number, step in enumerate(prepared.ahead, start=1):
            self._progress.plans(step, number, len(prepared.ahead))
        settings = self._hold.settings
        for step in prepared.ahead:
            settings = {**settings, **step.change(settings)}
        serves = self._serving(settings)
        return DeployOutcome(True, f"Nothing was changed: {self._hold.id} would serve {serves}", self._hold.reply.body)

    async def _prepare(self) -> _Prepared | DeployOutcome:
        """Check whether the deploy can begin, and report what is found; return an outcome if nothing is to be done."""
        await self._hold.find()
        found = self._hold.found
        ahead = self._plan.ahead(found)
        if not ahead:
            return await self._nothing_to_do()
        other = None if self._plan.force else await self._other_operator()
        if other is not None:
            may = "another operator may be deploying"
            return self._failed(f"{other}: {may}; nothing was changed, add --force to begin anyway")
        await self._client.learn()  # a deploy takes long, and nodes come and go
        self._look = await self._observe()
        wanted = self._plan.members_wanted
        if self._look.members < wanted:
            return self._failed(f"{self._lacks(wanted)}: nothing was changed{await self._versions_with_members()}")
        self._members_min = self._look.members
        self._progress.begins(found, self._look)
        self._note_ended_canary()
        if not self._look.reported:
            self._progress.notes(
                "No load balancer reports how many requests fail: the deploy watches only the members."
            )
        self._note_disconnected()
        return _Prepared(ahead, wanted)

    def whereabouts(self) -> str:
        """Return how the backend is left if the deploy stops now, and what to do about it, in a sentence."""
        name = self._plan.name
        if self._hold.under_way:
            return f"a change of {self._hold.id} may have been made: see bender backend history {shlex.quote(name)}"
        back = self._way_back()
        if not back:
            return f"{self._hold.id} is unchanged"
        goes_on = "" if self._hold.settings["version"] == self._plan.version else "the same command continues, and "
        return f"{self._hold.id} is left with {self._serving()}; {goes_on}{command(name, back)} goes back"

    # The steps.

    async def _do_steps(self, ahead: Sequence[Step], wanted: int) -> DeployOutcome:
        try:
            for number, step in enumerate(ahead, start=1):
                await self._take(step, wanted)
                self._progress.takes(step, number, len(ahead))
                await self._watch(step)
                self._progress.keeps(step, self._look)
        except _Worse as why:
            return await self._roll_back(str(why))
        self._note_disconnected()
        serves = f"{self._hold.id} serves {self._serving()}"
        lacking = [lack.text for lack in await self._lacking(LAST_LOOK_S) if not lack.is_partly_applied]
        if lacking:
            return self._failed(f"{serves}, but not everywhere: {'; '.join(lacking)}")
        return DeployOutcome(True, serves, self._hold.reply.body)

    def _note_disconnected(self) -> None:
        for name in self._gone:
            self._progress.notes(
                f"{name} has disconnected: if it drives a load balancer, the traffic there stays as it was."
            )

    async def _take(self, step: Step, wanted: int) -> None:
        condition = {"min_members": wanted} if step.switches and wanted else {}
        try:
            change = step.change(self._hold.settings)
            await self._hold.change(change, condition, force=self._plan.allows_no_members)
        except Refused as refusal:
            if refusal.code != "CONFLICT":
                raise
            raise _Worse("has too few members now") from refusal
        self._rates = self._rates.from_now()
        await self._wait_for_drivers()

    async def _wait_for_drivers(self) -> None:
        """Wait until the load balancers have the step. Raises `_Worse` if one of them refuses it."""
        for lack in await self._lacking(APPLIED_S_MAX):
            if lack.is_refused:
                raise _Worse(f"cannot serve everywhere: {lack.text}")
            self._progress.notes(f"{lack.text}.")

    async def _lacking(self, within_s: float) -> list[UnappliedChange]:
        """Return the drivers that do not have the last step."""
        settings = backend_of(self._hold.reply.json()).settings

        async def consumers() -> Sequence[Consumer]:
            return await self._hold.patiently(self._reports)

        return await wait_until_applied(consumers, self._hold.pause, self._hold.id, settings, within_s)

    async def _watch(self, step: Step) -> None:
        ends_at = self._reactor.seconds() + step.watched_s
        while (left_s := ends_at - self._reactor.seconds()) > 0:
            self._progress.sees(step, self._look, left_s)
            await self._hold.pause(min(LOOK_S, left_s))
            if await self._hold.is_as_set():
                self._look = await self._hold.patiently(self._observe)
                why = worse(self._look, members_min=self._members_min, errors_max=self._plan.errors_max)
                if why is not None:
                    raise _Worse(why)

    async def _roll_back(self, why: str) -> DeployOutcome:
        back = self._way_back()
        if not back:
            return self._failed(f"{self._new} {why}: nothing was changed")
        if self._look.members and not await self._hold.patiently(self._can_go_back):
            left = f"the previous version has no members, so a rollback is impossible, and {self.whereabouts()}"
            return self._failed(f"{self._new} {why}, but {left}")
        try:
            await self._hold.change(back, force=True)  # its members were counted above
        except (BenderError, ChangedMeanwhile) as error:
            return self._failed(f"{self._new} {why}, but {await self._left(error)}")
        return self._failed(f"{self._new} {why}: {self._hold.id} is back at {self._serving()}")

    def _way_back(self) -> dict[str, Any]:
        """Return the change that rolls back; nothing if the backend is unchanged."""
        if are_same(self._hold.settings, self._hold.found):
            return {}
        back = way_back(self._plan, self._hold.found)
        return {key: value for key, value in back.items() if self._hold.settings.get(key) != value}

    # Observations.

    async def _other_operator(self) -> str | None:
        """Return what another operator has just changed; None if there is no such change, or no node answers."""
        try:
            history = await self._client.backend_history(self._plan.name)
        except BenderError:
            return None
        return recent_change(history, self._plan.operator, self._wall_ms())

    async def _versions_with_members(self) -> str:
        """Return the end of a sentence with the versions that could serve; empty if this one has members."""
        if self._look.members:
            return ""
        found = await self._client.registrations(self._hold.found["app"])
        versions = sorted({each.version for each in found if takes_traffic(each)})
        more = f" and {len(versions) - VERSIONS_LISTED_MAX} more" if len(versions) > VERSIONS_LISTED_MAX else ""
        listed = ", ".join(versions[:VERSIONS_LISTED_MAX])
        if versions:
            return f"; versions with members: {listed}{more}"
        anyway = "" if self._plan.members_min is not None else ": start them first, or add --force"
        return f"; no other version has members{anyway}"

    async def _observe(self) -> Observation:
        name, version, serving = self._plan.name, self._plan.version, self._hold.found["version"]
        found = await self._taking_traffic(version)
        reports = await self._reported()
        self._rates = self._rates.followed({by: counts(report, name) for by, report in reports.items()})
        down = len(down_by_most(reports.values(), [each.id for each in found]))
        errors, usual = self._rates.since(version), self._rates.usual(serving)
        return Observation(len(found), down, errors, usual, reported=bool(reports))

    async def _taking_traffic(self, version: str) -> list[Registration]:
        found = await self._client.registrations(self._hold.found["app"], version)
        return [each for each in found if takes_traffic(each)]

    async def _can_go_back(self) -> bool:
        """Return True if the setting from before the deploy has members, so that it would serve."""
        found = self._hold.found
        return bool(found.get("servers") or await self._taking_traffic(found["version"]))

    async def _reported(self) -> Mapping[str, Report]:
        """Return the current report of each consumer; nothing if nodes do not know reports."""
        try:
            consumers = await self._reports()
        except NotFound:
            return {}
        called = labels([(each.name, each.instance) for each in consumers])
        here = {label for label, each in zip(called, consumers, strict=True) if each.connected}
        self._gone = sorted({*called} - here)
        # Two nodes may list a consumer that has changed its node; the latest report is at the node that it follows now.
        latest = sorted((each for each in consumers if each.connected), key=lambda each: each.at_ms)
        reports = {f"{each.name}/{each.instance}": report_of(each.report) for each in latest}
        return {name: report for name, report in reports.items() if report is not None and report.is_counting}

    # Text.

    @property
    def _new(self) -> str:
        return f"{self._hold.found['app']} {self._plan.version}"

    def _serving(self, settings: Settings | None = None) -> str:
        """Return what serves now, or by other settings, with the share of the canary."""
        return describe_serving(self._hold.settings if settings is None else settings)

    async def _nothing_to_do(self) -> DeployOutcome:
        """Return the outcome if there is nothing to do: it is done unless members are missing."""
        if self._hold.found["version"] == self._plan.version:
            text = f"{self._hold.id} serves {self._new} already"
        else:
            text = f"{self._hold.id} is already where these steps end: {self._serving()}"
        wanted = self._plan.members_min or 0
        self._look = Observation(len(await self._taking_traffic(self._plan.version)) if wanted else 0)
        if self._look.members < wanted:
            return self._failed(f"{text}, but {self._lacks(wanted)}")
        return DeployOutcome(True, text, self._hold.reply.body)

    def _lacks(self, wanted: int) -> str:
        return f"{self._new} has {members(self._look.members)} to take traffic, and needs {wanted}"

    def _note_ended_canary(self) -> None:
        """Note a canary of another version, which the deploy ends."""
        canary = canary_of(self._hold.found)
        if canary is not None and canary.version != self._plan.version:
            gets = f"which gets {percentage(float(canary.percent))} of the traffic"
            self._progress.notes(f"The canary {canary.version}, {gets}, ends with the first step.")

    async def _left(self, error: BenderError | ChangedMeanwhile) -> str:
        """Return why the deploy stops, and what that means for the backend."""
        if isinstance(error, ChangedMeanwhile):
            return await interruption(self._client, self._plan.name, self._hold.found, self._hold.settings, error)
        return f"{error}: {self.whereabouts()}"

    def _failed(self, text: str) -> DeployOutcome:
        return DeployOutcome(False, text, self._hold.reply.body)
