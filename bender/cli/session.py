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
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from bender.cli.grammar import INTERRUPTED
from bender.cli.screen import Screen
from bender.client import BenderError, Client, parse_nodes
from bender.client.nodes import API_PORT

#: The variable that may hold the token.
TOKEN = "BENDER_TOKEN"  # noqa: S105 - its name

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
            self.fail(str(error), param, ctx)


OPTIONS = (
    click.option(
        "--node",
        "nodes",
        metavar="HOST:PORT,…",
        type=Nodes(),
        default=f"127.0.0.1:{API_PORT}",
        show_default=True,
        envvar="BENDER_NODES",
        show_envvar=True,
        help="Nodes to ask, the first that answers.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print what the API answers."),
    click.option(
        "--token-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The token to show is in this file, or else in BENDER_TOKEN.",
    ),
    click.option(
        "--ca",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        envvar="BENDER_CA",
        show_envvar=True,
        help="Speak TLS, with nodes that an authority in this file has signed.",
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


def asking(command: Callable[..., Done]) -> Callable[..., int]:
    """Make a command of click of a coroutine whose first argument is a `Session`; what it returns is the status."""

    @wraps(command)
    def run(
        nodes: tuple[str, ...], *, as_json: bool, token_file: Path | None, ca: Path | None, **arguments: Any
    ) -> int:
        from twisted.internet import reactor  # noqa: PLC0415 - at the top, completion would wait for it

        _let_there_be_streams()
        screen = Screen(as_json=as_json)
        session = Session(_client(reactor, nodes, token_file, ca), screen, reactor, nodes)
        session.client.on_problem = session.note
        return _run(reactor, lambda: _bounded(session, command(session, **arguments)))

    for option in reversed(OPTIONS):
        run = option(run)
    run.__doc__ = inspect.getdoc(command)
    return run


def _let_there_be_streams() -> None:
    """Say to nobody what goes to a stream that was closed when this process began."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - as long as this runs


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
    """Do it while the reactor runs; nothing is said any more once Ctrl-C has stopped that."""
    outcome: list[int | Failure] = []
    interrupted = False
    doing: Deferred[int] = Deferred()

    def start() -> None:
        nonlocal doing
        doing = Deferred.fromCoroutine(begin())
        doing.addBoth(outcome.append)
        doing.addBoth(lambda _: None if interrupted else reactor.stop())

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = not outcome
        doing.cancel()

    reactor.callWhenRunning(start)
    reactor.addSystemEventTrigger("before", "shutdown", interrupt)
    reactor.run()
    if interrupted:
        return INTERRUPTED
    (came,) = outcome
    if isinstance(came, Failure):
        came.raiseException()
    return int(came)


def _client(reactor: Any, nodes: tuple[str, ...], token_file: Path | None, ca: Path | None) -> Client:
    authorities = None if ca is None else ca.read_bytes()
    try:
        client = Client(reactor, nodes, token=_token(token_file), ca=authorities, shuffle=lambda _: None)
    except ValueError as error:
        raise click.BadParameter(f"{ca} {error}", param_hint="'--ca'") from error
    last = _remembered().get(",".join(nodes))
    if last in nodes:
        client.nodes.answered(last)
    return client


def _token(file: Path | None) -> str | None:
    """What is to be shown to nodes: printable ASCII, for it travels in a header."""
    if file is None:
        token, said_by, where = os.environ.get(TOKEN, ""), TOKEN, "it"
        if not token:
            return None
    else:
        token, said_by, where = file.read_bytes().decode("ascii", "replace").strip(), "'--token-file'", str(file)
    if not (token and token.isascii() and token.isprintable()):
        raise click.BadParameter(f"{where} holds no token, which is one line of ASCII", param_hint=said_by)
    return token


# Which node answered last.


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / REMEMBERED


def _remembered() -> dict[str, str]:
    with suppress(OSError, RuntimeError, msgspec.DecodeError, UnicodeDecodeError):
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
