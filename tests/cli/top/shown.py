"""Events, states and pictures for the tests of `bender top`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bender.cli.top.controls import TopControls
from bender.cli.top.frame import Size, frame
from bender.cli.top.link import NodeLink
from bender.cli.top.live_registry import LiveRegistry
from bender.cli.top.views import Moment, TopState
from bender.client import Event
from bender.client.responses import NodeCounts, NodeStatus, PeerStatus

WALL_MS = 1_800_000_000_000

SYNCED = Event("synced", "", "", "snapshot", WALL_MS, {}, "127.0.0.1:1729")


def instance(
    id_: str = "web/1.2.0/10.0.0.5/8080", event: str = "online", reason: str = "snapshot", **more: Any
) -> Event:
    """Return an event of a registration; `more` are its fields."""
    app, version, host, port = id_.split("/")
    body: dict[str, Any] = {
        "id": f"registration/{id_}",
        "app": app,
        "version": version,
        "host": host,
        "port": int(port),
        "ttl": 10.0,
        "weight": 1,
        "meta": {},
        "registered": WALL_MS - 60_000,
        "node": "n1",
        "state": "up",
    }
    body |= more
    return Event(event, "registration", str(body["id"]), reason, WALL_MS, body, "127.0.0.1:1729")


def backend(name: str = "shop", event: str = "created", reason: str = "snapshot", **settings: Any) -> Event:
    body = {"id": f"backend/{name}", "name": name, "app": "web", "version": "1.2.0", **settings}
    return Event(event, "backend", f"backend/{name}", reason, WALL_MS, body, "127.0.0.1:1729")


def frontend(name: str, backend_name: str) -> Event:
    body = {"id": f"frontend/{name}", "name": name, "backend": backend_name}
    return Event("created", "frontend", f"frontend/{name}", "snapshot", WALL_MS, body, "127.0.0.1:1729")


def status(node: str = "n1", peers: Sequence[PeerStatus] = (), **more: Any) -> NodeStatus:
    counts = NodeCounts(registrations=3, frontends=0, claims=4)
    return NodeStatus(node, "1.0", more.pop("ready", True), 3600.0, "0123456789abcdef", counts, peers, **more)


def registry_of(*events: Event, at: float = 0.0) -> LiveRegistry:
    """Return a registry that has received these events, the last one as a new change."""
    registry = LiveRegistry()
    for event in (*events, SYNCED):
        registry.apply(event, at)
    return registry


def link_of(**more: Any) -> NodeLink:
    return NodeLink(("127.0.0.1:1729",), "127.0.0.1:1729", status(**more), 0.0)


def shown_at(now: float, registry: LiveRegistry, link: NodeLink | None = None) -> TopState:
    return TopState(registry, link or link_of(), Moment(now, WALL_MS))


def picture(shown: TopState, controls: TopControls | None = None, columns: int = 80, lines: int = 24) -> list[str]:
    """Return the lines of a screen, without styles and spaces at their ends."""
    controls = controls or TopControls()
    made = frame(shown, shown, controls, Size(columns, lines), controls.rows(shown))
    return [line.plain.rstrip() for line in made]
