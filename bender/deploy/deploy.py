"""Run a deploy: do step after step, observe the version after each, and roll back if it performs worse.

A deploy reports the state in which it leaves the backend: with the new version, as before the deploy, or as another
client has set it.
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
from bender.deploy.analysis import Observation, Rates, counts_by_version, members_phrase, regression
from bender.deploy.backend_update import BackendUpdate, ChangedMeanwhile
from bender.deploy.conflicting_change import describe_conflict, set_command
from bender.deploy.plan import DeployPlan, Settings, Step, are_same, percent_text, rollback_change
from bender.deploy.recent_change import recent_change

#: Seconds between two observations. Load balancers report every two seconds.
OBSERVATION_INTERVAL_S = 1.0


#: Extra seconds for drivers that have not applied the last step yet, because they may be busy.
LAST_STEP_EXTRA_S = 1.0


#: The number of versions that a sentence names.
VERSIONS_LISTED_MAX = 10


def takes_traffic(registration: Registration) -> bool:
    """Return True if an instance gets requests when its version serves."""
    return registration.state == "up" and bool(registration.weight)


class DeployProgress(Protocol):
    """Receives the progress of a deploy."""

    def on_begin(self, found: Settings, observation: Observation) -> None:
        """The deploy begins. `found` is the backend before it, and `observation` has the new version's members."""

    def on_planned_step(self, step: Step, number: int, of: int) -> None:
        """A deploy would do this step, and watch it."""

    def on_step(self, step: Step, number: int, of: int) -> None:
        """This step is done, and will be watched."""

    def on_observation(self, step: Step, observation: Observation, left_s: float) -> None:
        """A new observation was made. The step will be watched for `left_s` more seconds."""

    def on_step_passed(self, step: Step, observation: Observation) -> None:
        """The step was watched for its whole time, and has no problem."""

    def on_note(self, text: str) -> None:
        """There is another remark for people, which is a sentence."""


@frozen
class DeployOutcome:
    """The outcome of a deploy: whether the version serves as planned, and the backend as JSON.

    `text` is a sentence about it without its full stop.
    """

    succeeded: bool
    text: str
    backend: bytes


@frozen
class _StepsToDo:
    """The steps to do, and the number of members that the version needs."""

    remaining_steps: Sequence[Step]
    members_needed: int


class _Regression(Exception):
    """The version performs worse. The message is a clause that follows the name of the version."""


class Deploy:
    """Deploy a version once. `reports` returns the consumers, with their reports about the traffic.

    `wall_ms` returns the milliseconds since the epoch, to find how long ago another operator changed the backend.
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
        self._backend = BackendUpdate(
            reactor, client, plan.name, lambda problem: progress.on_note(f"{problem}; retrying.")
        )
        self._members_min = 0
        self._rates = Rates()
        self._observation = Observation(0)
        # Consumers that have disconnected.
        self._disconnected: list[str] = []

    async def run(self) -> DeployOutcome:
        """Run the deploy. Raises `BenderError` if the deploy could not begin."""
        prepared = await self._prepare()
        if isinstance(prepared, DeployOutcome):
            return prepared
        try:
            return await self._do_steps(prepared.remaining_steps, prepared.members_needed)
        except (BenderError, ChangedMeanwhile) as error:
            return self._failed(await self._stop_reason(error))

    async def rehearse(self) -> DeployOutcome:
        """Report the steps that `run` would do, and change nothing.

        The outcome is a success if the deploy could begin. Raises the same errors as `run`.
        """
        prepared = await self._prepare()
        if isinstance(prepared, DeployOutcome):
            return prepared
        if not self._observation.members:
            self._progress.on_note(f"{self._new_version} has no members: its requests would be answered 503.")
        for number, step in enumerate(prepared.remaining_steps, start=1):
            self._progress.on_planned_step(step, number, len(prepared.remaining_steps))
        settings = self._backend.settings
        for step in prepared.remaining_steps:
            settings = {**settings, **step.change(settings)}
        serves = self._describe_serving(settings)
        return DeployOutcome(
            True, f"Nothing was changed: {self._backend.id} would serve {serves}", self._backend.reply.body
        )

    async def _prepare(self) -> _StepsToDo | DeployOutcome:
        """Check whether the deploy can begin, and report that it does. Return an outcome if there is nothing to do."""
        await self._backend.find()
        found = self._backend.found
        remaining_steps = self._plan.remaining_steps(found)
        if not remaining_steps:
            return await self._nothing_to_do()
        other = None if self._plan.force else await self._other_operator()
        if other is not None:
            may = "another operator may be deploying"
            return self._failed(f"{other}: {may}; nothing was changed, add --force to begin anyway")
        await self._client.learn()  # a deploy takes long, so that other nodes may have to answer
        self._observation = await self._observe()
        members_needed = self._plan.members_needed
        if self._observation.members < members_needed:
            return self._failed(
                f"{self._too_few_members(members_needed)}: nothing was changed{await self._versions_with_members()}"
            )
        self._members_min = self._observation.members
        self._progress.on_begin(found, self._observation)
        self._note_ended_canary()
        if not self._observation.has_reports:
            self._progress.on_note(
                "No load balancer reports how many requests fail: the deploy watches only the members."
            )
        self._note_disconnected()
        return _StepsToDo(remaining_steps, members_needed)

    def describe_state(self) -> str:
        """Return a sentence about the state of the backend if the deploy stops now, and the commands to continue."""
        name = self._plan.name
        if self._backend.has_unknown_outcome:
            return f"a change of {self._backend.id} may have been made: see bender backend history {shlex.quote(name)}"
        back = self._rollback_change()
        if not back:
            return f"{self._backend.id} is unchanged"
        goes_on = "" if self._backend.settings["version"] == self._plan.version else "the same command continues; "
        undoes = f"{set_command(name, back)} restores what served before"
        return f"{self._backend.id} is left with {self._describe_serving()}; {goes_on}{undoes}"

    # The steps.

    async def _do_steps(self, remaining_steps: Sequence[Step], members_needed: int) -> DeployOutcome:
        try:
            for number, step in enumerate(remaining_steps, start=1):
                await self._do_step(step, members_needed)
                self._progress.on_step(step, number, len(remaining_steps))
                await self._watch_step(step)
                self._progress.on_step_passed(step, self._observation)
        except _Regression as why:
            return await self._roll_back(str(why))
        self._note_disconnected()
        serves = f"{self._backend.id} serves {self._describe_serving()}"
        unapplied = [
            each.text for each in await self._unapplied_changes(LAST_STEP_EXTRA_S) if not each.is_partly_applied
        ]
        if unapplied:
            return self._failed(f"{serves}, but not at all load balancers: {'; '.join(unapplied)}")
        return DeployOutcome(True, serves, self._backend.reply.body)

    def _note_disconnected(self) -> None:
        for name in self._disconnected:
            self._progress.on_note(
                f"{name} has disconnected: if it drives a load balancer, the traffic there stays as it was."
            )

    async def _do_step(self, step: Step, members_needed: int) -> None:
        condition = {"min_members": members_needed} if step.is_switch and members_needed else {}
        try:
            change = step.change(self._backend.settings)
            await self._backend.change(change, condition, force=self._plan.allows_no_members)
        except Refused as refusal:
            if refusal.code != "CONFLICT":
                raise
            raise _Regression("has too few members now") from refusal
        self._rates = self._rates.restarted()
        await self._wait_for_drivers()

    async def _wait_for_drivers(self) -> None:
        """Wait until the load balancers have applied the step. Raises `_Regression` if one of them refuses it."""
        for unapplied in await self._unapplied_changes(APPLIED_S_MAX):
            if unapplied.is_refused:
                raise _Regression(f"cannot serve at all load balancers: {unapplied.text}")
            self._progress.on_note(f"{unapplied.text}.")

    async def _unapplied_changes(self, within_s: float) -> list[UnappliedChange]:
        """Return the drivers that have not applied the last step within `within_s`."""
        settings = backend_of(self._backend.reply.json()).settings

        async def consumers() -> Sequence[Consumer]:
            return await self._backend.retry_until_answered(self._reports)

        return await wait_until_applied(consumers, self._backend.pause, self._backend.id, settings, within_s)

    async def _watch_step(self, step: Step) -> None:
        ends_at = self._reactor.seconds() + step.watched_s
        while (left_s := ends_at - self._reactor.seconds()) > 0:
            self._progress.on_observation(step, self._observation, left_s)
            await self._backend.pause(min(OBSERVATION_INTERVAL_S, left_s))
            if await self._backend.is_as_set():
                self._observation = await self._backend.retry_until_answered(self._observe)
                why = regression(self._observation, members_min=self._members_min, errors_max=self._plan.errors_max)
                if why is not None:
                    raise _Regression(why)

    async def _roll_back(self, why: str) -> DeployOutcome:
        back = self._rollback_change()
        if not back:
            return self._failed(f"{self._new_version} {why}: nothing was changed")
        if self._observation.members and not await self._backend.retry_until_answered(self._can_roll_back):
            left = f"the previous version has no members, so a rollback is impossible, and {self.describe_state()}"
            return self._failed(f"{self._new_version} {why}, but {left}")
        try:
            await self._backend.change(back, force=True)  # the members of the previous version were counted above
        except (BenderError, ChangedMeanwhile) as error:
            return self._failed(f"{self._new_version} {why}, but {await self._stop_reason(error)}")
        return self._failed(f"{self._new_version} {why}: {self._backend.id} is back at {self._describe_serving()}")

    def _rollback_change(self) -> dict[str, Any]:
        """Return the change that rolls the backend back; an empty one if it is unchanged."""
        if are_same(self._backend.settings, self._backend.found):
            return {}
        back = rollback_change(self._plan, self._backend.found)
        return {key: value for key, value in back.items() if self._backend.settings.get(key) != value}

    # Observations.

    async def _other_operator(self) -> str | None:
        """Return a clause about a recent change by another operator; None if there is none, or no node answers."""
        try:
            history = await self._client.backend_history(self._plan.name)
        except BenderError:
            return None
        return recent_change(history, self._plan.operator, self._wall_ms())

    async def _versions_with_members(self) -> str:
        """Return the end of a sentence with the versions that could serve; empty if the new version has members."""
        if self._observation.members:
            return ""
        found = await self._client.registrations(self._backend.found["app"])
        versions = sorted({each.version for each in found if takes_traffic(each)})
        more = f" and {len(versions) - VERSIONS_LISTED_MAX} more" if len(versions) > VERSIONS_LISTED_MAX else ""
        listed = ", ".join(versions[:VERSIONS_LISTED_MAX])
        if versions:
            return f"; versions with members: {listed}{more}"
        anyway = "" if self._plan.members_min is not None else ": start them first, or add --force"
        return f"; no other version has members{anyway}"

    async def _observe(self) -> Observation:
        name, version, serving = self._plan.name, self._plan.version, self._backend.found["version"]
        found = await self._members_taking_traffic(version)
        reports = await self._current_reports()
        self._rates = self._rates.with_reports({by: counts_by_version(report, name) for by, report in reports.items()})
        down = len(down_by_most(reports.values(), [each.id for each in found]))
        errors, baseline = self._rates.since(version), self._rates.baseline(serving)
        return Observation(len(found), down, errors, baseline, has_reports=bool(reports))

    async def _members_taking_traffic(self, version: str) -> list[Registration]:
        found = await self._client.registrations(self._backend.found["app"], version)
        return [each for each in found if takes_traffic(each)]

    async def _can_roll_back(self) -> bool:
        """Return True if the setting from before the deploy would serve, because it has members."""
        found = self._backend.found
        return bool(found.get("servers") or await self._members_taking_traffic(found["version"]))

    async def _current_reports(self) -> Mapping[str, Report]:
        """Return the current report of each consumer; none if the node runs a release without reports."""
        try:
            consumers = await self._reports()
        except NotFound:
            return {}
        consumer_labels = labels([(each.name, each.instance) for each in consumers])
        here = {label for label, each in zip(consumer_labels, consumers, strict=True) if each.connected}
        self._disconnected = sorted({*consumer_labels} - here)
        # Two nodes may list a consumer that has moved from one to the other: the latest report is from the second.
        latest = sorted((each for each in consumers if each.connected), key=lambda each: each.at_ms)
        reports = {f"{each.name}/{each.instance}": report_of(each.report) for each in latest}
        return {name: report for name, report in reports.items() if report is not None and report.is_counting}

    # Text.

    @property
    def _new_version(self) -> str:
        return f"{self._backend.found['app']} {self._plan.version}"

    def _describe_serving(self, settings: Settings | None = None) -> str:
        """Return what serves with these settings (by default the present ones), and the share of the canary."""
        return describe_serving(self._backend.settings if settings is None else settings)

    async def _nothing_to_do(self) -> DeployOutcome:
        """Return the outcome of a deploy without steps: a success unless members are missing."""
        if self._backend.found["version"] == self._plan.version:
            text = f"{self._backend.id} serves {self._new_version} already"
        else:
            text = f"{self._backend.id} has already reached the last of these steps: {self._describe_serving()}"
        members_needed = self._plan.members_min or 0
        self._observation = Observation(
            len(await self._members_taking_traffic(self._plan.version)) if members_needed else 0
        )
        if self._observation.members < members_needed:
            return self._failed(f"{text}, but {self._too_few_members(members_needed)}")
        return DeployOutcome(True, text, self._backend.reply.body)

    def _too_few_members(self, members_needed: int) -> str:
        present = members_phrase(self._observation.members)
        return f"{self._new_version} has {present} that can take traffic, and needs {members_needed}"

    def _note_ended_canary(self) -> None:
        """Report that the deploy ends a canary of another version, if there is one."""
        canary = canary_of(self._backend.found)
        if canary is not None and canary.version != self._plan.version:
            gets = f"which gets {percent_text(float(canary.percent))} of the traffic"
            self._progress.on_note(f"The canary {canary.version}, {gets}, ends with the first step.")

    async def _stop_reason(self, error: BenderError | ChangedMeanwhile) -> str:
        """Return a sentence with the reason why the deploy stops, and the state in which it leaves the backend."""
        if isinstance(error, ChangedMeanwhile):
            return await describe_conflict(
                self._client, self._plan.name, self._backend.found, self._backend.settings, error
            )
        return f"{error}: {self.describe_state()}"

    def _failed(self, text: str) -> DeployOutcome:
        return DeployOutcome(False, text, self._backend.reply.body)
