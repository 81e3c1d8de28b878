"""A deploy on its way: step after step, with a look at everything between, and back if it gets worse.

However it ends, the backend is left in a state that is known and told: with the new version, as it was found, or where
somebody else has put it.
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from bender.client import BenderError, Client, Consumer, NotFound, Refused, Registration
from bender.client.drivers import APPLIED_S_MAX, Lack, until_applied
from bender.client.objects import describe_serving
from bender.client.responses import backend_of
from bender.core.consumers import Report, down_by_most, labels, report_of
from bender.core.members import canary_of
from bender.deploy.analysis import Observation, Rates, counts, members, worse
from bender.deploy.backend_update import ChangedMeanwhile, Hold
from bender.deploy.concurrent_change import recent_change
from bender.deploy.interruption import command, interruption
from bender.deploy.plan import DeployPlan, Settings, Step, are_same, told, way_back

#: Between two looks; those who send traffic report every other second.
LOOK_S = 1.0


#: Drivers that do not have the last step by now get so long again, for one may be busy just then.
LAST_LOOK_S = 1.0


#: Versions that a sentence names.
VERSIONS_LISTED_MAX = 10


def takes_traffic(registration: Registration) -> bool:
    """Return True if an instance gets requests where its version serves."""
    return registration.state == "up" and bool(registration.weight)


class DeployProgress(Protocol):
    """Who is told what happens."""

    def begins(self, found: Settings, look: Observation) -> None:
        """A backend as it was found, and the new version's members."""

    def plans(self, step: Step, number: int, of: int) -> None:
        """A step would be done, and watched."""

    def takes(self, step: Step, number: int, of: int) -> None:
        """A step is done, and will be watched."""

    def sees(self, step: Step, look: Observation, left_s: float) -> None:
        """What was seen last, and how long the step will still be watched."""

    def keeps(self, step: Step, look: Observation) -> None:
        """A step was watched to its end, and all is well."""

    def notes(self, text: str) -> None:
        """Something else that people may want to know, in a sentence."""


@frozen
class DeployOutcome:
    """Whether the version serves as was wanted, a sentence about that without its point, and the backend as JSON."""

    done: bool
    text: str
    backend: bytes


@frozen
class _Begun:
    """The steps that are to be done, and how many members the version needs."""

    ahead: Sequence[Step]
    members_wanted: int


class _Worse(Exception):
    """The version is not what it was; the message is a clause that follows its name."""


class Deploy:
    """One deploy. `reports` asks for those who act on events, with what they report of the traffic.

    `wall_ms` is the wall clock, by which it is judged how long ago somebody else has changed the backend.
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
        # Consumers that were there a while ago.
        self._gone: list[str] = []

    async def run(self) -> DeployOutcome:
        """Do it. Raises `BenderError` where nothing could be begun."""
        begun = await self._begun()
        if isinstance(begun, DeployOutcome):
            return begun
        try:
            return await self._all_of(begun.ahead, begun.members_wanted)
        except (BenderError, ChangedMeanwhile) as error:
            return self._failed(await self._left(error))

    async def rehearse(self) -> DeployOutcome:
        """Report what would be done, and change nothing. It is done if the deploy could begin. Raises as `run` does."""
        begun = await self._begun()
        if isinstance(begun, DeployOutcome):
            return begun
        if not self._look.members:
            self._progress.notes(f"{self._new} has no members: its requests would be answered 503.")
        for number, step in enumerate(begun.ahead, start=1):
            self._progress.plans(step, number, len(begun.ahead))
        settings = self._hold.settings
        for step in begun.ahead:
            settings = {**settings, **step.change(settings)}
        serves = self._serving(settings)
        return DeployOutcome(True, f"Nothing was changed: {self._hold.id} would serve {serves}", self._hold.reply.body)

    async def _begun(self) -> _Begun | DeployOutcome:
        """See whether it can be done, and report what is found; an outcome where there is nothing to do."""
        await self._hold.find()
        found = self._hold.found
        ahead = self._plan.ahead(found)
        if not ahead:
            return await self._there_already()
        other = None if self._plan.force else await self._other_operator()
        if other is not None:
            may = "another operator may be deploying"
            return self._failed(f"{other}: {may}; nothing was changed, add --force to begin anyway")
        await self._client.learn()  # a deploy takes long, and nodes come and go
        self._look = await self._looked()
        wanted = self._plan.members_wanted
        if self._look.members < wanted:
            return self._failed(f"{self._lacks(wanted)}: nothing was changed{await self._versions_with_members()}")
        self._members_min = self._look.members
        self._progress.begins(found, self._look)
        self._tell_of_a_canary_that_ends()
        if not self._look.reported:
            self._progress.notes("No load balancer reports failed requests: the deploy watches the members alone.")
        self._tell_of_those_who_are_gone()
        return _Begun(ahead, wanted)

    def whereabouts(self) -> str:
        """How the backend is left where the deploy stops now, and what can be done about it, in a sentence."""
        name = self._plan.name
        if self._hold.under_way:
            return f"a change of {self._hold.id} may have been made: see bender backend history {shlex.quote(name)}"
        back = self._way_back()
        if not back:
            return f"{self._hold.id} is unchanged"
        goes_on = "" if self._hold.settings["version"] == self._plan.version else "the same command continues, and "
        return f"{self._hold.id} is left with {self._serving()}; {goes_on}{command(name, back)} goes back"

    # The steps.

    async def _all_of(self, ahead: Sequence[Step], wanted: int) -> DeployOutcome:
        try:
            for number, step in enumerate(ahead, start=1):
                await self._take(step, wanted)
                self._progress.takes(step, number, len(ahead))
                await self._watch(step)
                self._progress.keeps(step, self._look)
        except _Worse as why:
            return await self._gone_back(str(why))
        self._tell_of_those_who_are_gone()
        serves = f"{self._hold.id} serves {self._serving()}"
        lacking = [lack.text for lack in await self._lacking(LAST_LOOK_S) if not lack.has]
        if lacking:
            return self._failed(f"{serves}, but not everywhere: {'; '.join(lacking)}")
        return DeployOutcome(True, serves, self._hold.reply.body)

    def _tell_of_those_who_are_gone(self) -> None:
        for name in self._gone:
            self._progress.notes(
                f"{name} has disconnected: if it drives a load balancer, the traffic there stays as it was."
            )

    async def _take(self, step: Step, wanted: int) -> None:
        condition = {"min_members": wanted} if step.switches and wanted else {}
        try:
            change = step.change(self._hold.settings)
            await self._hold.change(change, condition, force=self._plan.takes_nobody)
        except Refused as refusal:
            if refusal.code != "CONFLICT":
                raise
            raise _Worse("has too few members now") from refusal
        self._rates = self._rates.from_now()
        await self._wait_for_drivers()

    async def _wait_for_drivers(self) -> None:
        """Wait until the load balancers have what was set; it is worse if one of them does not take it."""
        for lack in await self._lacking(APPLIED_S_MAX):
            if lack.refuses:
                raise _Worse(f"cannot serve everywhere: {lack.text}")
            self._progress.notes(f"{lack.text}.")

    async def _lacking(self, within_s: float) -> list[Lack]:
        """The drivers that do not have what was set last."""
        settings = backend_of(self._hold.reply.json()).settings

        async def consumers() -> Sequence[Consumer]:
            return await self._hold.patiently(self._reports)

        return await until_applied(consumers, self._hold.pause, self._hold.id, settings, within_s)

    async def _watch(self, step: Step) -> None:
        ends_at = self._reactor.seconds() + step.watched_s
        while (left_s := ends_at - self._reactor.seconds()) > 0:
            self._progress.sees(step, self._look, left_s)
            await self._hold.pause(min(LOOK_S, left_s))
            if await self._hold.is_as_set():
                self._look = await self._hold.patiently(self._looked)
                why = worse(self._look, members_min=self._members_min, errors_max=self._plan.errors_max)
                if why is not None:
                    raise _Worse(why)

    async def _gone_back(self, why: str) -> DeployOutcome:
        back = self._way_back()
        if not back:
            return self._failed(f"{self._new} {why}: nothing was changed")
        if self._look.members and not await self._hold.patiently(self._is_anybody_there):
            left = f"the version before has no members to go back to, and {self.whereabouts()}"
            return self._failed(f"{self._new} {why}, but {left}")
        try:
            await self._hold.change(back, force=True)  # whether anybody is there was looked at
        except (BenderError, ChangedMeanwhile) as error:
            return self._failed(f"{self._new} {why}, but {await self._left(error)}")
        return self._failed(f"{self._new} {why}: {self._hold.id} is back at {self._serving()}")

    def _way_back(self) -> dict[str, Any]:
        """What is to be changed to go back; nothing where it is as it was."""
        if are_same(self._hold.settings, self._hold.found):
            return {}
        back = way_back(self._plan, self._hold.found)
        return {key: value for key, value in back.items() if self._hold.settings.get(key) != value}

    # Looking.

    async def _other_operator(self) -> str | None:
        """What another operator has changed a moment ago, None if nobody did, or no node can say it."""
        try:
            history = await self._client.backend_history(self._plan.name)
        except BenderError:
            return None
        return recent_change(history, self._plan.operator, self._wall_ms())

    async def _versions_with_members(self) -> str:
        """The end of a sentence with the versions that could serve, empty if the one that is meant has members."""
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

    async def _looked(self) -> Observation:
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

    async def _is_anybody_there(self) -> bool:
        """Whether what was found would serve, if one went back."""
        found = self._hold.found
        return bool(found.get("servers") or await self._taking_traffic(found["version"]))

    async def _reported(self) -> Mapping[str, Report]:
        """What is reported now, by whom; nothing where nodes do not know of reports."""
        try:
            consumers = await self._reports()
        except NotFound:
            return {}
        called = labels([(each.name, each.instance) for each in consumers])
        here = {label for label, each in zip(called, consumers, strict=True) if each.connected}
        self._gone = sorted({*called} - here)
        # One that follows another node than before may be known to both, and has said more to the one it follows now.
        latest = sorted((each for each in consumers if each.connected), key=lambda each: each.at_ms)
        reports = {f"{each.name}/{each.instance}": report_of(each.report) for each in latest}
        return {name: report for name, report in reports.items() if report is not None and report.is_counting}

    # Words.

    @property
    def _new(self) -> str:
        return f"{self._hold.found['app']} {self._plan.version}"

    def _serving(self, settings: Settings | None = None) -> str:
        """What serves now, or by other settings, and what its canary gets."""
        return describe_serving(self._hold.settings if settings is None else settings)

    async def _there_already(self) -> DeployOutcome:
        """There is nothing to do; it is done if there are as many members as wanted, if that was said."""
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

    def _tell_of_a_canary_that_ends(self) -> None:
        """Somebody has meant a canary of a third version, or of the one that serves another."""
        canary = canary_of(self._hold.found)
        if canary is not None and canary.version != self._plan.version:
            gets = f"which gets {told(float(canary.percent))} of the traffic"
            self._progress.notes(f"The canary {canary.version}, {gets}, ends with the first step.")

    async def _left(self, error: BenderError | ChangedMeanwhile) -> str:
        """Why it does not go on, and what that means for the backend."""
        if isinstance(error, ChangedMeanwhile):
            return await interruption(self._client, self._plan.name, self._hold.found, self._hold.settings, error)
        return f"{error}: {self.whereabouts()}"

    def _failed(self, text: str) -> DeployOutcome:
        return DeployOutcome(False, text, self._hold.reply.body)
