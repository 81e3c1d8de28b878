"""All commands, in the order in which `bender --help` shows them."""

from __future__ import annotations

from collections.abc import Mapping

import click

from bender import __version__
from bender.cli import configuration, deploying, guard, nodes, registrations, running, shells
from bender.cli.grammar import Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="bender %(version)s")
def bender() -> None:
    """Ask a bender registry, change it, and run commands that are in it.

    Every command takes --node, --json, --token-file and --ca. Its nodes are those in BENDER_NODES (HOST:PORT,…) if
    --node does not say; the first that answers is asked, and the one that answered last comes first.

    The status is 0 if it was done, 1 if not, and 2 if the command was not understood.
    """


COMMANDS: Mapping[str, click.Command] = {
    "run": running.run,
    "ls": registrations.ls,
    "watch": registrations.watch,
    "explain": registrations.explain,
    "register": registrations.register,
    "deregister": registrations.deregister,
    "drain": registrations.drain,
    "up": registrations.up,
    "backend": configuration.backend,
    "frontend": configuration.frontend,
    "deploy": deploying.deploy,
    "rollback": configuration.rollback,
    "guard": guard.guard,
    "status": nodes.status,
    "diff": nodes.diff,
    "completion": shells.completion,
}

for name, command in COMMANDS.items():
    bender.add_command(command, name)
