"""`bender run`: run a command, and keep its instance registered as long as it serves."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import click
import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogBeginner
from zope.interface import implementer

from bender.cli import completion_values
from bender.cli.click_base import BenderCommand
from bender.cli.output import json_for
from bender.cli.params import Duration, fields, meta_option, weight_option
from bender.cli.session import TOKEN_VARIABLE, Session, reactor_command
from bender.client import BenderError, Client
from bender.core.invalid import Invalid
from bender.core.timing import Timing
from bender.net.escaping import escaped, escaped_lines
from bender.net.reactor import Reactor
from bender.run import CannotStart, CommandSupervisor, ProcessGroup, RunPlan, call_on_child_exit

#: Signals that are passed on, or end the command. A signal that was ignored when this process began stays ignored.
SIGNALS = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT", "SIGTSTP")

#: Time limit for a node to report its interval, which limits the ttl. Without an answer, the default limits are used.
INTERVAL_S_MAX = 2.0

up_to_an_hour = Duration("0s", "1h")


class TypedSeconds(float):
    """A number of seconds, with the text that was typed."""

    text = ""


class TypedDuration(Duration):
    """A duration whose limits only nodes know. It keeps the typed text for errors."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = TypedSeconds(super().convert(value, param, ctx))
        found.text = str(value)
        return found


@click.command(
    cls=BenderCommand,
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
    examples="""
    bender run --app web --version 1.2.0 --port 8080 -- ./serve --port 8080
    bender run --app web --version 1.2.0 --port 8080 --check /health --drain 3 -- ./serve --port 8080
    """,
)
@click.option("--app", required=True, shell_complete=completion_values.apps, help="The app of the instance.")
@click.option("--version", required=True, shell_complete=completion_values.versions, help="The version of the app.")
@click.option(
    "--port", required=True, type=click.IntRange(1, 65535), metavar="NUMBER", help="The port at which COMMAND serves."
)
@click.option(
    "--host",
    metavar="ADDRESS",
    help="The address to register; by default the address from which this machine reaches a node.",
)
@click.option(
    "--ttl",
    type=TypedDuration(),
    metavar="DURATION",
    help="How long the instance stays registered without a renewal, for example if this process is killed.",
)
@weight_option("The share of the traffic, relative to other instances.")
@meta_option
@click.option(
    "--check", "check_path", metavar="PATH", help="The path of a health page, which must answer with status 200 to 399."
)
@click.option("--check-every", type=Duration("100ms", "1h"), default="2s", show_default=True, metavar="DURATION",
              help="The time between two checks.")  # fmt: skip
@click.option("--check-timeout", type=Duration("100ms", "60s"), default="2s", show_default=True, metavar="DURATION",
              help="The time limit for a check.")  # fmt: skip
@click.option("--rise", type=click.IntRange(1), default=2, show_default=True, metavar="NUMBER",
              help="Successful checks in a row after which the instance is registered again.")  # fmt: skip
@click.option("--fall", type=click.IntRange(1), default=3, show_default=True, metavar="NUMBER",
              help="Failed checks in a row after which the instance is deregistered.")  # fmt: skip
@click.option("--wait", type=Duration("0s", "60s"), default="5s", show_default=True, metavar="DURATION",
              help="How long to wait until all nodes have removed the instance.")  # fmt: skip
@click.option("--drain", type=up_to_an_hour, default="0s", show_default=True, metavar="DURATION",
              help="How long COMMAND continues after that wait, before it gets the signal.")  # fmt: skip
@click.option("--kill-after", type=up_to_an_hour, metavar="DURATION",
              help="Kill COMMAND if it has not ended this long after the signal; never by default.")  # fmt: skip
@click.option("--any-process", is_flag=True,
              help="Also register if COMMAND did not start the process at the port, such as a proxy.")  # fmt: skip
@click.argument("arguments", nargs=-1, required=True, metavar="-- COMMAND [ARGUMENT]…",
                help="The command that serves, and its arguments.")  # fmt: skip
@reactor_command
async def run(session: Session, arguments: Sequence[str], **options: Any) -> int:
    """Run COMMAND, and keep its instance registered while it serves.

    The instance is registered as soon as its port answers; with --check PATH, as soon as the health page at PATH
    answers. Without --host the registration follows the address of this machine. An unreachable registry never stops
    COMMAND. If the instance is not registered after 5 s, the reason is printed on stderr, and repeated less and less
    often.

    On SIGTERM, SIGINT or SIGQUIT the instance is deregistered. When all nodes have removed the instance, all processes
    of COMMAND get the signal; a second signal skips this wait. If COMMAND goes into the background, bender run watches
    its processes there. Processes that still run when COMMAND ends are terminated.

    The exit status is that of COMMAND; 128 + N if signal N ended COMMAND; 127 if COMMAND does not exist; 2 if an option
    is invalid: then COMMAND is not started. BENDER_TOKEN is removed from the environment of COMMAND. With --json each
    line of bender run on stderr is an object with the fields "at" (milliseconds since 1970) and "message". The stdout
    is that of COMMAND.
    """
    plan = _plan(options)
    await _require_valid(plan, session.client, options["ttl"])
    session.screen.end_waiting()
    globalLogBeginner.beginLoggingTo(
        [_StderrLog(as_json=session.screen.as_json)], redirectStandardIO=False, discardBuffer=True
    )
    try:
        runner = CommandSupervisor(session.reactor, session.client, plan, partial(_start, session.reactor, arguments))
    except CannotStart as error:
        session.screen.error(f"{error}.")
        return error.status
    for name in SIGNALS:
        number = getattr(signal, name)
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(
                number,
                lambda got, _frame: IReactorFromThreads(session.reactor).callFromThread(runner.handle_signal, got),
            )
    try:
        return await runner.done
    except CancelledError:  # by a signal before the lines above took signals over, when nothing was registered yet
        runner.command.signal(signal.SIGTERM)
        raise


def _start(reactor: Reactor, arguments: Sequence[str], on_end: Callable[[int], None]) -> ProcessGroup:
    # The token is only for the registry. The command and its processes could print it, even without intention.
    environment = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    command = ProcessGroup(arguments, environment, on_end)
    call_on_child_exit(IReactorFromThreads(reactor), command.reap)
    return command


def _plan(options: dict[str, Any]) -> RunPlan:
    return RunPlan(
        app=options["app"],
        version=options["version"],
        port=options["port"],
        host=options["host"],
        ttl_s=None if options["ttl"] is None else float(options["ttl"]),
        weight=options["weight"],
        meta=fields(options["meta"], "--meta") or None,
        check_path=options["check_path"],
        check_apart_s=options["check_every"],
        check_s_max=options["check_timeout"],
        rise=options["rise"],
        fall=options["fall"],
        wait_s=options["wait"],
        drain_s=options["drain"],
        kill_s=options["kill_after"],
        any_process=options["any_process"],
    )


async def _require_valid(plan: RunPlan, client: Client, ttl: TypedSeconds | None) -> None:
    """Raise `click.BadParameter` for options that nodes would refuse, before the command starts.

    A node is asked only about a short ttl, which some nodes accept and most do not.
    """
    interval_s = Timing().interval_s
    if plan.needs_short_interval:
        with suppress(BenderError, TimedOut):
            asking = Deferred.fromCoroutine(client.status())
            interval_s = (await asking.addTimeout(INTERVAL_S_MAX, client.reactor))["interval"]
    try:
        plan.require_valid(interval_s)
    except Invalid as error:
        given = {
            "app": plan.app,
            "version": plan.version,
            "host": plan.host,
            "ttl": ttl.text if ttl is not None else None,
            "check": plan.check_path,
        }
        value = f"{given[error.field]!r} " if error.field in given else ""
        problem = str(error).removeprefix(f"{error.field}: ")
        raise click.BadParameter(f"{value}{problem}", param_hint=f"'--{error.field}'") from error


@implementer(ILogObserver)
class _StderrLog:
    """Print the log of bender on stderr, a line for each event. The output of the command is not changed."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def __call__(self, event: LogEvent) -> None:
        ours = str(event.get("log_namespace", "")).startswith("bender.")
        if not ours or event["log_level"] < LogLevel.info:
            return
        text = escaped(formatEvent(event))
        if "log_failure" in event:
            text += "\n" + escaped_lines(event["log_failure"].getTraceback())
        line = f"bender run: {text}"
        if self._as_json:
            document = {"at": int(event["log_time"] * 1000), "message": text}
            line = json_for(sys.stderr, msgspec.json.encode(document).decode())
        with suppress(OSError, ValueError):  # the reader may be gone, and the command continues
            print(line, file=sys.stderr, flush=True)  # noqa: T201
