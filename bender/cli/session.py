"""Run a command with a client for its nodes, its output and an event loop."""

from __future__ import annotations

import inspect
import os
import pwd
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec
from attrs import define, field
from click.core import ParameterSource

from bender.cli import completion_values
from bender.cli.click_base import UnwritableOutput
from bender.cli.event_loop import run_on_asyncio, run_on_reactor
from bender.cli.output import Output
from bender.cli.slow_nodes import remember_slow_nodes, slow_last
from bender.client import BenderError, Client, Reply, Unavailable, parse_nodes
from bender.client.node_list import API_PORT
from bender.client.token_source import TokenSource, is_token, token_in_file
from bender.client.transport import ConnectionSecurity
from bender.core.authors import NAME_CHARACTERS_MAX, author_of
from bender.core.invalid import Invalid

if TYPE_CHECKING:
    from bender.net.reactor import Reactor

#: The variable that may hold the token.
TOKEN_VARIABLE = "BENDER_TOKEN"  # noqa: S105 - the name of the variable

#: The largest number of requests that one command sends at the same time.
CONCURRENT_MAX = 50

_T = TypeVar("_T")


class NodesParam(click.ParamType[tuple[str, ...]]):
    """Nodes, as `parse_nodes` takes them."""

    name = "nodes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return value if isinstance(value, tuple) else parse_nodes(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Author(click.ParamType[str]):
    """A name to show in histories."""

    name = "author"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            author_of(value, "")
        except Invalid as error:
            self.fail(f"{value!r} {str(error).partition(': ')[2]}", param, ctx)
        return value


OPTIONS = (
    click.option(
        "--node",
        "nodes",
        metavar="HOST:PORT,…",
        shell_complete=completion_values.nodes,
        type=NodesParam(),
        default=f"127.0.0.1:{API_PORT}",
        show_default=True,
        envvar="BENDER_NODES",
        show_envvar=True,
        help="The nodes to ask: the first that answers is used.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text."),
    click.option(
        "--token-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="A file with the token for the nodes; by default the token is BENDER_TOKEN.",
    ),
    click.option(
        "--ca",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        envvar="BENDER_CA",
        show_envvar=True,
        help="Use TLS, and trust nodes whose certificate is signed by a CA in this file.",
    ),
    click.option(
        "--insecure",
        is_flag=True,
        envvar="BENDER_INSECURE",
        show_envvar=True,
        help="Allow sending the token to other machines without TLS; use it only if the network itself is encrypted.",
    ),
    click.option(
        "--as",
        "author",
        metavar="NAME",
        type=Author(),
        envvar="BENDER_AS",
        show_envvar=True,
        help="The name that histories show for your changes; USER@HOST by default.",
    ),
)


@define
class Session:
    """The state of one running command."""

    screen: Output
    #: The nodes to ask, in the given order.
    nodes: tuple[str, ...]
    #: Whether the nodes were given by --node or BENDER_NODES.
    has_given_nodes: bool
    security: ConnectionSecurity
    #: The token for a command that runs long: it is read again from its file when nodes no longer know it.
    token_source: TokenSource = None
    #: The client and the reactor are set when the command begins. Only commands of `reactor_command` have a reactor.
    client: Client = field(init=False)
    reactor: Reactor = field(init=False, default=None)
    #: The nodes that did not answer, each with the reason.
    problems: dict[str, str] = field(factory=dict)

    async def gather_results(self, doing: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
        """Return the results of several coroutines, of which at most `CONCURRENT_MAX` run at the same time."""
        import asyncio  # noqa: PLC0415 - see request_command

        turns = asyncio.Semaphore(CONCURRENT_MAX)

        async def in_turn(one: Coroutine[Any, Any, _T]) -> _T:
            async with turns:
                return await one

        return [*await asyncio.gather(*map(in_turn, doing))]

    def start(self, doing: Coroutine[Any, Any, _T]) -> Awaitable[_T]:
        """Start a coroutine, and return an awaitable for its result."""
        import asyncio  # noqa: PLC0415 - see request_command

        return asyncio.ensure_future(doing)

    async def pause(self, duration_s: float) -> None:
        import asyncio  # noqa: PLC0415 - see request_command

        await asyncio.sleep(duration_s)

    def note_problem(self, node: str, problem: str) -> None:
        self.problems[node] = problem

    def print_json(self, reply: Reply, warnings: Sequence[str] = ()) -> None:
        """Print the answer of the API. Add its warnings and `warnings` as a list of texts, if there are any."""
        warnings = [*reply.warnings, *warnings]
        body = reply.body.rstrip()
        if warnings:
            more = b'"warnings":%b}' % msgspec.json.encode(warnings)
            body = b"%b,%b" % (body[:-1], more) if body else b"{%b" % more
        if body:
            self.screen.json(body)

    def print_if_json(self, reply: Reply) -> bool:
        """Print the unchanged answer if --json is given. Return True then: there is nothing more to print."""
        if self.screen.as_json and reply.body:
            self.screen.json(reply.body)
        return self.screen.as_json

    def report(self, text: str, reply: Reply) -> None:
        """Print a sentence about the change, the node that made it, and its warnings. With --json, print the answer."""
        if self.screen.as_json:
            self.print_json(reply)
            return
        self.screen.say(text)
        self.screen.aside(f"at {reply.node}")
        self.print_warnings(reply)

    def print_warnings(self, reply: Reply) -> None:
        """Print the warnings of a node about a change that it has made."""
        for warning in reply.warnings:
            self.screen.warn(warning)

    def print_problems(self) -> None:
        """Print the nodes that did not answer before another node answered, with the reasons."""
        for node, problem in self.problems.items():
            if node != self.client.nodes.last:
                self.screen.note(f"{node} {problem}; asked {self.client.nodes.last}")
        self.problems.clear()


Done = Coroutine[Any, Any, int | None]


def wall_ms() -> int:
    """Return the time by the wall clock of this machine, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def request_command(command: Callable[..., Done]) -> Callable[..., int]:
    """Return a command of click that runs a coroutine function with a `Session` on asyncio.

    The result of the coroutine is the exit status; None is success. It may await `Session.client`,
    `Session.gather_results` and `Session.pause`, but nothing of Twisted. This is for commands that end after a few
    requests.
    """

    def run(session: Session, arguments: dict[str, Any]) -> int:
        from bender.client.asyncio_http import AsyncioHttp, hedged  # noqa: PLC0415 - completion would wait for it

        try:
            transport = AsyncioHttp(session.security)
        except ValueError as error:
            raise _ca_error(error) from error
        session.client = Client(
            None, slow_last(session.nodes), shuffle=_keep_order, transport=transport, seeking=hedged
        )
        session.client.on_problem = session.note_problem

        def later(delay_s: float, call: Callable[[], object]) -> Callable[[], object]:
            import asyncio  # noqa: PLC0415 - as above

            return asyncio.get_running_loop().call_later(delay_s, call).cancel

        status = run_on_asyncio(lambda: _run_to_status(session, later, command(session, **arguments)))
        remember_slow_nodes(transport.slow_nodes, transport.answered_nodes)
        return status

    return _with_options(command, run)


def reactor_command(command: Callable[..., Done]) -> Callable[..., int]:
    """Return a command of click that runs on Twisted's reactor, `Session.reactor`: for commands that may run long."""

    def run(session: Session, arguments: dict[str, Any]) -> int:
        from twisted.internet import reactor  # noqa: PLC0415 - completion would wait for it

        security = session.security
        try:
            session.client = Client(
                reactor,
                slow_last(session.nodes),
                token=session.token_source,
                ca=security.ca,
                author=security.author,
                insecure=security.insecure,
                shuffle=_keep_order,
            )
        except ValueError as error:
            raise _ca_error(error) from error
        session.client.on_problem = session.note_problem
        session.reactor = reactor

        def later(delay_s: float, call: Callable[[], object]) -> Callable[[], object]:
            call_later: Any = reactor.callLater
            planned = call_later(delay_s, call)
            return lambda: planned.cancel() if planned.active() else None

        return run_on_reactor(reactor, lambda: _run_to_status(session, later, command(session, **arguments)))

    return _with_options(command, run)


def _with_options(command: Callable[..., Done], run: Callable[[Session, dict[str, Any]], int]) -> Callable[..., int]:
    @wraps(command)
    def parsed(
        nodes: tuple[str, ...],
        *,
        as_json: bool,
        token_file: Path | None,
        ca: Path | None,
        author: str | None,
        insecure: bool,
        **arguments: Any,
    ) -> int:
        _replace_closed_streams()
        security = ConnectionSecurity(
            token_of(token_file), None if ca is None else ca.read_bytes(), author or user_at_host(), insecure
        )
        given = click.get_current_context().get_parameter_source("nodes") is not ParameterSource.DEFAULT
        source = security.token if token_file is None else partial(token_in_file, token_file)
        return run(Session(Output(as_json=as_json), nodes, given, security, source), arguments)

    for option in reversed(OPTIONS):
        parsed = option(parsed)
    parsed.__doc__ = inspect.getdoc(command)
    return parsed


def _ca_error(error: ValueError) -> click.BadParameter:
    context = click.get_current_context()
    return click.BadParameter(f"{context.params['ca']} {error}", param_hint="'--ca'")


def _keep_order(_nodes: object) -> None:
    """Leave nodes in the given order."""


def user_at_host() -> str:
    """Return USER@HOST for this process. With sudo, USER is the user that called sudo."""
    try:
        user = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container, users often have no names
        user = str(os.getuid())
    name = f"{user}@{os.uname().nodename}"
    return "".join(character if character.isprintable() else "?" for character in name)[:NAME_CHARACTERS_MAX]


def _replace_closed_streams() -> None:
    """Replace streams that were closed when this process began, so that output to them is discarded."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - as long as this runs


async def _run_to_status(session: Session, later: Any, running: Done) -> int:
    """Await a command, and return its exit status. If it fails, print the reason in one sentence."""
    session.screen.begin_waiting(later)
    try:
        status = await running
    except BenderError as error:
        lost = isinstance(error, Unavailable) and not session.has_given_nodes
        session.screen.error(f"{error}: name the nodes by --node or BENDER_NODES" if lost else str(error))
        return 1
    except OSError as error:
        if session.client.changes and not isinstance(error, BrokenPipeError):
            raise UnwritableOutput(error.errno, error.strerror) from error
        raise
    finally:
        session.screen.end_waiting()
    session.print_problems()
    return status or 0


def token_of(file: Path | None) -> str | None:
    """Return the token for nodes from the file or BENDER_TOKEN; None if neither is given.

    Raises `click.BadParameter` unless it is printable ASCII, because it is sent in a header.
    """
    if file is None:
        token, source, where = os.environ.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE, "it"
        if not token:
            return None
    else:
        token, source, where = file.read_bytes().decode("ascii", "replace").strip(), "'--token-file'", str(file)
    if not is_token(token):
        raise click.BadParameter(f"{where} does not hold a token: give one line of printable ASCII", param_hint=source)
    return token
