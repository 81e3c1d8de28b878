"""Requests of clients, and the responses that several commands share.

This module does not know Twisted's web. All refusals have the same form; all objects and lists have a tag (ETag).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qsl, quote

import msgspec

from bender.access.tokens import UNRESTRICTED, Access, AccessDenied, Unauthorized
from bender.api.repeated import RepeatedRequest
from bender.core.did_you_mean import nearest_name
from bender.core.invalid import Invalid
from bender.core.model import TooLarge, printable_name
from bender.node.listings import Listing, Listings, LongListing
from bender.node.node import Full, InstanceReplaced, Node, NotReady

#: The bytes of a body, except for renewals: many times an entry, so that the error for a large entry can be specific.
BODY_BYTES_MAX = 64 * 1024

#: The bytes of a list of renewals: a thousand ids of 255 bytes.
RENEWALS_BYTES_MAX = 256 * 1024

#: The name under which routes list the query fields `meta.…`, one for each key of `meta`.
META_KEY = "meta.KEY"

#: The most fields of a query. No client needs more, and each costs time for every registration that is compared.
QUERY_FIELDS_MAX = 20

#: Lists above this size are compressed for clients that accept it: smaller ones nearly fit a packet anyway.
DEFLATE_OVER_BYTES = 2 * 1024

#: A list that was made in slices is sent in one piece up to this size. The pieces of a longer list do not accumulate
#: for a client that does not read.
ONE_PIECE_BYTES_MAX = 64 * 1024

#: The longest wait of a request, whatever the client requests: proxies close silent connections soon after.
WAIT_S_MAX = 60

#: Seconds after which a client should retry at a node that was not ready: about as long as a first contact takes.
RETRY_AFTER = b"1"

STATUS_OF_CODE = {
    "INVALID": 400,
    "UNAUTHORIZED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "CONFLICT": 409,
    "STALE": 412,
    "TOO_LARGE": 413,
    "BUSY": 429,
    "INTERNAL": 500,  # only after a defect in bender
    "NOT_READY": 503,
}

_WAIT = re.compile(r"[0-9]+(\.[0-9]*)?", re.ASCII)
_ZERO = re.compile(r"q\s*=\s*0(\.0*)?")

JSON = (b"Content-Type", b"application/json")

#: The way to send a token (RFC 6750). For `Basic`, a browser would open its own dialog.
CHALLENGE = (b"WWW-Authenticate", b'Bearer realm="bender"')

# The headers of a 304 (RFC 9110, 15.4.5).
_ABOUT_UNCHANGED = (b"ETag", b"Vary")

#: The headers of most answers.
JSON_ALONE = (JSON,)

encode = msgspec.json.Encoder().encode


Headers = tuple[tuple[bytes, bytes], ...]


# Structs and not attrs classes, because one of each is made for every request, and a struct takes a fifth of the time.
class ApiRequest(msgspec.Struct):
    """A request for one of `ROUTES`.

    - `path`: the variable parts of the path, decoded.
    - `query`: the text after `?`.
    - `if_none_match`, `accept_encoding`, `if_match`, `accept`: the headers of these names.
    - `address`: the address of the client.
    - `author`: the name that the client gives itself, with the name of its token, or its address if it has no token.
    - `access`: the permissions of the client; `permitted` is set once they were found to include this request.
    - `repeated`: the command's cached result for the next identical request, because the fast path caches requests.
    - `at`: the time on the node's clock, if the front has just read it.
    """

    method: str
    path: tuple[str, ...] = ()
    query: str = ""
    body: bytes = b""
    if_none_match: str | None = None
    accept_encoding: str | None = None
    author: str = ""
    if_match: str | None = None
    address: str = ""
    access: Access = UNRESTRICTED
    permitted: bool = False
    repeated: RepeatedRequest | None = None
    accept: str | None = None
    at: float | None = None


class ApiResponse(msgspec.Struct, frozen=True):
    """A complete response, without the headers that all responses have. Only a status without content has no body.

    A body that is too long for one piece is in `pieces`, and `length` is the sum of their bytes, if it is known.
    """

    status: int
    body: bytes = b""
    headers: Headers = ()
    pieces: Iterator[bytes] | None = None
    length: int | None = None


class DeferredResponse(msgspec.Struct, frozen=True):
    """An answer that takes a while to make: take the steps, with other work between them, then call `answer`.

    `held_bytes` is about the bytes of memory that it takes until it is sent; 0 if they are few.
    """

    steps: Iterator[None]
    answer: Callable[[], ApiResponse]
    held_bytes: int = 0


#: The result of a command. A coroutine waits for other nodes or for a time; it does nothing before it is awaited.
CommandResult = ApiResponse | DeferredResponse | Coroutine[Any, Any, ApiResponse]

Command = Callable[[Node, ApiRequest], CommandResult]


def error_response(error: BaseException | None) -> ApiResponse:
    """Return the response to a request that ended in an error."""
    if isinstance(error, AccessDenied):
        return refusal_response(error.code, str(error), *([CHALLENGE] if isinstance(error, Unauthorized) else ()))
    if isinstance(error, Invalid):
        return refusal_response("INVALID", str(error))
    if isinstance(error, TooLarge):
        return refusal_response("TOO_LARGE", str(error))
    if isinstance(error, NotReady):
        return NOT_READY
    if isinstance(error, InstanceReplaced):
        return refusal_response("CONFLICT", str(error))
    if isinstance(error, Full):
        return refusal_response(
            "BUSY", str(error) or "this node holds the maximum number of entries: remove some before you add others"
        )
    return refusal_response("INTERNAL", "the node failed because of a defect in bender: its log has the details")


def refusal_response(code: str, message: str, *headers: tuple[bytes, bytes], **more: int) -> ApiResponse:
    """Return the refusal of a request with an error code and message; `more` are fields for programs."""
    return ApiResponse(STATUS_OF_CODE[code], encode({"code": code, "message": message, **more}), (JSON, *headers))


NO_ROUTE = refusal_response("NOT_FOUND", "the API has no such path")
NOT_READY = refusal_response(
    "NOT_READY",
    "this node has not heard from all of its peers yet: ask another node, or try again (GET /status names the missing "
    "peers)",
    (b"Retry-After", RETRY_AFTER),
)


def json_response(request: ApiRequest, body: bytes, *more: tuple[bytes, bytes]) -> ApiResponse:
    """Return the response with one object. Its tag follows from the content alone, so it is the same on all nodes."""
    return or_not_modified(request, ApiResponse(200, body, (JSON, (b"ETag", etag_of(body).encode()), *more)))


def etag_of(body: bytes) -> str:
    """Return the tag of one object."""
    return f'"{blake2b(body, digest_size=12).hexdigest()}"'


def stale_refusal(request: ApiRequest, existing: bytes | None, id_: str) -> ApiResponse | None:
    """Return the refusal of a change whose `If-Match` does not name the object's tag; None otherwise."""
    if request.if_match is None or (existing is not None and _is_among(etag_of(existing), request.if_match)):
        return None
    if existing is None:
        return refusal_response("STALE", f"{id_} does not exist: leave out If-Match to create it")
    return refusal_response(
        "STALE", f"{id_} has changed since the version in If-Match: GET it, and see whether your change still applies"
    )


def or_not_modified(request: ApiRequest, answer: ApiResponse) -> ApiResponse:
    """Return an answer that has a tag; as 304 without content if the client has this content already."""
    if request.if_none_match is None:
        return answer
    about = tuple(header for header in answer.headers if header[0] in _ABOUT_UNCHANGED)
    return (
        ApiResponse(304, headers=about) if _is_among(dict(about)[b"ETag"].decode(), request.if_none_match) else answer
    )


def _is_among(etag: str, etags: str) -> bool:
    return any(each.strip().removeprefix("W/") in (etag, "*") for each in etags.split(","))


def not_found_response(id_: str, hint: str = "") -> ApiResponse:
    """Return 404; `hint` is the end of the sentence, such as a similar name."""
    return refusal_response("NOT_FOUND", f"there is no {id_}{hint}")


def array_response(request: ApiRequest, bodies: Iterable[bytes]) -> ApiResponse:
    """Return the response with a list of objects that are given as JSON."""
    return list_response(request, Listing(bodies))


def list_response(request: ApiRequest, listing: Listing) -> ApiResponse:
    """Return the response with a list; compressed if it is long and the client accepts gzip."""
    deflates = len(listing.body) > DEFLATE_OVER_BYTES
    gzipped = deflates and gzip_accepted(request)
    headers = _about_list(listing.etag, gzipped=gzipped, deflates=deflates)
    return or_not_modified(request, ApiResponse(200, listing.gzipped if gzipped else listing.body, headers))


def long_list_response(request: ApiRequest, listing: LongListing) -> ApiResponse:
    """Return the response with a list that was made in slices; in pieces if it is long."""
    if listing.length is not None and listing.length <= ONE_PIECE_BYTES_MAX:
        return list_response(request, listing.as_listing())
    gzipped = gzip_accepted(request)
    headers = _about_list(listing.etag, gzipped=gzipped, deflates=True)
    pieces = listing.gzipped() if gzipped else listing.pieces()
    return or_not_modified(request, ApiResponse(200, b"", headers, pieces, None if gzipped else listing.length))


def listing_response(
    request: ApiRequest, listings: Listings, app: str | None, version: str | None
) -> ApiResponse | DeferredResponse:
    """Return the list of the registrations of an app or version, or of all; a long list is made in slices."""
    if not listings.is_long(app, version):
        return list_response(request, listings.short_listing(app, version))
    kept = listings.cached_long_listing(app, version)
    if kept is not None:
        return long_list_response(request, kept)
    long = listings.long_listing(app, version)
    return DeferredResponse(
        long.steps(), lambda: long_list_response(request, long), listings.long_listing_bytes(app, version)
    )


def _about_list(tag: str, *, gzipped: bool, deflates: bool) -> Headers:
    etag = f'"{tag}-gzip"' if gzipped else f'"{tag}"'  # another form is another thing to a cache (RFC 9110, 8.8.3)
    headers: Headers = (JSON, (b"ETag", etag.encode()))
    if deflates:
        headers = (*headers, (b"Vary", b"Accept-Encoding"))
    return (*headers, (b"Content-Encoding", b"gzip")) if gzipped else headers


def gzip_accepted(request: ApiRequest) -> bool:
    """Return True if the client names gzip in Accept-Encoding. A `*` alone does not show that it can read gzip."""
    return next(
        (takes for name, takes in accepted_names(request.accept_encoding or "") if name in ("gzip", "x-gzip")), False
    )


def accepted_names(header: str) -> Iterator[tuple[str, bool]]:
    """Yield the names in a header such as Accept in lower case, and whether each is accepted (RFC 9110, 12.4.2)."""
    for each in header.lower().split(","):
        name, *parameters = [part.strip() for part in each.split(";")]
        yield name, not any(map(_ZERO.fullmatch, parameters))


def wait_s(text: str) -> float:
    """Return the seconds that a request may wait, at most `WAIT_S_MAX`. Raises `Invalid`."""
    if not _WAIT.fullmatch(text):
        raise Invalid("wait", f"must be a number of seconds from 0 to {WAIT_S_MAX}")
    return min(float(text), WAIT_S_MAX)


def is_forced(request: ApiRequest) -> bool:
    """Return True if the query has `force`, without a value or with `1` or `true`. Raises `Invalid`."""
    value = fields(request).get("force")
    if value not in (None, "", "1", "true"):
        raise Invalid("force", "must have no value, or 1 or true")
    return value is not None


def located_response(status: int, body: bytes, id_: str, more: Headers = ()) -> ApiResponse:
    """Return the response with an object and its location."""
    return ApiResponse(status, body, (JSON, (b"Location", location(id_)), *more))


def location(id_: str) -> bytes:
    """Return the path of an object: `registration/…` is at `/registrations/…`. No part of an id contains a slash."""
    kind, name = id_.split("/", 1)
    return f"/{kind}s/{quote(name, safe='/:')}".encode()


def fields(request: ApiRequest) -> dict[str, str]:
    """Return the fields of the query by name. Raises `Invalid` for a repeated field."""
    found: dict[str, str] = {}
    for name, value in query_fields_in_order(request):
        if name in found:
            raise Invalid(name, "must not be given more than once")
        found[name] = value
    return found


def require_known(names: Iterable[str], known: Collection[str], *, changes: bool) -> None:
    """Raise `Invalid` for an unknown field of a query. `META_KEY` in `known` admits all names that begin with `meta.`.

    If the request does not have `changes`, or no field is known at all, unknown fields are ignored, such as those by
    which clients avoid caches; only a name that is probably a misspelled known one is refused.
    """
    plain = ["meta" if each == META_KEY else each for each in known]
    for name in names:
        if name in known or (META_KEY in known and name.startswith("meta.")):
            continue
        nearest = nearest_name(name, plain) or nearest_name(name.partition(".")[0], plain)
        if nearest or (changes and known):
            hint = f", did you mean {META_KEY if nearest == 'meta' else nearest}?"
            takes = f"; its parameters are {', '.join(sorted(known))}"
            raise Invalid(printable_name(name), f"is not a parameter of this request{hint if nearest else takes}")


def query_fields_in_order(request: ApiRequest) -> list[tuple[str, str]]:
    """Return the names and values of the query in their order. Raises `Invalid`."""
    if not request.query:
        return []
    try:
        return parse_qsl(request.query, keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        raise Invalid("query", f"must have at most {QUERY_FIELDS_MAX} parameters, in percent-encoded UTF-8") from None
