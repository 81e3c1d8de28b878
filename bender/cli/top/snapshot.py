"""Print once what `bender top` shows, for pipes, scripts and terminals without cursor control."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from bender.cli.registrations import status_of_list
from bender.cli.session import Session, wall_ms
from bender.cli.styled_text import Styled
from bender.cli.top.header import counts, node_line, problem_lines
from bender.cli.top.link import NodeLink
from bender.cli.top.live_registry import LiveRegistry
from bender.cli.top.views import APPS, INSTANCES, LAST_CHANGE, VIEWS, Moment, Scope, TopState
from bender.client import Event, Reply
from bender.client.client import LIST_BYTES_MAX
from bender.client.decoding import decode_json
from bender.client.paths import list_path
from bender.client.responses import BACKEND_KIND, FRONTEND_KIND, NodeStatus, check_body, reader


async def print_snapshot(session: Session, scope: Scope) -> int:
    """Print the status of a node, and the apps or instances that it lists; with --json, print its answers.

    Return the exit status, which is a failure if the app or the version does not exist.
    """
    client = session.client
    status, reply = await client.read(reader(NodeStatus), "GET", "/status")
    answers = {"status": reply.body}
    bodies = {}
    paths = {
        "registrations": list_path(scope.app, scope.version, {}),
        "backends": BACKEND_KIND.path,
        "frontends": FRONTEND_KIND.path,
    }
    for kind, path in paths.items():
        read = partial(_listed, kind.removesuffix("s"))
        bodies[kind], listed = await client.read(read, "GET", path, bytes_max=LIST_BYTES_MAX)
        answers[kind] = listed.body
    if session.screen.as_json:
        session.screen.json(msgspec.json.encode({name: msgspec.Raw(body) for name, body in answers.items()}))
    else:
        registry = LiveRegistry()
        for kind, found in bodies.items():
            for body in found:
                event = Event("online", kind.removesuffix("s"), str(body["id"]), "snapshot", 0, body, reply.node)
                registry.apply(event, 0)
        link = NodeLink(configured_nodes=session.nodes, address=reply.node, status=status)
        _print(session, TopState(registry, link, Moment(0, wall_ms())), scope)
    return await status_of_list(session, scope.app, scope.version, listed=bool(bodies["registrations"]))


def _listed(kind: str, reply: Reply) -> list[dict[str, Any]]:
    """Return the objects of a kind in an answer. Raises `NoAnswer` if it does not have such a list."""
    found: list[dict[str, Any]] = decode_json(reply.body, list[dict[str, Any]])
    for body in found:
        check_body(kind, body)
    return found


def _print(session: Session, shown: TopState, scope: Scope) -> None:
    screen = session.screen
    for parts in (node_line(shown.link), counts(shown, scope), *problem_lines(shown.link)):
        screen.line(Styled(*parts))
    view = VIEWS[APPS if scope.app is None else INSTANCES]
    rows = view.sorted_rows(shown, scope, (), 0, backwards=False)
    fields = [field for field in view.fields if field.name != LAST_CHANGE]  # a snapshot has no changes
    if rows:
        screen.line()
    cells = [[field.styled(shown, row) for field in fields] for row in rows]
    screen.table([field.name for field in fields], cells)
