"""Read the answers of nodes: return the value in each, or raise `NoAnswer` if no node answers so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from bender.client.decoding import converted, decoded, strange
from bender.client.types import (
    Backend,
    Frontend,
    Guarded,
    Milliseconds,
    NotFound,
    Number,
    Refused,
    Registration,
    Reply,
    Seconds,
    Setting,
    Ttl,
)
from bender.core.model import DEPTH_MAX, is_shallow
from bender.net.addresses import NoAnswer

#: The largest number of characters of a refusal that are kept.
MESSAGE_CHARACTERS_MAX = 10_000

#: The statuses by which a node denies access: it does not know the token, or the token does not permit the request.
DENIED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)

#: The clause about a node that answers with status 426.
USES_TLS = "uses TLS: give the CA (--ca FILE), or write https:// before its address"

_T = TypeVar("_T")


class _Backend(msgspec.Struct):
    """The fields of every backend."""

    id: str
    name: str
    app: str
    version: str


class _Frontend(msgspec.Struct):
    """The fields of every frontend."""

    id: str
    name: str
    backend: str | None = None


def backend_of(settings: object, etag: str | None = None) -> Backend:
    """Return settings as a backend. Raises `NoAnswer`."""
    fields, all_fields = _known(settings, _Backend)
    return Backend(fields.name, fields.app, fields.version, all_fields, etag)


def frontend_of(settings: object, etag: str | None = None) -> Frontend:
    """Return settings as a frontend. Raises `NoAnswer`."""
    fields, all_fields = _known(settings, _Frontend)
    return Frontend(fields.name, fields.backend, all_fields, etag)


def check_body(kind: str, body: object) -> None:
    """Raise `NoAnswer` if this is not a registration, a backend or a frontend."""
    if kind == "registration":
        converted(body, Registration)
    else:
        _known(body, _Backend if kind == "backend" else _Frontend)


def _known(settings: object, type_: type[_T]) -> tuple[_T, dict[str, Any]]:
    """Return the known fields of settings, and all of them."""
    found: dict[str, Any] = converted(settings, dict[str, Any])
    if not is_shallow(found, DEPTH_MAX + 1):
        raise NoAnswer(strange("too many levels of lists or objects"))
    return converted(found, type_), found


# What is read of an answer. All of these raise `NoAnswer` where no node gives such an answer.

Reader = Callable[[Reply], _T]


def reader(type_: type[_T]) -> Reader[_T]:
    """Return a reader of JSON of this type."""

    def read(reply: Reply) -> _T:
        found: _T = decoded(reply.body, type_)
        return found

    return read


def read_nothing(reply: Reply) -> None:
    """Read an answer without a body."""
    if reply.body:
        raise NoAnswer(strange("it has a body, but must be empty"))


class _Set(msgspec.Struct, rename={"at_ms": "at"}):
    """A setting in an answer."""

    at_ms: Milliseconds
    author: str
    backend: dict[str, Any] | None = None
    frontend: dict[str, Any] | None = None


_Object = TypeVar("_Object", bound=Backend | Frontend)


class ConfigKind(Generic[_Object]):
    """A kind of configured objects: its `name` and `path` in the API, and readers of the answers about it."""

    def __init__(self, name: str, object_of: Callable[[object, str | None], _Object]) -> None:
        self.name = name
        self.path = f"/{name}s"
        self._object_of = object_of

    def read(self, reply: Reply) -> _Object:
        """Read one object."""
        return self._object_of(decoded(reply.body, Any), reply.etag)

    def read_list(self, reply: Reply) -> list[_Object]:
        return [self._object_of(each, None) for each in decoded(reply.body, list[Any])]

    def read_history(self, reply: Reply) -> list[Setting]:
        found = decoded(reply.body, list[_Set])
        return [Setting(each.at_ms, each.author, self._settings_of(getattr(each, self.name))) for each in found]

    def _settings_of(self, settings: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return the checked settings, None where the object was removed."""
        return None if settings is None else self._object_of(settings, None).settings


BACKEND_KIND = ConfigKind("backend", backend_of)
FRONTEND_KIND = ConfigKind("frontend", frontend_of)


class _Problem(msgspec.Struct):
    """An error of the API."""

    code: str
    message: Annotated[str, msgspec.Meta(max_length=MESSAGE_CHARACTERS_MAX)]


def require_service(status: int) -> None:
    """Raise `NoAnswer` for a status with which a node, or a proxy before it, says that it cannot serve now."""
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        raise NoAnswer("is not ready: it has not heard from all of its peers yet")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise NoAnswer("has reached a limit and takes no more (status 429)")
    if status == HTTPStatus.UPGRADE_REQUIRED:
        raise NoAnswer(USES_TLS)
    # An error of a proxy before the node, or of the node itself.
    if not HTTPStatus.OK <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        raise NoAnswer(f"answers with status {status}")


def refusal_of(reply: Reply) -> Refused | None:
    """Return the refusal in an answer, if it is one. Raises `NoAnswer` for that of a proxy before the node."""
    if reply.status < HTTPStatus.MULTIPLE_CHOICES or reply.status == HTTPStatus.NOT_MODIFIED:
        return None
    problem: _Problem | None = None
    if reply.status >= HTTPStatus.BAD_REQUEST:  # no node sends a client elsewhere
        with suppress(NoAnswer):
            problem = decoded(reply.body, _Problem)
    if problem is None:
        raise NoAnswer(f"answers with status {reply.status}, but not as a bender node does: it may be another program")
    refusal = NotFound if reply.status == HTTPStatus.NOT_FOUND else Refused
    return refusal(reply.status, problem.code, problem.message, reply.node)


# What is in `GET /status` and `GET /explain/…`, as far as it is used here.


class PeerStatus(msgspec.Struct):
    """Another node, as the asked node sees it."""

    node: str
    state: str
    api: str | None = None
    lag: Seconds | None = None


class NodeCounts(msgspec.Struct):
    """The numbers of objects at a node."""

    registrations: Number
    frontends: Number
    claims: Number


class LimitInUse(msgspec.Struct, rename={"maximum": "max"}):
    """How far a limit of a node is used; `maximum` is None where none is set."""

    maximum: float | None
    used: float


class NodeStatus(msgspec.Struct, rename={"uptime_s": "uptime"}):
    """The status of a node, and how it sees the others."""

    node: str
    version: str
    ready: bool
    uptime_s: Seconds
    digest: str
    counts: NodeCounts
    peers: Sequence[PeerStatus]
    problems: Mapping[str, str] = {}
    unanswered: Sequence[str] = ()
    guarded: Sequence[Guarded] = ()
    limits: Mapping[str, LimitInUse] = {}
    since_start: Mapping[str, Any] = {}


class OwnClaim(msgspec.Struct, rename={"ttl_s": "ttl", "held_s": "held", "renewed_s": "renewed", "left_s": "left"}):
    """A node's own claim."""

    ttl_s: Ttl
    held_s: Seconds
    renewed_s: Seconds
    left_s: Seconds


class PeerClaim(msgspec.Struct, rename={"heard_s": "heard"}):
    """Another node's claim, as a node sees it."""

    node: str
    earlier: bool
    counts: bool
    why: str | None = None
    heard_s: Seconds | None = None


class RecentEvent(msgspec.Struct, rename={"at_ms": "at"}):
    """One of the last events of an instance."""

    event: str
    at_ms: Milliseconds
    reason: str


class Diagnosis(msgspec.Struct):
    """What a node knows of an instance; only `problem` is set if it did not answer."""

    node: str
    answered: bool
    problem: str = ""
    listed: bool = False
    hidden: bool = False
    claim: OwnClaim | None = None
    sees: Sequence[PeerClaim] = ()
    ended: Sequence[str] = ()
    events: Sequence[RecentEvent] = ()


class Serves(msgspec.Struct, rename={"role": "as"}):
    """A backend that an instance counts in."""

    name: str
    role: str
    frontends: Sequence[str] = ()


class Explanation(msgspec.Struct):
    """Why an instance is listed or not."""

    id: str
    listed: bool
    why: str
    nodes: Sequence[Diagnosis]
    backends: Sequence[Serves] = ()


class Renewals(msgspec.Struct):
    """The outcome of renewals."""

    unknown: list[str]


def read_as_dict(type_: Any) -> Reader[dict[str, Any]]:
    """Return a reader of an object as it came, if it is of this type."""

    def read(reply: Reply) -> dict[str, Any]:
        found: dict[str, Any] = decoded(reply.body, dict[str, Any])
        converted(found, type_)
        return found

    return read
