"""Commands about the guard: what stays listed on suspicion, because most of its app would be hidden."""

from __future__ import annotations

import click

from bender.cli import suggestions
from bender.cli.click_base import Group
from bender.cli.columns import GUARDED
from bender.cli.output import lasted
from bender.cli.params import Name
from bender.cli.session import Session, asking
from bender.client import Guarded
from bender.client.client import LIST_BYTES_MAX, guard_path
from bender.client.responses import read_nothing, reader


@click.group(cls=Group)
def guard() -> None:
    """List and end what nodes with --guard keep listed: members that would be hidden with most of their app."""


@guard.command(
    "ls",
    columns=(GUARDED,),
    examples="""
    bender guard ls
    """,
)
@asking
async def list_guarded(session: Session) -> None:
    """List the apps with members that the node which answers lists on suspicion.

    Nodes need not hear the same: `bender status` says what each of them has.
    """
    found, reply = await session.client.read(reader(list[Guarded]), "GET", "/guard", bytes_max=LIST_BYTES_MAX)
    if session.screen.as_json:
        session.screen.json(reply.body)
        return
    rows = [[each.app, each.suspects, lasted(each.left_s)] for each in found]
    session.screen.table(GUARDED.names, rows, caption=f"{len(rows)} at {reply.node}")


@guard.command(
    "end",
    examples="""
    bender guard end web
    """,
)
@click.argument("app", type=Name(), shell_complete=suggestions.guarded_apps, help="The app.")
@asking
async def end_guard(session: Session, app: str) -> None:
    """Have the suspects of an app hidden now, on all nodes that are connected.

    The app is not guarded again for as long as --guard says.
    """
    _, reply = await session.client.read(read_nothing, "DELETE", guard_path(app))
    if not session.screen.as_json:
        session.screen.say(f"No member of {app} is kept listed on suspicion any more.")
        session.screen.aside(f"at {reply.node}")
