"""The commands of clients for backends and frontends."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

import msgspec

from bender.api.change_safety import harm_refusal, impact_at, warning_headers, warnings_for
from bender.api.registrations import registrations_response
from bender.api.responses import (
    JSON_ALONE,
    ApiRequest,
    ApiResponse,
    Command,
    DeferredResponse,
    array_response,
    encode,
    json_response,
    located_response,
    location,
    not_found_response,
    refusal_response,
    stale_refusal,
)
from bender.core import model
from bender.core.did_you_mean import did_you_mean
from bender.core.members import canary_of, servers_of, weighted_members
from bender.core.model import registration
from bender.core.object_kinds import Kind, name_of, parse_members_min, parse_object
from bender.core.registration_status import USUAL
from bender.core.routing import BACKEND, FRONTEND
from bender.node.listings import SLICE, portions
from bender.node.node import Node

#: The most objects that are searched for a similar name: that takes 10 µs for each, and clients can request any name.
NEAREST_AMONG_MAX = 500

#: About the bytes of memory that a member takes while weights are computed.
MEMBER_BYTES = 2048


class _Named(msgspec.Struct):
    name: str


_named = msgspec.json.Decoder(_Named)


def create(kind: Kind) -> Command:
    """Return the command that creates an object of a kind; it refuses a name that exists."""

    def create(node: Node, request: ApiRequest) -> ApiResponse:
        sent = parse_object(request.body)
        kind.require_known(sent)
        name = name_of(sent)
        members_min = _members_min(kind, sent)
        body = node.limits.encode_entry(partial(kind.merged_body, name, sent), None)
        if node.configured_object(kind.key(name)) is not None:
            return refusal_response("CONFLICT", f"{kind.name} {name} exists already: change it with PUT")
        refusal = _too_few_refusal(node, body, members_min) or harm_refusal(node, request, kind, None, body)
        if refusal is not None:
            return refusal
        node.configure(kind.key(name), body, request.author)
        return _created(node, kind, name, body)

    return create


def put(kind: Kind) -> Command:
    """Return the command that creates or changes an object of a kind."""

    def put(node: Node, request: ApiRequest) -> ApiResponse:
        (name,) = request.path
        key = kind.key(name)
        existing = node.configured_object(key)
        sent = parse_object(request.body)
        members_min = _members_min(kind, sent)
        body = node.limits.encode_entry(partial(kind.merged_body, name, sent), existing)
        refusal = (
            stale_refusal(request, existing, key)
            or _too_few_refusal(node, body, members_min)
            or harm_refusal(node, request, kind, existing, body)
        )
        if refusal is not None:
            return refusal
        if body != existing:  # an unchanged setting would only push an older one out of the history
            node.configure(key, body, request.author)
        return _created(node, kind, name, body) if existing is None else _changed(node, kind, body)

    return put


def _members_min(kind: Kind, sent: dict[str, Any]) -> int:
    """Remove `min_members`, which is not a setting, from a request and return it; 0 if there is none."""
    return parse_members_min(sent.pop("min_members", None)) if kind is BACKEND else 0


def _too_few_refusal(node: Node, body: bytes, members_min: int) -> ApiResponse | None:
    """Return the refusal of a version with fewer members than the client requires; None if it has enough."""
    if not members_min:
        return None
    backend: dict[str, Any] = msgspec.json.decode(body)
    app, version = backend["app"], backend["version"]
    online = node.count(app, version)
    if online >= members_min:
        return None
    text = f"{app} {version} has {online} of {members_min} required members online: nothing was changed"
    return refusal_response("CONFLICT", text, online=online, min_members=members_min)


def history(kind: Kind) -> Command:
    """Return the command that lists an object's last settings, newest first, with time and author; null: a removal."""

    def history(node: Node, request: ApiRequest) -> ApiResponse:
        key = _key(kind, request)
        settings = node.history(key)
        if not settings:
            return _absent_response(node, kind, request)
        settings_json = (
            encode({"at": each.at_ms, "author": each.author, kind.name: each.body and msgspec.Raw(each.body)})
            for each in settings
        )
        return array_response(request, settings_json)

    return history


def roll_back(kind: Kind) -> Command:
    """Return the command that sets the previous setting again, as a new one. Twice restores the present setting."""

    def roll_back(node: Node, request: ApiRequest) -> ApiResponse:
        key = _key(kind, request)
        model.require_empty_body(request.body, "because the node knows the previous setting")
        existing = node.configured_object(key)
        if existing is None:
            return _absent_response(node, kind, request)
        refusal = stale_refusal(request, existing, key)
        if refusal is not None:
            return refusal
        before = next((each.body for each in node.history(key)[1:]), None)
        if before is None:
            return refusal_response("CONFLICT", f"{key} has no earlier setting to go back to")
        refusal = harm_refusal(node, request, kind, existing, before, back=True)
        if refusal is not None:
            return refusal
        node.configure(key, before, request.author)
        return _changed(node, kind, before)

    return roll_back


def _changed(node: Node, kind: Kind, body: bytes) -> ApiResponse:
    return ApiResponse(200, body, (*JSON_ALONE, *warnings_for(node, kind, body)))


def _created(node: Node, kind: Kind, name: str, body: bytes) -> ApiResponse:
    """Return 201 with the object. For a frontend, the body has its location too, as in the original API."""
    key, warnings = kind.key(name), warnings_for(node, kind, body)
    if kind is FRONTEND:
        document: dict[str, Any] = msgspec.json.decode(body)
        body = encode(document | {"location": location(key).decode()})
    return located_response(201, body, key, warnings)


def remove(kind: Kind) -> Command:
    """Return the command that removes an object of a kind."""

    def remove(node: Node, request: ApiRequest) -> ApiResponse:
        key = _key(kind, request)
        existing = node.configured_object(key)
        refusal = stale_refusal(request, existing, key)
        if refusal is not None:
            return refusal
        if existing is None:
            return _absent_response(node, kind, request)
        refusal = harm_refusal(node, request, kind, existing, None)
        if refusal is not None:
            return refusal
        node.configure(key, None, request.author)
        warnings = impact_at(node).warnings_of_removal(request.path[0]) if kind is BACKEND else []
        return ApiResponse(204, headers=warning_headers(warnings))

    return remove


def get(kind: Kind) -> Command:
    """Return the command that shows an object of a kind."""

    def get(node: Node, request: ApiRequest) -> ApiResponse:
        body = node.configured_object(_key(kind, request))
        return _absent_response(node, kind, request) if body is None else json_response(request, body)

    return get


def list_all(kind: Kind) -> Command:
    """Return the command that lists all objects of a kind."""
    return lambda node, request: array_response(request, node.configured_objects(kind.name))


def list_members(node: Node, request: ApiRequest) -> ApiResponse | DeferredResponse:
    """Answer with the members of a backend and their effective weights."""
    body = node.configured_object(_key(BACKEND, request))
    if body is None:
        return _absent_response(node, BACKEND, request)
    backend: dict[str, Any] = msgspec.json.decode(body)
    app, version, canary = backend["app"], backend["version"], canary_of(backend)
    if canary is None and not servers_of(backend) and node.all_up(app, version):
        return registrations_response(node, request, app, version)
    stable, chosen = node.claims(app, version), node.claims(app, canary.version) if canary else []
    statuses = node.registration_statuses()
    found: list[bytes] = []

    def steps() -> Iterator[None]:
        read: list[list[dict[str, Any]]] = [[], []]
        for registrations, claims in zip(read, (stable, chosen), strict=True):
            for portion in portions(claims):
                shown = [registration(c.key, c.body, statuses.get(c.key, USUAL)) for c in portion]
                registrations.extend(map(msgspec.json.decode, shown))
                yield
        weighted = iter(weighted_members(backend, *read))
        while batch := [*islice(weighted, SLICE)]:
            found.extend(map(encode, batch))
            yield

    held_bytes = MEMBER_BYTES * (len(stable) + len(chosen))
    return DeferredResponse(steps(), lambda: array_response(request, found), held_bytes)


def _absent_response(node: Node, kind: Kind, request: ApiRequest) -> ApiResponse:
    """Return 404 for an object that does not exist, with a similar name, or the other kind that has its name."""
    (name,) = request.path
    other = FRONTEND if kind is BACKEND else BACKEND
    if node.configured_object(other.key(name)) is not None:
        return not_found_response(kind.key(name), f", but there is a {other.key(name)}")
    bodies = node.configured_objects(kind.name)
    if len(bodies) > NEAREST_AMONG_MAX:
        return not_found_response(kind.key(name))
    return not_found_response(kind.key(name), did_you_mean(name, [_named.decode(body).name for body in bodies]))


def _key(kind: Kind, request: ApiRequest) -> str:
    (name,) = request.path
    return kind.key(model.parse_name("name", name))
