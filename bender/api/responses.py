"""Requests of clients, and the responses that several commands share.

Nothing here knows Twisted's web. Every refusal has the same form, every object and list its tag.
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
from bender.core.model import TooLarge, shown_name
from bender.node.listings import Listing, Listings, LongListing
from bender.node.node import Full, InstanceReplaced, Node, NotReady

#: A body, except of renewals. Many times an entry, so that what is too large for one is told so in plain words.
BODY_BYTES_MAX = 64 * 1024

#: A thousand ids of 255 bytes.
RENEWALS_BYTES_MAX = 256 * 1024

#: Stands for a field of a query for each key of `meta`.
META_KEY = "meta.KEY"

#: Fields of a query. No client needs more, and each costs time with every registration that is looked at.
QUERY_FIELDS_MAX = 20

#: A list above this is deflated for clients that ask for it: it fits a packet otherwise, or nearly so.
DEFLATE_OVER_BYTES = 2 * 1024

#: A list that was made in slices is sent in one piece up to this. What is sent in pieces does not pile up for a client
#: that does not read.
ONE_PIECE_BYTES_MAX = 64 * 1024

#: A request waits no longer, whatever was asked for: intermediaries give up on silent connections soon after.
WAIT_S_MAX = 60

#: Seconds after which it is worth asking a node again that was not ready: about as long as a first contact takes.
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
    "INTERNAL": 500,  # nothing answers this but a mistake of ours
    "NOT_READY": 503,
}

_WAIT = re.compile(r"[0-9]+(\.[0-9]*)?", re.ASCII)
_ZERO = re.compile(r"q\s*=\s*0(\.0*)?")

JSON = (b"Content-Type", b"application/json")

#: How a token is to be sent (RFC 6750). A browser that was asked for Basic would open a window of its own.
CHALLENGE = (b"WWW-Authenticate", b'Bearer realm="bender"')

# What is said of what the client has already (RFC 9110, 15.4.5).
_ABOUT_UNCHANGED = (b"ETag", b"Vary")

#: All the headers that most answers have.
JSON_ALONE = (JSON,)

encode = msgspec.json.Encoder().encode


Headers = tuple[tuple[bytes, bytes], ...]


# Structs and not attrs classes: one of each is made for every request, in a fifth of the time.
class ApiRequest(msgspec.Struct):
    """A request for one of `ROUTES`.

    `path` are the variable parts of its path, decoded; `query` what came after `?`; `etags`, `encodings`, `only_if` and
    `accept` are the headers If-None-Match, Accept-Encoding, If-Match and Accept. `address` is that of the client,
    `author` the same with the name that it gives itself, or of its token instead of the address. `access` is what it
    may do; `permitted` is set when that was found to include this request.

    `at` is the time on the node's clock if its front has just read it.

    `repeated` is what its command keeps for the next request that is the same: instances send the same for ever, and
    the fast path remembers requests.
    """

    method: str
    path: tuple[str, ...] = ()
    query: str = ""
    body: bytes = b""
    etags: str | None = None
    encodings: str | None = None
    author: str = ""
    only_if: str | None = None
    address: str = ""
    access: Access = UNRESTRICTED
    permitted: bool = False
    repeated: RepeatedRequest | None = None
    accept: str | None = None
    at: float | None = None


class ApiResponse(msgspec.Struct, frozen=True):
    """A whole response, except for the headers that every response has. Only a status without content has no body.

    A body that is too long to be in one piece comes in several: then `pieces` makes them, and `length` is their sum if
    it is known.
    """

    status: int
    body: bytes = b""
    headers: Headers = ()
    pieces: Iterator[bytes] | None = None
    length: int | None = None


class DeferredResponse(msgspec.Struct, frozen=True):
    """An answer that takes a while: take the steps, with other work between them, then call `answer`.

    `held_bytes` is about the memory that it takes until it is sent, if that is much.
    """

    steps: Iterator[None]
    answer: Callable[[], ApiResponse]
    held_bytes: int = 0


#: The last is an answer that waits for other nodes, or for time: nothing of the command is done before it is awaited.
Answered = ApiResponse | DeferredResponse | Coroutine[Any, Any, ApiResponse]

Command = Callable[[Node, ApiRequest], Answered]


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
    """Why something is not done; `more` are numbers and truth values that a program may want to know."""
    return ApiResponse(STATUS_OF_CODE[code], encode({"code": code, "message": message, **more}), (JSON, *headers))


NO_ROUTE = refusal_response("NOT_FOUND", "the API has no such path")
NOT_READY = refusal_response(
    "NOT_READY",
    "this node has not heard from all of its peers yet: ask another node, or try again; GET /status names them",
    (b"Retry-After", RETRY_AFTER),
)


def json_response(request: ApiRequest, body: bytes, *more: tuple[bytes, bytes]) -> ApiResponse:
    """Return one object. Its tag follows from the content alone, so it is the same on all nodes."""
    return or_not_modified(request, ApiResponse(200, body, (JSON, (b"ETag", etag_of(body).encode()), *more)))


def etag_of(body: bytes) -> str:
    """Return the tag of one object."""
    return f'"{blake2b(body, digest_size=12).hexdigest()}"'


def refuse_stale(request: ApiRequest, existing: bytes | None, id_: str) -> ApiResponse | None:
    """Return the refusal of a change whose `If-Match` is not the tag of the object; None if it is."""
    if request.only_if is None or (existing is not None and _is_among(etag_of(existing), request.only_if)):
        return None
    present = "does not exist" if existing is None else "has changed since the version in If-Match"
    return refusal_response("STALE", f"{id_} {present}: GET it, then decide again")


def or_not_modified(request: ApiRequest, answer: ApiResponse) -> ApiResponse:
    """Return an answer with a tag, without its content if the client has it already."""
    if request.etags is None:
        return answer
    about = tuple(header for header in answer.headers if header[0] in _ABOUT_UNCHANGED)
    return ApiResponse(304, headers=about) if _is_among(dict(about)[b"ETag"].decode(), request.etags) else answer


def _is_among(etag: str, etags: str) -> bool:
    return any(each.strip().removeprefix("W/") in (etag, "*") for each in etags.split(","))


def not_found_response(id_: str, hint: str = "") -> ApiResponse:
    """Return 404; `hint` is the end of the sentence, such as the name that was meant."""
    return refusal_response("NOT_FOUND", f"there is no {id_}{hint}")


def array_response(request: ApiRequest, bodies: Iterable[bytes]) -> ApiResponse:
    return list_response(request, Listing(bodies))


def list_response(request: ApiRequest, listing: Listing) -> ApiResponse:
    """Return a list; deflated if it is long and the client accepts that."""
    deflates = len(listing.body) > DEFLATE_OVER_BYTES
    gzipped = deflates and gzip_accepted(request)
    headers = _about_list(listing.etag, gzipped=gzipped, deflates=deflates)
    return or_not_modified(request, ApiResponse(200, listing.gzipped if gzipped else listing.body, headers))


def long_list_response(request: ApiRequest, listing: LongListing) -> ApiResponse:
    """Return a list that was made in slices, in pieces if there are several."""
    if listing.length is not None and listing.length <= ONE_PIECE_BYTES_MAX:
        return list_response(request, listing.as_listing())
    gzipped = gzip_accepted(request)
    headers = _about_list(listing.etag, gzipped=gzipped, deflates=True)
    pieces = listing.gzipped() if gzipped else listing.pieces()
    return or_not_modified(request, ApiResponse(200, b"", headers, pieces, None if gzipped else listing.length))


def listing_response(
    request: ApiRequest, listings: Listings, app: str | None, version: str | None
) -> ApiResponse | DeferredResponse:
    """Return the list of the registrations of an app or version, or of all; a long one is made in slices."""
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
    """Return True if the client names gzip. A `*` alone says little about what it can read."""
    return next((takes for name, takes in accepted(request.encodings or "") if name in ("gzip", "x-gzip")), False)


def accepted(header: str) -> Iterator[tuple[str, bool]]:
    """Yield the names in a header such as Accept, in lower case, and if the client takes each (RFC 9110, 12.4.2)."""
    for each in header.lower().split(","):
        name, *parameters = [part.strip() for part in each.split(";")]
        yield name, not any(map(_ZERO.fullmatch, parameters))


def wait_s(text: str) -> float:
    """Return the seconds that a request may wait, at most `WAIT_S_MAX`. Raises `Invalid`."""
    if not _WAIT.fullmatch(text):
        raise Invalid("wait", f"must be a number of seconds from 0 to {WAIT_S_MAX}")
    return min(float(text), WAIT_S_MAX)


def forced(request: ApiRequest) -> bool:
    """Return whether the query has `force`, without a value or with `1` or `true`. Raises `Invalid`."""
    value = fields(request).get("force")
    if value not in (None, "", "1", "true"):
        raise Invalid("force", "must have no value, or 1 or true")
    return value is not None


def located_response(status: int, body: bytes, id_: str, more: Headers = ()) -> ApiResponse:
    return ApiResponse(status, body, (JSON, (b"Location", location(id_)), *more))


def location(id_: str) -> bytes:
    """`registration/…` is at `/registrations/…`; no part of an id holds a slash."""
    kind, name = id_.split("/", 1)
    return f"/{kind}s/{quote(name, safe='/:')}".encode()


def fields(request: ApiRequest) -> dict[str, str]:
    """Return the fields of the query. Raises `Invalid` for one that is given twice."""
    found: dict[str, str] = {}
    for name, value in fields_in_order(request):
        if name in found:
            raise Invalid(name, "must not be given more than once")
        found[name] = value
    return found


def require_known(names: Iterable[str], known: Collection[str], *, changes: bool) -> None:
    """Raise `Invalid` for a field of a query that is not known.

    A request that `changes` nothing may have others, such as those by which clients pass caches, unless one of them is
    most likely a known one misspelled; and so may one that knows none at all. In `known`, `META_KEY` is every name that
    begins with `meta.`.
    """
    plain = ["meta" if each == META_KEY else each for each in known]
    for name in names:
        if name in known or (META_KEY in known and name.startswith("meta.")):
            continue
        nearest = nearest_name(name, plain) or nearest_name(name.partition(".")[0], plain)
        if nearest or (changes and known):
            hint = f", did you mean {META_KEY if nearest == 'meta' else nearest}?"
            takes = f"; its parameters are {', '.join(sorted(known))}"
            raise Invalid(shown_name(name), f"is not a parameter of this request{hint if nearest else takes}")


def fields_in_order(request: ApiRequest) -> list[tuple[str, str]]:
    if not request.query:
        return []
    try:
        return parse_qsl(request.query, keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        raise Invalid("query", f"must have at most {QUERY_FIELDS_MAX} parameters, in percent-encoded UTF-8") from None
