"""The hostile peer: fills shapes with values like those in use, and sends them under various names.

The peer knows everything that a peer can know: the nodes, their incarnations, versions and addresses, and the
registered ids. `Peer.lies` selects what it may lie about.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec
from attrs import Factory, define, frozen

from bender.core.admin_state import key_of_state
from bender.core.consumers import AwaitedChange, ConsumerState
from bender.core.diagnosis import NodeDiagnosis
from bender.core.entries import ROW
from bender.core.ledger import NUMBER_MAX
from bender.core.ttl_limits import TTL_S_MAX
from bender.exchange import wire_schema
from tests.hostile.shapes import UNSIGNED_MAX, Like, Map, Number, Of, Struct, shapes_of

#: Incarnations, addresses and ids that the peer invents, except in a crowd.
INVENTED = 25

#: Incarnations that one message of a crowd invents.
CROWD = 30

#: The ttls that it sends most of the time.
TTLS = (0.001, 1.0, 10.0, 10.0, 20.0)

#: The types of the wire from which messages are made.
WIRE_ROOTS = (wire_schema.WireMessage, wire_schema.WireSender, wire_schema.WireLease, wire_schema.WireNode)

ODD_KEYS = (
    *("x", "registration", "a/b/c", "registration/", "registration/web/1/10.0.0.1", "backend/site"),
    *(f"registration/web/1/10.0.0.1/{port}" for port in ("0", "080", "80/more", "80;", "80\n", "99999")),
    *(f"registration/web/1/{host}/80" for host in ("UPPER", "::1%x", "", "0.0.0.0 check", "h;")),
    *(f"registration/{app}/1/h/80" for app in ("..", "", 'we"b\\', "\u2028", "\u001b[2J", "k" * 255, "k" * 900)),
)

ODD_BODIES = (
    b"",
    b"{}",
    b"null",
    b"[" * 500 + b"]" * 500,
    b'{"a":' * 300 + b"1" + b"}" * 300,
    b'}}\n{"event":"online","registration":{"id":"registration/forged/1/h/1"',
    b'{"ttl":10.0,"weight":1,"meta":{},"registered":1,"node":"n"}}\n{"event":"offline"',
    b'{"ttl":10.0,"weight":1,"meta":{"a":"\n"},"registered":1,"node":"n"}',
    b'{"ttl":10.0,"weight":1,"meta":{},"registered":1,"node":"\\u001b[2J"}',
    b'{"ttl":10.0,"weight":1,"meta":{},"registered":1,"node":"\\ud800"}',
    b'{"ttl":1e999,"weight":1,"meta":{},"registered":1,"node":"n"}',
    b'{"ttl":10.0,"weight":-1,"meta":{},"registered":1,"node":"n"}',
    b'{"ttl":10.0,"weight":1,"meta":{},"registered":1e400,"node":"n"}',
    b'{"ttl":10.0,"weight":1,"meta":{},"registered":1,"node":"n","state":"up","id":"forged"}',
    b'{"ttl":10.0,"weight":1,"meta":{"a":"\xff"},"registered":1,"node":"n"}',
    b'{"ttl":10.0,"weight":1,"meta":{"a":NaN},"registered":1,"node":"n"}',
    b'{"ttl":10.0,"weight":1,"meta":{},"registered":1,"node":"' + b"x" * 13_000 + b'"}',
    b"\x00" * 16_384,
    b"\xff\xfe{}",
)

SETTING_KEYS = (
    *(f"backend/b{number}" for number in range(8)),
    *(f"frontend/f{number}" for number in range(4)),
    *("backend/site", "frontend/edge", "guard/web", "guard/", "state/", "state/x", "backend/", "zzz/later", "later/"),
    *("backend/a\nb", "Backend/site", "frontend/a/b", "x", "/", "backend/\u202e", "state/web/1/h/80"),
)

#: The fields whose values are mostly like those in use.
LIKE = frozenset(
    f"{struct}.{field}"
    for struct, fields in {
        "Sender": "incarnation name address",
        "Counter": "incarnation name address beats age_s ttl_max_s",
        "Delta": "incarnation since base version reach",
        "Entry": "step key ttl_s rev body roots",
        "Copy": "step of_node of_n checksum",
        "Live": "rows",
        "Setting": "key rev incarnation body lasts_s age_s author",
        "Message": "heads{} heads{}= reaches{} reaches{}= checksums{} checksums{}= ask echo digest buckets known[]",
        "AwaitedChange": "key incarnation version within_s",
    }.items()
    for field in fields.split()
)


class Known(Protocol):
    """The state of an honest node that a peer can know."""

    name: str
    address: str
    incarnation: int
    version: int
    beats: int
    echoes: list[float]
    digest: int


@define
class Invented:
    """An incarnation that the peer invented, the address where it answers, and the version of its ledger."""

    incarnation: int
    name: str
    address: str
    version: int = 0
    beats: int = 0


@frozen
class Scene:
    """The material of messages: honest nodes, the ids registered with them, and the dots of their claims."""

    nodes: list[Any]
    keys: list[str]
    bodies: dict[str, bytes] = Factory(dict)


class Peer:
    """Generates messages from shapes and a seed."""

    def __init__(self, number: int, shapes: int, interval_s: float) -> None:
        self._random = random.Random(number)
        self._interval_s = interval_s
        #: Whether it sends in the names of honest nodes, about their registrations.
        self.lies = False
        #: Whether each message comes from another incarnation at another address.
        self.crowds = False
        #: The longest ttl that it sends: a ledger is kept for ten minutes longer.
        self.ttl_max_s = 3 * TTL_S_MAX
        self.invented = [self._invent() for _ in range(INVENTED)]
        self.scene = Scene([], [])
        roots = (*WIRE_ROOTS, NodeDiagnosis, ConsumerState, AwaitedChange)
        self._shapes = shapes_of(roots, shapes, number, LIKE)
        self._makers: dict[str, Callable[[], Any]] = self._all_makers()

    @property
    def addresses(self) -> set[str]:
        return {each.address for each in self.invented}

    # Messages.

    def message(self, *, at: str | None = None, answers: bool = False) -> bytes:
        """Return a message as bytes; `at` is the address of its sender if it is an answer."""
        choose = self._random
        if self.crowds:
            self.invented = [*self.invented[:INVENTED], *self.invented[-CROWD:], self._invent()]
        sender = self._filled(Of("Sender"))
        if choose.random() < 0.7:  # an ordinary peer, so that it is answered and asked in its turn
            who = self.invented[-1] if self.crowds else choose.choice(self.invented)
            if answers:
                who = next((each for each in self.invented[:INVENTED] if each.address == at), who)
            sender = (who.incarnation, who.name, who.address, 0)
        payload = self._filled(Of("Message"))
        if choose.random() < 0.5:
            payload = self._introduced(payload, sender)
        encoded = msgspec.msgpack.encode(payload)
        if choose.random() < 0.05 or len(encoded) > 100_000:
            encoded = msgspec.msgpack.encode(zlib.compress(encoded, 1))
        return msgspec.msgpack.encode((1, "bender", self._interval_s, sender, msgspec.Raw(encoded)))

    def account(self) -> bytes:
        return msgspec.msgpack.encode(self._filled(Of("NodeDiagnosis"), as_map=True))

    def consumers(self) -> bytes:
        consumers = [self._filled(Of("ConsumerState"), as_map=True) for _ in range(self._random.randint(0, 3))]
        return msgspec.msgpack.encode(consumers)

    def awaited(self) -> bytes:
        return msgspec.msgpack.encode((1, "bender", self._filled(Of("AwaitedChange"))))

    def leases(self) -> bytes:
        leases = [self._filled(Of("Lease")) for _ in range(self._random.randint(0, 2))]
        return msgspec.msgpack.encode([*leases, None][: self._random.randint(0, 3)])

    def report(self) -> bytes:
        return msgspec.msgpack.encode(self._filled(Of("Node")))

    def question(self) -> bytes:
        return msgspec.msgpack.encode((self._random.choice((1, 1, 2, 9)), "bender"))

    def claims_inquiry(self) -> bytes:
        return msgspec.msgpack.encode(
            (1, "bender", [self._key() for _ in range(self._random.choice((0, 1, 100, 101)))])
        )

    def inquiry(self) -> bytes:
        return msgspec.msgpack.encode((1, "bender", self._key()))

    def _introduced(self, payload: tuple[Any, ...], sender: tuple[Any, ...]) -> tuple[Any, ...]:
        """Add a counter of the sender, without which nodes take no ledger from it."""
        version = max((delta[3] for delta in payload[3] if delta[0] == sender[0]), default=0)
        who = next((each for each in self.invented if each.incarnation == sender[0]), None)
        if who is not None:
            who.beats += 1
        counters = [(*sender[:3], who.beats if who else 1, 0.0, False, 0.0)]
        if self.crowds:
            self.invented += [self._invent() for _ in range(CROWD)]
            crowd = self.invented[-CROWD:]
            counters += [(each.incarnation, each.name, each.address, 1, 0.0, False, 0.0) for each in crowd]
        heads = payload[0]
        if heads is not None and version:
            heads = heads | {sender[0]: version}
        return (heads, payload[1], [*payload[2], *counters], *payload[3:])

    def _invent(self) -> Invented:
        incarnation = self._random.getrandbits(64)
        number = self._random.randrange(10**9)
        address = f"10.6.{number % 251}.{number // 251 % 251}:{number % 60_000}"
        return Invented(incarnation, f"h{number % 1000}", address)

    # Filling.

    def _filled(self, shape: Any, *, as_map: bool = False) -> Any:
        if isinstance(shape, Like):
            return self._makers[shape.of]()
        if isinstance(shape, Number):
            return self._varied(shape)
        if isinstance(shape, Of):
            return self._filled_struct(self._random.choice(self._shapes[shape.name]), as_map=as_map)
        if isinstance(shape, Map):
            return {self._filled(k, as_map=as_map): self._filled(v, as_map=as_map) for k, v in shape.pairs}
        if isinstance(shape, list | tuple):
            return [self._filled(each, as_map=as_map) for each in shape]
        return shape

    def _filled_struct(self, shape: Struct, *, as_map: bool) -> Any:
        values = {name: self._filled(each, as_map=as_map) for name, each in shape.fields.items()}
        if as_map:
            return values
        if shape.name == "Delta" and self._random.random() < 0.98:
            self._mend_delta(values)
        if shape.name == "Entry":
            self._mend_entry(values)
        if shape.name == "Live":
            values["masks"] = (values["masks"] + [1] * len(values["rows"]))[: len(values["rows"])]
        if shape.name == "Message":
            self._mend_message(values)
        return tuple(values.values())

    def _varied(self, number: Number) -> float:
        choose = self._random
        # A new incarnation with each message would make it a crowd.
        if choose.random() < (0.97 if number.most == UNSIGNED_MAX else 0.5):
            return number.value
        if not number.is_whole:
            return choose.uniform(number.least, min(number.most, 10 ** choose.uniform(0, 12)))
        near = int(number.value) + choose.randint(-2, 2)
        far = 2 ** choose.randint(0, 64) - choose.randint(0, 2)
        return max(int(number.least), min(int(number.most), choose.choice((near, far))))

    def _mend_delta(self, delta: dict[str, Any]) -> None:
        """Make its numbers consistent, because otherwise the whole delta is refused."""
        steps = sum(entry[0] for entry in delta["added"]) + sum(copy[0] for copy in delta["copies"])
        if steps > NUMBER_MAX or self._random.random() < 0.9:
            delta["added"] = [(self._random.randint(1, 3), *entry[1:]) for entry in delta["added"]]
            delta["copies"] = [(self._random.randint(1, 3), *copy[1:]) for copy in delta["copies"]]
            if delta["added"] and delta["copies"]:  # copies come after all other entries
                first, *others = delta["copies"]
                delta["copies"] = [(first[0] + sum(entry[0] for entry in delta["added"]), *first[1:]), *others]
            steps = 2 * (sum(entry[0] for entry in delta["added"]) + sum(copy[0] for copy in delta["copies"]))
        delta["base"] = min(delta["base"], NUMBER_MAX - steps)
        delta["reach"] = max(delta["reach"], delta["base"] + steps)
        delta["version"] = max(delta["version"], delta["reach"], delta["since"])
        if self._random.random() < 0.7:
            delta["reach"] = delta["version"]
        removed = delta["removed"]
        while removed and sum(removed) > delta["version"]:
            removed.pop()
        if delta["live"] is not None:
            rows, masks = delta["live"]
            while rows and sum(rows) > delta["base"] // ROW:
                rows, masks = rows[:-1], masks[:-1]
            delta["live"] = (rows, masks)
        for each in self.invented[:INVENTED]:
            if each.incarnation == delta["incarnation"] and delta["version"] < NUMBER_MAX // 2:
                each.version = max(each.version, delta["version"])

    def _mend_entry(self, entry: dict[str, Any]) -> None:
        entry["ttl_s"] = min(entry["ttl_s"], self.ttl_max_s)
        roots = entry["roots"]
        if entry["body"] is None:
            entry["roots"] = roots[: len(roots) // 2 * 2]
        else:
            entry["roots"] = roots[:2] if len(roots) > 1 else ()
            if not self.lies and entry["key"] in self.scene.bodies:
                entry["key"] = self._own_key()
            # Terms repeat the ttl, and are invalid if it differs.
            if entry["body"].startswith(b'{"ttl":@'):
                entry["body"] = entry["body"].replace(b"@", b"%a" % float(entry["ttl_s"]), 1)

    def _mend_message(self, message: dict[str, Any]) -> None:
        if self._random.random() < 0.97 and len(message["bucket_digests"]) not in (0, 256):
            message["bucket_digests"] = [self._random.getrandbits(64) for _ in range(256)]
        if not self.lies and message["heads"] is not None:  # an honest ledger has no later version
            versions = {node.incarnation: node.version for node in self.scene.nodes}
            message["heads"] = {i: min(v, versions.get(i, v)) for i, v in message["heads"].items()}
            message["checksums"] = {i: c for i, c in message["checksums"].items() if i not in versions}

    # Values in use.

    def _all_makers(self) -> dict[str, Callable[[], Any]]:
        one, choose = self._one, self._random
        made: dict[str, Callable[[], Any]] = {
            "Sender.incarnation": self._speaker,
            "Sender.name": lambda: one([each.name for each in (*self.scene.nodes, *self.invented[:3])]),
            "Sender.address": self._address,
            "Counter.incarnation": self._speaker,
            "Counter.name": lambda: one([each.name for each in (*self.scene.nodes, *self.invented[:3])]),
            "Counter.address": self._address,
            "Counter.beats": self._beats,
            "Counter.age_s": lambda: one([0.0, 0.0, 0.5, 1.0, 5.0, 100.0, 599.0, 1e6, 1e9]),
            "Counter.ttl_max_s": lambda: one([0.0, *TTLS]),
            **{f"Delta.{field}": self._version for field in ("since", "base", "version", "reach")},
            "Delta.incarnation": self._speaker,
            "Entry.step": lambda: choose.randint(1, 3),
            "Entry.key": self._key,
            "Entry.ttl_s": lambda: one(TTLS),
            "Entry.rev": self._rev,
            "Entry.body": self._body,
            "Entry.roots": self._roots,
            "Copy.step": lambda: choose.randint(1, 3),
            "Copy.of_node": self._incarnation,
            "Copy.of_n": self._version,
            "Copy.checksum": lambda: one([None, choose.getrandbits(32)]),
            "Live.rows": lambda: [choose.randint(0, 2) for _ in range(choose.randint(0, 3))],
            "Message.ask": lambda: one([None, self._echo(), 1e12]),
            "Message.echo": lambda: one([None, self._echo()]),
            "Message.digest": lambda: one([None, *(node.digest for node in self.scene.nodes)]),
            "Message.buckets": lambda: [choose.randrange(256) for _ in range(choose.choice((0, 0, 1, 3, 256)))],
            "Message.known[]": lambda: choose.getrandbits(64),
            "AwaitedChange.key": self._key,
            "AwaitedChange.incarnation": self._incarnation,
            "AwaitedChange.version": self._version,
            "AwaitedChange.within_s": lambda: one([0.0, 0.5, 1.0]),
            **self._makers_of_settings(),
        }
        for field in ("heads", "reaches", "checksums"):
            made[f"Message.{field}{{}}"] = self._incarnation
            made[f"Message.{field}{{}}="] = self._version
        return made

    def _makers_of_settings(self) -> dict[str, Callable[[], Any]]:
        one = self._one
        return {
            "Setting.key": lambda: one([*SETTING_KEYS, *map(key_of_state, self._keys())]),
            "Setting.rev": self._rev,
            "Setting.incarnation": self._incarnation,
            "Setting.author": lambda: one(["", "10.0.0.1", "\n\x1b", "a" * 1024]),
            "Setting.body": self._setting_body,
            "Setting.lasts_s": lambda: one([None, 1.0, 60.0, 86_400.0]),
            "Setting.age_s": lambda: one([0.0, 1.0, 59.0, 1e6, 1e9]),
        }

    def _one(self, values: Iterable[Any]) -> Any:
        return self._random.choice([*values])

    def _incarnation(self) -> int:
        """Return an incarnation of any node or of an invented one."""
        choose = self._random
        pool = self.scene.nodes if self.scene.nodes and choose.random() < 0.5 else self.invented[-INVENTED:]
        return int(choose.choice(pool).incarnation)

    def _speaker(self) -> int:
        """Return the incarnation that sends, or that owns the ledger or heartbeat."""
        return self._incarnation() if self.lies else int(self._random.choice(self.invented[-INVENTED:]).incarnation)

    def _address(self) -> str:
        choose = self._random
        pool = self.scene.nodes if self.scene.nodes and choose.random() < 0.3 else self.invented[-INVENTED:]
        return str(choose.choice(pool).address)

    def _version(self) -> int:
        choose = self._random
        pool = self.scene.nodes if self.scene.nodes and choose.random() < 0.5 else self.invented[:INVENTED]
        near = choose.choice(pool).version
        return int(max(0, self._one([near, near, near + 1, near + 3, near - 1, 0, 1, 2, 3, NUMBER_MAX])))

    def _beats(self) -> int:
        near = self._random.choice(self.scene.nodes or self.invented).beats
        return int(self._one([near, near + 1, near + 10, 0, 1, 10**6, NUMBER_MAX]))

    def _rev(self) -> int:
        return int(self._one([0, 1, 1, 1, 2, 2, 3, 5, 10, self._random.randrange(1000), NUMBER_MAX]))

    def _echo(self) -> float:
        node = self._one(self.scene.nodes) if self.scene.nodes else None
        return float(self._one(node.echoes)) if node and node.echoes else 0.0

    def _keys(self) -> list[str]:
        return [*self.scene.keys[:20], *(self._own_key() for _ in range(4))]

    def _own_key(self) -> str:
        """Return the id of an instance that the peer invented."""
        number = self._random.randrange(INVENTED)
        return f"registration/web/1/10.9.9.{number}/{80 + number}"

    def _key(self) -> str:
        share = self._random.random()
        if share < 0.2:
            return str(self._one(ODD_KEYS))
        honest = self.lies and self.scene.keys and share < 0.6
        return str(self._one(self.scene.keys)) if honest else self._own_key()

    def _body(self) -> bytes | None:
        share = self._random.random()
        if share < 0.2:
            return None
        if share < 0.35:
            return bytes(self._one(ODD_BODIES))
        if share < 0.45 and self.scene.bodies:
            return bytes(self._one(self.scene.bodies.values()))
        number = self._random.randrange(5)
        return b'{"ttl":@,"weight":%d,"meta":{"by":"h%d"},"registered":%d,"node":"h"}' % (number, number, number)

    def _setting_body(self) -> bytes | None:
        number = self._random.randrange(8)
        backend = b'{"id":"backend/b%d","resource":"Backend","name":"b%d","app":"web","version":"1"}' % (number, number)
        site = b'{"id":"backend/site","resource":"Backend","name":"site","app":"web","version":"2","balance":{"x":1}}'
        canary = b'{"id":"backend/site","resource":"Backend","name":"site","app":"web","version":"1","canary":[1]}'
        frontend = b'{"id":"frontend/edge","resource":"Frontend","name":"edge","backend":"site","bind":17}'
        servers = b'{"id":"backend/b1","resource":"Backend","name":"b1","app":"web","version":"1","servers":[{"h":4}]}'
        objects = [backend, backend, backend, site, canary, frontend, servers]
        bodies: list[bytes | None] = [None, *objects, b"drain", b"maint", b"up", b"lifted", b"d\xc3\xa9", *ODD_BODIES]
        return self._random.choice(bodies)

    def _roots(self) -> list[int]:
        pairs = [(self._incarnation() if self.lies else self._speaker(), self._version()) for _ in range(2)]
        roots = [number for pair in pairs[: self._random.randint(0, 2)] for number in pair]
        return [min(UNSIGNED_MAX, max(0, number)) for number in roots]
