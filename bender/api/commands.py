"""What clients can ask of a node over HTTP, whatever speaks HTTP with them.

`ROUTES` is the one table of it. A front (Klein's is `bender.api.routes`) reads requests, finds the route, waits until
the node is ready unless the route is `at_once`, and lets `answer` do the rest; it never looks into a body. Nothing here
knows Twisted's web, or raises: every request has an answer, and one that is refused has changed nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qsl, quote

import msgspec
from attrs import Factory, field, frozen

from bender import __version__
from bender.core import model
from bender.core.model import BACKEND, FRONTEND, Invalid, Kind, TooLarge, Wanted
from bender.explaining import explain
from bender.listing import Listing, LongListing, gzip_pieces
from bender.node import Full, Node, NotReady

#: A body, except of renewals. Many times an entry, so that what is too large for one is told so in plain words.
BODY_BYTES_MAX = 64 * 1024

#: A thousand ids of 255 bytes.
RENEWALS_BYTES_MAX = 256 * 1024

#: Fields of a query. Nobody means more, and each costs time with every registration that is looked at.
QUERY_FIELDS_MAX = 20

#: A list above this is deflated for who asks for that: it fits a packet otherwise, or nearly so.
DEFLATE_OVER_BYTES = 2 * 1024

#: A request waits no longer, whatever was asked for: intermediaries give up on silent connections soon after.
WAIT_S_MAX = 60

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

_WAIT = re.compile(r"[0-9]+(\.[0-9]*)?", re.ASCII)
_ZERO = re.compile(r"q\s*=\s*0(\.0*)?")

_JSON = (b"Content-Type", b"application/json")

# What is said of what the client has already (RFC 9110, 15.4.5).
_ABOUT_UNCHANGED = (b"ETag", b"Vary")

#: All the headers that most answers have.
JSON_ALONE = (_JSON,)

_encode = msgspec.json.Encoder().encode


Headers = tuple[tuple[bytes, bytes], ...]


# Structs and not attrs classes: one of each is made for every request, in a fifth of the time.
class Asked(msgspec.Struct):
    """A request for one of `ROUTES`.

    `path` are the variable parts of its path, decoded; `query` is what came after `?`; `etags` and `encodings` are the
    headers If-None-Match and Accept-Encoding; `author` says for people who asks, best the client's address.

    `parsed` is a command's own: instances send the same for ever, and a front that remembers what it has read saves
    reading it anew.
    """

    method: str
    path: tuple[str, ...] = ()
    query: str = ""
    body: bytes = b""
    etags: str | None = None
    encodings: str | None = None
    author: str = ""
    parsed: Any = None


class Answer(msgspec.Struct, frozen=True):
    """A whole response, except for what every response of a front has. Without a body only where there can be none.

    A body that is too long to be in one piece comes in several: then `pieces` makes them, and `length` is their sum if
    it is known.
    """

    status: int
    body: bytes = b""
    headers: Headers = ()
    pieces: Iterator[bytes] | None = None
    length: int | None = None


class Later(msgspec.Struct, frozen=True):
    """An answer that takes a while: take the steps, other work between them, and then ask for it."""

    steps: Iterator[None]
    answer: Callable[[], Answer]


#: The last is an answer that waits for other nodes, or for time: nothing of the command is done before it is awaited.
Answered = Answer | Later | Coroutine[Any, Any, Answer]

Command = Callable[[Node, Asked], Answered]


@frozen
class Route:
    """A path, as Klein writes it, and what can be done with it.

    `hot` is what is asked for all the time, `at_once` what answers while the node is not ready. Where `streams` is set,
    the front itself answers GET and HEAD, for as long as it takes.
    """

    path: str
    commands: Mapping[str, Command]
    hot: bool = False
    at_once: bool = False
    streams: bool = False
    body_bytes_max: int = BODY_BYTES_MAX
    allow: str = field(init=False, default=Factory(lambda route: _allow(route.commands), takes_self=True))


def _allow(methods: Mapping[str, Command]) -> str:
    named = [name for method in methods for name in ((method, "HEAD") if method == "GET" else (method,))]
    return ", ".join([*named, "OPTIONS"])


def answer(node: Node, route: Route, asked: Asked) -> Answered:
    """Do what a client asks for."""
    command = route.commands.get("GET" if asked.method == "HEAD" else asked.method)
    if command is None:
        return without_command(route, asked)
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


def without_command(route: Route, asked: Asked) -> Answer:
    """The answer to a method that a route has no command for."""
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
    """One object. The tag follows from the content alone, so it is the same on all nodes."""
    etag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    return _or_unchanged(asked, Answer(200, body, (_JSON, (b"ETag", etag.encode()))))


def _or_unchanged(asked: Asked, shown: Answer) -> Answer:
    """An answer with a tag; without its content if the client has that already."""
    if asked.etags is None:
        return shown
    about = tuple(header for header in shown.headers if header[0] in _ABOUT_UNCHANGED)
    return Answer(304, headers=about) if _is_among(dict(about)[b"ETag"].decode(), asked.etags) else shown


def _is_among(etag: str, etags: str) -> bool:
    return any(each.strip().removeprefix("W/") in (etag, "*") for each in etags.split(","))


def _shown_or_not_found(asked: Asked, body: bytes | None, id_: str) -> Answer:
    return _not_found(id_) if body is None else _shown(asked, body)


def _not_found(id_: str) -> Answer:
    return refused("NOT_FOUND", f"there is no {id_}")


def _listed(asked: Asked, bodies: Iterable[bytes]) -> Answer:
    return _list(asked, Listing(bodies))


def _list(asked: Asked, listing: Listing) -> Answer:
    """A list that was made before; deflated for who says so, where it is worth while."""
    deflates = len(listing.body) > DEFLATE_OVER_BYTES
    gzipped = deflates and _accepts_gzip(asked)
    shown: Answer | None = listing.answers.get(gzipped)
    if shown is None:
        headers = _about_list(listing.etag, gzipped=gzipped, deflates=deflates)
        shown = listing.answers[gzipped] = Answer(200, listing.gzipped if gzipped else listing.body, headers)
    return _or_unchanged(asked, shown)


def _long_list(asked: Asked, listing: LongListing) -> Answer:
    """The same, of one that is sent in pieces."""
    gzipped = _accepts_gzip(asked)
    headers = _about_list(listing.etag, gzipped=gzipped, deflates=True)
    pieces = gzip_pieces(listing.pieces()) if gzipped else listing.pieces()
    return _or_unchanged(asked, Answer(200, b"", headers, pieces, None if gzipped else listing.length))


def _about_list(tag: str, *, gzipped: bool, deflates: bool) -> Headers:
    etag = f'"{tag}-gzip"' if gzipped else f'"{tag}"'  # another form is another thing to a cache (RFC 9110, 8.8.3)
    headers: Headers = (_JSON, (b"ETag", etag.encode()))
    if deflates:
        headers = (*headers, (b"Vary", b"Accept-Encoding"))
    return (*headers, (b"Content-Encoding", b"gzip")) if gzipped else headers


def _accepts_gzip(asked: Asked) -> bool:
    """Whether the client says that it can read it. A `*` alone says little about what it can do."""
    return next((takes for name, takes in accepted(asked.encodings or "") if name in ("gzip", "x-gzip")), False)


def accepted(header: str) -> Iterator[tuple[str, bool]]:
    """What a header of the kind of Accept names, in lower case, and whether the client takes it (RFC 9110, 12.4.2)."""
    for each in header.lower().split(","):
        name, *parameters = [part.strip() for part in each.split(";")]
        yield name, not any(map(_ZERO.fullmatch, parameters))


def wait_s(text: str) -> float:
    """How long a request says that it may wait; more than is possible is cut. Raises `Invalid`."""
    if not _WAIT.fullmatch(text):
        raise Invalid("wait", f"must be a number of seconds from 0 to {WAIT_S_MAX}")
    return min(float(text), WAIT_S_MAX)


def _located(status: int, body: bytes, id_: str) -> Answer:
    return Answer(status, body, (_JSON, (b"Location", _location(id_))))


def _location(id_: str) -> bytes:
    """`registration/…` is at `/registrations/…`; no part of an id holds a slash."""
    kind, name = id_.split("/", 1)
    return f"/{kind}s/{quote(name, safe='/:')}".encode()


# Registrations.


class _Standing(msgspec.Struct):
    """What a request says of an instance, and what that came to the last time: its terms, and how it is shown."""

    key: str
    wanted: Wanted | None = None
    headers: Headers = JSON_ALONE
    terms: bytes = b""
    shown: bytes = b""

    def register(self, node: Node) -> bool:
        """Register; whether it was not listed."""
        if self.terms and node.renew_as_is(self.key, self.terms):
            return False
        assert self.wanted is not None
        created, terms = node.register(self.wanted)
        self._note(terms)
        return created

    def renew(self, node: Node) -> bool:
        """Renew; whether it is listed."""
        if self.terms and node.renew_as_is(self.key, self.terms):
            return True
        terms = node.renew(self.key)
        if terms is not None:
            self._note(terms)
        return terms is not None

    def _note(self, terms: bytes) -> None:
        if terms is not self.terms:
            self.terms, self.shown = terms, model.registration(self.key, terms)


def _register(node: Node, asked: Asked) -> Answer:
    standing: _Standing | None = asked.parsed
    if standing is None:
        wanted = model.parse_registration(asked.body, node.timing)
        headers = (_JSON, (b"Location", _location(wanted.key)))
        standing = asked.parsed = _Standing(wanted.key, wanted, headers)
    created = standing.register(node)
    return Answer(201 if created else 200, standing.shown, standing.headers)


def _register_at(node: Node, asked: Asked) -> Answer:
    standing: _Standing | None = asked.parsed
    if standing is None:
        wanted = model.parse_registration_at(_instance(asked), asked.body, node.timing)
        standing = asked.parsed = _Standing(wanted.key, wanted)
    standing.register(node)
    return Answer(200, standing.shown, JSON_ALONE)


def _renew(node: Node, asked: Asked) -> Answer:
    standing: _Standing | None = asked.parsed
    if standing is None:
        key = model.registration_key(_instance(asked))
        model.require_nothing(asked.body)
        standing = asked.parsed = _Standing(key)
    return Answer(200, standing.shown, JSON_ALONE) if standing.renew(node) else _not_found(standing.key)


def _deregister(node: Node, asked: Asked) -> Answered:
    key = model.registration_key(_instance(asked))
    within = _fields(asked).get("wait")
    if within is not None:
        return _deregister_everywhere(node, key, wait_s(within))
    return Answer(204) if node.deregister(key) else _not_found(key)


async def _deregister_everywhere(node: Node, key: str, within_s: float) -> Answer:
    """Answer when all nodes that are heard have it, or after `within_s`, and say which they are."""
    if not node.deregister(key):
        return _not_found(key)
    applied = await node.until_applied(within_s)
    # No consumers yet.
    shown = {"applied": applied.nodes, "consumers": [], "missing": applied.missing}
    return Answer(200, _encode(shown), JSON_ALONE)


async def _explain(node: Node, asked: Asked) -> Answer:
    key = model.registration_key(_instance(asked))
    explained = await explain(node, key)
    return _not_found(key) if explained is None else _shown(asked, _encode(explained))


def _renew_all(node: Node, asked: Asked) -> Answer:
    ids = model.parse_renewals(asked.body)
    unknown = node.renew_all(ids)
    return Answer(200, _encode({"renewed": len(ids) - len(unknown), "unknown": unknown}), JSON_ALONE)


def _registration(node: Node, asked: Asked) -> Answer:
    key = model.registration_key(_instance(asked))
    claim = node.claim(key)
    if claim is None or not model.has_meta(claim.body, _meta_wanted(asked)):
        return _not_found(key)
    return _shown(asked, model.registration(key, claim.body))


def _registrations(node: Node, asked: Asked) -> Answer | Later:
    names = [model.parse_name(field, name) for field, name in zip(("app", "version"), asked.path, strict=False)]
    wanted = _meta_wanted(asked)
    app, version = (*names, None, None)[:2]
    return _selected(node, asked, app, version, (lambda body: model.has_meta(body, wanted)) if wanted else None)


def _selected(
    node: Node, asked: Asked, app: str | None, version: str | None, admits: Callable[[bytes], bool] | None = None
) -> Answer | Later:
    """The registrations of an app or version, or all; of them only those whose encoded terms `admits` lets pass."""
    if node.listings.is_long(app, version):
        long = node.listings.long_listing(app, version, admits)
        return Later(long.steps(), lambda: _long_list(asked, long))
    if admits is not None:
        claims = (claim for claim in node.claims(app, version) if admits(claim.body))
        return _listed(asked, (model.registration(claim.key, claim.body) for claim in claims))
    return _list(asked, node.listings.listing(app, version))


def _instance(asked: Asked) -> tuple[str, str, str, str]:
    app, version, host, port = asked.path
    return app, version, host, port


def _meta_wanted(asked: Asked) -> list[tuple[str, str]]:
    fields = _fields_in_order(asked)
    return [(name.removeprefix("meta."), value) for name, value in fields if name.startswith("meta.")]


def _fields(asked: Asked) -> dict[str, str]:
    """The fields of the query. Raises `Invalid` where one stands there twice."""
    fields: dict[str, str] = {}
    for name, value in _fields_in_order(asked):
        if name in fields:
            raise Invalid(name, "must not be given more than once")
        fields[name] = value
    return fields


def _fields_in_order(asked: Asked) -> list[tuple[str, str]]:
    if not asked.query:
        return []
    try:
        return parse_qsl(asked.query, keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        raise Invalid("query", f"must be at most {QUERY_FIELDS_MAX} fields in UTF-8, percent-encoded") from None


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
        return _created(kind, name, body) if existing is None else Answer(200, body, JSON_ALONE)

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


def _members(node: Node, asked: Asked) -> Answer | Later:
    key = _key(BACKEND, asked)
    body = node.configured(key)
    if body is None:
        return _not_found(key)
    backend: dict[str, Any] = msgspec.json.decode(body)
    return _selected(node, asked, backend["app"], backend["version"])


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
    Route("/registrations", {"GET": _registrations, "POST": _register}, hot=True),
    Route("/registrations/<app>", {"GET": _registrations}, hot=True),
    Route("/registrations/<app>/<version>", {"GET": _registrations}, hot=True),
    Route(_INSTANCE, {"GET": _registration, "POST": _register_at, "PUT": _renew, "DELETE": _deregister}, hot=True),
    Route("/explain" + _INSTANCE.replace("registrations", "registration"), {"GET": _explain}),
    Route("/renewals", {"POST": _renew_all}, hot=True, body_bytes_max=RENEWALS_BYTES_MAX),
    Route("/backends", {"GET": _all(BACKEND), "POST": _create(BACKEND)}),
    Route("/backends/<name>", {"GET": _one(BACKEND), "PUT": _put(BACKEND), "DELETE": _remove(BACKEND)}),
    Route("/backends/<name>/members", {"GET": _members}),
    Route("/frontends", {"GET": _all(FRONTEND), "POST": _create(FRONTEND)}),
    Route("/frontends/<name>", {"GET": _one(FRONTEND), "PUT": _put(FRONTEND), "DELETE": _remove(FRONTEND)}),
    Route("/events", {"GET": _streamed}, streams=True),
    Route("/status", {"GET": _status}, at_once=True),
    Route("/ready", {"GET": _ready}, hot=True, at_once=True),
    Route("/", {"GET": _root}),
)


# What is hot, by the number of parts of its path and the first of them: whatever follows that is variable.
_HOT = {(route.path.count("/"), route.path.split("/")[1]): route for route in ROUTES if route.hot}


def find_hot(path: str) -> tuple[Route, tuple[str, ...]] | None:
    """The hot route that a path takes which needs no decoding, and its variable parts; None where there is none."""
    empty, *parts = path.split("/")
    route = _HOT.get((len(parts), parts[0])) if parts and not empty else None
    names = tuple(parts[1:])
    return None if route is None or "" in names else (route, names)
