"""What clients can see and end of the guard: that members stay listed which would be hidden with most of their app."""

from __future__ import annotations

from bender.api.responses import ApiRequest, ApiResponse, array_response, encode, json_response, refusal_response
from bender.core import model
from bender.node.node import Node


def guarded(node: Node, request: ApiRequest) -> ApiResponse:
    return array_response(request, map(encode, node.guarded_apps()))


def guarded_app(node: Node, request: ApiRequest) -> ApiResponse:
    app = _app(request)
    found = next((each for each in node.guarded_apps() if each["app"] == app), None)
    return _no_suspects(node, app) if found is None else json_response(request, encode(found))


def end(node: Node, request: ApiRequest) -> ApiResponse:
    app = _app(request)
    return ApiResponse(204) if node.lift_guard(app, request.author) else _no_suspects(node, app)


def _app(request: ApiRequest) -> str:
    return model.parse_name("app", request.path[0])


def _no_suspects(node: Node, app: str) -> ApiResponse:
    others = "other nodes may list some: see GET /guard at each node (bender guard ls)"
    return refusal_response(
        "NOT_FOUND", f"{node.name} lists no member of {app} as suspect: nothing was changed; {others}"
    )
