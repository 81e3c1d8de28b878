"""Short functions for events, members and servers in tests."""

from __future__ import annotations

from typing import Any

from bender.haproxy.core.registry import ReceivedEvent
from bender.haproxy.core.servers import DesiredServer

#: A text with printable characters that have a special meaning in HAProxy, in shells or in names.
HOSTILE = """a b'"\\#{}%[x];é$(HOME)|&~__,=*?<>!`^@:"""


def instance(port: int, version: str = "1", **more: Any) -> dict[str, Any]:
    host = more.pop("host", "10.0.0.1")
    return {
        "id": f"registration/web/{version}/{host}/{port}",
        "app": "web",
        "version": version,
        "host": host,
        "port": port,
        "weight": 1,
        "state": "up",
        **more,
    }


def online(port: int, version: str = "1", **more: Any) -> ReceivedEvent:
    body = instance(port, version, **more)
    return ReceivedEvent("online", "registration", body["id"], "registered", body)


def offline(port: int, reason: str, version: str = "1", **more: Any) -> ReceivedEvent:
    body = instance(port, version, **more)
    return ReceivedEvent("offline", "registration", body["id"], reason, body)


def backend(name: str, event: str = "created", reason: str = "configured", **fields: Any) -> ReceivedEvent:
    body = {"id": f"backend/{name}", "name": name, "app": "web", "version": "1", **fields}
    return ReceivedEvent(event, "backend", f"backend/{name}", reason, body)


def frontend(name: str, event: str = "created", reason: str = "configured", **fields: Any) -> ReceivedEvent:
    return ReceivedEvent(
        event, "frontend", f"frontend/{name}", reason, {"id": f"frontend/{name}", "name": name, **fields}
    )


def server(name: str, **more: Any) -> DesiredServer:
    fields = {"id": f"registration/{name}", "version": "1", "address": "10.0.0.1", "port": 80, "weight": 1}
    return DesiredServer(name, **{**fields, "state": "up", **more})
