"""Read the answers of nodes: return the value in an answer, or raise `NoAnswer` if the answer is not from a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from bender.client.decoding import convert_json, decode_json, invalid_answer
from bender.client.node_list import NODES_MAX, parse_nodes
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

#: The largest number of characters in the message of a refusal.
MESSAGE_CHARACTERS_MAX = 10_000

#: The statuses of an answer that denies access: the node does not know the token, or the token does not permit this.
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
    """Return a backend with these settings. Raises `NoAnswer` if they are not those of a backend."""
    fields, all_fields = _known_fields(settings, _Backend)
    return Backend(fields.name, fields.app, fields.version, all_fields, etag)


def frontend_of(settings: object, etag: str | None = None) -> Frontend:
    """Return a frontend with these settings. Raises `NoAnswer` if they are not those of a frontend."""
    fields, all_fields = _known_fields(settings, _Frontend)
    return Frontend(fields.name, fields.backend, all_fields, etag)


def check_body(kind: str, body: object) -> None:
    """Raise `NoAnswer` if `body` is not an object of this kind: a registration, a backend or a frontend."""
    if kind == "registration":
        convert_json(body, Registration)
    else:
        _known_fields(body, _Backend if kind == "backend" else _Frontend)


def _known_fields(settings: object, type_: type[_T]) -> tuple[_T, dict[str, Any]]:
    """Return the fields of settings that this type has, and all fields."""
    found: dict[str, Any] = convert_json(settings, dict[str, Any])
    if not is_shallow(found, DEPTH_MAX + 1):
        raise NoAnswer(invalid_answer("too many levels of lists or objects"))
    return convert_json(found, type_), found


#: Returns the value in an answer. Raises `NoAnswer` if no node sends such an answer.
Reader = Callable[[Reply], _T]


def reader(type_: type[_T]) -> Reader[_T]:
    """Return a reader of answers whose JSON has this type."""

    def read(reply: Reply) -> _T:
        found: _T = decode_json(reply.body, type_)
        return found

    return read


def read_nothing(reply: Reply) -> None:
    """Raise `NoAnswer` if an answer has a body."""
    if reply.body:
        raise NoAnswer(invalid_answer("it has a body, but must be empty"))


class _HistoryEntry(msgspec.Struct, rename={"at_ms": "at"}):
    """A setting in the answer about the history of a backend or frontend."""

    at_ms: Milliseconds
    author: str
    backend: dict[str, Any] | None = None
    frontend: dict[str, Any] | None = None


_Object = TypeVar("_Object", bound=Backend | Frontend)


class ConfigKind(Generic[_Object]):
    """Backends or frontends: the `name` and `path` of this kind in the API, and readers of the answers about it."""

    def __init__(self, name: str, object_of: Callable[[object, str | None], _Object]) -> None:
        self.name = name
        self.path = f"/{name}s"
        self._object_of = object_of

    def read(self, reply: Reply) -> _Object:
        """Return the object in an answer."""
        return self._object_of(decode_json(reply.body, Any), reply.etag)

    def read_list(self, reply: Reply) -> list[_Object]:
        """Return the objects in an answer, without tags."""
        return [self._object_of(each, None) for each in decode_json(reply.body, list[Any])]

    def read_history(self, reply: Reply) -> list[Setting]:
        """Return the settings in an answer, newest first."""
        found = decode_json(reply.body, list[_HistoryEntry])
        return [Setting(each.at_ms, each.author, self._settings_of(getattr(each, self.name))) for each in found]

    def _settings_of(self, settings: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return the checked settings, or None if the object was removed."""
        return None if settings is None else self._object_of(settings, None).settings


BACKEND_KIND = ConfigKind("backend", backend_of)
FRONTEND_KIND = ConfigKind("frontend", frontend_of)


class _Problem(msgspec.Struct):
    """An error of the API."""

    code: str
    message: Annotated[str, msgspec.Meta(max_length=MESSAGE_CHARACTERS_MAX)]


def require_service(status: int) -> None:
    """Raise `NoAnswer` if the status means that a node, or a proxy before it, cannot serve now."""
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
    """Return the refusal in an answer, or None if the request succeeded.

    Raises `NoAnswer` for an error that is not from a node, such as that of a proxy.
    """
    if reply.status < HTTPStatus.MULTIPLE_CHOICES or reply.status == HTTPStatus.NOT_MODIFIED:
        return None
    problem: _Problem | None = None
    if reply.status >= HTTPStatus.BAD_REQUEST:  # not a redirection, which no node sends
        with suppress(NoAnswer):
            problem = decode_json(reply.body, _Problem)
    if problem is None:
        raise NoAnswer(f"answers with status {reply.status}, but not as a bender node does: it may be another program")
    refusal = NotFound if reply.status == HTTPStatus.NOT_FOUND else Refused
    return refusal(reply.status, problem.code, problem.message, reply.node)


# The parts of `GET /status` and `GET /explain/…` that clients use.


class PeerStatus(msgspec.Struct):
    """Another node, as the node that answers sees it."""

    node: str
    state: str
    api: str | None = None
    lag: Seconds | None = None
    address: str | None = None


class NodeCounts(msgspec.Struct):
    """The numbers of objects at a node."""

    registrations: Number
    frontends: Number
    claims: Number


class LimitInUse(msgspec.Struct, rename={"maximum": "max"}):
    """A limit of a node and its present use. `maximum` is None if no limit is set."""

    maximum: float | None
    used: float


class NodeStatus(msgspec.Struct, rename={"uptime_s": "uptime"}):
    """The status of a node, and of the other nodes as it sees them."""

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
    """The claim of another node, as the node that answers sees it."""

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
    """The knowledge of one node about an instance. Only `problem` is set if the node did not answer."""

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
    """A backend of which an instance is a member, with the role of the instance."""

    name: str
    role: str
    frontends: Sequence[str] = ()


class Explanation(msgspec.Struct):
    """The reason why an instance is listed or not, and the knowledge of each node about it."""

    id: str
    listed: bool
    why: str
    nodes: Sequence[Diagnosis]
    backends: Sequence[Serves] = ()


class Renewals(msgspec.Struct):
    """The answer to a request that renews instances: the ids that are not registered."""

    unknown: list[str]


def read_as_dict(type_: Any) -> Reader[dict[str, Any]]:
    """Return a reader that checks an answer against this type, and returns its JSON with all fields."""

    def read(reply: Reply) -> dict[str, Any]:
        found: dict[str, Any] = decode_json(reply.body, dict[str, Any])
        convert_json(found, type_)
        return found

    return read


def api_addresses(status: NodeStatus) -> list[str]:
    """Return the API addresses of the other nodes in a node's status, except those that have left; at most 1,000."""
    found: list[str] = []
    for peer in status.peers:
        if peer.api and peer.state != "left" and len(found) < NODES_MAX:
            with suppress(ValueError):
                found += parse_nodes(peer.api)
    return found
