"""Complete apps, versions, ids, backends, frontends and nodes from the registry.

A node is asked with every Tab, so this takes at most `WITHIN_S`. If no node answers, or the answer is long, the shell
offers nothing.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from bender.client import Client, Registration

#: Time limit for one completion, with all its requests.
WITHIN_S = 1.0

#: A longer list is not read, because that takes too long.
BYTES_MAX = 4 * 1024 * 1024

_T = TypeVar("_T")

Names = Coroutine[Any, Any, Iterable[str]]


def offering(find: Callable[[Client, click.Context, str], Names]) -> Callable[..., list[str]]:
    """Return a completion function for click that calls a coroutine function with a client, context and word."""

    def offered(context: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        names = _within_a_second(context, lambda client: find(client, context, incomplete))
        return fitting(names or (), incomplete)

    return offered


def fitting(names: Iterable[str], incomplete: str) -> list[str]:
    """Return the names that begin as it was typed, in order.

    Names with control characters, which no honest node sends, are left out, because a shell shows them unescaped.
    """
    return sorted({name for name in names if name.startswith(incomplete) and name.isprintable()})


def _within_a_second(context: click.Context, ask: Callable[[Client], Coroutine[Any, Any, _T]]) -> _T | None:
    import asyncio  # noqa: PLC0415 - only what is completed needs all of this

    from bender.cli.session import token_of  # noqa: PLC0415
    from bender.cli.slow_nodes import in_order  # noqa: PLC0415
    from bender.client import BenderError, Client, parse_nodes  # noqa: PLC0415
    from bender.client.asyncio_http import AsyncioHttp, hedged  # noqa: PLC0415
    from bender.client.node_list import API_PORT  # noqa: PLC0415
    from bender.client.transport import ConnectionSecurity  # noqa: PLC0415

    given = context.params
    try:
        nodes = given.get("nodes") or parse_nodes(os.environ.get("BENDER_NODES") or f"127.0.0.1:{API_PORT}")
        ca = given.get("ca")
        safety = ConnectionSecurity(token_of(given.get("token_file")), None if ca is None else ca.read_bytes())
        client = Client(None, in_order(nodes), shuffle=lambda _: None, transport=AsyncioHttp(safety), seeking=hedged)
        return asyncio.run(asyncio.wait_for(ask(client), WITHIN_S))
    except (BenderError, TimeoutError, ValueError, OSError, click.ClickException):
        return None


async def _listed(client: Client, app: str | None = None, version: str | None = None) -> list[Registration]:
    from bender.client.paths import list_path  # noqa: PLC0415 - as above
    from bender.client.responses import reader  # noqa: PLC0415
    from bender.client.types import Registration  # noqa: PLC0415

    found, _ = await client.read(reader(list[Registration]), "GET", list_path(app, version, {}), bytes_max=BYTES_MAX)
    return found


async def _if_any(asking: Awaitable[list[_T]]) -> list[_T]:
    from bender.client.types import BenderError  # noqa: PLC0415 - as above

    try:
        return await asking
    except BenderError:
        return []


@offering
async def apps(client: Client, _context: click.Context, _incomplete: str) -> list[str]:
    registrations = await _if_any(_listed(client))
    backends = await _if_any(client.backends())
    return [each.app for each in registrations] + [each.app for each in backends]


@offering
async def versions(client: Client, context: click.Context, _incomplete: str) -> list[str]:
    """Complete versions of the app that was typed, or else of the app of the typed backend, or else of all apps."""
    app = context.params.get("app")
    if not app and (names := [context.params.get("name"), *context.args]) and names[-1]:
        from bender.client.types import NotFound  # noqa: PLC0415 - as above

        with suppress(NotFound):
            app = (await client.backend(names[-1])).app
    return [each.version for each in await _listed(client, app)]


@offering
async def backends(client: Client, _context: click.Context, _incomplete: str) -> list[str]:
    return [each.name for each in await client.backends()]


@offering
async def frontends(client: Client, _context: click.Context, _incomplete: str) -> list[str]:
    return [each.name for each in await client.frontends()]


@offering
async def guarded_apps(client: Client, _context: click.Context, _incomplete: str) -> list[str]:
    return [each.app for each in await client.guarded()]


@offering
async def ids(client: Client, context: click.Context, incomplete: str) -> list[str]:
    """Complete whole ids, or the next part if parts were typed as words."""
    words = [*(context.params.get("id") or ())]
    before = "/".join(words)
    app, slash, rest = (f"{before}/{incomplete}" if words else incomplete).removeprefix("registration/").partition("/")
    version = rest.partition("/")[0] if "/" in rest else None
    found = [each.id.removeprefix("registration/") for each in await _listed(client, app if slash else None, version)]
    if not words:
        return [f"registration/{id_}" for id_ in found] if incomplete.startswith("registration/") else found
    return [id_.removeprefix(f"{before}/").partition("/")[0] for id_ in found if id_.startswith(f"{before}/")]


@offering
async def nodes(client: Client, _context: click.Context, incomplete: str) -> list[str]:
    """Complete nodes that a node knows, after nodes that were typed with a comma behind them."""
    from bender.client.responses import NodeStatus, api_addresses, reader  # noqa: PLC0415 - as above

    status, reply = await client.read(reader(NodeStatus), "GET", "/status")
    typed = incomplete.rpartition(",")[0]
    before = f"{typed}," if typed else ""
    return [before + node for node in (reply.node, *api_addresses(status)) if node not in typed.split(",")]
