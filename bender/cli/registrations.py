"""Commands about registrations: list, follow, explain, register, drain and deregister them."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

import click
import msgspec

from bender.cli import completion_values
from bender.cli.click_base import FAILURE, BenderCommand
from bender.cli.columns import DIAGNOSES, EVENTS, INSTANCES, LAST_EVENTS
from bender.cli.explanation import backends_sentence, diagnoses_by_node, diagnosis_row, event_rows, reason_line
from bender.cli.output import age_text, compact_json, duration_text, time_text
from bender.cli.params import (
    ID,
    PARTS,
    Duration,
    Events,
    Name,
    TextPair,
    fields,
    for_option,
    meta_option,
    registration_id,
    weight_option,
)
from bender.cli.session import Session, reactor_command, request_command
from bender.cli.styled_text import Styled, join_parts
from bender.client import Applied, BenderError, Event, NotFound, Refused, Registration, Word
from bender.client.client import LIST_BYTES_MAX
from bender.client.paths import explain_path, list_path, path_of, with_force
from bender.client.responses import Explanation, read_nothing, reader
from bender.core.change_description import differences
from bender.core.force_option import FORCE_HERE
from bender.core.registration_status import UP

_T = TypeVar("_T")

_ID_HELP = "The instance: its id, or the four parts of the id as separate arguments."

id_argument = click.argument(
    "id", nargs=-1, required=True, metavar=ID, shell_complete=completion_values.ids, help=_ID_HELP
)
app_argument = click.argument(
    "app", required=False, type=Name(), shell_complete=completion_values.apps, help="The app; all apps by default."
)
version_argument = click.argument(
    "version",
    required=False,
    type=Name(),
    shell_complete=completion_values.versions,
    help="The version of the app; all versions by default.",
)
force_option = click.option(
    "--force", is_flag=True, help="Do it even if a backend then has no member that takes traffic."
)


@click.command(
    cls=BenderCommand,
    columns=(INSTANCES,),
    examples="""
    bender ls
    bender ls web 1.2.0
    bender ls web --meta zone=a --json
    """,
)
@app_argument
@version_argument
@click.option(
    "--meta",
    multiple=True,
    type=TextPair(),
    metavar="KEY=VALUE",
    help="List only instances whose meta has this VALUE for KEY.",
)
@request_command
async def ls(session: Session, app: str | None, version: str | None, meta: Sequence[tuple[str, str]]) -> int:
    """List registered instances: all, or those of an APP or a VERSION of it.

    The exit status is 1 if the app or the version is unknown: no instance has it, and no backend names it.
    """
    path = list_path(app, version, fields(meta, "--meta"))
    found, reply = await session.client.read(reader(list[Registration]), "GET", path, bytes_max=LIST_BYTES_MAX)
    if session.print_if_json(reply):
        return await status_of_list(session, app, version, listed=bool(found))
    rows = [
        [
            *(each.app, each.version, each.host, each.port, _state(session, each), each.weight),
            *(f"{each.ttl_s:g}", age_text(each.registered_ms), each.node, compact_json(each.meta)),
        ]
        for each in found
    ]
    nothing = f"nothing {'matches' if meta or app else 'is registered'} (asked {reply.node})"
    session.screen.table(INSTANCES.names, rows, caption=f"{len(rows)} at {reply.node}" if rows else nothing)
    return await status_of_list(session, app, version, listed=bool(found))


async def status_of_list(session: Session, app: str | None, version: str | None, *, listed: bool) -> int:
    """Return the exit status of `ls`, and print an error if the app or the version is unknown."""
    if listed or app is None:
        return 0
    from bender.cli.did_you_mean import name_hint, versions_by_app  # noqa: PLC0415 - seldom needed

    versions = versions_by_app(await session.client.registrations(), await session.client.backends())
    if app not in versions:
        session.screen.error(f"there is no app {app}{name_hint(app, versions)}")
        return FAILURE
    if version is not None and version not in versions[app]:
        session.screen.error(f"there is no version {version} of {app}{name_hint(version, versions[app])}")
        return FAILURE
    return 0


def _state(session: Session, registration: Registration) -> Styled:
    state = session.screen.coloured(registration.state)
    if not registration.suspect:
        return state
    suspect = session.screen.coloured("suspect")
    return suspect if state.plain == UP else join_parts([state, suspect], ", ")


@click.command(
    cls=BenderCommand,
    columns=(EVENTS,),
    examples="""
    bender watch
    bender watch web 1.2.0 --new
    bender watch --only offline,removed --json
    """,
)
@app_argument
@version_argument
@click.option(
    "--only",
    metavar="EVENT,…",
    type=Events(),
    help='Print only these events. Events of instances: "online", "offline" and "changed". Events of backends and '
    'frontends: "created", "removed" and "changed". The event "synced" ends the list of existing objects.',
)
@click.option("--new", is_flag=True, help="Leave out the objects that exist already.")
@reactor_command
async def watch(
    session: Session, app: str | None, version: str | None, only: frozenset[str] | None, *, new: bool
) -> None:
    """Print every change as it happens, until Ctrl-C; if a node fails, follow another one.

    It prints the objects that exist, then the event "synced", and then each change. For a backend or frontend it prints
    the fields that changed. With --json each line is an event as in the API, with the node that sent it. In an event
    "changed", the field "previous" holds the object before the change.
    """
    async with session.client.watch(app, version) as events:
        events.on_away = partial(_print_problems, session)
        async for event in events:
            session.print_problems()
            synced = event.event == "synced"
            if (new and event.reason == "snapshot" and not synced) or (only is not None and event.event not in only):
                continue
            _print_event(session, event)


def _print_problems(session: Session, problems: dict[str, str]) -> None:
    session.screen.error(f"{'; '.join(f'{node} {why}' for node, why in problems.items())}; retrying")


def _print_event(session: Session, event: Event) -> None:
    screen = session.screen
    if screen.as_json:
        about = {event.kind: event.body} if event.kind else {}
        line = {"event": event.event, "at": event.at_ms, "reason": event.reason, "node": event.node, **about}
        line |= {"previous": event.previous} if event.previous is not None else {}
        screen.json(msgspec.json.encode(line))
        return
    if event.event == "synced":
        screen.aside(f"as of {time_text(event.at_ms)} at {event.node}; all later events are new")
        return
    name = screen.coloured(event.event).padded(8)
    screen.line(screen.dim(time_text(event.at_ms)), name, event.id, screen.dim(event.reason), *_fields(screen, event))


def _fields(screen: Any, event: Event) -> list[Styled]:
    """Return the fields of a changed registration, or the fields of a backend or frontend that differ."""
    if event.kind == "registration" and event.event == "changed":
        about = event.registration
        terms = f"weight={about.weight} ttl={about.ttl_s:g} meta={compact_json(about.meta)}"
        suspect = "suspect=true " if about.suspect else ""
        return [screen.dim(f"state={about.state} {suspect}{terms}")]
    if event.kind in ("backend", "frontend") and event.event != "removed":
        return [screen.dim(", ".join(differences(event.previous, event.body)))]
    return []


@click.command(
    cls=BenderCommand,
    columns=(DIAGNOSES, LAST_EVENTS),
    examples="""
    bender explain web/1.2.0/10.0.0.5/8080
    bender explain web 1.2.0 10.0.0.5 8080 --json
    """,
)
@id_argument
@request_command
async def explain(session: Session, id: tuple[str, ...]) -> None:  # noqa: A002 - the word that people know it by
    """Explain why an instance is in rotation or not, and show what each node knows about it.

    The exit status is 1 if no node knows the instance.
    """
    id_ = registration_id(id)
    path = explain_path(id_)
    explained, reply = await _with_hint(session, id_, session.client.read(reader(Explanation), "GET", path))
    if session.print_if_json(reply):
        return
    screen = session.screen
    nodes = diagnoses_by_node(explained)
    screen.line(explained.id)
    screen.line(reason_line(explained))
    screen.say("")
    screen.table(DIAGNOSES.names, [diagnosis_row(diagnosis) for diagnosis in nodes])
    screen.say("")
    screen.say(backends_sentence(explained))
    rows = event_rows(nodes)
    if rows:
        screen.say("")
        screen.table(LAST_EVENTS.names, rows)
    screen.aside(f"asked {reply.node}, which asked all other nodes")


async def _with_hint(session: Session, id_: str, doing: Awaitable[_T]) -> _T:
    """Return the result of a request about an instance. If the instance is unknown, the error names similar ones."""
    try:
        return await doing
    except NotFound as error:
        from bender.cli.did_you_mean import instance_hint  # noqa: PLC0415 - seldom needed

        raise BenderError(f"{error}{await instance_hint(session.client, id_)}") from error


@click.command(
    cls=BenderCommand,
    examples="""
    bender register web/1.2.0/10.0.0.5/8080
    bender register --app web --version 1.2.0 --host 10.0.0.5 --port 8080 --ttl 60 --meta zone=a
    """,
)
@click.argument(
    "id",
    nargs=-1,
    metavar=f"[{ID}]",
    shell_complete=completion_values.ids,
    help=_ID_HELP,
)
@click.option("--app", shell_complete=completion_values.apps, help="The app of the instance, if its id is not given.")
@click.option("--version", shell_complete=completion_values.versions, help="The version of the app.")
@click.option("--host", metavar="ADDRESS", help="The address or hostname of the instance.")
@click.option("--port", metavar="NUMBER", help="The port of the instance.")
@click.option("--ttl", type=Duration(), metavar="DURATION", help="How long the registration lasts without renewal.")
@weight_option("The share of the traffic, relative to other instances; 1 by default.")
@meta_option
@request_command
async def register(
    session: Session,
    id: tuple[str, ...],  # noqa: A002
    ttl: float | None,
    weight: int | None,
    meta: Sequence[tuple[str, Any]],
    **parts: str | None,
) -> None:
    """Register an instance once, or renew it.

    The registration lasts for its ttl. `bender run` keeps an instance registered for as long as it serves.
    """
    id_ = _id_from(id, parts)
    wanted = {"ttl": ttl, "weight": weight, "meta": fields(meta, "--meta") or None}
    terms = {key: value for key, value in wanted.items() if value is not None}
    registration, reply = await session.client.read(reader(Registration), "POST", path_of(id_), terms)
    session.report(f"{registration.id} is registered for {registration.ttl_s:g} s.", reply)


def _id_from(words: tuple[str, ...], parts: Mapping[str, str | None]) -> str:
    """Return the id of an instance from the argument or the options."""
    given = [part for part, value in parts.items() if value is not None]
    if words and given:
        raise click.UsageError(f"--{given[0]} is already a part of {ID}: give one or the other")
    if not words and len(given) < len(parts):
        missing = ", ".join(f"--{part}" for part in parts if part not in given)
        raise click.UsageError(f"{missing} missing" if given else f"give {ID}, or {missing}")
    return registration_id(words or tuple(str(parts[part.lower()]) for part in PARTS))


@click.command(
    cls=BenderCommand,
    examples="""
    bender deregister web/1.2.0/10.0.0.5/8080
    bender deregister web/1.2.0/10.0.0.5/8080 --wait 5
    """,
)
@id_argument
@click.option(
    "--wait",
    type=Duration("0s", "60s"),
    metavar="DURATION",
    help="Wait until all nodes have removed the instance, at most this long.",
)
@force_option
@request_command
async def deregister(session: Session, id: tuple[str, ...], wait: float | None, *, force: bool) -> None:  # noqa: A002
    """Remove an instance from the registry.

    The instance is not removed if a backend would then have no member that takes traffic (see --force). A program that
    still renews the instance may register it again.
    """
    id_ = registration_id(id)
    client = session.client
    last = None if force else await _last_member_effect(session, id_)
    if last is not None:
        raise BenderError(f"{last}. Nothing was changed; {FORCE_HERE}")
    if wait is None:
        _, reply = await _with_hint(session, id_, client.read(read_nothing, "DELETE", path_of(id_)))
        at = ""
    else:
        path = f"{path_of(id_)}?wait={wait:.3f}"
        removing = client.read(reader(Applied), "DELETE", path, waiting_s=wait)
        applied, reply = await _with_hint(session, id_, removing)
        at = _applied(applied)
    session.report(f"{id_} is deregistered{at}.", reply)


@click.command(
    cls=BenderCommand,
    examples="""
    bender drain web/1.2.0/10.0.0.5/8080
    bender drain web/1.2.0/10.0.0.5/8080 --for 10m
    bender drain web/1.2.0/10.0.0.5/8080 --maint
    """,
)
@id_argument
@for_option("How long the state lasts; a day by default.")
@click.option("--maint", is_flag=True, help="Set maintenance: stop the requests of existing sessions, too.")
@force_option
@request_command
async def drain(
    session: Session,
    id: tuple[str, ...],  # noqa: A002
    for_s: float | None,
    *,
    maint: bool,
    force: bool,
) -> None:
    """Stop new requests to an instance, even if it is healthy.

    This sets the state of the instance to drain, or with --maint to maint. The state stays when the instance restarts.
    It ends with `bender up`, or after the time given by --for.
    """
    await _set_state(session, registration_id(id), "maint" if maint else "drain", for_s, force=force)


@click.command(
    cls=BenderCommand,
    examples="""
    bender up web/1.2.0/10.0.0.5/8080
    bender up web/1.2.0/10.0.0.5/8080 --for 10m
    """,
)
@id_argument
@for_option("Treat the instance as up for this time, even if it is not healthy.")
@request_command
async def up(session: Session, id: tuple[str, ...], for_s: float | None) -> None:  # noqa: A002
    """Remove the state that `bender drain` set on an instance."""
    id_ = registration_id(id)
    if for_s is not None:
        await _set_state(session, id_, UP, for_s)
        return
    _, reply = await session.client.read(read_nothing, "DELETE", f"{path_of(id_)}/state")
    session.report(f"{id_} is up.", reply)
    await _warn_of_unable_drivers(session)


async def _last_member_effect(session: Session, id_: str) -> str | None:
    """Return the effect of removing an instance that is the last member of a backend to take traffic, or None.

    Raises `BenderError` with a hint if the token may only register, because such a token must be able to deregister.
    """
    from bender.cli.change_report import last_member_effect  # noqa: PLC0415 - commands that list do not need it

    try:
        return await last_member_effect(session, id_)
    except Refused as refused:
        if refused.status != HTTPStatus.FORBIDDEN:
            raise
        raise BenderError(
            f"cannot check that {id_} is not the last member of a backend: {refused}. Nothing was changed; use a token "
            f"that has the scope read as well, or {FORCE_HERE}"
        ) from refused


async def _set_state(session: Session, id_: str, state: str, for_s: float | None, *, force: bool = False) -> None:
    body = {"state": state} if for_s is None else {"state": state, "for": for_s}
    path = with_force(f"{path_of(id_)}/state", force=force)
    override, reply = await _with_hint(session, id_, session.client.read(reader(Word), "PUT", path, body))
    session.report(f"{id_} is set to {state} for {duration_text(override.lasts_s)}.", reply)
    await _warn_of_unable_drivers(session)


async def _warn_of_unable_drivers(session: Session) -> None:
    from bender.cli.change_report import warn_of_unable_drivers  # noqa: PLC0415 - commands that list do not need it

    await warn_of_unable_drivers(session)


def _applied(applied: Applied) -> str:
    missing = f", but {', '.join(applied.missing)} did not confirm it" if applied.missing else ""
    return f" at {', '.join(applied.applied + applied.consumers)}{missing}"
