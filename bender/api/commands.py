"""What clients can ask of a node over HTTP, whatever speaks HTTP with them.

`ROUTES` is the one table of it. A front (Klein's is `bender.api.routes`) reads requests, finds the route, waits until
the node is ready unless the route is `at_once`, and lets `answer` do the rest; it never looks into a body. Nothing here
knows Twisted's web, waits, or raises: every request has an answer, and one that is refused has changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qsl, quote

import msgspec
from attrs import Factory, field, frozen

from bender import __version__
from bender.core import model
from bender.core.model import BACKEND, FRONTEND, Invalid, Kind, TooLarge
from bender.node import Full, Node, NotReady

#: A body, except of renewals. Many times an entry, so that what is too large for one is told so in plain words.
BODY_BYTES_MAX = 64 * 1024

#: A thousand ids of 255 bytes.
RENEWALS_BYTES_MAX = 256 * 1024

#: Fields of a query. Nobody means more, and each costs time with every registration that is looked at.
QUERY_FIELDS_MAX = 20

#: Seconds after which it is worth asking a node again that was not ready: about as long as a first contact takes.
RETRY_AFTER = b"1"

STATUS_OF_CODE = {
    "INVALID": 400,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "CONFLICT": 409,
    "TOO_LARGE": 413,
    "BUSY": 429,
    "INTERNAL": 500,  # nothing answers this but a mistake of ours
    "NOT_READY": 503,
}

_JSON = (b"Content-Type", b"application/json")
_encode = msgspec.json.Encoder().encode


@frozen
class Asked:
    """A request for one of `ROUTES`.

    `path` are the variable parts of its path, decoded; `query` is what came after `?`; `etags` the If-None-Match
    header; `author` says for people who asks, best the client's address.
    """

    method: str
    path: tuple[str, ...] = ()
    query: str = ""
    body: bytes = b""
    etags: str | None = None
    author: str = ""


@frozen
class Answer:
    """A whole response, except for what every response of a front has. Without a body only where there can be none."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()


Command = Callable[[Node, Asked], Answer]


@frozen
class Route:
    """A path, as Klein writes it, and what can be done with it.

    `at_once` is what answers while the node is not ready. Where `streams` is set, the front itself answers GET and
    HEAD, for as long as it takes.
    """

    path: str
    commands: Mapping[str, Command]
    at_once: bool = False
    streams: bool = False
    body_bytes_max: int = BODY_BYTES_MAX
    allow: str = field(init=False, default=Factory(lambda route: _allow(route.commands), takes_self=True))


def _allow(methods: Mapping[str, Command]) -> str:
    named = [name for method in methods for name in ((method, "HEAD") if method == "GET" else (method,))]
    return ", ".join([*named, "OPTIONS"])


def answer(node: Node, route: Route, asked: Asked) -> Answer:
    """Do what a client asks for."""
    command = route.commands.get("GET" if asked.method == "HEAD" else asked.method)
    if command is None:
        return _without_command(route, asked)
    try:
        return command(node, asked)
    except (Invalid, TooLarge, NotReady, Full) as error:
        return refusal(error)


def refusal(error: BaseException | None) -> Answer:
    """The answer to a request that ended in an error."""
    if isinstance(error, Invalid):
        return refused("INVALID", str(error))
    if isinstance(error, TooLarge):
        return refused("TOO_LARGE", str(error))
    if isinstance(error, NotReady):
        return NOT_READY
    if isinstance(error, Full):
        return refused("BUSY", str(error) or "this node has as many entries as it may hold")
    return refused("INTERNAL", "this should not have happened; the node's log says more")


def refused(code: str, message: str, *headers: tuple[bytes, bytes]) -> Answer:
    return Answer(STATUS_OF_CODE[code], _encode({"code": code, "message": message}), (_JSON, *headers))


def _without_command(route: Route, asked: Asked) -> Answer:
    allow = (b"Allow", route.allow.encode())
    if asked.method == "OPTIONS":
        return Answer(204, headers=(allow,))
    return refused("METHOD_NOT_ALLOWED", f"{asked.method} is not possible here, but {route.allow}", allow)


NO_ROUTE = refused("NOT_FOUND", "there is nothing at this path")
NOT_READY = refused(
    "NOT_READY",
    "this node has not heard from all of its peers yet, GET /status names them; ask another",
    (b"Retry-After", RETRY_AFTER),
)


# Answers that several commands give.


def _shown(asked: Asked, body: bytes) -> Answer:
    """One object or a list. The tag follows from the content alone, so it is the same on all nodes."""
    etag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    if asked.etags is not None and _is_among(etag, asked.etags):
        return Answer(304, headers=((b"ETag", etag.encode()),))
    return Answer(200, body, (_JSON, (b"ETag", etag.encode())))


def _is_among(etag: str, etags: str) -> bool:
    return any(each.strip().removeprefix("W/") in (etag, "*") for each in etags.split(","))


def _shown_or_not_found(asked: Asked, body: bytes | None, id_: str) -> Answer:
    return _not_found(id_) if body is None else _shown(asked, body)


def _not_found(id_: str) -> Answer:
    return refused("NOT_FOUND", f"there is no {id_}")


def _listed(asked: Asked, bodies: list[bytes]) -> Answer:
    return _shown(asked, b"[%s]" % b",".join(bodies))


def _located(status: int, body: bytes, id_: str) -> Answer:
    return Answer(status, body, (_JSON, (b"Location", _location(id_))))


def _location(id_: str) -> bytes:
    """`registration/…` is at `/registrations/…`; no part of an id holds a slash."""
    kind, name = id_.split("/", 1)
    return f"/{kind}s/{quote(name, safe='/:')}".encode()


# Registrations.


def _register(node: Node, asked: Asked) -> Answer:
    wanted = model.parse_registration(asked.body, node.timing)
    created, body = node.register(wanted)
    return _located(201 if created else 200, body, wanted.key)


def _register_at(node: Node, asked: Asked) -> Answer:
    _, body = node.register(model.parse_registration_at(_instance(asked), asked.body, node.timing))
    return Answer(200, body, (_JSON,))


def _renew(node: Node, asked: Asked) -> Answer:
    key = model.registration_key(_instance(asked))
    model.require_nothing(asked.body)
    body = node.renew(key)
    return _not_found(key) if body is None else Answer(200, body, (_JSON,))


def _deregister(node: Node, asked: Asked) -> Answer:
    key = model.registration_key(_instance(asked))
    return Answer(204) if node.deregister(key) else _not_found(key)


def _renew_all(node: Node, asked: Asked) -> Answer:
    ids = model.parse_renewals(asked.body)
    unknown = node.renew_all(ids)
    if unknown:
        # Only what is not known as it stands is worth the time to find out whether it is spelled in another way.
        spelled = {id_: model.canonical_id(id_) for id_ in unknown}
        respelled = [canonical for id_, canonical in spelled.items() if canonical != id_]
        gone = {*node.renew_all(respelled)} if respelled else set()
        unknown = [id_ for id_ in unknown if spelled[id_] == id_ or spelled[id_] in gone]
    return Answer(200, _encode({"renewed": len(ids) - len(unknown), "unknown": unknown}), (_JSON,))


def _registration(node: Node, asked: Asked) -> Answer:
    key = model.registration_key(_instance(asked))
    body = node.registration(key)
    if body is not None and not model.has_meta(body, _meta_wanted(asked)):
        body = None
    return _shown_or_not_found(asked, body, key)


def _registrations(node: Node, asked: Asked) -> Answer:
    names = [model.parse_name(field, name) for field, name in zip(("app", "version"), asked.path, strict=False)]
    bodies = node.registrations(*names)
    wanted = _meta_wanted(asked)
    return _listed(asked, [body for body in bodies if model.has_meta(body, wanted)] if wanted else bodies)


def _instance(asked: Asked) -> tuple[str, str, str, str]:
    app, version, host, port = asked.path
    return app, version, host, port


def _meta_wanted(asked: Asked) -> list[tuple[str, str]]:
    if not asked.query:
        return []
    try:
        fields = parse_qsl(asked.query, keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        raise Invalid("query", f"must be at most {QUERY_FIELDS_MAX} fields in UTF-8, percent-encoded") from None
    return [(name.removeprefix("meta."), value) for name, value in fields if name.startswith("meta.")]


# Backends and frontends.


def _create(kind: Kind) -> Command:
    def create(node: Node, asked: Asked) -> Answer:
        sent = model.parse_object(asked.body)
        name = model.name_of(sent)
        body = kind.body(name, sent)
        if node.configured(kind.key(name)) is not None:
            return refused("CONFLICT", f"there is a {kind.name} {name} already")
        node.configure(kind.key(name), body, asked.author)
        return _created(kind, name, body)

    return create


def _put(kind: Kind) -> Command:
    def put(node: Node, asked: Asked) -> Answer:
        (name,) = asked.path
        existing = node.configured(kind.key(name))
        body = kind.body(name, model.parse_object(asked.body), existing)
        if body != existing:  # one that changes nothing would only push an older setting out of the history
            node.configure(kind.key(name), body, asked.author)
        return _created(kind, name, body) if existing is None else Answer(200, body, (_JSON,))

    return put


def _created(kind: Kind, name: str, body: bytes) -> Answer:
    """201 with the object, and in the body too where it is, as clients of the original expect it of a frontend."""
    key = kind.key(name)
    if kind is FRONTEND:
        document: dict[str, Any] = msgspec.json.decode(body)
        body = _encode(document | {"location": _location(key).decode()})
    return _located(201, body, key)


def _remove(kind: Kind) -> Command:
    def remove(node: Node, asked: Asked) -> Answer:
        key = _key(kind, asked)
        if node.configured(key) is None:
            return _not_found(key)
        node.configure(key, None, asked.author)
        return Answer(204)

    return remove


def _one(kind: Kind) -> Command:
    def one(node: Node, asked: Asked) -> Answer:
        key = _key(kind, asked)
        return _shown_or_not_found(asked, node.configured(key), key)

    return one


def _all(kind: Kind) -> Command:
    return lambda node, asked: _listed(asked, node.configuration(kind.name))


def _members(node: Node, asked: Asked) -> Answer:
    key = _key(BACKEND, asked)
    body = node.configured(key)
    if body is None:
        return _not_found(key)
    backend: dict[str, Any] = msgspec.json.decode(body)
    return _listed(asked, node.registrations(backend["app"], backend["version"]))


def _key(kind: Kind, asked: Asked) -> str:
    (name,) = asked.path
    return kind.key(model.parse_name("name", name))


# The node itself.


def _root(_node: Node, asked: Asked) -> Answer:
    return _shown(asked, _encode({"name": "bender", "version": __version__}))


def _status(node: Node, asked: Asked) -> Answer:
    return _shown(asked, _encode(node.status()))


def _ready(node: Node, asked: Asked) -> Answer:
    return _shown(asked, _encode({"ready": True, "node": node.name})) if node.ready else NOT_READY


def _streamed(_node: Node, _asked: Asked) -> Answer:
    raise AssertionError("the front answers this")


_INSTANCE = "/registrations/<app>/<version>/<host>/<port>"

ROUTES = (
    Route("/registrations", {"GET": _registrations, "POST": _register}),
    Route("/registrations/<app>", {"GET": _registrations}),
    Route("/registrations/<app>/<version>", {"GET": _registrations}),
    Route(_INSTANCE, {"GET": _registration, "POST": _register_at, "PUT": _renew, "DELETE": _deregister}),
    Route("/renewals", {"POST": _renew_all}, body_bytes_max=RENEWALS_BYTES_MAX),
    Route("/backends", {"GET": _all(BACKEND), "POST": _create(BACKEND)}),
    Route("/backends/<name>", {"GET": _one(BACKEND), "PUT": _put(BACKEND), "DELETE": _remove(BACKEND)}),
    Route("/backends/<name>/members", {"GET": _members}),
    Route("/frontends", {"GET": _all(FRONTEND), "POST": _create(FRONTEND)}),
    Route("/frontends/<name>", {"GET": _one(FRONTEND), "PUT": _put(FRONTEND), "DELETE": _remove(FRONTEND)}),
    Route("/events", {"GET": _streamed}, streams=True),
    Route("/status", {"GET": _status}, at_once=True),
    Route("/ready", {"GET": _ready}, at_once=True),
    Route("/", {"GET": _root}),
)
