"""The routes of a table and the event stream, served through Klein.

A ready node answers a request without a coroutine. This has to be quick, because each instance sends a request every
few seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from functools import lru_cache
from typing import Any, TypeGuard
from urllib.parse import unquote

from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from werkzeug.exceptions import HTTPException

from bender.access.credentials import AUTHORIZATION, CONSUL_TOKEN, token_in
from bender.access.cross_origin import require_same_origin
from bender.access.host_check import HostCheck
from bender.access.tokens import AccessDenied, Tokens
from bender.api.events import watch
from bender.api.fast_path import FastPath
from bender.api.responses import (
    NO_ROUTE,
    NOT_READY,
    ApiRequest,
    ApiResponse,
    CommandResult,
    DeferredResponse,
    error_response,
)
from bender.api.route import Route, RouteTable
from bender.api.routes import ROUTES, access_refusal_response, answer, no_command_response, require_access
from bender.api.server import ApiSite, HttpRequest, respond, send
from bender.core.authors import author_of
from bender.core.invalid import Invalid
from bender.net.fair_turns import Turns
from bender.node.node import Full, Node, NotReady

_log = Logger()


def site(
    node: Node,
    reactor: IReactorTime,
    turns: Turns | None = None,
    tokens: Tokens | None = None,
    routes: Iterable[Route] = (),
    hosts: HostCheck | None = None,
) -> ApiSite:
    """Return the site that serves the clients of a node.

    `turns` share the reactor among all work of the node. Clients must send one of the `tokens`; None requires none.
    `routes` are added to bender's own, for other protocols. `hosts` checks the `Host` header of requests; None accepts
    any.
    """
    table = RouteTable((*ROUTES, *routes))
    return site_of(table, node, reactor, turns or Turns(reactor), tokens or Tokens(), hosts=hosts)


def site_of(
    table: RouteTable,
    node: Node,
    reactor: IReactorTime,
    turns: Turns,
    tokens: Tokens,
    *,
    prefix: str = "",
    hosts: HostCheck | None = None,
) -> ApiSite:
    """Return a site that serves only the routes of a table, for example those of another program's API.

    The names of its limits in `/status` begin with `prefix`.
    """
    klein = _on_klein(table.routes).__get__(_Front(node, reactor, turns, tokens, table), _Front)
    paths = _Paths(klein.resource(), node, tokens, table, hosts)
    fast_path = FastPath(node, reactor.seconds, tokens, table, hosts)
    return ApiSite(paths, fast_path, reactor, turns, node.limits, node.requests, prefix)


class _Paths(Resource):
    """Checks requests before Klein, which joins the decoded parts of a path and would split them at encoded slashes.

    A client without a valid token is refused here, before the request uses any resources or shows which paths exist. So
    is a web page of another site.
    """

    isLeaf = True

    def __init__(
        self, klein: IResource, node: Node, tokens: Tokens, table: RouteTable, hosts: HostCheck | None
    ) -> None:
        super().__init__()
        self._klein = klein
        self._node = node
        self._tokens = tokens
        self._table = table
        self._hosts = hosts

    def render(self, request: HttpRequest) -> Any:
        """Return the body of the answer, or `NOT_DONE_YET` if it comes later."""
        request.access = self._tokens.access(_token(request))
        try:
            self._require_own_page(request)
            if not self._table.is_open(request.path):
                request.access.require_valid()
        except AccessDenied as error:
            return respond(request, self._table.in_error_form(access_refusal_response(self._node, error)))
        problem = _path_problem(request)
        if problem is None:
            return self._klein.render(request)
        refused = error_response(Invalid("path", problem)) if self._node.ready else NOT_READY
        return respond(request, self._table.in_error_form(refused))

    def _require_own_page(self, request: HttpRequest) -> None:
        """Raise `AccessDenied` if a browser sends this for a page of another site, or for an unknown host name."""
        host = _raw_header(request, b"Host")
        if self._hosts is not None:
            self._hosts.require(host)
        fetch_site, origin = _raw_header(request, b"Sec-Fetch-Site"), _raw_header(request, b"Origin")
        require_same_origin(request.method, fetch_site, origin, host)


def _path_problem(request: HttpRequest) -> str | None:
    if not request.path.startswith(b"/"):
        return "must begin with a slash"
    parts = b" ".join(request.postpath or ())
    if b"/" in parts:
        return "must not contain an encoded slash (%2F)"
    try:
        parts.decode()
    except UnicodeDecodeError:
        return "must be percent-encoded UTF-8"
    return None


class _Front:
    """Answers the requests that Klein routes, for one site."""

    def __init__(self, node: Node, reactor: IReactorTime, turns: Turns, tokens: Tokens, table: RouteTable) -> None:
        self._node = node
        self._reactor = reactor
        self._turns = turns
        self._tokens = tokens
        self._table = table

    async def stream(self, route: Route, request: HttpRequest, path: dict[str, str]) -> Any:
        """Answer a request for a stream of events."""
        self._set_counts(request, route)
        await self._until_ready(request)
        api_request = _api_request(request, path, route)
        try:
            require_access(route, api_request)
        except AccessDenied as error:
            return self._respond(request, access_refusal_response(self._node, error))
        if request.method in (b"GET", b"HEAD"):
            return await watch(self._node, request, self._reactor, self._turns, self._tokens)
        return self._respond(request, no_command_response(route, api_request))

    def command(self, route: Route, request: HttpRequest, path: dict[str, str]) -> bytes | Coroutine[Any, Any, bytes]:
        """Answer a request with the command of its route; at once, if the node is ready and the answer is complete."""
        self._set_counts(request, route)
        if not (route.while_not_ready or self._node.ready):
            return self._answer_once_ready(route, request, path)
        answered = answer(self._node, route, _api_request(request, path, route))
        return self._respond(request, answered) if _is_complete(answered) else self._answer_later(request, answered)

    def _respond(self, request: HttpRequest, response: ApiResponse) -> bytes:
        return respond(request, self._table.in_error_form(response))

    def _set_counts(self, request: HttpRequest, route: Route) -> None:
        """Set the counts to which the answer of a request is added: those of its route and method."""
        method = request.method.decode("latin-1")
        request.counts = self._node.requests.counts_of(route.name, method, timed=not route.streams)

    async def _until_ready(self, request: HttpRequest) -> None:
        """Wait until the node is ready, and then look up the client's access again: tokens may have been replaced."""
        if not self._node.ready:
            await self._node.until_ready()
            request.access = self._tokens.current_access(request.access)

    async def _answer_once_ready(self, route: Route, request: HttpRequest, path: dict[str, str]) -> bytes:
        await self._until_ready(request)
        answered = answer(self._node, route, _api_request(request, path, route))
        return (
            self._respond(request, answered) if _is_complete(answered) else await self._answer_later(request, answered)
        )

    async def _answer_later(self, request: HttpRequest, answered: CommandResult) -> bytes:
        size = answered.held_bytes if isinstance(answered, DeferredResponse) else 0
        if not size:
            return await self._make_and_send(request, answered)
        channel = request.channel
        if not channel.reserve_answer_bytes(size):
            raise Full(
                "this node already makes and sends as many long lists as it can at a time: ask only for one app or one "
                "version, or try again later"
            )
        try:
            return await self._make_and_send(request, answered)
        finally:
            channel.reserve_answer_bytes(0)

    async def _make_and_send(self, request: HttpRequest, answered: CommandResult) -> bytes:
        if isinstance(answered, DeferredResponse):
            await self._turns.run_steps(answered.steps)
            answered = answered.answer()
        elif not isinstance(answered, ApiResponse):
            answered = await answered
        if answered.pieces is None or request.method == b"HEAD":
            return self._respond(request, answered)
        await send(request, answered, self._turns)
        return b""

    # The signatures of these differ from Klein's types, which expect any IRequest: here all are an HttpRequest.

    async def no_route(self, request: HttpRequest, failure: Failure) -> bytes:
        """Answer a request for a path without a route, or one that Klein would redirect in HTML."""
        del failure
        try:
            await self._node.until_ready()
        except NotReady:
            return self._respond(request, NOT_READY)
        return self._respond(request, NO_ROUTE)

    def failed(self, request: HttpRequest, failure: Failure) -> bytes:
        """Answer a request whose coroutine raised: with the refusal, or with 500 and a line in the log."""
        refused = error_response(failure.value)
        if refused.status == 500:
            _log.failure("A request for {path} failed.", failure, path=request.path)
        return self._respond(request, refused)


@lru_cache(maxsize=8)
def _on_klein(routes: tuple[Route, ...]) -> Klein:
    """Return a Klein app with the routes. It is cached for all sites, because compiling its rules takes long."""
    klein = Klein()
    for route in routes:
        klein.route(route.path, endpoint=route.path)(_endpoint(route))
    klein.handle_errors(HTTPException)(_Front.no_route)  # type: ignore[arg-type]
    klein.handle_errors(Exception)(_Front.failed)  # type: ignore[arg-type]
    return klein


def _endpoint(route: Route) -> Callable[..., Any]:
    take = _Front.stream if route.streams else _Front.command
    return lambda front, request, **path: take(front, route, request, path)


def _is_complete(answered: CommandResult) -> TypeGuard[ApiResponse]:
    """Return True if the result of a command is a response in one piece."""
    return isinstance(answered, ApiResponse) and answered.pieces is None


def _api_request(request: HttpRequest, path: dict[str, str], route: Route) -> ApiRequest:
    _, _, query = request.uri.partition(b"?")
    address = getattr(request.getClientAddress(), "host", "unix")
    identity = request.access.name or address
    return ApiRequest(
        request.method.decode("ascii"),
        tuple(path.values()),
        query.decode("latin-1"),
        request.content.getvalue(),
        _header(request, b"If-None-Match"),
        _header(request, b"Accept-Encoding"),
        # A hot request needs no author, and the fast path, which answers nearly all of them, ignores the name too.
        identity if route.hot else author_of(_name(request), identity),
        _header(request, b"If-Match"),
        address,
        request.access,
        accept=_header(request, b"Accept"),
    )


def _token(request: HttpRequest) -> bytes | None:
    return token_in(_raw_header(request, AUTHORIZATION), _raw_header(request, CONSUL_TOKEN))


def _header(request: HttpRequest, name: bytes) -> str | None:
    value = _raw_header(request, name)
    return None if value is None else value.decode("latin-1")


def _raw_header(request: HttpRequest, name: bytes) -> bytes | None:
    """Return the value of a header; None if it is missing. The values of a repeated header are joined by commas."""
    values = request.requestHeaders.getRawHeaders(name)
    return b",".join(values) if values else None


def _name(request: HttpRequest) -> str | None:
    """Return the name that the client gives itself; None without one. Raises `Invalid` if it is not text."""
    header = _header(request, b"X-Bender-As")
    try:
        return None if header is None else unquote(header.encode("latin-1").decode("ascii"), errors="strict")
    except UnicodeDecodeError as error:
        raise Invalid("X-Bender-As", "must be ASCII: percent-encode other characters as UTF-8") from error
