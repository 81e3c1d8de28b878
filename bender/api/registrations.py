"""What clients can do with registrations: register, renew, list, explain, drain and deregister them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from bender.api.change_safety import impact_at, refusal_for, warning_headers
from bender.api.repeated import RepeatedRequest
from bender.api.responses import (
    JSON,
    JSON_ALONE,
    Answered,
    ApiRequest,
    ApiResponse,
    DeferredResponse,
    array_response,
    encode,
    fields,
    fields_in_order,
    forced,
    json_response,
    listing_response,
    location,
    long_list_response,
    not_found_response,
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
    repeated = request.repeated
    if repeated is None:
        wanted = model.parse_registration(request.body, node.timing)
        request.access.require_register_ids([wanted.key])
        headers = (JSON, (b"Location", location(wanted.key)))
        repeated = request.repeated = RepeatedRequest(wanted.key, headers, wanted)
    created = repeated.register(node, request.at)
    return ApiResponse(201 if created else 200, repeated.shown, repeated.headers)


def register_at(node: Node, request: ApiRequest) -> ApiResponse:
    repeated = request.repeated
    if repeated is None:
        wanted = model.parse_registration_at(_instance(request), request.body, node.timing)
        repeated = request.repeated = RepeatedRequest(wanted.key, JSON_ALONE, wanted)
    repeated.register(node, request.at)
    return ApiResponse(200, repeated.shown, JSON_ALONE)


def renew(node: Node, request: ApiRequest) -> ApiResponse:
    repeated = request.repeated
    if repeated is None:
        key = model.registration_key(_instance(request))
        model.require_nothing(request.body, "because PUT only renews: change ttl, weight and meta with POST")
        repeated = request.repeated = RepeatedRequest(key, JSON_ALONE)
    return (
        ApiResponse(200, repeated.shown, JSON_ALONE)
        if repeated.renew(node, request.at)
        else not_found_response(repeated.key)
    )


def deregister(node: Node, request: ApiRequest) -> Answered:
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
    """Answer when all nodes that are heard have it, or after `within_s`, and say which they are."""
    if not remove():
        return not_found_response(key)
    applied = await node.until_applied(key, within_s)
    body = {"applied": applied.nodes, "consumers": applied.consumers, "missing": applied.missing}
    return ApiResponse(200, encode(body), JSON_ALONE)


async def explained(node: Node, request: ApiRequest) -> ApiResponse:
    key = model.registration_key(_instance(request))
    found = await explain(node, key)
    return not_found_response(key) if found is None else json_response(request, encode(found))


async def claims(node: Node, request: ApiRequest) -> ApiResponse:
    """Answer with the claims that all nodes hold of some registrations, under the ids as they were sent."""
    ids = model.parse_inquiry(request.body, KEYS_ASKED_MAX)
    keys = {id_: id_ if node.claim(id_) is not None else model.parse_id("ids", id_) for id_ in ids}
    found = await all_claims(node, [*dict.fromkeys(keys.values())])
    body = {"claims": {id_: found.claims[key] for id_, key in keys.items()}, "missing": found.missing}
    return ApiResponse(200, encode(body), JSON_ALONE)


def renew_all(node: Node, request: ApiRequest) -> ApiResponse:
    ids = model.parse_renewals(request.body)
    request.access.require_register_ids(ids)
    unknown = node.renew_all(ids)
    return ApiResponse(200, encode({"renewed": len(ids) - len(unknown), "unknown": unknown}), JSON_ALONE)


def one(node: Node, request: ApiRequest) -> ApiResponse:
    key = model.registration_key(_instance(request))
    claim = node.claim(key)
    if claim is None or not model.has_meta(claim.body, _meta_wanted(request)):
        return not_found_response(key)
    return json_response(request, node.registration_json(claim))


def set_state(node: Node, request: ApiRequest) -> ApiResponse:
    key = model.registration_key(_instance(request))
    override = parse_override(request.body)
    force = forced(request)
    if not (force or node.override(key) is not None or node.diagnose(key).has_content):
        return not_found_response(key)
    harm = impact_at(node).of_state(key, override.state)
    refusal = None if force else refusal_for(node, harm)
    if refusal is not None:
        return refusal
    node.set_state(key, override, request.author)
    response = _override_response(node, request, key)
    return msgspec.structs.replace(response, headers=(*response.headers, *warning_headers([harm] if harm else [])))


def all_states(node: Node, request: ApiRequest) -> DeferredResponse:
    """Answer with the states that operators have set, also those of instances that are not registered."""
    found: list[bytes] = []

    def steps() -> Iterator[None]:
        for number, key in enumerate(node.keys_with_states(), start=1):
            state = node.override(key)
            if state is not None:  # it may be taken back, or its time over
                found.append(encode(override_object(key, *state)))
            if number % SLICE == 0:
                yield

    return DeferredResponse(steps(), lambda: array_response(request, found))


def one_state(node: Node, request: ApiRequest) -> ApiResponse:
    return _override_response(node, request, model.registration_key(_instance(request)))


def remove_state(node: Node, request: ApiRequest) -> ApiResponse:
    key = model.registration_key(_instance(request))
    return ApiResponse(204) if node.remove_state(key, request.author) else _no_override(node, key)


def _override_response(node: Node, request: ApiRequest, key: str) -> ApiResponse:
    found = node.override(key)
    return _no_override(node, key) if found is None else json_response(request, encode(override_object(key, *found)))


def _no_override(node: Node, key: str) -> ApiResponse:
    """`removed` tells a state that was taken back, or whose time is over, from one of which this node knows nothing."""
    removed = bool(node.history(key_of_state(key)))
    return refusal_response("NOT_FOUND", f"no operator has set a state for {key}", removed=removed)


def listing(node: Node, request: ApiRequest) -> ApiResponse | DeferredResponse:
    names = [model.parse_name(field, name) for field, name in zip(("app", "version"), request.path, strict=False)]
    wanted = _meta_wanted(request)
    app, version = (*names, None, None)[:2]
    return selected(node, request, app, version, (lambda body: model.has_meta(body, wanted)) if wanted else None)


def selected(
    node: Node, request: ApiRequest, app: str | None, version: str | None, admits: Callable[[bytes], bool] | None = None
) -> ApiResponse | DeferredResponse:
    """The registrations of an app or version, or all; of them only those whose encoded terms `admits` lets pass."""
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


def _meta_wanted(request: ApiRequest) -> list[tuple[str, str]]:
    return [(name.removeprefix("meta."), value) for name, value in fields_in_order(request) if name.startswith("meta.")]
