"""The command `bender top`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import click

from bender.cli.click_base import BenderCommand
from bender.cli.columns import TOP_APPS, TOP_BACKENDS, TOP_EVENTS, TOP_INSTANCES, TOP_NODES
from bender.cli.params import Duration
from bender.cli.registrations import app_argument, version_argument
from bender.cli.session import Session, reactor_command, wall_ms
from bender.cli.styled_text import styles_of
from bender.cli.top.snapshot import print_snapshot
from bender.cli.top.views import Scope

if TYPE_CHECKING:
    from bender.cli.top.terminal import TerminalReactor

#: Terminals that cannot move the cursor.
_PLAIN = ("", "dumb", "unknown")


@click.command(
    cls=BenderCommand,
    columns=(TOP_APPS, TOP_INSTANCES, TOP_BACKENDS, TOP_NODES, TOP_EVENTS),
    examples="""
    bender top
    bender top web 1.2.0 --interval 1s
    bender top --once
    bender top --json | jq '.registrations | length'
    """,
)
@app_argument
@version_argument
@click.option(
    "--interval",
    type=Duration("250ms", "1h"),
    default="2s",
    show_default=True,
    metavar="DURATION",
    help="How often to ask for the status of nodes and to update ages; changes are shown as they happen.",
)
@click.option("--once", is_flag=True, help="Print the registry once, and end.")
@reactor_command
async def top(session: Session, app: str | None, version: str | None, interval: float, *, once: bool) -> int | None:
    """Show the registry live on the whole terminal: apps, instances, backends, nodes and events.

    It follows the events of one node; if that node fails, it follows another one. While no node can be reached, it
    shows the last known data, their age, and the reason of the failure. Changes stand out for five seconds: + green is
    new, ~ yellow has changed, - red is gone. Press ? for the keys, q or Ctrl-C to quit.

    With --once, or if the output is not a terminal, it prints one list and ends: the apps, or with APP its instances.
    With --json it prints one object with the answers of the API: "status", "registrations", "backends" and "frontends".
    """
    scope = Scope(app, version)
    is_live = session.screen.is_terminal and os.environ.get("TERM", "") not in _PLAIN
    if once or session.screen.as_json or not is_live:
        return await print_snapshot(session, scope)
    await _live(session, scope, interval)
    return None


async def _live(session: Session, scope: Scope, interval_s: float) -> None:
    from bender.cli.top.live import LiveTop  # noqa: PLC0415 - completion would wait for it
    from bender.cli.top.terminal import ScreenTerminal, open_terminal  # noqa: PLC0415

    session.screen.end_waiting()  # otherwise the sign that the command waits would be written over the picture
    encoding = (sys.stdout.encoding or "utf-8").lower()
    live = LiveTop(
        session.reactor,
        session.client,
        scope,
        screen=ScreenTerminal(cast("TerminalReactor", session.reactor), open_terminal(_terminals()), encoding),
        interval_s=interval_s,
        styles=styles_of(sys.stdout),
        wall_ms=wall_ms,
    )
    await live.run()


def _terminals() -> Iterator[str]:
    """Yield the terminal of stdout, if it has a name (it may have none in a container), and that of this process."""
    with suppress(OSError):
        yield os.ttyname(sys.stdout.fileno())
    yield "/dev/tty"
