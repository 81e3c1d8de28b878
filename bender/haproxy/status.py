"""The driver's status over HTTP.

`GET /` and `GET /status` return the status as JSON, `GET /ready` 200 or, while HAProxy is not as desired, 503, and
`GET /metrics` the metrics for Prometheus.

Requests change nothing. They return the state at the last check of HAProxy, at most two seconds ago.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from bender.haproxy.core.actual_state import Row
from bender.haproxy.core.registry import kept_ids
from bender.haproxy.driver import Driver
from bender.haproxy.metrics import driver_families
from bender.haproxy.reloader import WRITE_RETRY_S_MAX
from bender.metrics.exposition import Exposition

#: Time limit for a request.
REQUEST_S_MAX = 30.0


def site(driver: Driver, reactor: IReactorTime) -> Site:
    """Return the site to serve at `--status`."""
    root = Resource()
    shown = _Page(lambda: (HTTPStatus.OK, status(driver)))
    root.putChild(b"", shown)
    root.putChild(b"status", shown)
    root.putChild(b"ready", _Page(lambda: readiness(driver)))
    root.putChild(b"metrics", _MetricsPage(driver))
    return _Quiet(_Root(root), timeout=REQUEST_S_MAX, reactor=reactor)


def readiness(driver: Driver) -> tuple[HTTPStatus, dict[str, Any]]:
    """Return 200 if HAProxy answers and has had the desired state, and files can be written; else 503 and the reason.

    A driver that was ready stays ready when HAProxy refuses a configuration: HAProxy keeps the previous one, and its
    members still follow bender.
    """
    file_problem = driver.reloader.file_problem
    if driver.ready and not driver.silence and file_problem is None and not driver.has_stopped:
        return HTTPStatus.OK, {"ready": True}
    if driver.has_stopped:
        why = "the driver has stopped working because of a defect (see its log): restart it"
    elif not driver.synced:
        why = "no node has sent its full state yet"
    elif driver.hold_reason is not None:
        why = driver.hold_reason
    elif driver.silence:
        why = f"HAProxy {driver.silence}"
    elif file_problem is not None:
        why = f"{file_problem}; it is retried with growing pauses of up to {WRITE_RETRY_S_MAX:g} s"
    else:
        why = driver.reloader.refusal.why if driver.reloader.refusal is not None else "HAProxy is about to be updated"
    return HTTPStatus.SERVICE_UNAVAILABLE, {"code": "NOT_READY", "message": why}


def status(driver: Driver) -> dict[str, Any]:
    """Return the status of the driver."""
    watch, acknowledger, registry = driver.watch, driver.acknowledger, driver.desired.registry
    behind = driver.behind_since
    return {
        "name": acknowledger.name,
        "ready": readiness(driver)[0] == HTTPStatus.OK,
        "bender": {
            "node": watch.node,
            "synced": driver.synced,
            "cursor": watch.taken.cursor if watch.taken is not None else None,
            "acknowledged": acknowledger.acknowledged.cursor if acknowledger.acknowledged is not None else None,
            "lag": 0.0 if behind is None else round(driver.now() - behind, 3),
            "away": dict(driver.unreachable_nodes),
            "consumer_problem": acknowledger.problem,
        },
        "haproxy": _haproxy(driver),
        "held": driver.hold_reason,
        "kept": [*kept_ids(registry)],
        "problems": _problems(driver),
        "frontends": _frontends(driver),
        "backends": _backends(driver),
    }


def metrics(driver: Driver, accept: str | None) -> tuple[str, bytes]:
    """Return the media type and the text of the driver's metrics, in a format that the client accepts."""
    exposition = Exposition(accept)
    ready = readiness(driver)[0] == HTTPStatus.OK
    for _ in exposition.steps(driver_families(driver, len(_problems(driver)), ready=ready)):
        pass
    return exposition.content_type, b"".join(exposition.pieces)


def _haproxy(driver: Driver) -> dict[str, Any]:
    process, reloader = driver.process, driver.reloader
    refusal = reloader.refusal
    return {
        "answers": process is not None,
        "problem": f"HAProxy {driver.silence}" if driver.silence else None,
        "pid": None if process is None else process.pid,
        "version": None if process is None else ".".join(map(str, process.version)),
        "starts": reloader.control.start_count,
        "reloads": reloader.reload_count,
        "settled": reloader.is_settled(process),
        "refused": None if refusal is None else {"at": refusal.since_ms, "why": refusal.why},
        "file": str(reloader.files.output),
        "file_problem": reloader.rewrite_problem or reloader.states_problem,
        "refused_commands": [*driver.refused_commands],
    }


def _problems(driver: Driver) -> dict[str, str]:
    """Return by id why backends, frontends and registrations, or parts of them, cannot be used."""
    without = {
        id_: "no usable address is known for its host" for ids in driver.desired.without_address.values() for id_ in ids
    }
    return dict(sorted((driver.desired.all_problems | without).items()))


def _frontends(driver: Driver) -> dict[str, Any]:
    return {
        door.title: {"haproxy": door.name, "binds": [*door.binds], "mode": door.mode, "haproxy_backend": door.pool}
        for door in driver.reloader.topology.doors
    }


def _backends(driver: Driver) -> dict[str, Any]:
    by_pool: dict[str, list[Row]] = {}
    for row in driver.rows:
        by_pool.setdefault(row.pool, []).append(row)
    backends: dict[str, Any] = {}
    for pool in driver.reloader.topology.pools:
        backend = backends.setdefault(pool.title, {"haproxy": [], "servers": []})
        backend["haproxy"].append(pool.name)
        backend["servers"] += [_server(driver, row) for row in by_pool.get(pool.name, ())]
    return backends


def _server(driver: Driver, row: Row) -> dict[str, Any]:
    """Return one server. Its `id` is null if the server has no member, because it is about to be deleted."""
    owner = driver.counts.owners.get((row.pool, row.name))
    return {
        "haproxy": f"{row.pool}/{row.name}",
        "id": None if owner is None else owner.id,
        "version": None if owner is None else owner.version,
        "address": row.address,
        "status": row.status,
        "weight": row.weight,
        "check": row.check or None,
        "sessions": row.sessions,
    }


class _Quiet(Site):
    """A site that logs no requests, because monitors send one every few seconds."""

    noisy = False

    def log(self, request: object) -> None:
        """Log nothing."""


class _Root(Resource):
    """Answers requests for unknown pages as bender's API does."""

    def __init__(self, pages: Resource) -> None:
        super().__init__()
        self._pages = pages

    def getChild(self, path: bytes, request: Request) -> Resource:
        page: Any = self._pages.children.get(path)
        if page is None or request.postpath:
            return _Page(
                lambda: (
                    HTTPStatus.NOT_FOUND,
                    {"code": "NOT_FOUND", "message": "no such page: use /status, /ready or /metrics"},
                )
            )
        found: Resource = page
        return found


_OTHER_METHOD = {"code": "METHOD_NOT_ALLOWED", "message": "use GET or HEAD"}


class _MetricsPage(Resource):
    isLeaf = True

    def __init__(self, driver: Driver) -> None:
        super().__init__()
        self._driver = driver

    def render(self, request: Request) -> bytes:
        if request.method not in (b"GET", b"HEAD"):
            return _Page(lambda: (HTTPStatus.OK, {})).render(request)
        accept = request.requestHeaders.getRawHeaders("Accept")
        media_type, body = metrics(self._driver, ",".join(accept) if accept else None)
        request.setHeader(b"Content-Type", media_type.encode())
        request.setHeader(b"Vary", b"Accept")
        return body


class _Page(Resource):
    isLeaf = True

    def __init__(self, content: Callable[[], tuple[HTTPStatus, dict[str, Any]]]) -> None:
        super().__init__()
        self._content = content

    def render(self, request: Request) -> bytes:
        status, content = self._content()
        if request.method not in (b"GET", b"HEAD"):
            status, content = HTTPStatus.METHOD_NOT_ALLOWED, _OTHER_METHOD
            request.setHeader(b"Allow", b"GET, HEAD")
        elif status == HTTPStatus.SERVICE_UNAVAILABLE:
            request.setHeader(b"Retry-After", b"1")
        request.setResponseCode(status)
        request.setHeader(b"Content-Type", b"application/json")
        request.setHeader(b"Cache-Control", b"no-store")
        return msgspec.json.encode(content) + b"\n"
