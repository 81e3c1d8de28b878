"""The clients of a day: instances, watchers, consumers and operators, which come and go.

Each new client has an address that no client had before, so that repeated keys do not hide a leak.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

import msgspec

from bender.core.reasons import CHECK_FAILED
from tests.api.conversation import request
from tests.simulation.clients import Reach
from tests.simulation.cluster import Node
from tests.simulation.soak.connections import Connection
from tests.simulation.soak.world import SoakCluster

APPS = 3
VERSIONS = 3
BACKENDS = 5

#: The seconds for which instances live, and the seconds until another instance takes the place of one that has ended.
LIFE_S = (120.0, 2400.0)
GONE_S = (0.0, 60.0)

#: The seconds for which watchers stay, between two reads, and until the next watcher comes.
WATCHING_S = (20.0, 900.0)
READ_EVERY_S = 5.0
NEXT_S = (0.0, 60.0)

#: The seconds between two requests of operators.
ACTING_S = (5.0, 60.0)

#: The parts of a ttl after which instances renew.
PERIODS = (0.3, 0.4, 0.5)

Way = Literal["POST", "PUT", "renewals", "line", "session"]
_WAYS: tuple[Way, ...] = ("POST", "PUT", "renewals", "line", "session")

_CURSOR = re.compile(rb'"cursor":"([^"]+)"')


class Town:
    """Everything that clients share: the cluster, the nodes that they reach, and the supply of new addresses."""

    def __init__(self, cluster: SoakCluster, reach: Reach) -> None:
        self.cluster = cluster
        self.reach = reach
        self.random = cluster.random
        self.serial = 0

    def next(self) -> int:
        self.serial += 1
        return self.serial

    def address(self) -> tuple[str, int]:
        """Return an address and a port that no client had before."""
        number = self.next()
        return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 1024 + number % 60_000

    def machine(self, number: int, side: int) -> Node | None:
        """Return one of the machines, by number, if it serves and clients on this side of a partition reach it."""
        machines = [*self.cluster.nodes.values()]
        machine = machines[number % len(machines)]
        reached = self.reach.sides is None or machine.name in self.reach.sides[side]
        return machine if machine.serving and reached else None

    def later(self, between_s: tuple[float, float], call: Callable[[], None]) -> None:
        self.cluster.after(self.random.uniform(*between_s), call)


def line_of(message: object) -> bytes:
    return msgspec.json.encode(message) + b"\n"


class Instance:
    """One place for an instance. Instances take it one after the other."""

    def __init__(self, town: Town, number: int) -> None:
        self._town = town
        self._number = number
        self._random = town.random
        self._connection: Connection | None = None
        self._life = 0

    def begin(self) -> None:
        """Begin the life of an instance, with settings drawn by chance."""
        random, town = self._random, self._town
        self._life += 1
        self._client = town.address()
        host, port = self._client
        app = f"web-{self._number % APPS}" if random.random() < 0.8 else f"job-{town.serial}"
        self._path = f"{app}/1.{random.randrange(VERSIONS)}/{host}/{port}"
        self._way: Way = random.choice(_WAYS)
        self._rotates = random.random() < 0.3
        self._home = random.randrange(16)
        self._side = random.randrange(2)
        self._ttl_s = town.cluster.timing.ttl_s * random.choice([1.0, 1.0, 1.0, 0.6, 2.0])
        self._period_s = self._ttl_s * random.choice(PERIODS)
        self._token = f"{town.next():x}" if random.random() < 0.5 else None
        self._weight = 1
        self._registered = False
        self._renew(self._life)
        town.cluster.after(random.uniform(*LIFE_S), self._end)

    def _renew(self, life: int) -> None:
        if life != self._life:
            return
        connection = self._connected()
        if self._random.random() < 0.01:
            self._weight, self._registered = self._random.randrange(1, 100), False
        heard = connection is not None and self._tell(connection)
        if not heard or self._rotates:
            self._home += 1
            self._leave()
        self._town.cluster.after(self._period_s if heard else 0.5, self._renew, life)

    def _connected(self) -> Connection | None:
        """Return the open connection, or a new one."""
        if self._connection is None or not self._connection.usable:
            self._leave()
            machine = self._town.machine(self._home, self._side)
            if machine is not None:
                lines = self._way in ("line", "session")
                self._connection = Connection(self._town.cluster, machine, self._client, lines=lines)
        return self._connection

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _tell(self, connection: Connection) -> bool:
        """Register or renew. Return True if the node has accepted this."""
        if self._way in ("line", "session"):
            return self._tell_by_line(connection)
        if self._registered and self._way == "renewals":
            status = connection.ask(request("POST", "/renewals", {"ids": [self._id]}))
        elif self._registered and self._way == "PUT":
            status = connection.ask(request("PUT", f"/registrations/{self._path}"))
            self._registered = status != 404
        else:
            status = connection.ask(request("POST", f"/registrations/{self._path}", self._document))
            self._registered = status in (200, 201)
        return status in (200, 201)

    def _tell_by_line(self, connection: Connection) -> bool:
        connection.received()
        session = {"session": True, "grace": 1.0} if self._way == "session" else {}
        if self._registered:
            connection.send(line_of({"renew": [self._id], **session}))
        else:
            app, version, host, port = self._path.split("/")
            place = {"app": app, "version": version, "host": host, "port": int(port)}
            connection.send(line_of({"register": place | self._document, **session}))
        answer = connection.received()
        self._registered = b'"registered"' in answer or (b'"renewed"' in answer and self._id.encode() not in answer)
        return b'"registered"' in answer or b'"renewed"' in answer

    @property
    def _id(self) -> str:
        return f"registration/{self._path}"

    @property
    def _document(self) -> dict[str, object]:
        document: dict[str, object] = {"ttl": self._ttl_s, "weight": self._weight, "meta": {"zone": "a"}}
        return document if self._token is None else document | {"instance": self._token}

    def _end(self) -> None:
        """End the instance in one of many ways."""
        self._life += 1
        fate = self._random.choice(["dies", "deregisters", "fails", "waits", "hands over"])
        query = {"fails": f"?reason={CHECK_FAILED}", "waits": "?wait=1"}.get(fate, "")
        if fate == "hands over" and self._token is not None:
            query, before = f"?instance={self._token}", self._token
            self._ask("POST", f"/registrations/{self._path}", self._document | {"instance": f"{before}-next"})
        if fate != "dies":
            self._ask("DELETE", f"/registrations/{self._path}{query}")
        self._leave()
        self._town.later(GONE_S, self.begin)

    def _ask(self, method: str, path: str, document: object = None) -> None:
        machine = self._town.machine(self._random.randrange(16), self._side)
        if machine is not None:
            connection = Connection(self._town.cluster, machine, self._client)
            connection.ask(request(method, path, document))
            self._town.cluster.after(2.0, connection.close)


class Watcher:
    """One place for a watcher. Watchers take it one after the other; some are consumers, and some read nothing."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._random = town.random
        self._name: str | None = None
        self._cursor: bytes | None = None

    def begin(self) -> None:
        """Connect to a node and request events."""
        machine = self._town.machine(self._random.randrange(16), self._random.randrange(2))
        if machine is None:
            self._town.later(NEXT_S, self.begin)
            return
        random, client = self._random, self._town.address()
        lines = random.random() < 0.5
        connection = Connection(self._town.cluster, machine, client, lines=lines)
        selection: dict[str, object] = random.choice([{}, {"app": f"web-{random.randrange(APPS)}"}])
        if random.random() < 0.5:
            selection |= {"snapshot": True}
        if random.random() < 0.5 and self._cursor is not None:
            selection |= {"since": self._cursor.decode()}
        self._name = f"balancer-{self._town.next()}" if random.random() < 0.5 else None
        if self._name is not None:
            selection |= {"name": self._name} | random.choice([{}, {"instance": f"i{self._town.next()}"}])
        if lines:
            connection.send(line_of({"subscribe": selection}))
        else:
            query = "&".join(f"{name}={'true' if value is True else value}" for name, value in selection.items())
            accept = random.choice(["text/event-stream", "text/event-stream", "application/json"])
            connection.send(request("GET", f"/events?{query}", Accept=accept))
        if random.random() < 0.1:
            connection.read_nothing()
        else:
            self._read(connection, lines)
        self._town.cluster.after(random.uniform(*WATCHING_S), self._end, connection)

    def _read(self, connection: Connection, lines: bool) -> None:
        if not connection.usable:
            return
        found = _CURSOR.findall(connection.received())
        if found:
            self._cursor = found[-1]
            if self._name is not None and lines:
                connection.send(line_of({"ack": self._cursor.decode()}))
        self._town.cluster.after(READ_EVERY_S, self._read, connection, lines)

    def _end(self, connection: Connection) -> None:
        connection.close()
        self._town.later(NEXT_S, self.begin)


class Operators:
    """The occasional requests of people and programs, each on a connection of its own."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._random = town.random

    def act(self) -> None:
        """Send one of these requests."""
        machine = self._town.machine(self._random.randrange(16), 0)
        if machine is not None:
            connection = Connection(self._town.cluster, machine, self._town.address())
            connection.ask(self._some(machine))
            self._town.cluster.after(self._random.choice([0.1, 3.0, 100.0]), connection.close)
        self._town.later(ACTING_S, self.act)

    def _some(self, machine: Node) -> bytes:
        random = self._random
        do = random.choice([self._read, self._read, self._configure, self._set_state, self._confirm, self._mistake])
        listed = [key for key, _ in machine.listed()]
        path = random.choice(listed).partition("/")[2] if listed else "web-0/1.0/10.0.0.1/80"
        return do(path)

    def _read(self, path: str) -> bytes:
        app, version, *_ = path.split("/")
        paths = ["/registrations", f"/registrations/{app}", f"/registrations/{app}/{version}", f"/registrations/{path}"]
        paths += ["/registrations?meta.zone=a", f"/explain/registration/{path}", "/status", "/consumers", "/states"]
        paths += [
            "/backends",
            "/backends/b-0/members",
            "/backends/b-1/history",
            "/guard",
            f"/guard/{app}",
            "/",
            "/ready",
        ]
        headers = self._random.choice([{}, {"Accept_Encoding": "gzip"}, {"If_None_Match": '"0"'}])
        return request(self._random.choice(["GET", "GET", "GET", "HEAD"]), self._random.choice(paths), **headers)

    def _configure(self, path: str) -> bytes:
        app, version, *_ = path.split("/")
        name = f"/backends/b-{self._random.randrange(BACKENDS)}?force=true"
        if self._random.random() < 0.2:
            return request("DELETE", name)
        return request("PUT", name, {"app": app, "version": version, "meta": {"n": self._town.next()}})

    def _set_state(self, path: str) -> bytes:
        act = self._random.random()
        if act < 0.2:
            return request("DELETE", f"/registrations/{path}/state")
        if act < 0.3:
            return request("DELETE", f"/guard/{path.partition('/')[0]}")
        state = {"state": self._random.choice(["drain", "maint", "up"]), "for": self._random.uniform(5, 600)}
        return request("PUT", f"/registrations/{path}/state?force=true", state)

    def _confirm(self, _path: str) -> bytes:
        return request("PUT", f"/consumers/agent-{self._town.next()}", {"report": {"problems": {}}})

    def _mistake(self, path: str) -> bytes:
        number = self._town.next()
        return self._random.choice(
            [
                request("GET", f"/nothing/{number}"),
                request("GET", f"/registrations/app-{number}"),
                request("GET", f"/registrations/web-0/{number}"),
                request("GET", f"/guard/app-{number}"),
                request("POST", "/registrations", {"app": f"app {number}"}),
                request("POST", "/registrations", b"{"),
                request("PUT", f"/registrations/{path}0"),
                request("POST", "/renewals", {"ids": [f"registration/none/1/host-{number}/80"]}),
                request("GET", f"/registrations?x{number}=1"),
                b"GET /status HTTP/1.1\r\nX-%d: " % number,
                b"junk %d\r\n\r\n" % number,
            ]
        )
