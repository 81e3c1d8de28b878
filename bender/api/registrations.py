"""The commands of clients for registrations: register, renew, list, explain, drain and deregister instances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from bender.api.change_safety import impact_at, refusal_for, warning_headers
from bender.api.repeated import RepeatedRequest
from bender.api.responses import (
    JSON,
    JSON_ALONE,
    ApiRequest,
    ApiResponse,
    CommandResult,
    DeferredResponse,
    array_response,
    encode,
    fields,
    is_forced,
    json_response,
    listing_response,
    location,
    long_list_response,
    not_found_response,
    query_fields_in_order,
    refusal_response,
    wait_s,
)
from bender.core import model
from bender.core.admin_state import key_of_state, override_object, parse_override
from bender.core.claim_leases import KEYS_ASKED_MAX
from bender.node.explain import explain
from bender.node.inquiries import all_claims
from bender.node.listings import SLICE
from bender.node.node import Node


def register(node: Node, request: ApiRequest) -> ApiResponse:
    """Register the instance in the body; answer 201 if it was not registered here, else 200."""
    repeated = request.repeated
    if repeated is None:
        requested = model.parse_registration(request.body, node.timing)
        request.access.require_register_ids([requested.key])
        headers = (JSON, (b"Location", location(requested.key)))
        repeated = request.repeated = RepeatedRequest(requested.key, headers, requested)
    created = repeated.register(node, request.at)
    return ApiResponse(201 if created else 200, repeated.registration_json, repeated.headers)


def register_at(node: Node, request: ApiRequest) -> ApiResponse:
    """Register the instance whose id is in the path, with the settings in the body."""
    repeated = request.repeated
    if repeated is None:
        requested = model.parse_registration_at(_instance(request), request.body, node.timing)
        repeated = request.repeated = RepeatedRequest(requested.key, JSON_ALONE, requested)
    repeated.register(node, request.at)
    return ApiResponse(200, repeated.registration_json, JSON_ALONE)


def renew(node: Node, request: ApiRequest) -> ApiResponse:
    """Renew the instance whose id is in the path; answer 404 if it is not registered."""
    repeated = request.repeated
    if repeated is None:
        key = model.registration_key(_instance(request))
        model.require_empty_body(request.body, "because PUT only renews: change ttl, weight and meta with POST")
        repeated = request.repeated = RepeatedRequest(key, JSON_ALONE)
    return (
        ApiResponse(200, repeated.registration_json, JSON_ALONE)
        if repeated.renew(node, request.at)
        else not_found_response(repeated.key)
    )


def deregister(node: Node, request: ApiRequest) -> CommandResult:
    """Deregister an instance; with `wait`, answer when all heard nodes and their consumers have applied that."""
    key = model.registration_key(_instance(request))
    sent = fields(request)
    within, instance, reason = sent.get("wait"), sent.get("instance"), sent.get("reason")
    if instance is not None:
        model.parse_instance(instance)
    if reason is not None:
        model.parse_reason(reason)
    remove = partial(node.deregister, key, instance=instance, reason=reason)
    if within is not None:
        return _deregister_everywhere(node, key, remove, wait_s(within))
    return ApiResponse(204) if remove() else not_found_response(key)


async def _deregister_everywhere(node: Node, key: str, remove: Callable[[], bool], within_s: float) -> ApiResponse:
    """Answer when all heard nodes and their consumers have applied the removal, or after `within_s`; name them."""
    if not remove():
        return not_found_response(key)
    applied = await node.until_applied(key, within_s)
    body = {"applied": applied.nodes, "consumers": applied.consumers, "missing": applied.missing}
    return ApiResponse(200, encode(body), JSON_ALONE)


async def explain_registration(node: Node, request: ApiRequest) -> ApiResponse:
    """Answer with the explanation why an instance is in rotation or not."""
    key = model.registration_key(_instance(request))
    found = await explain(node, key)
    return not_found_response(key) if found is None else json_response(request, encode(found))


async def list_claims(node: Node, request: ApiRequest) -> ApiResponse:
    """Answer with the claims of all nodes for the requested ids, by id as the client spelled it."""
    ids = model.parse_claims_request(request.body, KEYS_ASKED_MAX)
    keys = {id_: id_ if node.claim(id_) is not None else model.parse_id("ids", id_) for id_ in ids}
    found = await all_claims(node, [*dict.fromkeys(keys.values())])
    body = {"claims": {id_: found.claims[key] for id_, key in keys.items()}, "missing": found.missing}
    return ApiResponse(200, encode(body), JSON_ALONE)


def renew_all(node: Node, request: ApiRequest) -> ApiResponse:
    """Renew the instances whose ids are in the body, and answer with the ids that are not registered."""
    ids = model.parse_renewals(request.body)
    request.access.require_register_ids(ids)
    unknown = node.renew_all(ids)
    return ApiResponse(200, encode({"renewed": len(ids) - len(unknown), "unknown": unknown}), JSON_ALONE)


def get_registration(node: Node, request: ApiRequest) -> ApiResponse:
    """Answer with one registration; 404 if it is not listed, or does not match the requested meta."""
    key = model.registration_key(_instance(request))
    claim = node.claim(key)
    if claim is None or not model.has_meta(claim.body, _meta_conditions(request)):
        return not_found_response(key)
    return json_response(request, node.registration_json(claim))


def set_state(node: Node, request: ApiRequest) -> ApiResponse:
    """Set the operator's state of a registration, unless that would stop traffic and is not forced."""
    key = model.registration_key(_instance(request))
    override = parse_override(request.body)
    force = is_forced(request)
    if not (force or node.override(key) is not None or node.diagnose(key).has_content):
        return not_found_response(key)
    harm = impact_at(node).of_state(key, override.state)
    refusal = None if force else refusal_for(node, harm)
    if refusal is not None:
        return refusal
    node.set_state(key, override, request.author)
    response = _override_response(node, request, key)
    return msgspec.structs.replace(response, headers=(*response.headers, *warning_headers([harm] if harm else [])))


def list_states(node: Node, request: ApiRequest) -> DeferredResponse:
    """Answer with all states that operators have set, also of instances that are not registered."""
    found: list[bytes] = []

    def steps() -> Iterator[None]:
        for number, key in enumerate(node.keys_with_states(), start=1):
            state = node.override(key)
            if state is not None:  # it may have been removed, or have ended, since the iteration began
                found.append(encode(override_object(key, *state)))
            if number % SLICE == 0:
                yield

    return DeferredResponse(steps(), lambda: array_response(request, found))


def get_state(node: Node, request: ApiRequest) -> ApiResponse:
    """Answer with the operator's state of a registration."""
    return _override_response(node, request, model.registration_key(_instance(request)))


def remove_state(node: Node, request: ApiRequest) -> ApiResponse:
    """Remove the operator's state of a registration."""
    key = model.registration_key(_instance(request))
    return ApiResponse(204) if node.remove_state(key, request.author) else _no_override(node, key)


def _override_response(node: Node, request: ApiRequest, key: str) -> ApiResponse:
    found = node.override(key)
    return _no_override(node, key) if found is None else json_response(request, encode(override_object(key, *found)))


def _no_override(node: Node, key: str) -> ApiResponse:
    """Return 404 for a state that is not set. `removed` is True if it was removed or has ended, as this node knows."""
    removed = bool(node.history(key_of_state(key)))
    return refusal_response("NOT_FOUND", f"no operator has set a state for {key}", removed=removed)


def list_registrations(node: Node, request: ApiRequest) -> ApiResponse | DeferredResponse:
    """Answer with the registrations of an app or version, or with all, that match the requested meta."""
    names = [model.parse_name(field, name) for field, name in zip(("app", "version"), request.path, strict=False)]
    conditions = _meta_conditions(request)
    app, version = (*names, None, None)[:2]
    return registrations_response(
        node, request, app, version, (lambda body: model.has_meta(body, conditions)) if conditions else None
    )


def registrations_response(
    node: Node, request: ApiRequest, app: str | None, version: str | None, admits: Callable[[bytes], bool] | None = None
) -> ApiResponse | DeferredResponse:
    """Return the list of registrations of an app or version, or of all, whose encoded terms `admits` accepts."""
    listings = node.listings
    if admits is None:
        return listing_response(request, listings, app, version)
    if listings.is_long(app, version):
        long = listings.long_listing(app, version, admits)
        return DeferredResponse(
            long.steps(), lambda: long_list_response(request, long), listings.long_listing_bytes(app, version)
        )
    claims = (claim for claim in node.claims(app, version) if admits(claim.body))
    return array_response(request, map(node.registration_json, claims))


def _instance(request: ApiRequest) -> tuple[str, str, str, str]:
    app, version, host, port = request.path
    return app, version, host, port


def _meta_conditions(request: ApiRequest) -> list[tuple[str, str]]:
    return [
        (name.removeprefix("meta."), value)
        for name, value in query_fields_in_order(request)
        if name.startswith("meta.")
    ]
