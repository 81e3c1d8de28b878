"""Thalassa's HTTP API, on its own port: it has some paths of bender's API, but other answers.

Thalassa's client checks only the status. After any status but 200, it sends the same request again at its next update.
It knows one node, and never sends a request to another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from twisted.internet.interfaces import IReactorTime

from bender import __version__
from bender.access.host_check import HostCheck
from bender.access.tokens import Tokens
from bender.api import ApiSite, site_of
from bender.api.repeated import RepeatedRequest
from bender.api.responses import ApiRequest, ApiResponse, Command, CommandResult, DeferredResponse
from bender.api.route import Need, Route, RouteTable
from bender.core import model
from bender.core.ledger import Claim
from bender.net.fair_turns import Turns
from bender.node.event_selection import ORDERED_MAX
from bender.node.node import Node
from bender.protocols.thalassa.registrations import decode_registration, encode_registration, parse_update

#: Registrations in one piece of a list: a piece takes about 1 ms.
PIECE = 128

_JSON = (b"Content-Type", b"application/json; charset=utf-8")
_HEADERS = (_JSON, (b"Cache-Control", b"no-cache"))

_DONE = ApiResponse(200, b"200", _HEADERS)

_encode = msgspec.json.Encoder().encode


class _Problem(msgspec.Struct):
    message: str


_problem = msgspec.json.Decoder(_Problem)


def thalassa_site(
    node: Node,
    reactor: IReactorTime,
    turns: Turns | None = None,
    tokens: Tokens | None = None,
    hosts: HostCheck | None = None,
) -> ApiSite:
    """Return the site that serves Thalassa's API. `turns`, `tokens` and `hosts` are as for the API's own site."""
    table = RouteTable(_ROUTES, error_form)
    return site_of(table, node, reactor, turns or Turns(reactor), tokens or Tokens(), prefix="thalassa_", hosts=hosts)


def error_form(response: ApiResponse) -> ApiResponse:
    """Return an error of the API in the form of Thalassa: without a message for an unknown path or method."""
    status = 404 if response.status == 405 else response.status
    error: dict[str, int | str] = {"code": status, "error": HTTPStatus(status).phrase}
    if status != 404:
        error["message"] = _problem.decode(response.body).message
    kept = [header for header in response.headers if header[0] not in (b"Content-Type", b"Allow")]
    return ApiResponse(status, _encode(error), (*_HEADERS, *kept))


def _update(node: Node, request: ApiRequest) -> ApiResponse:
    repeated = request.repeated
    if repeated is None:
        app, version, host, port = request.path
        requested = parse_update((app, version, host, port), request.body, node.timing)
        repeated = request.repeated = RepeatedRequest(requested.key, _HEADERS, requested)
    repeated.register(node)
    return _DONE


def _remove(node: Node, request: ApiRequest) -> ApiResponse:
    app, version, host, port = request.path
    node.deregister(model.registration_key((app, version, host, port)))
    return _DONE


def _registrations(node: Node, request: ApiRequest) -> CommandResult:
    names = [model.parse_name(field, name) for field, name in zip(("name", "version"), request.path, strict=False)]
    app, version = (*names, None, None)[:2]
    claims = node.claims(app, version, ordered=node.replica.view.count_of(app, version) <= ORDERED_MAX)
    pieces = _pieces(node, claims)
    if len(claims) <= PIECE:
        return ApiResponse(200, b"".join(pieces), _HEADERS)
    held_bytes = node.listings.long_listing_bytes(app, version)
    return DeferredResponse(iter(()), lambda: ApiResponse(200, b"", _HEADERS, pieces), held_bytes)


def _pieces(node: Node, claims: Sequence[Claim]) -> Iterator[bytes]:
    """Yield the JSON list of the registrations in rotation. Each piece is made when it is requested."""
    now_ms = node.journal.wall_ms()
    before = b"["
    for start in range(0, len(claims), PIECE):
        registrations = [decode_registration(node.registration_json(claim)) for claim in claims[start : start + PIECE]]
        encoded = [encode_registration(each, now_ms) for each in registrations if each.in_rotation]
        yield before + b",".join(encoded) if encoded else b" "
        before = b"," if encoded else before
    yield b"]" if before == b"," else b"[]"


def _status(node: Node, _request: ApiRequest) -> ApiResponse:
    uptime_s = int(node.now() - node.started_at)
    status = {"name": "bender", "version": __version__, "uptime": uptime_s, "ready": node.ready}
    return ApiResponse(200, _encode(status), _HEADERS)


#: The prefix of paths in metrics, because the API has some of these paths, too.
_METRIC_PREFIX = "thalassa:"


def _route(path: str, commands: Mapping[str, Command], **more: Any) -> Route:
    return Route(path, commands, name=_METRIC_PREFIX + path, **more)


_ROUTES = (
    _route("/registrations", {"GET": _registrations}),
    _route("/registrations/<name>", {"GET": _registrations}),
    _route("/registrations/<name>/<version>", {"GET": _registrations}),
    _route(
        "/registrations/<name>/<version>/<host>/<port>",
        {"POST": _update, "DELETE": _remove},
        hot=True,
        changes=Need.REGISTER,
    ),
    _route("/status", {"GET": _status}, while_not_ready=True, reads=Need.NOTHING),
)
