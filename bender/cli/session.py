"""What every command has: nodes to ask, a way to say what came of it, and a reactor for as long as it runs."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

import click
import msgspec
from attrs import define, field
from click.core import ParameterSource
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from bender.cli.screen import Screen
from bender.client import BenderError, Client, parse_nodes
from bender.client.nodes import API_PORT

#: What a shell shows for a command that Ctrl-C has ended.
INTERRUPTED = 130

#: Which node answered last, for each list of nodes, so that one that is down costs its time once.
REMEMBERED = Path("bender", "nodes.json")

#: Lists of nodes that are remembered.
REMEMBERED_MAX = 50


class Nodes(click.ParamType[tuple[str, ...]]):
    """Nodes, as `parse_nodes` takes them."""

    name = "nodes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return value if isinstance(value, tuple) else parse_nodes(value)
        except ValueError as error:
            said_by_variable = (
                param and ctx and ctx.get_parameter_source(param.name or "") is ParameterSource.ENVIRONMENT
            )
            self.fail(f"{'BENDER_NODES: ' if said_by_variable else ''}{error}", param, ctx)


OPTIONS = (
    click.option(
        "--node",
        "nodes",
        metavar="HOST:PORT,…",
        type=Nodes(),
        default=f"127.0.0.1:{API_PORT}",
        show_default=True,
        envvar="BENDER_NODES",
        help="Nodes to ask, the first that answers; also BENDER_NODES.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print what the API answers."),
    click.option(
        "--token-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The token to show is in this file; or else in BENDER_TOKEN.",
    ),
    click.option(
        "--ca",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        envvar="BENDER_CA",
        help="Speak TLS, with nodes that the authority of this certificate has signed; also BENDER_CA.",
    ),
)


@define
class Session:
    """One command on its way."""

    client: Client
    screen: Screen
    reactor: Any
    nodes: tuple[str, ...]
    #: Of nodes that did not answer: their addresses, and why.
    problems: dict[str, str] = field(factory=dict)

    def note(self, node: str, problem: str) -> None:
        self.problems[node] = problem

    def tell_problems(self) -> None:
        """Say which nodes were asked in vain before one answered."""
        for node, problem in self.problems.items():
            if node != self.client.nodes.last:
                self.screen.note(f"{node} {problem}; asked {self.client.nodes.last}")
        self.problems.clear()


Done = Coroutine[Any, Any, int | None]


def asking(command: Callable[..., Done]) -> Callable[..., None]:
    """Make a command of click of a coroutine whose first argument is a `Session`; what it returns is the status."""

    @wraps(command)
    def run(
        nodes: tuple[str, ...], *, as_json: bool, token_file: Path | None, ca: Path | None, **arguments: Any
    ) -> None:
        from twisted.internet import reactor  # noqa: PLC0415 - at the top, completion would wait for it

        screen = Screen(as_json=as_json)
        session = Session(_client(reactor, nodes, token_file, ca), screen, reactor, nodes)
        session.client.on_problem = session.note
        sys.exit(_run(reactor, lambda: _bounded(session, command(session, **arguments))))

    for option in reversed(OPTIONS):
        run = option(run)
    run.__doc__ = inspect.getdoc(command)
    return run


async def _bounded(session: Session, doing: Done) -> int:
    """Do it, and say in one sentence why not if it cannot be done."""
    session.screen.begin(session.reactor)
    try:
        status = await doing
    except BenderError as error:
        session.screen.error(str(error))
        return 1
    finally:
        session.screen.end()
    session.tell_problems()
    _remember(session)
    return status or 0


def _run(reactor: Any, begin: Callable[[], Coroutine[Any, Any, int]]) -> int:
    outcome: list[int | Failure] = []

    def start() -> None:
        doing = Deferred.fromCoroutine(begin())
        doing.addBoth(outcome.append)
        doing.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(start)
    reactor.run()
    if not outcome:
        return INTERRUPTED
    (came,) = outcome
    if isinstance(came, Failure):
        came.raiseException()
    return int(came)


def _client(reactor: Any, nodes: tuple[str, ...], token_file: Path | None, ca: Path | None) -> Client:
    token = token_file.read_text("utf-8").strip() if token_file else os.environ.get("BENDER_TOKEN")
    client = Client(reactor, nodes, token=token or None, ca=ca.read_bytes() if ca else None, shuffle=lambda _: None)
    last = _remembered().get(",".join(nodes))
    if last in nodes:
        client.nodes.answered(last)
    return client


# Which node answered last.


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / REMEMBERED


def _remembered() -> dict[str, str]:
    with suppress(OSError, RuntimeError, msgspec.DecodeError):
        remembered: dict[str, str] = msgspec.json.decode(_cache().read_bytes(), type=dict[str, str])
        return remembered
    return {}


def _remember(session: Session) -> None:
    """Without a home, or where nothing can be written, the first node is simply asked first again."""
    last, key = session.client.nodes.last, ",".join(session.nodes)
    remembered = _remembered()
    if len(session.nodes) < 2 or last not in session.nodes or remembered.get(key, session.nodes[0]) == last:
        return
    kept = dict([*remembered.items()][-REMEMBERED_MAX:]) | {key: last}
    with suppress(OSError, RuntimeError):
        path = _cache()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(kept))
