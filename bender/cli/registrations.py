"""Commands about registrations: list, follow, explain, register and deregister them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import click
import msgspec
from rich.text import Text

from bender.cli.screen import ago, clock, compact, lasted
from bender.cli.session import Session, asking
from bender.cli.words import PARTS, Pair, TextPair, registration_id
from bender.client import Event
from bender.client.asking import list_path, path_of


@click.command()
@click.argument("app", required=False)
@click.argument("version", required=False)
@click.option("--meta", multiple=True, type=TextPair(), metavar="KEY=VALUE", help="Only what has this in its meta.")
@asking
async def ls(session: Session, app: str | None, version: str | None, meta: Sequence[tuple[str, str]]) -> None:
    """List what is registered, of an APP or a VERSION of it if said."""
    reply = await session.client.call("GET", list_path(app, version, dict(meta)))
    if session.screen.as_json:
        session.screen.json(reply.body)
        return
    rows = [
        [
            *(each["app"], each["version"], each["host"], each["port"], each["weight"], f"{each['ttl']:g}"),
            *(ago(each["registered"]), each["node"], compact(each["meta"])),
        ]
        for each in reply.json()
    ]
    columns = ["APP", "VERSION", "HOST", "PORT", "WEIGHT", "TTL", "SINCE", "NODE", "META"]
    session.screen.table(columns, rows, caption=f"{len(rows)} at {reply.node}")


@click.command()
@click.argument("app", required=False)
@click.argument("version", required=False)
@click.option(
    "--only",
    metavar="EVENT,…",
    help="Only these: online, offline, changed; created and removed of backends and frontends.",
)
@click.option("--new", is_flag=True, help="Leave out what is there already.")
@asking
async def watch(session: Session, app: str | None, version: str | None, only: str | None, *, new: bool) -> None:
    """Follow what changes, through nodes that come and go, until Ctrl-C.

    First comes what is there. With --json each line is an event as in the API, with the node that told it.
    """
    if version is not None and app is None:
        raise click.UsageError("a version is one of an app")
    wanted = None if only is None else {*only.split(",")}
    async with session.client.watch(app, version) as events:
        session.screen.end()
        async for event in events:
            session.tell_problems()
            if (wanted is None or event.event in wanted) and not (new and event.reason == "snapshot"):
                _show(session, event)


def _show(session: Session, event: Event) -> None:
    screen = session.screen
    if screen.as_json:
        about = {event.kind: event.body} if event.kind else {}
        said = {"event": event.event, "at": event.at_ms, "reason": event.reason, "node": event.node, **about}
        screen.json(msgspec.json.encode(said))
        return
    if event.event == "synced":
        screen.aside(f"as of {clock(event.at_ms)} at {event.node}; what follows is new")
        return
    word = screen.coloured(event.event)
    word.pad_right(8 - len(event.event))
    screen.line(screen.dim(clock(event.at_ms)), word, event.id, screen.dim(event.reason), *_fields(screen, event))


def _fields(screen: Any, event: Event) -> list[Text]:
    """What else there is to say of a change."""
    if event.kind == "registration" and event.event == "changed":
        return [
            screen.dim(f"weight={event.body['weight']} ttl={event.body['ttl']:g} meta={compact(event.body['meta'])}")
        ]
    if event.kind == "backend":
        return [screen.dim(f"app={event.body['app']} version={event.body['version']}")]
    return []


@click.command()
@click.argument("id", nargs=-1, required=True, metavar="APP/VERSION/HOST/PORT")
@asking
async def explain(session: Session, id: tuple[str, ...]) -> None:  # noqa: A002 - the word that people know it by
    """Say why an instance is in rotation or not, and what each node knows of it.

    The status is 1 if no node knows anything of it.
    """
    reply = await session.client.call("GET", f"/explain/{quote(registration_id(id), safe='/:')}")
    if session.screen.as_json:
        session.screen.json(reply.body)
        return
    explained = reply.json()
    screen = session.screen
    nodes = sorted(explained["nodes"], key=lambda node: str(node["node"]))
    screen.line(explained["id"])
    screen.line(Text(explained["why"], style="green" if explained["listed"] else "red"))
    screen.say("")
    columns = ["NODE", "LISTS IT", "HEARD IT", "LEFT", "HELD FOR", "SEES AT OTHERS"]
    screen.table(columns, [_account(screen, node) for node in nodes])
    serves = [f"backend {each['name']} ({each['as']}){_behind(each)}" for each in explained["backends"]]
    screen.say("")
    counts = "It counts in" if explained["listed"] else "If it were listed, it would count in"
    screen.say(f"{counts} {', '.join(serves)}." if serves else "No backend sends to its version.")
    _show_events(session, nodes)
    screen.aside(f"asked {reply.node}, and by it all others")


def _account(screen: Any, node: dict[str, Any]) -> list[object]:
    if not node["answered"]:
        return [node["node"], screen.coloured("away"), "", "", "", node["problem"]]
    claim = node["claim"]
    lists = screen.coloured("online") if node["listed"] else Text("hidden" if node["hidden"] else "no", style="red")
    own = [f"{lasted(claim['renewed'])} ago", lasted(claim["left"]), lasted(claim["held"])] if claim else ["", "", ""]
    seen = [_seen(each) for each in node["sees"]] + [f"deregistered at {name}" for name in node["ended"]]
    return [node["node"], Text("yes", style="green") if node["listed"] else lists, *own, "; ".join(seen)]


def _seen(seen: dict[str, Any]) -> str:
    if seen["counts"]:
        return f"{seen['node']} holds it"
    why = "was told that it is over" if seen["why"] == "ended" else f"is silent ({lasted(seen['heard'])})"
    return f"{seen['node']} {why}"


def _behind(backend: dict[str, Any]) -> str:
    return f" behind frontend {', '.join(backend['frontends'])}" if backend["frontends"] else ""


def _show_events(session: Session, nodes: list[dict[str, Any]]) -> None:
    screen = session.screen
    rows = [
        [screen.dim(clock(event["at"])), node["node"], screen.coloured(event["event"]), event["reason"]]
        for node in nodes
        for event in node.get("events", ())
    ]
    if rows:
        screen.say("")
        screen.table(["WHEN", "NODE", "EVENT", "REASON"], rows)


@click.command()
@click.argument("id", nargs=-1, metavar="[APP/VERSION/HOST/PORT]")
@click.option("--app")
@click.option("--version")
@click.option("--host")
@click.option("--port")
@click.option("--ttl", type=float, metavar="SECONDS", help="How long it stays without being renewed.")
@click.option("--weight", type=int, metavar="0-256", help="Its share of the traffic; 1 if not said.")
@click.option("--meta", multiple=True, type=Pair(), metavar="KEY=VALUE", help="Whatever else is to be known of it.")
@asking
async def register(
    session: Session,
    id: tuple[str, ...],  # noqa: A002
    app: str | None,
    version: str | None,
    host: str | None,
    port: str | None,
    ttl: float | None,
    weight: int | None,
    meta: Sequence[tuple[str, Any]],
) -> None:
    """Register an instance, or renew it, once.

    It stays for its ttl. `bender run` keeps it registered for as long as it serves.
    """
    words = id or tuple(word for word in (app, version, host, port) if word is not None)
    if not words:
        raise click.UsageError(f"give {'/'.join(PARTS)}, or --app, --version, --host and --port")
    id_ = registration_id(words)
    wanted = {"ttl": ttl, "weight": weight, "meta": dict(meta) or None}
    terms = {key: value for key, value in wanted.items() if value is not None}
    reply = await session.client.call("POST", path_of(id_), terms)
    if session.screen.as_json:
        session.screen.json(reply.body)
    else:
        session.screen.say(f"{reply.json()['id']} is registered for {reply.json()['ttl']:g} s.")
        session.screen.aside(f"at {reply.node}")


@click.command()
@click.argument("id", nargs=-1, required=True, metavar="APP/VERSION/HOST/PORT")
@click.option(
    "--wait", type=click.FloatRange(0, 60), metavar="SECONDS", help="Wait until all nodes have it, for so long at most."
)
@asking
async def deregister(session: Session, id: tuple[str, ...], wait: float | None) -> None:  # noqa: A002
    """Take an instance out of the registry.

    What still renews it may bring it back: a registrar registers what is not known.
    """
    id_ = registration_id(id)
    query = "" if wait is None else f"?wait={wait:.3f}"
    reply = await session.client.call("DELETE", path_of(id_) + query, waiting_s=wait or 0)
    if session.screen.as_json:
        if reply.body:
            session.screen.json(reply.body)
        return
    session.screen.say(f"{id_} is deregistered{_applied(reply.json()) if reply.body else ''}.")
    session.screen.aside(f"at {reply.node}")


def _applied(answer: dict[str, list[str]]) -> str:
    missing = f", but {', '.join(answer['missing'])} did not say so" if answer["missing"] else ""
    return f" at {', '.join(answer['applied'] + answer['consumers'])}{missing}"
