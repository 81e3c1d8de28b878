"""All commands, in the order in which `bender --help` shows them.

The module of a command is imported only when the command is used, so the sentences of `bender --help` are repeated
here. A test compares them with the help of the commands.
"""

from __future__ import annotations

from collections.abc import Mapping

import click

from bender import __version__
from bender.cli.click_base import LazyCommand, LazyGroup

COMMANDS: Mapping[str, LazyCommand] = {
    "run": LazyCommand("bender.cli.run:run", "Run COMMAND, and keep its instance registered while it serves."),
    "ls": LazyCommand(
        "bender.cli.registrations:ls", "List registered instances: all, or those of an APP or a VERSION of it."
    ),
    "watch": LazyCommand(
        "bender.cli.registrations:watch",
        "Print every change as it happens, until Ctrl-C; if a node fails, follow another one.",
    ),
    "top": LazyCommand(
        "bender.cli.top.command:top",
        "Show the registry live on the whole terminal: apps, instances, backends, nodes and events.",
    ),
    "explain": LazyCommand(
        "bender.cli.registrations:explain",
        "Explain why an instance is in rotation or not, and show what each node knows about it.",
    ),
    "register": LazyCommand("bender.cli.registrations:register", "Register an instance once, or renew it."),
    "deregister": LazyCommand("bender.cli.registrations:deregister", "Remove an instance from the registry."),
    "drain": LazyCommand(
        "bender.cli.registrations:drain",
        "Stop new requests to an instance, even if it is healthy.",
    ),
    "up": LazyCommand("bender.cli.registrations:up", "Remove the state that `bender drain` set on an instance."),
    "backend": LazyCommand(
        "bender.cli.backends:backend",
        "Set, list and remove backends; a backend says which version of an app gets the requests.",
    ),
    "frontend": LazyCommand(
        "bender.cli.backends:frontend",
        "Set, list and remove frontends; a frontend names where clients connect, and the backend for their requests.",
    ),
    "deploy": LazyCommand(
        "bender.cli.deploy:deploy",
        "Switch a backend to a version, at once or in steps, and roll back if the version performs worse.",
    ),
    "rollback": LazyCommand(
        "bender.cli.backends:rollback",
        "Restore the previous setting of a backend; a second rollback undoes the first.",
    ),
    "export": LazyCommand(
        "bender.cli.declared:export",
        "Print backends, frontends and the states that operators set (drain, maint) as TOML, for `bender apply`.",
    ),
    "apply": LazyCommand(
        "bender.cli.declared:apply_file",
        "Change backends, frontends and the states that operators set, to match a FILE.",
    ),
    "check": LazyCommand("bender.cli.declared:check", "Check a FILE for `bender apply`, without asking a node."),
    "guard": LazyCommand(
        "bender.cli.node_loss_guard:guard",
        "List and end guards; a guard keeps instances listed if lost nodes would make most of an app disappear.",
    ),
    "status": LazyCommand(
        "bender.cli.nodes:status",
        "Show the state of all nodes, and all consumers: programs that follow events, such as load balancers' drivers.",
    ),
    "diff": LazyCommand(
        "bender.cli.nodes:diff", "Show the objects that differ between nodes; print nothing if all nodes agree."
    ),
    "certs": LazyCommand(
        "bender.cli.certs:certs", "Make a certificate for a node, and the CA of the cluster if there is none yet."
    ),
    "token": LazyCommand(
        "bender.cli.certs:token",
        "Make a token for clients, and print the TOML table to add to the file that nodes read (--tokens FILE).",
    ),
    "completion": LazyCommand("bender.cli.completion:completion", "Print the completion script for a SHELL."),
}

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings=SETTINGS)
@click.version_option(__version__, message="bender %(version)s")
def bender() -> None:
    """Query and change a bender registry, and run commands as registered instances.

    Commands that ask nodes take --node, --json, --token-file, --ca, --insecure and --as. Without --node they use the
    nodes in BENDER_NODES (HOST:PORT,…). They ask the nodes in order and use the first answer; nodes that timed out in
    the last minute are asked last. With --json most commands print the answer of the HTTP API.

    The exit status is 0 on success, 1 on failure, and 2 if the command line is invalid.
    """
