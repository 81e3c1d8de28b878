"""Commands about backends and frontends: which version serves, and what is in front of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, TypeVar

import click

from bender.cli.grammar import NOT_DONE, Command, Group
from bender.cli.screen import compact, day_and_clock
from bender.cli.session import Session, asking
from bender.cli.words import Name, Pair
from bender.cli.words import fields as together
from bender.client import Backend, Frontend, Member, NotFound, Setting
from bender.client.asking import LIST_BYTES_MAX, only_if, path_of
from bender.client.reading import (
    Reader,
    read_backend,
    read_backend_history,
    read_backends,
    read_frontend,
    read_frontends,
    read_nothing,
    reader,
)
from bender.core.difference import differences
from bender.core.serving import canary_of

#: What stands in columns of its own, or goes without saying.
_SHOWN = {"id", "resource", "name", "app", "version", "backend"}

Asked = TypeVar("Asked", bound=Callable[..., Any])

fields_argument = click.argument(
    "fields",
    nargs=-1,
    type=Pair(),
    metavar="[KEY=VALUE]…",
    help="Other fields; a VALUE is JSON, or else text. Null takes one back.",
)


def name_argument(of: str, *, required: bool = True) -> Callable[[Asked], Asked]:
    return click.argument("name", required=required, type=Name(), help=f"The name of the {of}.")


@click.group(cls=Group)
def backend() -> None:
    """Set, list and remove backends: which version of an app serves."""


@click.group(cls=Group)
def frontend() -> None:
    """Set, list and remove frontends: what backend is behind an entrance."""


@backend.command(
    "set",
    examples="""
    bender backend set shop --app web --version 1.2.0
    bender backend set shop --version 1.3.0 --min-members 3
    bender backend set shop balance=leastconn 'health={"path": "/health"}'
    """,
)
@name_argument("backend")
@click.option("--app", help="The app; needed for a new one.")
@click.option("--version", help="The version that serves; to change it is a deploy.")
@click.option(
    "--min-members", type=click.IntRange(0), metavar="NUMBER", help="Only if so many of the version are online by now."
)
@fields_argument
@asking
async def set_backend(
    session: Session,
    name: str,
    app: str | None,
    version: str | None,
    min_members: int | None,
    fields: Sequence[tuple[str, Any]],
) -> None:
    """Create a backend, or change these fields of it."""
    await _set(session, f"backend/{name}", {"app": app, "version": version, "min_members": min_members}, fields)


@frontend.command(
    "set",
    examples="""
    bender frontend set www --backend shop 'bind="*:8080"'
    """,
)
@name_argument("frontend")
@click.option("--backend", help="The backend behind it.")
@fields_argument
@asking
async def set_frontend(session: Session, name: str, backend: str | None, fields: Sequence[tuple[str, Any]]) -> None:
    """Create a frontend, or change these fields of it."""
    await _set(session, f"frontend/{name}", {"backend": backend}, fields)


@backend.command(
    "ls",
    examples="""
    bender backend ls
    bender backend ls shop
    """,
)
@name_argument("backend", required=False)
@asking
async def list_backends(session: Session, name: str | None) -> None:
    """List backends, or who serves the one with this NAME."""
    if name is not None:
        await _list_members(session, name)
        return
    found, reply = await session.client.read(read_backends, "GET", "/backends", bytes_max=LIST_BYTES_MAX)
    if session.screen.as_json:
        session.screen.json(reply.body)
        return
    rows = []
    for each in found:
        members = await session.client.members(each.name)
        rows.append([each.name, each.app, each.version, len(members), _others(each.settings)])
    session.screen.table(["NAME", "APP", "VERSION", "MEMBERS", "MORE"], rows, caption=f"{len(rows)} at {reply.node}")


@frontend.command(
    "ls",
    examples="""
    bender frontend ls
    """,
)
@asking
async def list_frontends(session: Session) -> None:
    """List frontends."""
    found, reply = await session.client.read(read_frontends, "GET", "/frontends", bytes_max=LIST_BYTES_MAX)
    if session.screen.as_json:
        session.screen.json(reply.body)
        return
    rows = [[each.name, each.backend or "", _others(each.settings)] for each in found]
    session.screen.table(["NAME", "BACKEND", "MORE"], rows, caption=f"{len(rows)} at {reply.node}")


@backend.command(
    "history",
    examples="""
    bender backend history shop
    """,
)
@name_argument("backend")
@asking
async def list_history(session: Session, name: str) -> None:
    """List what a backend was set to, when and by whom, newest first.

    CHANGED is what that changed of the setting before, in the line below.
    """
    found, reply = await session.client.read(read_backend_history, "GET", f"{path_of(f'backend/{name}')}/history")
    if session.screen.as_json:
        session.screen.json(reply.body)
        return
    rows = [
        [day_and_clock(each.at_ms), each.author, *_set_to(each.settings, before)]
        for each, before in zip_longest(found, found[1:])
    ]
    session.screen.table(["WHEN", "BY", "APP", "VERSION", "CHANGED"], rows, caption=f"at {reply.node}")


def _set_to(backend: dict[str, Any] | None, before: Setting | None) -> list[str]:
    """What a backend was set to, and what that changed. Of the oldest setting it is not known what was before."""
    if backend is None:
        return ["", "", "removed"]
    if before is None or before.settings is None:
        changed = f"created {_others(backend)}".rstrip()
    else:
        changed = ", ".join(differences(before.settings, backend))
    return [backend["app"], backend["version"], changed]


@click.command(
    cls=Command,
    examples="""
    bender rollback shop
    """,
)
@name_argument("backend")
@asking
async def rollback(session: Session, name: str) -> None:
    """Set a backend to what it was before; twice leads back to where it was."""
    path = path_of(f"backend/{name}")
    before = await session.client.backend(name)
    # Should the answer be lost, the next node must not do it a second time.
    what, reply = await session.client.read(read_backend, "POST", f"{path}/rollback", headers=only_if(before.etag))
    if session.screen.as_json:
        session.screen.json(reply.body)
        return
    session.screen.say(f"{what.settings['id']} is set back: {_serving(what)}.")
    _say_differences(session, before.settings, what.settings)
    session.screen.aside(f"at {reply.node}")
    await _complain(session, what.name)


@backend.command(
    "rm",
    examples="""
    bender backend rm shop
    """,
)
@name_argument("backend")
@click.option("--force", is_flag=True, help="Also where a frontend sends to it, whose requests then are answered 503.")
@asking
async def remove_backend(session: Session, name: str, *, force: bool) -> int:
    """Remove a backend, and its history. Its members stay registered."""
    users = [each.name for each in await session.client.frontends() if name in _backends_of(each.settings)]
    if users and not force:
        session.screen.error(f"frontend {', '.join(users)} sends to backend {name}: change that first, or add --force")
        return NOT_DONE
    await _remove(session, f"backend/{name}")
    return 0


def _backends_of(frontend: dict[str, Any]) -> list[Any]:
    """All that a frontend sends to."""
    rules = frontend.get("rules")
    named = [rule.get("backend") for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
    return [frontend.get("backend"), *named]


@frontend.command(
    "rm",
    examples="""
    bender frontend rm www
    """,
)
@name_argument("frontend")
@asking
async def remove_frontend(session: Session, name: str) -> None:
    """Remove a frontend."""
    await _remove(session, f"frontend/{name}")


async def _list_members(session: Session, name: str) -> None:
    path = f"{path_of(f'backend/{name}')}/members"
    found, reply = await session.client.read(reader(list[Member]), "GET", path, bytes_max=LIST_BYTES_MAX)
    if session.screen.as_json:
        session.screen.json(reply.body)
        return
    rows = [[each.host, each.port, each.weight, each.app, each.version] for each in found]
    session.screen.table(["HOST", "PORT", "WEIGHT", "APP", "VERSION"], rows, caption=f"{len(rows)} at {reply.node}")


async def _set(session: Session, id_: str, options: dict[str, Any], fields: Sequence[tuple[str, Any]]) -> None:
    more = together(fields, "KEY=VALUE")
    for option in options.keys() & more.keys():
        raise click.UsageError(f"{option} is an option: give --{option} {more[option]}")
    wanted = {key: value for key, value in options.items() if value is not None} | more
    read: Reader[Backend | Frontend] = read_backend if id_.startswith("backend/") else read_frontend
    before = None if session.screen.as_json else await _before(session, read, id_)
    what, reply = await session.client.read(read, "PUT", path_of(id_), wanted)
    if session.screen.as_json:
        session.screen.json(reply.body)
        return
    serves = _serving(what) if isinstance(what, Backend) else f"backend {what.backend or 'none yet'}"
    done = "created" if reply.status == 201 else "as it was" if before == what.settings else "set"
    session.screen.say(f"{id_} is {done}: {serves}.")
    if before is not None:
        _say_differences(session, before, what.settings)
    session.screen.aside(f"at {reply.node}")
    await _complain(session, what.name if isinstance(what, Backend) else what.backend)


async def _before(session: Session, read: Reader[Backend | Frontend], id_: str) -> dict[str, Any] | None:
    """What a backend or frontend is set to now, None where there is none."""
    try:
        return (await session.client.read(read, "GET", path_of(id_)))[0].settings
    except NotFound:
        return None


def _say_differences(session: Session, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Say what a change changed, a line for each field."""
    for each in differences(before, after):
        session.screen.say(f"  {each}")


def _serving(backend: Backend) -> str:
    """What serves a backend, and what its canary gets."""
    canary = canary_of(backend.settings)
    beside = f", and {float(canary.percent):g} % at {canary.version}" if canary is not None else ""
    return f"{backend.app} {backend.version}{beside}"


async def _complain(session: Session, backend: str | None) -> None:
    """Say where what was set leads nowhere: that is allowed, for things may come in any order, and rarely meant."""
    if backend is None:
        return
    try:
        members = await session.client.members(backend)
    except NotFound:
        session.screen.warn(f"there is no backend {backend}: requests are answered 503 until there is")
        return
    if not members:
        session.screen.warn(f"backend {backend} has no members: requests are answered 503 until there are")


async def _remove(session: Session, id_: str) -> None:
    _, reply = await session.client.read(read_nothing, "DELETE", path_of(id_))
    if not session.screen.as_json:
        session.screen.say(f"{id_} is removed.")
        session.screen.aside(f"at {reply.node}")


def _others(body: dict[str, Any]) -> str:
    return " ".join(f"{key}={compact(value)}" for key, value in body.items() if key not in _SHOWN and value is not None)
