"""Complete apps, versions, ids, backends, frontends and nodes from the registry.

Each press of Tab sends requests to a node, so a completion takes at most `COMPLETION_S_MAX`. If no node answers, or the
answer is too long, the shell offers no names.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from bender.client import Client, Registration

#: Time limit for all requests of one completion.
COMPLETION_S_MAX = 1.0

#: Limit for the bytes of a list. A longer list is not read, because this takes too long.
BYTES_MAX = 4 * 1024 * 1024

_T = TypeVar("_T")

Names = Coroutine[Any, Any, Iterable[str]]


def completer(find: Callable[[Client, click.Context, str], Names]) -> Callable[..., list[str]]:
    """Return a completion function for click. `find` gets a client, the context and the incomplete word."""

    def offered(context: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        names = _ask_in_time(context, lambda client: find(client, context, incomplete))
        return matching_names(names or (), incomplete)

    return offered


def matching_names(names: Iterable[str], incomplete: str) -> list[str]:
    """Return the names that begin with the incomplete word, in order.

    Names with control characters are left out, because a shell shows them unescaped. No honest node sends such names.
    """
    return sorted({name for name in names if name.startswith(incomplete) and name.isprintable()})


def _ask_in_time(context: click.Context, ask: Callable[[Client], Coroutine[Any, Any, _T]]) -> _T | None:
    import asyncio  # noqa: PLC0415 - only a completion needs all of these

    from bender.cli.session import token_of  # noqa: PLC0415
    from bender.cli.slow_nodes import slow_last  # noqa: PLC0415
    from bender.client import BenderError, Client, parse_nodes  # noqa: PLC0415
    from bender.client.asyncio_http import AsyncioHttp, hedged  # noqa: PLC0415
    from bender.client.node_list import API_PORT  # noqa: PLC0415
    from bender.client.transport import ConnectionSecurity  # noqa: PLC0415

    given = context.params
    try:
        nodes = given.get("nodes") or parse_nodes(os.environ.get("BENDER_NODES") or f"127.0.0.1:{API_PORT}")
        ca = given.get("ca")
        security = ConnectionSecurity(token_of(given.get("token_file")), None if ca is None else ca.read_bytes())
        client = Client(None, slow_last(nodes), shuffle=lambda _: None, transport=AsyncioHttp(security), seeking=hedged)
        return asyncio.run(asyncio.wait_for(ask(client), COMPLETION_S_MAX))
    except (BenderError, TimeoutError, ValueError, OSError, click.ClickException):
        return None


async def _registrations(client: Client, app: str | None = None, version: str | None = None) -> list[Registration]:
    from bender.client.paths import list_path  # noqa: PLC0415 - as above
    from bender.client.responses import reader  # noqa: PLC0415
    from bender.client.types import Registration  # noqa: PLC0415

    found, _ = await client.read(reader(list[Registration]), "GET", list_path(app, version, {}), bytes_max=BYTES_MAX)
    return found


async def _unless_refused(asking: Awaitable[list[_T]]) -> list[_T]:
    from bender.client.types import BenderError  # noqa: PLC0415 - as above

    try:
        return await asking
    except BenderError:
        return []


@completer
async def apps(client: Client, _context: click.Context, _incomplete: str) -> list[str]:
    registrations = await _unless_refused(_registrations(client))
    backends = await _unless_refused(client.backends())
    return [each.app for each in registrations] + [each.app for each in backends]


@completer
async def versions(client: Client, context: click.Context, _incomplete: str) -> list[str]:
    """Complete versions of the typed app, of the app of the typed backend, or of all apps."""
    app = context.params.get("app")
    if not app and (names := [context.params.get("name"), *context.args]) and names[-1]:
        from bender.client.types import NotFound  # noqa: PLC0415 - as above

        with suppress(NotFound):
            app = (await client.backend(names[-1])).app
    return [each.version for each in await _registrations(client, app)]


@completer
async def backends(client: Client, _context: click.Context, _incomplete: str) -> list[str]:
    return [each.name for each in await client.backends()]


@completer
async def frontends(client: Client, _context: click.Context, _incomplete: str) -> list[str]:
    return [each.name for each in await client.frontends()]


@completer
async def guarded_apps(client: Client, _context: click.Context, _incomplete: str) -> list[str]:
    return [each.app for each in await client.guarded()]


@completer
async def ids(client: Client, context: click.Context, incomplete: str) -> list[str]:
    """Complete whole ids, or the next part of an id if its parts were typed as separate words."""
    words = [*(context.params.get("id") or ())]
    before = "/".join(words)
    app, slash, rest = (f"{before}/{incomplete}" if words else incomplete).removeprefix("registration/").partition("/")
    version = rest.partition("/")[0] if "/" in rest else None
    found = [
        each.id.removeprefix("registration/") for each in await _registrations(client, app if slash else None, version)
    ]
    if not words:
        return [f"registration/{id_}" for id_ in found] if incomplete.startswith("registration/") else found
    return [id_.removeprefix(f"{before}/").partition("/")[0] for id_ in found if id_.startswith(f"{before}/")]


@completer
async def nodes(client: Client, _context: click.Context, incomplete: str) -> list[str]:
    """Complete the nodes that the answering node knows, after typed nodes with commas behind them."""
    from bender.client.responses import NodeStatus, api_addresses, reader  # noqa: PLC0415 - as above

    status, reply = await client.read(reader(NodeStatus), "GET", "/status")
    typed = incomplete.rpartition(",")[0]
    before = f"{typed}," if typed else ""
    return [before + node for node in (reply.node, *api_addresses(status)) if node not in typed.split(",")]
