"""What clients can see and end of the guard: that members stay listed which would be hidden with most of their app."""

from __future__ import annotations

from bender.api.responses import ApiRequest, ApiResponse, array_response, encode, json_response, refusal_response
from bender.core import model
from bender.node.node import Node


def guarded(node: Node, asked: ApiRequest) -> ApiResponse:
    return array_response(asked, map(encode, node.guarded()))


def guarded_app(node: Node, asked: ApiRequest) -> ApiResponse:
    app = _app(asked)
    found = next((each for each in node.guarded() if each["app"] == app), None)
    return _no_suspects(node, app) if found is None else json_response(asked, encode(found))


def end(node: Node, asked: ApiRequest) -> ApiResponse:
    app = _app(asked)
    return ApiResponse(204) if node.lift_guard(app, asked.author) else _no_suspects(node, app)


def _app(asked: ApiRequest) -> str:
    return model.parse_name("app", asked.path[0])


def _no_suspects(node: Node, app: str) -> ApiResponse:
    others = "other nodes may list some: see GET /guard at each node (bender guard ls)"
    return refusal_response(
        "NOT_FOUND", f"{node.name} lists no member of {app} as suspect: nothing was changed; {others}"
    )
