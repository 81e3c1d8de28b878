"""All commands, in the order in which `bender --help` shows them.

A module is imported when its command is used, so what `bender --help` prints of each is here as well; a test compares
it with what the command itself says.
"""

from __future__ import annotations

from collections.abc import Mapping

import click

from bender import __version__
from bender.cli.click_base import Lazy, LazyGroup

COMMANDS: Mapping[str, Lazy] = {
    "run": Lazy("bender.cli.run:run", "Run COMMAND, and keep its instance registered while it serves."),
    "ls": Lazy("bender.cli.registrations:ls", "List what is registered, of an APP or a VERSION of it if said."),
    "watch": Lazy(
        "bender.cli.registrations:watch", "Follow what changes, through nodes that come and go, until Ctrl-C."
    ),
    "explain": Lazy(
        "bender.cli.registrations:explain", "Say why an instance is in rotation or not, and what each node knows of it."
    ),
    "register": Lazy("bender.cli.registrations:register", "Register an instance, or renew it, once."),
    "deregister": Lazy("bender.cli.registrations:deregister", "Take an instance out of the registry."),
    "drain": Lazy(
        "bender.cli.registrations:drain",
        "Let an instance have no new requests, whatever its health and through its restarts.",
    ),
    "up": Lazy("bender.cli.registrations:up", "Take back what `bender drain` said of an instance."),
    "backend": Lazy(
        "bender.cli.configuration:backend", "Set, list and remove backends: which version of an app serves."
    ),
    "frontend": Lazy(
        "bender.cli.configuration:frontend", "Set, list and remove frontends: what backend is behind an entrance."
    ),
    "deploy": Lazy(
        "bender.cli.deploy:deploy",
        "Let a version serve a backend, at once or in steps, and go back if it turns out worse.",
    ),
    "rollback": Lazy(
        "bender.cli.configuration:rollback", "Set a backend to what it was before; twice leads back to where it was."
    ),
    "export": Lazy(
        "bender.cli.declared:export",
        "Print backends, frontends and operators' states as TOML, for `bender apply`.",
    ),
    "apply": Lazy(
        "bender.cli.declared:apply_file", "Make backends, frontends and operators' states as a FILE declares."
    ),
    "check": Lazy(
        "bender.cli.declared:check", "Check whether `bender apply` would take a FILE, without asking a node."
    ),
    "guard": Lazy(
        "bender.cli.guard:guard",
        "List and end what nodes with --guard keep listed: members that would be hidden with most of their app.",
    ),
    "status": Lazy(
        "bender.cli.nodes:status",
        "Show all nodes: whether they are ready, hear each other, and have the same state; and who acts on their "
        "events.",
    ),
    "diff": Lazy("bender.cli.nodes:diff", "Show what nodes disagree on: nothing, and status 0, if they do not."),
    "completion": Lazy("bender.cli.completion:completion", "Print what makes a SHELL complete commands and options."),
}

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings=SETTINGS)
@click.version_option(__version__, message="bender %(version)s")
def bender() -> None:
    """Ask a bender registry, change it, and run commands that are in it.

    Every command takes --node, --json, --token-file, --ca and --as. Its nodes are those in BENDER_NODES (HOST:PORT,…)
    if --node does not say; the first that answers is asked, and one that took too long a minute ago comes last.

    The status is 0 if it was done, 1 if not, and 2 if the command was not understood.
    """
