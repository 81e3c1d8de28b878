"""Commands about the guard, which keeps members listed as suspects if most members of their app would be hidden."""

from __future__ import annotations

import click

from bender.cli import completion_values
from bender.cli.click_base import Group
from bender.cli.columns import GUARDED
from bender.cli.output import duration_text
from bender.cli.params import Name
from bender.cli.session import Session, request_command
from bender.client import Guarded
from bender.client.client import LIST_BYTES_MAX
from bender.client.paths import guard_path
from bender.client.responses import read_nothing, reader


@click.group(cls=Group)
def guard() -> None:
    """List and end guards; a guard keeps instances listed if lost nodes would make most of an app disappear.

    A node lists an instance while it hears a node at which the instance renews. If a node no longer hears the nodes at
    which most instances of an app renew, it keeps these instances listed for the duration in its option --guard, and
    marks them as suspect: it cannot know whether they still serve.
    """


@guard.command(
    "ls",
    columns=(GUARDED,),
    examples="""
    bender guard ls
    """,
)
@request_command
async def list_guarded(session: Session) -> None:
    """List the apps that have suspect instances, which only a guard keeps listed.

    The list is that of the node that answers. Nodes may differ: `bender status` shows the suspects of each node.
    """
    found, reply = await session.client.read(reader(list[Guarded]), "GET", "/guard", bytes_max=LIST_BYTES_MAX)
    if session.print_if_json(reply):
        return
    rows = [[each.app, each.suspects, duration_text(each.left_s)] for each in found]
    session.screen.table(GUARDED.names, rows, caption=f"{len(rows)} at {reply.node}")


@guard.command(
    "end",
    examples="""
    bender guard end web
    """,
)
@click.argument("app", type=Name(), shell_complete=completion_values.guarded_apps, help="The app.")
@request_command
async def end_guard(session: Session, app: str) -> None:
    """Stop listing the suspect instances of an app now, on all nodes that the asked node can reach.

    For the next DURATION of its option --guard (of twistd bender), a node does not guard the app again.
    """
    _, reply = await session.client.read(read_nothing, "DELETE", guard_path(app))
    session.report(f"The guard of {app} has ended: its suspect instances are no longer listed.", reply)
