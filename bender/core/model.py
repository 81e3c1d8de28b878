"""Registrations: the requests that clients may send, and the form in which nodes keep and list registrations.

Input from clients is checked here, once, before it is used. For refused input, parsing functions raise `Invalid`, which
names the field, or `TooLarge`. They raise no other exception, whatever bytes a client sends. Accepted input gets one
form: an instance has the same id for each spelling of its host, and equal terms have equal bytes on all nodes.

JSON is read leniently where this does no harm: `null` for an optional field counts as a field that was not sent, and if
a key occurs twice, the last one counts. An unknown field is refused, because it may be a known field misspelled. Users
put their own fields into `meta`. `object_kinds` and `routing` check backends and frontends in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from bender.core.did_you_mean import names_at, reword_bound, unknown_field
from bender.core.hosts import PORT_MAX, canonical_host, destination, parse_port
from bender.core.invalid import Invalid
from bender.core.reasons import CHECK_FAILED
from bender.core.registration_status import USUAL, RegistrationStatus
from bender.core.timing import Timing
from bender.core.ttl_limits import require_ttl

#: The usual limit for one object as JSON, in bytes; a node can be given another. Every node holds all objects.
ENTRY_BYTES_MAX = 4096

#: The largest such limit that a node can be given, and the limit for objects from peers. An event with a larger object
#: could be longer than the 16 KiB that line protocols commonly allow.
ENTRY_BYTES_BOUND = 12 * 1024

#: The largest number of characters of an app, a version or a name. Three of them fit into a request line with percent
#: encoding if they are ASCII.
NAME_CHARACTERS_MAX = 255

#: The largest number of instances in one `POST /renewals`. A node renews a thousand in about a millisecond.
RENEWALS_MAX = 1000

#: The largest number of lists and objects inside each other. An entry of 4 KiB could have 2,000 levels, which many
#: parsers cannot read.
DEPTH_MAX = 20

WEIGHT_MAX = 256

#: The largest number of characters of the token that distinguishes two instances with the same id. A UUID fits.
INSTANCE_CHARACTERS_MAX = 64

# How many terms have their `meta` cached, and their largest size in bytes. Each takes 1 KB; decoding one takes 1 µs.
_METAS_REMEMBERED = 8192
_META_BYTES_REMEMBERED = 512

# These find the field in an error message of msgspec, such as "Expected `str`, got `int` - at `$.app`" or
# "… missing required field `port`".
_WHERE = re.compile(r" - at `(?:key in )?\$\.?([^.\[`]*).*`")
_MISSING = re.compile(r"missing required field `([^`]*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`(?: - at `\$(.*)`)?", re.DOTALL)
_PART = re.compile(r"\.([^.\[\]]+)|(\[)")

#: The largest number of characters of an unknown field that an error repeats.
_SHOWN_CHARACTERS_MAX = 100

#: Fields of a listed registration that clients cannot send, each with the problem and what to do instead.
_ELSEWHERE = {
    "registered": "is set by the node that takes the registration: leave it out",
    "node": "is set by the node that takes the registration: leave it out",
    "state": "is not sent with a registration: PUT …/state sets it, DELETE …/state takes it back",
    "suspect": "is what a node finds out about a registration: leave it out",
}

_T = TypeVar("_T")
_W = TypeVar("_W", bound="RegistrationRequest")


class TooLarge(ValueError):
    """A client's input exceeds a limit, which the message names."""


# Structs and not attrs classes: msgspec reads and writes them in one step, in a tenth of the time. Each registration
# costs this time.
class Terms(msgspec.Struct, frozen=True, omit_defaults=True, rename={"ttl_s": "ttl", "registered_ms": "registered"}):
    """All fields of a registration that its key does not contain.

    `registered_ms` (milliseconds since the epoch) and `node` are the time and the node at which the registration began;
    they are for people. `instance` is the token of the instance that registered, None if it sent none.
    """

    ttl_s: float
    weight: int
    meta: dict[str, Any]
    registered_ms: int
    node: str
    instance: str | None = None

    def encode(self, key: str, bytes_max: int = ENTRY_BYTES_MAX) -> bytes:
        """Return the terms as the bytes that nodes keep, the same bytes for equal terms.

        Raises `TooLarge` if the registration has more than `bytes_max`.
        """
        # A copy, because the encoder's buffer is 40 bytes larger, which would be kept with each registration.
        body = memoryview(_encoder.encode(self)).tobytes()
        require_small(registration_bytes(key, body), "registration", bytes_max)
        return body

    @classmethod
    def decode(cls, body: bytes) -> Terms:
        """Return the terms that this node or a peer encoded as `body`."""
        return _terms.decode(body)


def registration(key: str, body: bytes, status: RegistrationStatus = USUAL) -> bytes:
    """Return a registration as clients see it, as compact JSON; `body` is its encoded terms.

    This JSON is made on request and not kept: more than half of it repeats the key.
    """
    return b"%b%b%b}" % (_named(key), body[1:-1], status.json)


def registration_bytes(key: str, body: bytes, status: RegistrationStatus = USUAL) -> int:
    """Return the number of bytes that `registration` returns."""
    if key.isascii() and '"' not in key and "\\" not in key:
        return _NAMED_BYTES + 2 * len(key) + len(body) + len(status.json)
    return len(_named(key)) + len(body) - 1 + len(status.json)


def _named(key: str) -> bytes:
    """Return the beginning of a registration, up to its terms."""
    _, app, version, host, port = key.split("/")
    if '"' in key or "\\" in key:  # JSON escapes no other printable characters
        key, app, version = (_plain_encoder.encode(each).decode()[1:-1] for each in (key, app, version))
    return (
        f'{{"id":"{key}","resource":"Registration","app":"{app}","version":"{version}","host":"{host}","port":{port},'
    ).encode()


# The JSON of a registration has the key twice, as `id` and in its parts. The first brace of the body is not repeated.
_NAMED_BYTES = len('{"id":"","resource":"Registration","app":"","version":"","host":"","port":,') - len(
    "registration////{"
)


class RegistrationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"ttl_s": "ttl"}):
    """A client's request to register an instance. Optional fields that the client did not send are None."""

    app: str
    version: str
    host: str
    port: Annotated[int, msgspec.Meta(ge=1, le=PORT_MAX)]
    ttl_s: float | None = None
    weight: Annotated[int, msgspec.Meta(ge=0, le=WEIGHT_MAX)] | None = None
    meta: dict[str, Any] | None = None
    resource: Literal["Registration"] | None = None
    instance: str | None = None
    id: str | None = None

    @property
    def key(self) -> str:
        return f"registration/{self.app}/{self.version}/{self.host}/{self.port}"

    @property
    def changes_nothing(self) -> bool:
        """Whether this request leaves an existing registration unchanged and only renews it."""
        return self.ttl_s is None and self.weight is None and self.meta is None and self.instance is None

    def is_from_another_instance(self, existing: bytes) -> bool:
        """Return True if a different instance has registered with the terms encoded as `existing`.

        Instances are distinguished by their tokens; a request without a token may be from any instance.
        """
        return self.instance is not None and self.instance != instance_of(existing)

    def applied_to(self, existing: bytes | None, *, ttl_s: float, node: str, now_ms: int) -> Terms:
        """Return the terms that result: those encoded as `existing` with the fields that were sent, or new terms.

        `ttl_s` is the ttl for a request without one. `node` and `now_ms` are the place and the time if a registration
        begins now. A registration also begins if the instance replaces another instance with the same id.
        """
        old = Terms(ttl_s, 1, {}, now_ms, node) if existing is None else Terms.decode(existing)
        if self.changes_nothing:
            return old
        if existing is not None and self.is_from_another_instance(existing):
            old = msgspec.structs.replace(old, registered_ms=now_ms, node=node, instance=self.instance)
        return msgspec.structs.replace(
            old,
            ttl_s=old.ttl_s if self.ttl_s is None else self.ttl_s,
            weight=old.weight if self.weight is None else self.weight,
            meta=old.meta if self.meta is None else self.meta,
            instance=old.instance if self.instance is None else self.instance,
        )


class _Sent(msgspec.Struct, forbid_unknown_fields=True, rename={"ttl_s": "ttl"}):
    """The body of a request whose path names the instance. If the body names it as well, both must agree."""

    app: str | None = None
    version: str | None = None
    host: str | None = None
    port: int | None = None
    ttl_s: float | None = None
    weight: Annotated[int, msgspec.Meta(ge=0, le=WEIGHT_MAX)] | None = None
    meta: dict[str, Any] | None = None
    resource: Literal["Registration"] | None = None
    instance: str | None = None
    id: str | None = None


class _Ids(msgspec.Struct, forbid_unknown_fields=True):
    ids: list[str]


class _Meta(msgspec.Struct):
    meta: dict[str, Any]


class _Instance(msgspec.Struct):
    instance: str | None = None


# This encoder sorts the keys of `meta`, but not the fields of structs. A client whose language puts keys in a random
# order must not change its registration with each renewal.
_encoder = msgspec.json.Encoder(order="deterministic")
_plain_encoder = msgspec.json.Encoder()
_terms = msgspec.json.Decoder(Terms)
_request = msgspec.json.Decoder(RegistrationRequest)
_sent = msgspec.json.Decoder(_Sent)
_ids = msgspec.json.Decoder(_Ids)
_meta = msgspec.json.Decoder(_Meta)
_instance = msgspec.json.Decoder(_Instance)
_object = msgspec.json.Decoder(dict[str, Any])


def parse_registration(document: bytes, timing: Timing) -> RegistrationRequest:
    """Parse the body of `POST /registrations`."""
    return parse_registration_request(_request, document, timing)


def parse_registration_request(decoder: msgspec.json.Decoder[_W], document: bytes, timing: Timing) -> _W:
    """Parse a registration request of the decoder's type, which may have more fields than `RegistrationRequest`."""
    request = decode_json(decoder, document, "a registration", _ELSEWHERE)
    require_name("app", request.app)
    require_name("version", request.version)
    _require_terms(request, timing)
    host = destination(request.host)
    request = request if host == request.host else msgspec.structs.replace(request, host=host)
    if request.id is not None:
        _require_id(request.id, request.key)
    return request


def parse_registration_at(path: tuple[str, str, str, str], document: bytes, timing: Timing) -> RegistrationRequest:
    """Parse a registration request from its decoded path (app, version, host and port) and its body, maybe empty."""
    app, version, host, port = path
    require_name("app", app)
    require_name("version", version)
    instance = RegistrationRequest(app, version, destination(host), parse_port(port))
    if not document.strip():
        return instance
    terms = decode_json(_sent, document, "a registration", _ELSEWHERE)
    if terms.id is not None:
        _require_id(terms.id, instance.key)
    _require_terms(terms, timing)
    for field in ("app", "version", "host", "port"):
        sent, expected = getattr(terms, field), getattr(instance, field)
        if sent not in (None, expected) and not (field == "host" and canonical_host(sent) == expected):
            raise Invalid(field, f"must be {expected}, as in the path")
    return msgspec.structs.replace(
        instance, ttl_s=terms.ttl_s, weight=terms.weight, meta=terms.meta, instance=terms.instance
    )


def require_empty_body(document: bytes, why: str) -> None:
    """Raise `Invalid`, which says `why`, if a request has a body other than an empty object."""
    if document.strip() and decode_json(_object, document):
        raise Invalid("body", f"must be empty, {why}")


def registration_key(path: tuple[str, str, str, str]) -> str:
    """Return the id of the instance that a decoded path names by app, version, host and port. Raises `Invalid`."""
    app, version, host, port = path
    require_name("app", app)
    require_name("version", version)
    return f"registration/{app}/{version}/{canonical_host(host)}/{parse_port(port)}"


def parse_id(field: str, id_: str) -> str:
    """Return the id of a registration in canonical form. Raises `Invalid`, which names the field and the id."""
    kind, *path = id_.split("/")
    if kind != "registration" or len(path) != 4:
        raise Invalid(
            field, f"{printable_name(id_)} is not the id of a registration: registration/APP/VERSION/HOST/PORT"
        )
    try:
        return registration_key((path[0], path[1], path[2], path[3]))
    except Invalid as error:
        raise Invalid(field, f"{printable_name(id_)} is not the id of a registration: {error}") from None


def canonical_id(id_: str) -> str:
    """Return an id in canonical form, or unchanged if it is not the id of a registration."""
    try:
        return parse_id("id", id_)
    except Invalid:
        return id_


def parse_renewals(document: bytes) -> list[str]:
    """Return the ids in the body of `POST /renewals`, as they were sent. Raises `TooLarge` if there are too many."""
    return _parse_ids(document, "renewals", RENEWALS_MAX)


def parse_claims_request(document: bytes, ids_max: int) -> list[str]:
    """Return the ids in the body of `POST /claims`, as they were sent. Raises `TooLarge` if there are too many."""
    return _parse_ids(document, "a request for claims", ids_max)


def _parse_ids(document: bytes, of: str, ids_max: int) -> list[str]:
    ids = decode_json(_ids, document, of).ids
    if len(ids) > ids_max:
        raise TooLarge(f"ids: at most {ids_max} in one request, this one has {len(ids)}")
    return ids


def parse_instance(token: str) -> str:
    """Return the token of an instance as it was sent. Raises `Invalid`."""
    if not is_instance(token):
        raise Invalid("instance", f"must be 1 to {INSTANCE_CHARACTERS_MAX} printable characters")
    return token


def parse_reason(reason: str) -> str:
    """Return the reason that was sent with a deregistration. Raises `Invalid` if the reason is unknown."""
    if reason != CHECK_FAILED:
        raise Invalid("reason", f"must be {CHECK_FAILED}, or left out")
    return reason


def is_instance(token: str) -> bool:
    """Return True if a text is valid as the token of an instance."""
    return 1 <= len(token) <= INSTANCE_CHARACTERS_MAX and token.isprintable()


def instance_of(body: bytes) -> str | None:
    """Return the token of the instance that registered with the terms encoded as `body`; None if it sent none."""
    return _instance.decode(body).instance


def parse_name(field: str, name: Any) -> str:
    """Return a valid app, version, or name of a backend or frontend. Raises `Invalid`, which names the field."""
    require_name(field, name)
    return str(name)


@lru_cache(_METAS_REMEMBERED)
def _meta_in(body: bytes) -> dict[str, Any]:
    return _meta.decode(body).meta


def has_meta(body: bytes, required: Iterable[tuple[str, str]]) -> bool:
    """Whether the `meta` of the terms encoded as `body` has all `required` keys with these values.

    A value in `meta` that is not text is compared as JSON.
    """
    meta = _meta_in(body) if len(body) <= _META_BYTES_REMEMBERED else _meta.decode(body).meta
    return all(key in meta and _as_text(meta[key]) == value for key, value in required)


def decode_json(
    decoder: msgspec.json.Decoder[_T], document: bytes, of: str = "the body", elsewhere: Mapping[str, str] = {}
) -> _T:
    """Decode JSON from a client as the type of `decoder`. Raises `Invalid`, which names the field.

    `of` names the object in errors about unknown fields. `elsewhere` has the error messages for some of these fields.
    """
    try:
        return decoder.decode(document)
    except msgspec.ValidationError as error:
        raise validation_error(str(error), decoder.type, of, elsewhere) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid("body", f"is not JSON: {error}") from None
    except RecursionError:
        raise Invalid("body", "has lists or objects that are nested too deeply") from None


def validation_error(message: str, kind: Any, of: str, elsewhere: Mapping[str, str] = {}) -> Invalid:
    """Return the error for msgspec's message that JSON is not of type `kind`; see `decode_json` for the others."""
    unknown = _UNKNOWN.fullmatch(message)
    if unknown:
        path = [name or "[...]" for name, _ in _PART.findall(unknown[2] or "")]
        return _unknown(unknown[1], path, kind, of, elsewhere)
    missing = _MISSING.search(message)
    if missing:
        return Invalid(missing[1], "is required")
    where = _WHERE.search(message)
    return Invalid((where and where[1]) or "body", reword_bound(_WHERE.sub("", message)))


def _unknown(name: str, path: list[str], kind: Any, of: str, elsewhere: Mapping[str, str]) -> Invalid:
    """Return the error for an unknown field in the object at a path."""
    inner = next((part for part in reversed(path) if part != "[...]"), None)
    problem = elsewhere.get(name) if inner is None else None
    problem = problem or unknown_field(inner or of, name, names_at(kind, path))
    return (
        Invalid(printable_name(name), problem)
        if inner is None
        else Invalid(path[0], f"{printable_name(name)}: {problem}")
    )


def printable_name(name: str) -> str:
    """Return the name of a field for an error message, on one line, and shortened if it is long."""
    name = name if len(name) <= _SHOWN_CHARACTERS_MAX else name[:_SHOWN_CHARACTERS_MAX] + "…"
    return name if name.isprintable() and name else ascii(name)


def _require_id(id_: str, key: str) -> None:
    if canonical_id(id_) != key:
        raise Invalid("id", f"must be {key} to match the other fields, or be left out")


def require_small(size: int, what: str, bytes_max: int) -> None:
    """Raise `TooLarge` if `size` is more than `bytes_max`; `what` names the object in the message."""
    if size > bytes_max:
        limit = "the most that any node accepts" if bytes_max == ENTRY_BYTES_BOUND else "--max-entry of the node"
        raise TooLarge(
            f"a {what} must not be larger than {bytes_max} bytes of JSON ({limit}), this one has {size}: "
            "make its meta smaller"
        )


def require_name(field: str, name: object) -> None:
    """Raise `Invalid`, which names the field, if `name` is not valid as an app, a version or a name."""
    if name is None:
        raise Invalid(field, "is required")
    if not isinstance(name, str):
        raise Invalid(field, "must be a string")
    if not 1 <= len(name) <= NAME_CHARACTERS_MAX:
        raise Invalid(field, f"must have 1 to {NAME_CHARACTERS_MAX} characters")
    if not name.isprintable() or "/" in name or name in (".", ".."):
        raise Invalid(field, "must be printable characters without /, and neither . nor ..")


def _require_terms(terms: RegistrationRequest | _Sent, timing: Timing) -> None:
    if terms.ttl_s is not None:
        require_ttl(terms.ttl_s, timing.interval_s)
    if terms.instance is not None:
        parse_instance(terms.instance)
    if terms.meta is not None:
        require_shallow("meta", terms.meta)


def require_shallow(field: str, value: object) -> None:
    """Raise `Invalid`, which names the field, if a value has more than `DEPTH_MAX` levels of lists or objects."""
    if not is_shallow(value, DEPTH_MAX):
        raise Invalid(field, f"has lists or objects that are nested more than {DEPTH_MAX} deep")


def is_shallow(value: object, levels: int) -> bool:
    """Return True if a value has at most `levels` levels of lists or objects inside each other."""
    if isinstance(value, dict):
        return levels > 0 and all(is_shallow(each, levels - 1) for each in value.values())
    if isinstance(value, list):
        return levels > 0 and all(is_shallow(each, levels - 1) for each in value)
    return True


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else _encoder.encode(value).decode()
