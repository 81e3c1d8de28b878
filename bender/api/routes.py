"""The requests that clients can send to a node: `ROUTES` has all routes of bender's own API.

A front (`bender.api.app` or the fast path) reads a request, finds the route, waits until the node is ready unless the
route is answered `while_not_ready`, and calls `answer`. It never reads a body. This module does not know Twisted's web.
`answer` does not raise the errors of clients: every request has an answer, and a refused one has changed nothing.
"""

from __future__ import annotations

from bender import __version__
from bender.access.tokens import AccessDenied
from bender.api import backends, consumers, metrics, node_loss_guard, nodes, page, registrations
from bender.api.responses import (
    BODY_BYTES_MAX,
    META_KEY,
    NOT_READY,
    RENEWALS_BYTES_MAX,
    ApiRequest,
    ApiResponse,
    CommandResult,
    encode,
    error_response,
    is_forced,
    json_response,
    query_fields_in_order,
    refusal_response,
    require_known,
)
from bender.api.route import Need, Route
from bender.core.invalid import Invalid
from bender.core.model import TooLarge
from bender.core.routing import BACKEND, FRONTEND
from bender.node.node import Full, InstanceReplaced, Node, NotReady


def answer(node: Node, route: Route, request: ApiRequest) -> CommandResult:
    """Run the command of a request and return its result; refusals are results too."""
    command = route.commands.get("GET" if request.method == "HEAD" else request.method)
    try:
        if not request.permitted:
            require_access(route, request)
            request.permitted = True
        if command is None:
            return no_command_response(route, request)
        if request.query:
            _require_known(route, request)
        return command(node, request)
    except AccessDenied as error:
        return access_refusal_response(node, error)
    except (Invalid, TooLarge, NotReady, Full, InstanceReplaced) as error:
        return error_response(error)


def access_refusal_response(node: Node, error: AccessDenied) -> ApiResponse:
    """Count a request that its client may not send, and return the refusal."""
    node.counters.count_denied(error.code)
    return error_response(error)


def require_access(route: Route, request: ApiRequest) -> None:
    """Raise `Unauthorized` or `Forbidden` if the client may not send this request."""
    method = "GET" if request.method == "HEAD" else request.method
    access, need = request.access, route.reads if method == "GET" else route.changes
    if route.reads is Need.NOTHING:
        return
    if method not in route.commands or need is Need.VALID:
        access.require_valid()
    elif need is Need.READ:
        access.require_read()
    elif need is Need.CONFIGURE:
        access.require_configure()
    elif need is Need.REGISTER:
        access.require_register(request.path[0])
    else:
        access.require_register_some()


def _require_known(route: Route, request: ApiRequest) -> None:
    """Raise `Invalid` if the query has an unknown field, or an invalid value of `force`.

    `force` is checked here, because not every command comes to use it: a stale tag is refused before.
    """
    method = "GET" if request.method == "HEAD" else request.method
    known = route.query.get(method, ())
    require_known((name for name, _ in query_fields_in_order(request)), known, changes=method != "GET")
    if "force" in known:
        is_forced(request)


def no_command_response(route: Route, request: ApiRequest) -> ApiResponse:
    """Return the answer to a method without a command: to OPTIONS the allowed methods, to others 405."""
    allow = (b"Allow", route.allow_header.encode())
    if request.method == "OPTIONS":
        return ApiResponse(204, headers=(allow,))
    return refusal_response(
        "METHOD_NOT_ALLOWED", f"{request.method} is not allowed here: use one of {route.allow_header}", allow
    )


# The node itself.


def _root(node: Node, request: ApiRequest) -> CommandResult:
    """Answer a browser with the page, also while the node is not ready, and other clients when the node is ready."""
    if page.wants_page(request):
        return page.page(request)
    return _name_and_version(request) if node.ready else _name_once_ready(node, request)


def _name_and_version(request: ApiRequest) -> ApiResponse:
    return json_response(request, encode({"name": "bender", "version": __version__}), (b"Vary", b"Accept"))


async def _name_once_ready(node: Node, request: ApiRequest) -> ApiResponse:
    try:
        await node.until_ready()
    except NotReady:
        return NOT_READY
    return _name_and_version(request)


def _status(node: Node, request: ApiRequest) -> ApiResponse:
    return json_response(request, encode(node.status()))


def _ready(node: Node, request: ApiRequest) -> ApiResponse:
    ready = node.ready if request.at is None else node.ready_at(request.at)
    return json_response(request, encode({"ready": True, "node": node.name})) if ready else NOT_READY


def _token(_node: Node, request: ApiRequest) -> ApiResponse:
    """Answer with the name and the scopes of the client's token."""
    access = request.access
    granted = {"required": access.name is not None, "token": access.name, "scopes": access.scopes.written}
    return json_response(request, encode(granted))


def _stream(_node: Node, _request: ApiRequest) -> ApiResponse:
    raise AssertionError("a request for a stream reached a route: this is a defect in bender")


_INSTANCE = "/registrations/<app>/<version>/<host>/<port>"
_FORCE = ("force",)
_META = {"GET": (META_KEY,)}

ROUTES = (
    Route(
        "/registrations",
        {"GET": registrations.list_registrations, "POST": registrations.register},
        hot=True,
        query=_META,
        changes=Need.REGISTER_IN_BODY,
    ),
    Route("/registrations/<app>", {"GET": registrations.list_registrations}, hot=True, query=_META),
    Route("/registrations/<app>/<version>", {"GET": registrations.list_registrations}, hot=True, query=_META),
    Route(
        _INSTANCE,
        {
            "GET": registrations.get_registration,
            "POST": registrations.register_at,
            "PUT": registrations.renew,
            "DELETE": registrations.deregister,
        },
        hot=True,
        query=_META | {"DELETE": ("wait", "instance", "reason")},
        changes=Need.REGISTER,
    ),
    Route(
        _INSTANCE + "/state",
        {"GET": registrations.get_state, "PUT": registrations.set_state, "DELETE": registrations.remove_state},
        query={"PUT": _FORCE},
    ),
    Route("/states", {"GET": registrations.list_states}),
    Route("/explain" + _INSTANCE.replace("registrations", "registration"), {"GET": registrations.explain_registration}),
    # A query with many ids, which do not fit in the URL.
    Route("/claims", {"POST": registrations.list_claims}, changes=Need.READ, body_bytes_always=BODY_BYTES_MAX),
    Route(
        "/renewals",
        {"POST": registrations.renew_all},
        hot=True,
        body_bytes_always=RENEWALS_BYTES_MAX,
        changes=Need.REGISTER_IN_BODY,
    ),
    Route(
        "/backends",
        {"GET": backends.list_all(BACKEND), "POST": backends.create(BACKEND)},
        query={"POST": _FORCE},
    ),
    Route(
        "/backends/<name>",
        {"GET": backends.get(BACKEND), "PUT": backends.put(BACKEND), "DELETE": backends.remove(BACKEND)},
        query={"PUT": _FORCE, "DELETE": _FORCE},
    ),
    Route("/backends/<name>/history", {"GET": backends.history(BACKEND)}),
    Route("/backends/<name>/rollback", {"POST": backends.roll_back(BACKEND)}, query={"POST": _FORCE}),
    Route("/backends/<name>/members", {"GET": backends.list_members}),
    Route(
        "/frontends",
        {"GET": backends.list_all(FRONTEND), "POST": backends.create(FRONTEND)},
        query={"POST": _FORCE},
    ),
    Route(
        "/frontends/<name>",
        {
            "GET": backends.get(FRONTEND),
            "PUT": backends.put(FRONTEND),
            "DELETE": backends.remove(FRONTEND),
        },
        query={"PUT": _FORCE, "DELETE": _FORCE},
    ),
    Route("/frontends/<name>/history", {"GET": backends.history(FRONTEND)}),
    Route("/frontends/<name>/rollback", {"POST": backends.roll_back(FRONTEND)}, query={"POST": _FORCE}),
    Route("/guard", {"GET": node_loss_guard.list_guarded_apps}),
    Route("/guard/<app>", {"GET": node_loss_guard.get_guarded_app, "DELETE": node_loss_guard.end_guard}),
    Route("/events", {"GET": _stream}, streams=True),
    Route("/consumers", {"GET": consumers.list_consumers}),
    # A confirmation may contain a report, which may be large.
    Route("/consumers/<name>", {"PUT": consumers.confirm}, changes=Need.READ, body_bytes_always=BODY_BYTES_MAX),
    Route("/status", {"GET": _status}, while_not_ready=True, reads=Need.NOTHING),
    # Operators look at these most often while a node is not ready.
    Route("/nodes", {"GET": nodes.list_nodes}, while_not_ready=True),
    Route("/metrics", {"GET": metrics.scrape}, while_not_ready=True),
    Route("/token", {"GET": _token}, while_not_ready=True, reads=Need.VALID),
    Route("/ready", {"GET": _ready}, hot=True, while_not_ready=True, reads=Need.NOTHING),
    Route("/", {"GET": _root}, while_not_ready=True, reads=Need.NOTHING),
    *page.ROUTES,
)
