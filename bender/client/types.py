"""The answers of nodes as values, and the errors.

Unknown fields, as a newer node may send, are ignored; `Reply` has the whole answer as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from bender.client.decoding import decoded, require_shallow
from bender.core.hosts import PORT_MAX
from bender.core.model import WEIGHT_MAX
from bender.core.timing import TTL_S_MAX
from bender.net.addresses import NoAnswer

#: Milliseconds since the epoch, up to the last day that calendars know.
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]

#: A duration in seconds. A negative one is a little late.
Seconds = Annotated[float, msgspec.Meta(ge=-1e9, le=1e12)]

Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Port = Annotated[int, msgspec.Meta(ge=1, le=PORT_MAX)]
Weight = Annotated[int, msgspec.Meta(ge=0, le=WEIGHT_MAX)]

#: Four of the shortest intervals that nodes may have. Renewals follow the ttl, and must not come without a pause.
TTL_S_MIN = 0.2
Ttl = Annotated[float, msgspec.Meta(ge=TTL_S_MIN, le=TTL_S_MAX)]


class BenderError(Exception):
    """The request was not carried out."""


class Unavailable(BenderError):
    """No node gave a usable answer. `problems` has the reason for each node, by its address."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        super().__init__("; ".join(f"{node} {problem}" for node, problem in problems.items()) or "no node is given")


class Refused(BenderError):
    """The node at the address `node` refused the request, and nothing was changed.

    `status` and `code` are those of the API; the text of the exception is the node's message.
    """

    def __init__(self, status: int, code: str, message: str, node: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.node = node


class NotFound(Refused):
    """The node that answered does not have this object."""


class Succeeded(Refused):
    """Another instance has registered under the id since, and stays registered."""


class Reply(msgspec.Struct, frozen=True):
    """An answer as it came: `node` is the address of the node that sent it, `body` is mostly JSON, `etag` its tag.

    `warnings` are about changes that were made and are probably mistakes, such as a backend without members; sentences
    without their full stops.
    """

    node: str
    status: int
    body: bytes
    etag: str | None = None
    warnings: tuple[str, ...] = ()

    def json(self) -> Any:
        """Return the decoded body. Raises `BenderError` if it is not JSON, which no node sends."""
        try:
            return decoded(self.body, Any)
        except NoAnswer as no_answer:
            raise BenderError(f"{self.node} {no_answer}") from no_answer


class Registration(msgspec.Struct, frozen=True, rename={"ttl_s": "ttl", "registered_ms": "registered"}):
    """An instance of a version of an app.

    It expires `ttl_s` seconds after its last renewal. `weight` is the share of the load, relative to others, and `meta`
    has its owner's own fields. `registered_ms` (since the epoch) and `node` are when and where it was registered.
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
    #: Whether it is listed although all nodes that heard from it are silent.
    suspect: bool = False
    #: The token of the instance that registered, if it sent one.
    instance: str | None = None

    def __post_init__(self) -> None:
        require_shallow(self.meta)


class InstanceSpec(msgspec.Struct, frozen=True):
    """An instance to register, and its terms; None leaves a term as it is, or to the node's default."""

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
        """Return the fields of a request that registers it."""
        terms = {"ttl": self.ttl_s, "weight": self.weight, "meta": self.meta}
        given = {name: value for name, value in terms.items() if value is not None}
        return {"app": self.app, "version": self.version, "host": self.host, "port": self.port, **given}


class Guarded(msgspec.Struct, frozen=True, rename={"left_s": "left"}):
    """An app with suspect members: their number, and for how many seconds at most they stay listed."""

    app: str
    suspects: Number
    left_s: Seconds


class Word(msgspec.Struct, frozen=True, rename={"lasts_s": "for", "left_s": "left", "at_ms": "at"}):
    """The state that an operator set on the instance with this id: `up`, `drain` or `maint`.

    It was set for `lasts_s`, of which `left_s` are left, at `at_ms` (since the epoch) by `author`, at best an address.
    """

    id: str
    state: str
    lasts_s: Seconds
    left_s: Seconds
    at_ms: Milliseconds
    author: str


class Member(msgspec.Struct, frozen=True):
    """A member of a backend: a registered instance or, if `fixed`, a server that the backend itself names.

    `weight` (0 to 256) is its share of the load, relative to the others.
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
    """The version of an app that serves under a name. `settings` are all of its fields, as they were sent.

    `etag` is the tag of this setting, if the backend was asked for alone: a change can be made conditional on it.
    """

    name: str
    app: str
    version: str
    settings: dict[str, Any]
    etag: str | None = None


class Frontend(msgspec.Struct, frozen=True):
    """An entrance to which clients of a service connect, and the backend behind it, if any.

    `settings` are all of its fields, as they were sent; `etag` is as in `Backend`.
    """

    name: str
    backend: str | None
    settings: dict[str, Any]
    etag: str | None = None


class Setting(msgspec.Struct, frozen=True):
    """One setting of a backend or frontend: its `settings` (None for a removal), when and by whom they were set.

    `at_ms` is since the epoch, by the clock of the node that was asked, and `author` at best the address of a client.
    """

    at_ms: Milliseconds
    author: str
    settings: dict[str, Any] | None


class Consumer(msgspec.Struct, frozen=True, rename={"at_ms": "at"}):
    """A program that acts on the events of a node, such as the driver of a load balancer.

    It confirmed all events up to `cursor` (None: none yet), last at `at_ms` since the epoch; `behind` events came
    since. `report` is its report, as in the API. `instance` tells apart programs that have the same name by mistake;
    then `warning` says so.
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
    """The names of the nodes and consumers that have applied a change, and of those that did not confirm in time.

    `applied` are nodes, first the one that was asked; `consumers` are the consumers that confirmed it; `missing` are
    the others. If several have the same name, each is followed by its address or instance, in parentheses.
    """

    applied: tuple[str, ...]
    consumers: tuple[str, ...]
    missing: tuple[str, ...]


class Event(msgspec.Struct, frozen=True):
    """A change of what is listed.

    `event` is `online`, `offline` or `changed` of a registration, `created`, `changed` or `removed` of a backend or
    frontend, or `synced`: all later events are new. `kind` is `registration`, `backend` or `frontend`, and `body` is
    the object as it is now, or was before it went. `reason` is one of the API's; `snapshot` for objects that existed at
    the beginning; or `missed` for a change of which no reachable node has an event any more. `at_ms` is the wall clock
    of the node that sent the event, since the epoch; for `missed` it is when the change was found. `previous` is the
    body before a change, None if the event is not `changed`.
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
        """Return the registration that the event is about. Raises `ValueError` if it is about something else."""
        if self.kind != "registration":
            raise ValueError(f"this event has no registration: it is about a {self.kind or 'state'}")
        return msgspec.convert(self.body, Registration)
