"""`bender deploy`: switch a backend to a version, and watch the version meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec
from twisted.internet.defer import CancelledError

from bender.cli import completion_values
from bender.cli.backends import name_argument
from bender.cli.click_base import FAILURE, BenderCommand
from bender.cli.output import Output, without_full_stop
from bender.cli.params import Duration, Name, Steps
from bender.cli.session import Session, reactor_command, wall_ms
from bender.client.objects import describe_serving
from bender.core.members import canary_of
from bender.deploy import REQUESTS_MIN, Deploy, DeployPlan, DeployProgress, Observation, Step
from bender.deploy.analysis import CLEAR_ERRORS_MIN, CLEAR_PERCENT, RequestCount, members_phrase
from bender.deploy.plan import Settings, percent_text

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

up_to_a_day = Duration("0s", "24h")


@click.command(
    cls=BenderCommand,
    examples="""
    bender deploy shop 1.3.0 --min-members 3
    bender deploy shop 1.3.0 --steps 5,25,100 --every 60
    bender deploy shop 1.3.0 --steps 5,25,100 --dry-run
    """,
)
@name_argument("backend")
@click.argument("version", type=Name(), shell_complete=completion_values.versions, help="The version to deploy.")
@click.option("--min-members", type=click.IntRange(0), metavar="NUMBER",
              help="The number of members that the version must have at least; one by default.",
)  # fmt: skip
@click.option("--steps", type=Steps(), default=(), metavar="PERCENT,…",
              help="Shares of the traffic for the version, one after the other; at 100 the version serves alone.",
)  # fmt: skip
@click.option("--every", type=up_to_a_day, default="60s", show_default=True, metavar="DURATION",
              help="How long to watch each share.")  # fmt: skip
@click.option("--watch", type=up_to_a_day, default="5s", show_default=True, metavar="DURATION",
              help="How long to watch the version when it serves alone.")  # fmt: skip
@click.option("--errors-max", type=click.FloatRange(0, 100), default=2.0, show_default=True, metavar="PERCENT",
              help="By how many percentage points the version's error rate may exceed that of the other version. The "
              f"rates are compared when the version has had {REQUESTS_MIN} requests in the step. Even before that, the "
              f"deploy rolls back if at least {CLEAR_ERRORS_MIN} requests of the version failed and its rate is at "
              f"least {CLEAR_PERCENT:g} percentage points higher. If the other version had fewer than {REQUESTS_MIN} "
              "requests in the step, its requests from before the step are counted too.")  # fmt: skip
@click.option("--dry-run", is_flag=True,
              help="Print the steps, check the members and change nothing. The exit status is 1 if the deploy could "
              "not begin.",
)  # fmt: skip
@click.option("--force", is_flag=True,
              help="Deploy even if another operator set a canary in the last ten minutes. Also deploy a version that "
              "has no members, unless --min-members is given.")  # fmt: skip
@reactor_command
async def deploy(
    session: Session, name: str, version: str, *, steps: tuple[float, ...], every: float, watch: float, **more: Any
) -> int:
    """Switch a backend to a version, at once or in steps, and roll back if the version performs worse.

    While the version gets less than all of the traffic, it is a canary of the backend. The deploy does not begin if the
    version has too few members, or if another operator set a canary in the last ten minutes; operators are
    distinguished by their names in the history (see --as).

    During each step the deploy rolls back in three cases: (1) fewer members of the version take traffic than when the
    deploy began; (2) load balancers report that most of these members cannot be reached; (3) load balancers report that
    too many requests fail (see --errors-max). If another client changes the backend, the deploy stops.

    Ctrl-C ends the deploy and leaves the backend as it is. Run the same command again to continue with the next larger
    step.
    """
    plan = DeployPlan(name, version, steps, every, watch, more["min_members"], more["errors_max"], more["force"],
                (session.security.author or "").strip(" "))  # fmt: skip
    screen = session.screen
    progress = _JsonProgress(screen) if screen.as_json else _TextProgress(screen, plan)
    running = Deploy(session.reactor, session.client, plan, progress, session.client.consumers, wall_ms)
    try:
        outcome = await (running.rehearse() if more["dry_run"] else running.run())
    except CancelledError:
        progress.stop()
        screen.error(f"stopped: {running.describe_state()}")
        raise
    finally:
        progress.stop()
    if screen.as_json:
        screen.json(outcome.backend)
    elif outcome.succeeded:
        screen.say(f"{outcome.text}.")
    if not outcome.succeeded:
        screen.error(outcome.text)
        return FAILURE
    screen.aside(f"at {session.client.nodes.last}")
    return 0


class _TextProgress(DeployProgress):
    """Prints progress as lines, and on a terminal a bar below them with the time that is left of a step."""

    def __init__(self, screen: Output, plan: DeployPlan) -> None:
        self._screen = screen
        self._plan = plan
        self._version = self._serving = ""
        self._step = ""
        self._bar: Bar | None = None
        self._task: Any = None

    def on_begin(self, found: Settings, observation: Observation) -> None:
        self._serving = f"{found['app']} {found['version']}"
        self._version = f"{found['app']} {self._plan.version}"
        new = f"{self._version} has {members_phrase(observation.members)}"
        self._screen.say(f"{found['id']} serves {describe_serving(found)}; {new}.")

    def on_planned_step(self, step: Step, number: int, of: int) -> None:
        gets = "serve alone" if step.is_switch else f"get {percent_text(step.percent)} of the traffic"
        watched = f"and be watched for {step.watched_s:g} s"
        self._screen.say(f"step {number} of {of}: {self._version} would {gets}, {watched}.")

    def on_step(self, step: Step, number: int, of: int) -> None:
        self._step = f"step {number} of {of}"
        gets = "serves alone" if step.is_switch else f"gets {percent_text(step.percent)} of the traffic"
        self._screen.say(f"{self._step}: {self._version} {gets}, and is watched for {step.watched_s:g} s.")

    def on_observation(self, step: Step, observation: Observation, left_s: float) -> None:
        note = f"{left_s:3.0f} s left, {self._figures(observation)}"
        if self._bar is None:
            self._bar = self._screen.bar()
            if self._bar is None:
                return
            self._bar.start()
            self._task = self._bar.add_task(percent_text(step.percent), total=step.watched_s, note=note)
        self._bar.update(self._task, completed=step.watched_s - left_s, note=note)
        self._bar.refresh()

    def on_step_passed(self, step: Step, observation: Observation) -> None:
        self.stop()
        if not observation.members:
            self._screen.say(f"{self._step}: {self._version} still has no members after {step.watched_s:g} s.")
            return
        verdict = (
            "good"
            if observation.has_enough_requests or not observation.has_reports
            else "no problem, but few requests,"
        )
        self._screen.say(f"{self._step}: {verdict} after {step.watched_s:g} s: {self._figures(observation)}.")

    def on_note(self, text: str) -> None:
        self._screen.line(self._screen.dim(text))

    def stop(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = None

    def _figures(self, observation: Observation) -> str:
        down = f", {observation.down} unreachable" if observation.down else ""
        errors = ""
        if observation.has_reports:
            requests = observation.errors.requests
            failed = f"{_failing(observation.errors)} requests failed" if requests else "no requests"
            errors = f", {failed} ({self._serving}: {_failing(observation.baseline)})"
        return f"{members_phrase(observation.members)}{down}{errors}"


class _JsonProgress(DeployProgress):
    """Prints progress as JSON, one object on a line."""

    def __init__(self, screen: Output) -> None:
        self._screen = screen

    def on_begin(self, found: Settings, observation: Observation) -> None:
        beside = {} if canary_of(found) is None else {"canary": found["canary"]}
        self._print("begins", backend=found["id"], serving=found["version"], **beside, **_figures_of(observation))

    def on_planned_step(self, step: Step, number: int, of: int) -> None:
        self._print_step("would", step, number, of)

    def on_step(self, step: Step, number: int, of: int) -> None:
        self._print_step("step", step, number, of)

    def on_observation(self, step: Step, observation: Observation, left_s: float) -> None:
        """Print nothing: only the outcome of a step is printed."""

    def on_step_passed(self, step: Step, observation: Observation) -> None:
        self._print("well", version=step.version, percent=step.percent, **_figures_of(observation))

    def on_note(self, text: str) -> None:
        self._print("note", message=without_full_stop(text))

    def stop(self) -> None:
        """Do nothing: there is no bar."""

    def _print_step(self, what: str, step: Step, number: int, of: int) -> None:
        self._print(what, step=number, steps=of, version=step.version, percent=step.percent, seconds=step.watched_s)

    def _print(self, what: str, **more: Any) -> None:
        self._screen.json(msgspec.json.encode({"progress": what, "at": wall_ms(), **more}))


def _failing(count: RequestCount) -> str:
    return f"{count.percent:.1f} % of {count.requests}" if count.requests else "no requests"


def _figures_of(observation: Observation) -> dict[str, Any]:
    figures: dict[str, Any] = {"members": observation.members, "down": observation.down}
    return (
        {**figures, "errors": observation.errors, "usual": observation.baseline} if observation.has_reports else figures
    )
