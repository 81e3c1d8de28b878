"""What nodes answer, as values, and what can go wrong.

Fields that a newer node sends and this does not know are passed over; `Reply` has the whole answer as it came.
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
    """What was asked for was not done."""


class Unavailable(BenderError):
    """No node gave an answer that can be used. `problems` says of each, by its address, why."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        super().__init__("; ".join(f"{node} {problem}" for node, problem in problems.items()) or "there is no node")


class Refused(BenderError):
    """The node at the address `node` answered that it cannot be done, and nothing was changed.

    `status` and `code` are those of the API; the text of the exception is the node's message.
    """

    def __init__(self, status: int, code: str, message: str, node: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.node = node


class NotFound(Refused):
    """There is no such thing at the node that answered."""


class Succeeded(Refused):
    """Another instance has registered under the id since, and stays registered."""


class Reply(msgspec.Struct, frozen=True):
    """An answer as it came: `node` is the address of the node that gave it, `body` is mostly JSON, `etag` its tag.

    `warnings` are what the node has done and takes for a mistake, such as a backend without members; sentences without
    their points.
    """

    node: str
    status: int
    body: bytes
    etag: str | None = None
    warnings: tuple[str, ...] = ()

    def json(self) -> Any:
        """What the body says. Raises `BenderError` where it is no JSON, which no node sends."""
        try:
            return decoded(self.body, Any)
        except NoAnswer as no_answer:
            raise BenderError(f"{self.node} {no_answer}") from no_answer


class Registration(msgspec.Struct, frozen=True, rename={"ttl_s": "ttl", "registered_ms": "registered"}):
    """An instance of a version of an app.

    It is gone `ttl_s` seconds after it was renewed last. `weight` is how much of the load it wants beside others, and
    `meta` what its owner says of it. `registered_ms` (since the epoch) and `node` are when and where it began.
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
    #: What an operator says of it: `up`, `drain` or `maint`; nodes that know of no states say nothing.
    state: str = "up"
    #: Whether it is listed although no node that had heard from it is heard any more.
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
    """An app with members that are listed on suspicion: how many, and for how many seconds at most."""

    app: str
    suspects: Number
    left_s: Seconds


class Word(msgspec.Struct, frozen=True, rename={"lasts_s": "for", "left_s": "left", "at_ms": "at"}):
    """What an operator says of the instance with this id: `state` is `up`, `drain` or `maint`.

    It was said for `lasts_s`, of which `left_s` are left, at `at_ms` (since the epoch) by `author`, best an address.
    """

    id: str
    state: str
    lasts_s: Seconds
    left_s: Seconds
    at_ms: Milliseconds
    author: str


class Member(msgspec.Struct, frozen=True):
    """Who serves a backend: an instance that is registered or, if `fixed`, a server that the backend itself names.

    `weight` (0 to 256) is how much of the load it is to get beside the others.
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

    `etag` names it as it is, where it was asked for alone: with that a change can be made only if it is still so.
    """

    name: str
    app: str
    version: str
    settings: dict[str, Any]
    etag: str | None = None


class Frontend(msgspec.Struct, frozen=True):
    """What clients of the services connect to, and the backend behind it, if any.

    `settings` are all of its fields, as they were sent; `etag` is as in `Backend`.
    """

    name: str
    backend: str | None
    settings: dict[str, Any]
    etag: str | None = None


class Setting(msgspec.Struct, frozen=True):
    """What a backend or frontend was set to (`settings`, None where it was removed), when, and by whom.

    `at_ms` is since the epoch, by the clock of the node that was told, and `author` best the address of a client.
    """

    at_ms: Milliseconds
    author: str
    settings: dict[str, Any] | None


class Consumer(msgspec.Struct, frozen=True, rename={"at_ms": "at"}):
    """One who acts on the events of a node, such as the driver of a load balancer.

    It confirmed all up to `cursor` (None: nothing yet), last at `at_ms` since the epoch; `behind` events came since.
    `report` is what it says of what it sees, as in the API. `instance` tells apart programs that have the same name by
    mistake; then `warning` says so.
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
    """Who has applied a change, and who did not say so in time (`missing`), by name.

    `applied` are nodes, first the one that was asked; `consumers` are those who act on events and have confirmed it.
    Where several have the same name, each has its address or instance after it, in parentheses.
    """

    applied: tuple[str, ...]
    consumers: tuple[str, ...]
    missing: tuple[str, ...]


class Event(msgspec.Struct, frozen=True):
    """A change of what is listed.

    `event` is `online`, `offline` or `changed` of a registration, `created`, `changed` or `removed` of a backend or
    frontend, or `synced`: from there on all is new. `kind` is `registration`, `backend` or `frontend`, and `body` what
    it is about, as it is now, or was before it went. `reason` is one of the API's; `snapshot` for what was there at the
    beginning; or `missed` where it happened while no node could be heard that still tells of it. `at_ms` is the wall
    clock of the node that tells of it, since the epoch; of what was missed it is when that was found out. `previous` is
    the body before a change, None where the event is not `changed`.
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
        """What it is about, if that is a registration. Raises `ValueError` otherwise."""
        if self.kind != "registration":
            raise ValueError(f"this event is about a {self.kind or 'state'}")
        return msgspec.convert(self.body, Registration)
