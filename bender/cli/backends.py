"""Commands about backends and frontends: which version serves, and where clients connect."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, TypeVar

import click
import msgspec

from bender.cli import completion_values
from bender.cli.change_report import consumers_of, print_differences, settings_of, unapplied_sentences
from bender.cli.click_base import BenderCommand, Group
from bender.cli.columns import BACKEND_HISTORY, BACKENDS, FRONTEND_HISTORY, FRONTENDS, MEMBERS, RULES, Columns
from bender.cli.output import compact_json, date_and_time_text
from bender.cli.params import Name, SettingParam, merge_fields, require_disjoint
from bender.cli.session import Session, request_command
from bender.client import Backend, BenderError, Consumer, Frontend, Member, NotFound, Reply, Setting
from bender.client.client import LIST_BYTES_MAX
from bender.client.drivers import members_found_down
from bender.client.objects import current_object, describe_serving, object_reader
from bender.client.paths import if_match_header, path_of, with_force
from bender.client.responses import BACKEND_KIND, FRONTEND_KIND, ConfigKind, read_nothing, reader
from bender.core.change_description import differences
from bender.core.did_you_mean import nearest_name
from bender.core.members import canary_of

#: Fields that have their own columns, or do not differ between objects.
_FIELDS_WITH_COLUMNS = {"id", "resource", "name", "app", "version", "backend"}

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Object = TypeVar("_Object", Backend, Frontend)

force_option = click.option(
    "--force",
    is_flag=True,
    help="Do it even if a backend or frontend can then no longer serve requests; clients may get 503.",
)


def fields_argument(of: str, example: str) -> Callable[[_Command], _Command]:
    return click.argument(
        "fields",
        nargs=-1,
        type=SettingParam(),
        metavar="[KEY=VALUE]…",
        help=f"Other fields of the {of}, or a part of a field, for example {example}. A VALUE is JSON, or else text; "
        "null removes a field.",
    )


def name_argument(of: str, *, required: bool = True) -> Callable[[_Command], _Command]:
    complete = completion_values.backends if of == "backend" else completion_values.frontends
    return click.argument(
        "name", required=required, type=Name(), shell_complete=complete, help=f"The name of the {of}."
    )


@click.group(cls=Group)
def backend() -> None:
    """Set, list and remove backends; a backend says which version of an app gets the requests."""


@click.group(cls=Group)
def frontend() -> None:
    """Set, list and remove frontends; a frontend names where clients connect, and the backend for their requests."""


@backend.command(
    "set",
    examples="""
    bender backend set shop --app web --version 1.2.0
    bender backend set shop --version 1.3.0 --min-members 3
    bender backend set shop balance=leastconn health.path=/health
    bender backend set shop canary.version=1.4.0 canary.percent=5
    """,
)
@name_argument("backend")
@click.option("--app", shell_complete=completion_values.apps, help="The app; required for a new backend.")
@click.option(
    "--version", shell_complete=completion_values.versions, help="The version that serves; changing it is a deploy."
)
@click.option(
    "--min-members",
    type=click.IntRange(0),
    metavar="NUMBER",
    help="Refuse the change unless at least this many members of the version are online.",
)
@fields_argument("backend", "health.path=/up")
@force_option
@request_command
async def set_backend(
    session: Session,
    name: str,
    app: str | None,
    version: str | None,
    min_members: int | None,
    fields: Sequence[tuple[str, Any]],
    *,
    force: bool,
) -> None:
    """Create a backend, or change the given fields of a backend.

    While the backend serves requests, nodes refuse a change that would leave it without members, for example a version
    that has no members.
    """
    options = {"app": app, "version": version, "min_members": min_members}
    await _set(session, f"backend/{name}", options, fields, force=force)


@frontend.command(
    "set",
    examples="""
    bender frontend set www --backend shop 'bind="*:8080"'
    bender frontend set www 'bind=*:80,*:443' 'tls=*:443' redirect_https=true
    """,
)
@name_argument("frontend")
@click.option("--backend", shell_complete=completion_values.backends, help="The backend behind the frontend.")
@fields_argument("frontend", "timeouts.client=30")
@force_option
@request_command
async def set_frontend(
    session: Session, name: str, backend: str | None, fields: Sequence[tuple[str, Any]], *, force: bool
) -> None:
    """Create a frontend, or change the given fields of a frontend.

    While the frontend serves requests, nodes refuse a backend that does not exist or has no members. Every backend that
    is named in a rule of the frontend must exist.
    """
    await _set(session, f"frontend/{name}", {"backend": backend}, fields, force=force)


@backend.command(
    "ls",
    columns=(BACKENDS, MEMBERS),
    examples="""
    bender backend ls
    bender backend ls shop
    """,
)
@name_argument("backend", required=False)
@request_command
async def list_backends(session: Session, name: str | None) -> None:
    """List all backends, or the members of the backend NAME.

    MEMBERS counts the members that receive traffic, for example `2 of 3` if one of three does not. A member receives no
    traffic if it is drained or in maintenance, if its weight is 0, or if most of the load balancers that report their
    checks find it down.
    """
    if name is not None:
        await _list_members(session, name)
        return
    found, reply = await _read_all(session, BACKEND_KIND)
    if session.print_if_json(reply):
        return
    consumers = await consumers_of(session)
    rows = []
    for each in found:
        members = await session.client.members(each.name)
        rows.append(
            [each.name, each.app, each.version, _receiving_text(members, consumers), _other_fields(each.settings)]
        )
    session.screen.table(BACKENDS.names, rows, caption=f"{len(rows)} at {reply.node}")


async def _read_all(session: Session, kind: ConfigKind[_Object]) -> tuple[list[_Object], Reply]:
    """Return all objects of a kind, and the answer with them."""
    return await session.client.read(kind.read_list, "GET", kind.path, bytes_max=LIST_BYTES_MAX)


def _receiving_text(members: Sequence[Member], consumers: Sequence[Consumer]) -> str:
    """Return the number of members that receive traffic, and the number of all members if some receive none."""
    down = {*members_found_down(consumers, [each.id for each in members])}
    receiving = sum(each.weight > 0 and each.id not in down for each in members)
    return str(receiving) if receiving == len(members) else f"{receiving} of {len(members)}"


@frontend.command(
    "ls",
    columns=(FRONTENDS, RULES),
    examples="""
    bender frontend ls
    bender frontend ls www
    """,
)
@name_argument("frontend", required=False)
@request_command
async def list_frontends(session: Session, name: str | None) -> None:
    """List all frontends, or the rules of the frontend NAME."""
    if name is not None:
        await _list_rules(session, name)
        return
    found, reply = await _read_all(session, FRONTEND_KIND)
    if session.print_if_json(reply):
        return
    rows = [[each.name, each.backend or "", _other_fields(each.settings)] for each in found]
    session.screen.table(FRONTENDS.names, rows, caption=f"{len(rows)} at {reply.node}")


async def _list_rules(session: Session, name: str) -> None:
    """Print the rules of a frontend in their order, and at the end the backend for all other requests."""
    found, reply = await session.client.read(FRONTEND_KIND.read, "GET", path_of(f"frontend/{name}"))
    if session.print_if_json(reply):
        return
    serving = {each.name: describe_serving(each.settings) for each in await session.client.backends()}
    rules = [rule for rule in found.settings.get("rules") or () if isinstance(rule, dict)]
    sends = [(_condition(rule), rule.get("backend")) for rule in rules]
    rows = [
        [condition, to or "", serving.get(to, "no such backend") if to else "no backend yet"]
        for condition, to in [*sends, ("all others" if sends else "all", found.backend)]
    ]
    session.screen.table(RULES.names, rows, caption=f"at {reply.node}")


def _condition(rule: dict[str, Any]) -> str:
    """Return a phrase with the conditions of a rule."""
    header = [f"header {rule['header']}: {rule.get('value', '')}"] if "header" in rule else []
    return " and ".join([*(f"{key} {rule[key]}" for key in ("host", "path") if key in rule), *header])


@backend.command(
    "history",
    columns=(BACKEND_HISTORY,),
    examples="""
    bender backend history shop
    """,
)
@name_argument("backend")
@request_command
async def list_history(session: Session, name: str) -> None:
    """List the last settings of a backend, newest first, each with its time and author."""
    await _print_history(session, BACKEND_KIND, name, BACKEND_HISTORY, ["app", "version"])


@frontend.command(
    "history",
    columns=(FRONTEND_HISTORY,),
    examples="""
    bender frontend history www
    """,
)
@name_argument("frontend")
@request_command
async def list_frontend_history(session: Session, name: str) -> None:
    """List the last settings of a frontend, newest first, each with its time and author."""
    await _print_history(session, FRONTEND_KIND, name, FRONTEND_HISTORY, ["backend"])


async def _print_history(
    session: Session, kind: ConfigKind[Any], name: str, columns: Columns, fields: Sequence[str]
) -> None:
    """Print the settings of an object, with a separate column for each of these fields."""
    found, reply = await session.client.read(kind.read_history, "GET", f"{path_of(f'{kind.name}/{name}')}/history")
    if session.print_if_json(reply):
        return
    rows = [
        [date_and_time_text(each.at_ms), each.author, *_history_cells(each.settings, before, fields)]
        for each, before in zip_longest(found, found[1:])
    ]
    session.screen.table(columns.names, rows, caption=f"at {reply.node}")


def _history_cells(settings: dict[str, Any] | None, before: Setting | None, fields: Sequence[str]) -> list[str]:
    """Return the cells of a setting: its fields, and its differences from the setting before, which may be unknown."""
    if settings is None:
        return [*("" for _ in fields), "removed"]
    if before is None or before.settings is None:
        changed = f"created {_other_fields(settings)}".rstrip()
    else:
        changed = ", ".join(differences(before.settings, settings))
    return [*(settings.get(field) or "" for field in fields), changed]


@click.command(
    cls=BenderCommand,
    examples="""
    bender rollback shop
    bender backend rollback shop
    """,
)
@name_argument("backend")
@force_option
@request_command
async def rollback(session: Session, name: str, *, force: bool) -> None:
    """Restore the previous setting of a backend; a second rollback undoes the first."""
    await _roll_back(session, f"backend/{name}", force=force)


backend.add_command(rollback)


@frontend.command(
    "rollback",
    examples="""
    bender frontend rollback www
    """,
)
@name_argument("frontend")
@force_option
@request_command
async def roll_back_frontend(session: Session, name: str, *, force: bool) -> None:
    """Restore the previous setting of a frontend; a second rollback undoes the first."""
    await _roll_back(session, f"frontend/{name}", force=force)


async def _roll_back(session: Session, id_: str, *, force: bool) -> None:
    read = object_reader(id_)
    try:
        before, _ = await session.client.read(read, "GET", path_of(id_))
    except NotFound as error:
        kind, _, name = id_.partition("/")
        other = "frontend" if kind == "backend" else "backend"
        if await current_object(session.client, f"{other}/{name}") is None:
            raise
        raise BenderError(f"{error}: to roll it back, run bender {other} rollback {shlex.quote(name)}") from error
    # If the answer is lost, the next node must not roll back a second time.
    if_match = if_match_header(before.etag)
    path = with_force(f"{path_of(id_)}/rollback", force=force)
    changed_object, reply = await session.client.read(read, "POST", path, headers=if_match)
    if not session.screen.as_json:
        session.screen.say(f"{id_} is rolled back: {_describe_target(changed_object)}.")
        print_differences(session, before.settings, changed_object.settings)
        _print_how_to_end_a_canary(session, changed_object)
        session.screen.aside(f"at {reply.node}")
        session.print_warnings(reply)
    await _end_with_drivers(
        session, id_, reply, changed_object.settings, changed=before.settings != changed_object.settings
    )


def _print_how_to_end_a_canary(session: Session, changed_object: Backend | Frontend) -> None:
    """Name a canary that a rollback has restored, and the command that ends it, because it is rarely wanted."""
    canary = canary_of(changed_object.settings) if isinstance(changed_object, Backend) else None
    if canary is not None:
        gets = f"Its canary {canary.version} gets {float(canary.percent):g} % of the traffic"
        session.screen.say(f"{gets}: to end it, run bender backend set {shlex.quote(changed_object.name)} canary=null")


@backend.command(
    "rm",
    examples="""
    bender backend rm shop
    """,
)
@name_argument("backend")
@click.option(
    "--force", is_flag=True, help="Remove it even if a frontend sends requests to it; they are then answered 503."
)
@request_command
async def remove_backend(session: Session, name: str, *, force: bool) -> None:
    """Remove a backend and its history; its members stay registered.

    Nodes refuse to remove a backend that serves the requests of a frontend.
    """
    await _remove(session, f"backend/{name}", force=force)


@frontend.command(
    "rm",
    examples="""
    bender frontend rm www
    """,
)
@name_argument("frontend")
@request_command
async def remove_frontend(session: Session, name: str) -> None:
    """Remove a frontend."""
    await _remove(session, f"frontend/{name}")


async def _list_members(session: Session, name: str) -> None:
    path = f"{path_of(f'backend/{name}')}/members"
    found, reply = await session.client.read(reader(list[Member]), "GET", path, bytes_max=LIST_BYTES_MAX)
    if session.print_if_json(reply):
        return
    rows = [[each.host, each.port, each.weight, each.app, each.version] for each in found]
    session.screen.table(MEMBERS.names, rows, caption=f"{len(rows)} at {reply.node}")


async def _set(
    session: Session, id_: str, options: dict[str, Any], fields: Sequence[tuple[str, Any]], *, force: bool
) -> None:
    require_disjoint(fields)
    for key, value in fields:
        if key in options:
            raise click.UsageError(f"{key} is an option: give --{key.replace('_', '-')} {value}")
    read = object_reader(id_)
    found = await current_object(session.client, id_)
    before = settings_of(found)
    new_fields = {key: value for key, value in options.items() if value is not None} | merge_fields(
        before or {}, fields
    )
    # A part is merged into the present fields, so nodes must refuse the change if another client changes them now.
    parts = any("." in key for key, _ in fields)
    if_match = if_match_header(found.etag) if parts and found is not None else None
    unserved = await _warnings_of_new_frontend(session, id_, new_fields) if found is None else []
    path = with_force(path_of(id_), force=force)
    changed_object, reply = await session.client.read(read, "PUT", path, new_fields, headers=if_match)
    reply = msgspec.structs.replace(reply, warnings=(*unserved, *reply.warnings))
    if not session.screen.as_json:
        _print_set(session, before, changed_object, reply)
        session.print_warnings(reply)
    await _end_with_drivers(session, id_, reply, changed_object.settings, changed=before != changed_object.settings)


async def _warnings_of_new_frontend(session: Session, id_: str, new_fields: dict[str, Any]) -> list[str]:
    """Return a warning about a new frontend without a backend, because its name may be misspelled."""
    kind, _, name = id_.partition("/")
    if kind != "frontend" or new_fields.get("backend") is not None or new_fields.get("rules"):
        return []
    near = nearest_name(name, [each.name for each in await session.client.frontends()])
    exists = f", the nearest name that exists is {near}" if near else ""
    return [f"{id_} is new{exists}; it has no backend: requests get 503 until it has one"]


def _print_set(
    session: Session, before: dict[str, Any] | None, changed_object: Backend | Frontend, reply: Reply
) -> None:
    id_ = changed_object.settings["id"]
    done = "created" if reply.status == 201 else "unchanged" if before == changed_object.settings else "set"
    session.screen.say(f"{id_} is {done}: {_describe_target(changed_object)}.")
    if before is not None:
        print_differences(session, before, changed_object.settings)
    session.screen.aside(f"at {reply.node}")


async def _end_with_drivers(
    session: Session, id_: str, reply: Reply, settings: dict[str, Any] | None, *, changed: bool
) -> None:
    """Print a warning for each load balancer that has not applied the change. The change itself stays.

    With --json, print the answer with all warnings.
    """
    texts = await unapplied_sentences(session, id_, settings, changed=changed)
    if session.screen.as_json:
        session.print_json(reply, texts)
    for text in texts:
        session.screen.warn(text)


def _describe_target(changed_object: Backend | Frontend) -> str:
    """Return a phrase with the app and version that serve a backend, or with the backend of a frontend."""
    if isinstance(changed_object, Backend):
        return describe_serving(changed_object.settings)
    return f"backend {changed_object.backend}" if changed_object.backend else "no backend yet"


async def _remove(session: Session, id_: str, *, force: bool = False) -> None:
    _, reply = await session.client.read(read_nothing, "DELETE", with_force(path_of(id_), force=force))
    if not session.screen.as_json:
        session.screen.say(f"{id_} is removed.")
        session.screen.aside(f"at {reply.node}")
        session.print_warnings(reply)
    await _end_with_drivers(session, id_, reply, None, changed=True)


def _other_fields(body: dict[str, Any]) -> str:
    return " ".join(
        f"{key}={compact_json(value)}"
        for key, value in body.items()
        if key not in _FIELDS_WITH_COLUMNS and value is not None
    )
