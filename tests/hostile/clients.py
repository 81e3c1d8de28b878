"""Honest clients of the three nodes: the API without HTTP, instances that renew, operators, and watchers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from twisted.python.failure import Failure

from bender.api.responses import ApiRequest, ApiResponse, DeferredResponse
from bender.api.route import Route
from bender.api.routes import ROUTES, answer
from bender.net.fair_turns import Turns
from bender.node.event_selection import Selection, Subscription
from bender.node.journal import Entry
from bender.node.watcher_stream import EventStream
from tests.api.scraping import series
from tests.hostile.cluster import Cluster, Faults, Honest

_ROUTES = {route.path: route for route in ROUTES}
_INSTANCE = _ROUTES["/registrations/<app>/<version>/<host>/<port>"]
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH")


class Api:
    """Sends requests to nodes; an answer of 500, or an exception, is a fault."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._faults = cluster.faults
        self.request_count = 0

    def ask(self, honest: Honest, route: Route, asked: ApiRequest) -> ApiResponse:
        """Return the answer with its whole body. Lets virtual time pass while the answer takes time."""
        self.request_count += 1
        node = honest.node
        try:
            if not (route.while_not_ready or node.ready):
                return ApiResponse(503)
            answered = answer(node, route, asked)
            if isinstance(answered, DeferredResponse):
                for _ in answered.steps:
                    pass
                answered = answered.answer()
            elif not isinstance(answered, ApiResponse):
                answered = self._cluster.finished(answered)
            assert isinstance(answered, ApiResponse)
            body = answered.body if answered.pieces is None else b"".join(answered.pieces)
        except Exception:
            self._faults.raised(f"{asked.method} {route.path}", Failure())
            return ApiResponse(500)
        if answered.status == 500:
            self._faults.add(f"{asked.method} {route.path} answers 500", f"{asked.path} {body!r}")
        if body and (b"Content-Encoding", b"gzip") not in answered.headers:
            self._read(body, dict(answered.headers)[b"Content-Type"], f"{asked.method} {route.path}")
        return ApiResponse(answered.status, body, answered.headers)

    def _read(self, body: bytes, media_type: bytes, what: str) -> None:
        """Read an answer as JSON, or as metrics, of which no series may be there twice."""
        read = msgspec.json.decode if media_type == b"application/json" else series
        try:
            read(body)
        except (ValueError, RecursionError, AssertionError) as error:
            self._faults.add(f"{what} answers what cannot be read", f"{error}: {body[:200]!r}")

    def everything(self, honest: Honest) -> Counter[int]:
        """Request every route with every method, for every listed id and name; return the count of each status.

        Requests that would change or end something have an invalid body, or name an id that does not exist.
        """
        node = honest.node
        view = node.replica.view
        instances = [tuple(key.split("/")[1:]) for key in view.listed_keys()][:300] or [("web", "1", "h", "80")]
        apps = sorted({(path[0],) for path in instances})
        versions = sorted({path[:2] for path in instances})
        names = {
            kind: [(setting.key.partition("/")[2],) for setting in view.settings(kind)] or [("none",)]
            for kind in ("backend", "frontend")
        }
        statuses: Counter[int] = Counter()
        for route in ROUTES:
            kind = route.path.split("/")[1]
            if "<port>" in route.path:
                paths: Sequence[tuple[str, ...]] = instances
            elif "<version>" in route.path:
                paths = versions
            elif "<app>" in route.path:
                paths = apps
            else:
                paths = names.get(kind.removesuffix("s"), [("none",)]) if "<name>" in route.path else [()]
            for path in paths[:1] if kind == "explain" else paths:
                for method in METHODS:
                    if route.streams and method in ("GET", "HEAD"):
                        continue  # the front answers these; the watchers cover them
                    body = b'{"x' if method in ("POST", "PUT") else b""
                    if kind == "claims":  # a request for claims changes nothing
                        body = msgspec.json.encode({"ids": [f"registration/{'/'.join(of)}" for of in instances[:100]]})
                    of = ("none", *path[1:]) if method == "DELETE" and path else path
                    statuses[self.ask(honest, route, ApiRequest(method, of, "", body, author="somebody")).status] += 1
        return statuses


class Instance:
    """An instance of an app: its client renews it at any node that answers, and registers it again after a 404."""

    def __init__(self, number: int) -> None:
        self.app = "web" if number % 3 else "api"
        self.path = (self.app, "1", f"10.0.1.{number}", "8080")
        self.key = f"registration/{'/'.join(self.path)}"
        self.home = number % 3
        #: The time since which it is registered and renewed without a refusal; None while it should not be listed.
        self.since: float | None = None
        self.renew_at = 0.0
        self.changes = 0
        #: The number of renewals that found it gone.
        self.lost = 0
        #: The number of times that no node answered.
        self.unanswered = 0

    def document(self) -> bytes:
        return msgspec.json.encode({"ttl": None, "meta": {"zone": f"z{self.changes % 3}"}})


class Clients:
    """All instances, and operators that set backends and drain instances."""

    def __init__(self, cluster: Cluster, api: Api, count: int, number: int) -> None:
        self._cluster = cluster
        self._api = api
        self._random = random.Random(number)
        self.instances = [Instance(i) for i in range(count)]
        self.statuses: Counter[str] = Counter()
        #: Whether clients do more than renew.
        self.busy = True

    def act(self) -> None:
        """Perform the actions that are due."""
        now = self._cluster.clock.seconds()
        for instance in self.instances:
            if now >= instance.renew_at:
                instance.renew_at = now + self._cluster.timing.ttl_s * self._random.uniform(0.2, 0.35)
                self._renew(instance, now)
        if self.busy and self._random.random() < 0.05:
            self._operate()

    def _ask(self, instance: Instance, method: str, body: bytes = b"") -> int:
        """Ask the instance's own node first, then the others, as clients do. Return the status, 503 of all nodes."""
        home = self._random.randrange(3) if self._random.random() < 0.1 else instance.home
        for i in range(3):
            honest = self._cluster.nodes[(home + i) % 3]
            status = self._api.ask(
                honest, _INSTANCE, ApiRequest(method, instance.path, "", body, author="10.0.9.1")
            ).status
            self.statuses[f"{method} {status}"] += 1
            if status != 503:
                return status
        instance.unanswered += 1
        return 503

    def _renew(self, instance: Instance, now: float) -> None:
        if self.busy and self._random.random() < 0.02:
            instance.changes += 1
            deregisters = self._random.random() < 0.3
            self._ask(instance, "DELETE" if deregisters else "POST", b"" if deregisters else instance.document())
            if deregisters:
                instance.since = None
                return
        status = self._ask(instance, "PUT")
        if status == 404:
            instance.lost += instance.since is not None
            instance.since = None
            status = self._ask(instance, "POST", instance.document())
        if status == 200 and instance.since is None:
            instance.since = now
        elif status == 503:
            instance.since = None

    def _operate(self) -> None:
        choose = self._random
        honest = choose.choice(self._cluster.nodes)
        what = choose.randrange(4)
        if what == 0:
            body = msgspec.json.encode({"app": "web", "version": str(choose.randint(1, 2)), "balance": "roundrobin"})
            self._api.ask(
                honest, _ROUTES["/backends/<name>"], ApiRequest("PUT", ("site",), "", body, author="10.0.9.2")
            )
        elif what == 1:
            self._api.ask(
                honest, _ROUTES["/backends/<name>/rollback"], ApiRequest("POST", ("site",), author="10.0.9.2")
            )
        elif what == 2:
            body = msgspec.json.encode({"backend": "site", "bind": {"port": 80}})
            self._api.ask(
                honest, _ROUTES["/frontends/<name>"], ApiRequest("PUT", ("edge",), "", body, author="10.0.9.2")
            )
        else:
            state = _ROUTES["/registrations/<app>/<version>/<host>/<port>/state"]
            path, method = choose.choice(self.instances).path, choose.choice(("PUT", "PUT", "DELETE"))
            body = b'{"state":"drain","for":60}' if method == "PUT" else b""
            self._api.ask(honest, state, ApiRequest(method, path, "", body, author="10.0.9.2"))


class _Shown(msgspec.Struct, forbid_unknown_fields=False):
    id: str
    resource: Literal["Registration"]
    app: str
    version: str
    host: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    ttl: float
    weight: Annotated[int, msgspec.Meta(ge=0, le=256)]
    meta: dict[str, Any]
    state: Literal["up", "drain", "maint"]


class _Event(msgspec.Struct):
    event: str
    cursor: str
    registration: _Shown | None = None
    backend: dict[str, Any] | None = None
    frontend: dict[str, Any] | None = None
    snapshot: bool = False


_events = msgspec.json.Decoder(_Event)


class Watcher:
    """Follows the events of a node, and checks each line as it comes."""

    def __init__(self, cluster: Cluster, honest: Honest, **selection: Any) -> None:
        self._faults: Faults = cluster.faults
        self._honest = honest
        self._whole = "app" not in selection
        self.online: set[str] = set()
        self.number: int | None = None
        self.count = 0
        self.closed = False
        self._stream = EventStream(honest.node, Turns(cluster.clock), cluster.clock, self, ticks=True)
        self._stream.follow(Subscription(honest.node, Selection(**selection)))

    def send(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self.count += 1
            try:
                self._see(entry)
            except (ValueError, AssertionError, RecursionError) as error:
                self._faults.add(f"a watcher was sent something wrong: {str(error)[:60]}", repr(entry.line[:1000]))

    def _see(self, entry: Entry) -> None:
        line = entry.line
        assert line.endswith(b"\n") and not any(byte < 32 for byte in line[:-1]), "is not one line"
        assert len(line) <= 16_384, "a line is too long"
        event = _events.decode(line)
        if event.snapshot and event.registration:
            self.online.add(event.registration.id)
        elif not event.snapshot and event.event in ("online", "offline", "changed", "created", "removed"):
            number = int(event.cursor.rpartition("-")[2])
            if self._whole and self.number is not None:
                assert number == self.number + 1, "an event is missing"
            self.number = number
        if event.registration is None or event.snapshot:
            return
        shown = event.registration
        named = f"registration/{shown.app}/{shown.version}/{shown.host}/{shown.port}"
        assert shown.id == named, "an id that is not what its parts say"
        if event.event == "online":
            assert shown.id not in self.online, "online twice"
            self.online.add(shown.id)
        elif event.event == "offline":
            assert shown.id in self.online, "offline twice"
            self.online.remove(shown.id)
        else:
            assert shown.id in self.online, "a change of what is offline"

    def on_caught_up(self) -> None:
        """Whether it has received the snapshot and is live."""

    def drop(self) -> None:
        self.closed = True
        self._faults.add("a watcher was dropped", self._honest.name)

    def end(self) -> None:
        self.closed = True

    def displace(self, reason: str) -> None:
        self.closed = True
        self._faults.add("a watcher was displaced", reason)

    def check(self) -> None:
        """Check that it received exactly the instances that are listed, and is not behind."""
        journal = self._honest.node.journal
        listed = {*self._honest.node.replica.view.listed_keys()}
        if self._whole and self.online != listed:
            wrong = sorted(self.online ^ listed)[:5]
            self._faults.add("a watcher knows something else than what is listed", f"{self._honest.name}: {wrong}")
        if self._whole and self.number is not None and self.number != journal.last_number:
            self._faults.add("a watcher is behind", f"{self._honest.name}: {self.number} of {journal.last_number}")

    def close(self) -> None:
        self._stream.close()


def listed(honest: Honest) -> set[str]:
    return {*honest.node.replica.view.listed_keys()}


__all__ = ["Api", "Clients", "Instance", "Watcher", "listed"]
