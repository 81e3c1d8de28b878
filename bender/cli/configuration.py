"""Commands about backends and frontends: which version serves, and what is in front of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from bender.cli.screen import compact
from bender.cli.session import Session, asking
from bender.cli.words import Pair
from bender.client.asking import path_of

#: What stands in columns of its own, or goes without saying.
_SHOWN = {"id", "resource", "name", "app", "version", "backend"}

fields_argument = click.argument("fields", nargs=-1, type=Pair(), metavar="[KEY=VALUE]…")


@click.group()
def backend() -> None:
    """Set, list and remove backends: which version of an app serves."""


@click.group()
def frontend() -> None:
    """Set, list and remove frontends: what backend is behind an entrance."""


@backend.command("set")
@click.argument("name")
@click.option("--app", help="The app; needed for a new one.")
@click.option("--version", help="The version that serves; to change it is a deploy.")
@fields_argument
@asking
async def set_backend(
    session: Session, name: str, app: str | None, version: str | None, fields: Sequence[tuple[str, Any]]
) -> None:
    """Create a backend, or change these fields of it. A VALUE is JSON, or else text."""
    await _set(session, f"backend/{name}", {"app": app, "version": version}, fields)


@frontend.command("set")
@click.argument("name")
@click.option("--backend", help="The backend behind it.")
@fields_argument
@asking
async def set_frontend(session: Session, name: str, backend: str | None, fields: Sequence[tuple[str, Any]]) -> None:
    """Create a frontend, or change these fields of it. A VALUE is JSON, or else text."""
    await _set(session, f"frontend/{name}", {"backend": backend}, fields)


@backend.command("ls")
@click.argument("name", required=False)
@asking
async def list_backends(session: Session, name: str | None) -> None:
    """List backends, with how many serve each; or, of the one with this NAME, who serves it."""
    if name is not None:
        await _list_members(session, name)
        return
    reply = await session.client.call("GET", "/backends")
    if session.screen.as_json:
        session.screen.json(reply.body)
        return
    rows = []
    for each in reply.json():
        members = (await session.client.call("GET", f"{path_of(each['id'])}/members")).json()
        rows.append([each["name"], each["app"], each["version"], len(members), _others(each)])
    session.screen.table(["NAME", "APP", "VERSION", "MEMBERS", "MORE"], rows, caption=f"{len(rows)} at {reply.node}")


@frontend.command("ls")
@asking
async def list_frontends(session: Session) -> None:
    """List frontends."""
    reply = await session.client.call("GET", "/frontends")
    if session.screen.as_json:
        session.screen.json(reply.body)
        return
    rows = [[each["name"], each.get("backend") or "", _others(each)] for each in reply.json()]
    session.screen.table(["NAME", "BACKEND", "MORE"], rows, caption=f"{len(rows)} at {reply.node}")


@backend.command("rm")
@click.argument("name")
@asking
async def remove_backend(session: Session, name: str) -> None:
    """Remove a backend. Its members stay registered."""
    await _remove(session, f"backend/{name}")


@frontend.command("rm")
@click.argument("name")
@asking
async def remove_frontend(session: Session, name: str) -> None:
    """Remove a frontend."""
    await _remove(session, f"frontend/{name}")


async def _list_members(session: Session, name: str) -> None:
    reply = await session.client.call("GET", f"{path_of(f'backend/{name}')}/members")
    if session.screen.as_json:
        session.screen.json(reply.body)
        return
    rows = [[each["host"], each["port"], each["weight"], each["app"], each["version"]] for each in reply.json()]
    session.screen.table(["HOST", "PORT", "WEIGHT", "APP", "VERSION"], rows, caption=f"{len(rows)} at {reply.node}")


async def _set(session: Session, id_: str, options: dict[str, str | None], fields: Sequence[tuple[str, Any]]) -> None:
    wanted = {key: value for key, value in options.items() if value is not None} | dict(fields)
    reply = await session.client.call("PUT", path_of(id_), wanted)
    if session.screen.as_json:
        session.screen.json(reply.body)
        return
    what = reply.json()
    serves = f"{what['app']} {what['version']}" if "app" in what else f"backend {what.get('backend') or 'none yet'}"
    session.screen.say(f"{id_} is {'created' if reply.status == 201 else 'set'}: {serves}.")
    session.screen.aside(f"at {reply.node}")


async def _remove(session: Session, id_: str) -> None:
    reply = await session.client.call("DELETE", path_of(id_))
    if not session.screen.as_json:
        session.screen.say(f"{id_} is removed.")
        session.screen.aside(f"at {reply.node}")


def _others(body: dict[str, Any]) -> str:
    return " ".join(f"{key}={compact(value)}" for key, value in body.items() if key not in _SHOWN)
