"""The instances of a soak: they renew in four ways on connections that are kept, and some are replaced all the time."""

from __future__ import annotations

import json
import random
import socket
from collections import Counter
from collections.abc import Callable, Sequence

from attrs import define

from bench.nodes import Connection, Node, connect

#: Instances of one app, and its versions.
PER_APP = 100
VERSIONS = 3

#: How often instances are renewed, and their ttl: on a busy machine, all begin before the first of them lapses.
RENEW_EVERY_S = 10.0
TTL_S = 60.0

#: Ticks of the load in a second, of which each sends its share of renewals and waits for all answers.
TICKS_PER_S = 10

#: Ticks until batches go to the second node as well, where claims of the same instances are made by that.
SECOND_EVERY_TICKS = 4

#: Instances that are registered one after the other in the beginning, until something else is done.
REGISTERED_AT_ONCE = 200

#: Ways to renew: one instance in a request, by PUT or by POST, or many, by HTTP or in a line.
WAYS = ("PUT", "POST", "renewals", "renew")

#: Connections for each of the two that have one instance in a request.
CONNECTIONS = 50

_SHARE_OF_DELETED = 0.5


@define
class Instance:
    """An instance. Each has another `serial`, and so another address."""

    app: str
    version: str
    serial: int
    port: int

    @property
    def path(self) -> str:
        host = f"10.{self.serial >> 16 & 255}.{self.serial >> 8 & 255}.{self.serial & 255}"
        return f"{self.app}/{self.version}/{host}/{self.port}"

    @property
    def id(self) -> str:
        return f"registration/{self.path}"


class Requests:
    """Requests as bytes, with a token if there is one."""

    def __init__(self, token: str | None) -> None:
        self.token = token
        self._authorization = f"Authorization: Bearer {token}\r\n" if token else ""

    def http(self, method: str, path: str, document: object = None, headers: str = "") -> bytes:
        body = b"" if document is None else json.dumps(document, separators=(",", ":")).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\n{self._authorization}{headers}"
        if method != "GET":
            head += f"Content-Length: {len(body)}\r\n"
        if body:
            head += "Content-Type: application/json\r\n"
        return head.encode() + b"\r\n" + body


class LineConnection:
    """A kept connection to the port of the events that renews, and follows no events."""

    def __init__(self, node: Node, token: str | None) -> None:
        self._socket = connect(node.events, node.context)
        self._received = b""
        if token:
            self._socket.sendall(line_of({"token": token}))
        self._read_until(b'"hello"')
        self._socket.sendall(line_of({"subscribe": False}))

    def renew(self, ids: Sequence[str]) -> list[str]:
        """Renew instances; return the ids that are not registered."""
        self._socket.sendall(line_of({"renew": ids}))
        unknown: list[str] = json.loads(self._read_until(b'"renewed"'))["unknown"]
        return unknown

    def _read_until(self, word: bytes) -> bytes:
        while True:
            line, end, rest = self._received.partition(b"\n")
            if end:
                self._received = rest
                if word in line:
                    return line
                if b'"error"' in line:
                    raise SystemExit(f"A line was answered by an error: {line!r}")
                continue
            data = self._socket.recv(1 << 16)
            if not data:
                raise SystemExit("The node closed the connection of a client that renews.")
            self._received += data


def line_of(message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


class Instances:
    """All instances, and the connections by which they renew at the first node, some of them at the second as well."""

    def __init__(self, first: Node, second: Node, requests: Requests, count: int) -> None:
        self.counts: Counter[str] = Counter()
        self._nodes = (first, second)
        self._requests = requests
        self._serial = 0
        self._random = random.Random(1)  # noqa: S311 - the load is the same each time
        self._all = [self._new(place) for place in range(count)]
        self._next = 0
        self._replaced = 0
        self._ticks = 0
        self._singles: dict[str, list[Connection]] = {}
        self._batches = [self._connect(node) for node in self._nodes]
        self._line = LineConnection(first, requests.token)

    def _connect(self, node: Node) -> Connection:
        return Connection(node.api, node.context)

    def _new(self, place: int) -> Instance:
        self._serial += 1
        return Instance(f"app-{place // PER_APP}", f"1.{self._serial % VERSIONS}", self._serial, 8000 + place % 50)

    def register_all(self, meanwhile: Callable[[], None]) -> None:
        """Register all instances for the first time, with other work in between; then make the other connections."""
        for begin in range(0, len(self._all), REGISTERED_AT_ONCE):
            some = self._all[begin : begin + REGISTERED_AT_ONCE]
            self._batches[0].ask_all([self._registering(each) for each in some], REGISTERED_AT_ONCE // 2)
            meanwhile()
        first = self._nodes[0]
        self._singles = {way: [self._connect(first) for _ in range(CONNECTIONS)] for way in ("PUT", "POST")}

    def sample(self) -> Instance:
        """Return a random instance."""
        return self._random.choice(self._all)

    def _registering(self, instance: Instance) -> bytes:
        document = {"ttl": TTL_S, "meta": {"zone": "a"}}
        return self._requests.http("POST", f"/registrations/{instance.path}", document)

    def ask(self, node: int, request: bytes) -> None:
        """Send a request to the first or second node on a connection that is kept; it must succeed."""
        self._batches[node].ask_all([request])

    # Renewals.

    def renew(self, count: int) -> None:
        """Renew the next instances, each in its way, and wait for all answers."""
        at = [(self._next + i) % len(self._all) for i in range(count)]
        self._next = (at[-1] + 1) % len(self._all)
        self._ticks += 1
        by_way = {way: [self._all[place] for place in at if place % len(WAYS) == i] for i, way in enumerate(WAYS)}
        for way in ("PUT", "POST"):
            self._renew_singly(way, by_way[way])
        for node in (0, 1) if self._ticks % SECOND_EVERY_TICKS == 0 else (0,):
            self._renew_together(node, by_way["renewals"])
        self._register_again(self._line.renew([each.id for each in by_way["renew"]]))
        self.counts["renewals"] += count

    def _renew_singly(self, way: str, instances: Sequence[Instance]) -> None:
        connections = self._singles[way]
        for begin in range(0, len(instances), len(connections)):
            some = instances[begin : begin + len(connections)]
            for connection, instance in zip(connections, some, strict=False):
                path = f"/registrations/{instance.path}"
                connection.send(self._requests.http("PUT", path) if way == "PUT" else self._registering(instance))
            for connection, instance in zip(connections, some, strict=False):
                status, body = connection.receive()
                if status == 404:
                    self._register_again([instance.id])
                elif status == 201:
                    self.counts["lapsed"] += 1
                elif status != 200:
                    raise SystemExit(f"A renewal was answered {status}: {body[:200]!r}")

    def _renew_together(self, node: int, instances: Sequence[Instance]) -> None:
        ids = [each.id for each in instances]
        status, body = self._batches[node].ask(self._requests.http("POST", "/renewals", {"ids": ids}))
        if status != 200:
            raise SystemExit(f"Renewals were answered {status}: {body[:200]!r}")
        self._register_again(json.loads(body)["unknown"])

    def _register_again(self, ids: Sequence[str]) -> None:
        self.counts["lapsed"] += len(ids)
        self._batches[0].ask_all(
            [self._requests.http("POST", f"/registrations/{id_.partition('/')[2]}", {"ttl": TTL_S}) for id_ in ids]
        )

    # Replacement.

    def replace_one(self) -> None:
        """Let an instance end, deregistered or silently, and another one take its place, on a new connection."""
        with self._connect(self._any_node()) as connection:
            self._replace(connection, self._random.randrange(len(self._all)))

    def replace_next(self, count: int) -> None:
        """Replace the next instances, on kept connections."""
        for _ in range(count):
            self._replace(self._batches[self._nodes.index(self._any_node())], self._replaced % len(self._all))
            self._replaced += 1

    def _any_node(self) -> Node:
        return self._nodes[self._random.random() < 0.3]

    def _replace(self, connection: Connection, place: int) -> None:
        gone, new = self._all[place], self._new(place)
        self._all[place] = new
        if self._random.random() < _SHARE_OF_DELETED:
            status, body = connection.ask(self._requests.http("DELETE", f"/registrations/{gone.path}"))
            if status not in (200, 204, 404):
                raise SystemExit(f"A deregistration was answered {status}: {body[:200]!r}")
        connection.ask_all([self._registering(new)])
        self.counts["replaced"] += 1


def reset(connection: socket.socket) -> None:
    """Close a connection so that the node gets a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
