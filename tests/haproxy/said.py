"""What bender may say, in short."""

from __future__ import annotations

from typing import Any

from bender.haproxy.core.registry import Said
from bender.haproxy.core.servers import Server

#: Printable, and everything that means something to somebody.
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


def online(port: int, version: str = "1", **more: Any) -> Said:
    body = instance(port, version, **more)
    return Said("online", "registration", body["id"], "registered", body)


def offline(port: int, reason: str, version: str = "1", **more: Any) -> Said:
    body = instance(port, version, **more)
    return Said("offline", "registration", body["id"], reason, body)


def backend(name: str, event: str = "created", reason: str = "configured", **fields: Any) -> Said:
    body = {"id": f"backend/{name}", "name": name, "app": "web", "version": "1", **fields}
    return Said(event, "backend", f"backend/{name}", reason, body)


def frontend(name: str, event: str = "created", reason: str = "configured", **fields: Any) -> Said:
    return Said(event, "frontend", f"frontend/{name}", reason, {"id": f"frontend/{name}", "name": name, **fields})


def server(name: str, **more: Any) -> Server:
    fields = {"id": f"registration/{name}", "version": "1", "address": "10.0.0.1", "port": 80, "weight": 1}
    return Server(name, **{**fields, "state": "up", **more})
