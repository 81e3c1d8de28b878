"""The answers of nodes as values, and the errors.

Unknown fields are ignored, because a newer node may send them. `Reply` has the whole, unchanged answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from bender.client.decoding import decode_json, require_shallow
from bender.core.hosts import PORT_MAX
from bender.core.model import WEIGHT_MAX
from bender.core.ttl_limits import TTL_S_MAX
from bender.net.addresses import NoAnswer

#: Milliseconds since the epoch, up to the last day that calendars know.
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]

#: A duration in seconds. It is negative if a deadline has just passed.
Seconds = Annotated[float, msgspec.Meta(ge=-1e9, le=1e12)]

Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Port = Annotated[int, msgspec.Meta(ge=1, le=PORT_MAX)]
Weight = Annotated[int, msgspec.Meta(ge=0, le=WEIGHT_MAX)]

#: The shortest ttl in seconds: four of the shortest intervals that nodes may have. The limit keeps a pause between
#: renewals, which come several times in a ttl.
TTL_S_MIN = 0.2
Ttl = Annotated[float, msgspec.Meta(ge=TTL_S_MIN, le=TTL_S_MAX)]


class BenderError(Exception):
    """The request was not carried out."""


class Unavailable(BenderError):
    """No node gave a usable answer. `problems` has the reason for each node, by the address of the node."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        super().__init__("; ".join(f"{node} {problem}" for node, problem in problems.items()) or "no node is given")


class Refused(BenderError):
    """A node refused the request, and nothing was changed.

    `status` and `code` are those of the API, and `node` is the address of the node. The text of the exception is the
    node's message.
    """

    def __init__(self, status: int, code: str, message: str, node: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.node = node


class NotFound(Refused):
    """The node that answered does not have this object."""


class Succeeded(Refused):
    """The instance was not deregistered: another instance has registered under its id since, and stays registered."""


class Reply(msgspec.Struct, frozen=True):
    """The unchanged answer of a node.

    `node` is the address of the node. `status` is the HTTP status, `body` is usually JSON, and `etag` is the tag of the
    object in it. `warnings` are about a change that was made and is probably a mistake, such as a backend without
    members. Each warning is a sentence without its full stop.
    """

    node: str
    status: int
    body: bytes
    etag: str | None = None
    warnings: tuple[str, ...] = ()

    def json(self) -> Any:
        """Return the decoded body. Raises `BenderError` if the body is not JSON."""
        try:
            return decode_json(self.body, Any)
        except NoAnswer as no_answer:
            raise BenderError(f"{self.node} {no_answer}") from no_answer


class Registration(msgspec.Struct, frozen=True, rename={"ttl_s": "ttl", "registered_ms": "registered"}):
    """A registered instance of a version of an app.

    The registration expires `ttl_s` seconds after its last renewal. `weight` (0 to 256) is the share of the load,
    relative to other instances, and `meta` has the client's own fields. The instance was registered at `registered_ms`
    (milliseconds since the epoch) at the node with the name `node`.
    """

    id: str
    app: str
    version: str
    host: str
    port: Port
    ttl_s: Ttl
    weight: Weight
    meta: dict[str, Any]
    registered_ms: Milliseconds
    node: str
    #: The state that an operator set: `up`, `drain` or `maint`; nodes of releases without states do not send it.
    state: str = "up"
    #: Whether the instance is a suspect: it stays listed although all nodes that received its renewals are silent.
    suspect: bool = False
    #: The token of the instance that registered, if it sent one.
    instance: str | None = None

    def __post_init__(self) -> None:
        require_shallow(self.meta)


class InstanceSpec(msgspec.Struct, frozen=True):
    """An instance to register, and its terms. A term that is None keeps its value, or gets the node's default."""

    app: str
    version: str
    host: str
    port: int
    ttl_s: float | None = None
    weight: int | None = None
    meta: Mapping[str, Any] | None = None

    @property
    def id(self) -> str:
        return f"registration/{self.app}/{self.version}/{self.host}/{self.port}"

    def fields(self) -> dict[str, Any]:
        """Return the fields of a request that registers the instance."""
        terms = {"ttl": self.ttl_s, "weight": self.weight, "meta": self.meta}
        set_terms = {name: value for name, value in terms.items() if value is not None}
        return {"app": self.app, "version": self.version, "host": self.host, "port": self.port, **set_terms}


class Guarded(msgspec.Struct, frozen=True, rename={"left_s": "left"}):
    """An app that has suspect members.

    `suspects` is their number. They stay listed for at most `left_s` more seconds.
    """

    app: str
    suspects: Number
    left_s: Seconds


class Word(msgspec.Struct, frozen=True, rename={"lasts_s": "for", "left_s": "left", "at_ms": "at"}):
    """The state that an operator set on the instance with this id: `up`, `drain` or `maint`.

    The state lasts `lasts_s` seconds, of which `left_s` are left. It was set at `at_ms` (milliseconds since the epoch).
    `author` is the client's address or the name of its token, after the unproven name that the client sent, if any.
    """

    id: str
    state: str
    lasts_s: Seconds
    left_s: Seconds
    at_ms: Milliseconds
    author: str


class Member(msgspec.Struct, frozen=True):
    """A member of a backend: a registered instance or, if `fixed` is True, a server that the backend itself names.

    `weight` (0 to 256) is the member's share of the load, relative to other members.
    """

    id: str
    app: str
    version: str
    host: str
    port: Port
    weight: Weight
    meta: dict[str, Any]
    state: str = "up"
    fixed: bool = False

    def __post_init__(self) -> None:
        require_shallow(self.meta)


class Backend(msgspec.Struct, frozen=True):
    """The app and version that serve under a name. `settings` has all fields of the backend, as the node sent them.

    `etag` is the tag of this setting, on which a change can be made conditional. It is None in lists of backends.
    """

    name: str
    app: str
    version: str
    settings: dict[str, Any]
    etag: str | None = None


class Frontend(msgspec.Struct, frozen=True):
    """An address to which the clients of a service connect, and the backend that serves them, if any.

    `settings` has all fields of the frontend, as the node sent them. `etag` is as in `Backend`.
    """

    name: str
    backend: str | None
    settings: dict[str, Any]
    etag: str | None = None


class Setting(msgspec.Struct, frozen=True):
    """One setting of a backend or frontend, from its history. `settings` is None if the object was removed.

    It was set at `at_ms` (milliseconds since the epoch, by the clock of the node that answers). `author` is as in
    `Word`.
    """

    at_ms: Milliseconds
    author: str
    settings: dict[str, Any] | None


class Consumer(msgspec.Struct, frozen=True, rename={"at_ms": "at"}):
    """A program that acts on the events of a node, such as the driver of a load balancer.

    The consumer has confirmed all events up to `cursor`, or none yet if it is None. It confirmed last at `at_ms`
    (milliseconds since the epoch), and `behind` events came since. `report` is the consumer's report, as in the API.
    `instance` distinguishes programs that have the same name by mistake, which `warning` then says.
    """

    name: str
    node: str
    connected: bool
    cursor: str | None
    behind: Number
    at_ms: Milliseconds
    report: dict[str, Any] | None = None
    instance: str = ""
    warning: str | None = None


class Applied(msgspec.Struct, frozen=True):
    """The names of the nodes and consumers that have applied a change, and of those that did not confirm it in time.

    `applied` has the nodes that applied it, and begins with the node that answers. `consumers` has the consumers that
    confirmed it. `missing` has the other nodes and consumers. If several have the same name, the address or instance
    follows each name in parentheses.
    """

    applied: tuple[str, ...]
    consumers: tuple[str, ...]
    missing: tuple[str, ...]


class Event(msgspec.Struct, frozen=True):
    """A change of a listed object, or the end of the snapshot.

    - `event` is `online`, `offline` or `changed` for a registration, `created`, `changed` or `removed` for a backend or
      frontend. It is `synced` after the snapshot: all later events are new.
    - `kind` is `registration`, `backend` or `frontend`. It is empty for `synced`.
    - `body` is the object after the change, or the last object before it was removed.
    - `reason` is a reason of the API, or `snapshot` for objects that existed at the beginning, or `missed` for a change
      whose event no reachable node has any more.
    - `at_ms` is the time of the event in milliseconds since the epoch, by the clock of the node that sent it. For
      `missed`, it is the time at which the watcher found the change.
    - `previous` is the body before a `changed` event, and None for other events.
    """

    event: str
    kind: str
    id: str
    reason: str
    at_ms: int
    body: dict[str, Any]
    node: str
    previous: dict[str, Any] | None = None

    @property
    def registration(self) -> Registration:
        """Return the registration that has changed. Raises `ValueError` if the event is not about a registration."""
        if self.kind != "registration":
            raise ValueError(f"this event has no registration: it is about a {self.kind or 'state'}")
        return msgspec.convert(self.body, Registration)
