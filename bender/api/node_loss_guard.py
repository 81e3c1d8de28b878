"""The commands of clients for the guard, which keeps members listed when most of their app would be hidden at once."""

from __future__ import annotations

from bender.api.responses import ApiRequest, ApiResponse, array_response, encode, json_response, refusal_response
from bender.core import model
from bender.node.node import Node


def list_guarded_apps(node: Node, request: ApiRequest) -> ApiResponse:
    """Answer with the apps that have suspect members."""
    return array_response(request, map(encode, node.guarded_apps()))


def get_guarded_app(node: Node, request: ApiRequest) -> ApiResponse:
    """Answer with the number of an app's suspect members, and the time that they stay listed."""
    app = _app(request)
    found = next((each for each in node.guarded_apps() if each["app"] == app), None)
    return _no_suspects_response(node, app) if found is None else json_response(request, encode(found))


def end_guard(node: Node, request: ApiRequest) -> ApiResponse:
    """Hide the suspect members of an app on all nodes."""
    app = _app(request)
    return ApiResponse(204) if node.lift_guard(app, request.author) else _no_suspects_response(node, app)


def _app(request: ApiRequest) -> str:
    return model.parse_name("app", request.path[0])


def _no_suspects_response(node: Node, app: str) -> ApiResponse:
    others = "other nodes may list suspect members: see GET /guard at each node (bender guard ls)"
    return refusal_response(
        "NOT_FOUND", f"{node.name} lists no member of {app} as suspect: nothing was changed; {others}"
    )
