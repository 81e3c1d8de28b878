"""The commands on Klein: every route of a table, and the events.

A request for a node that is ready is answered without a coroutine; it has to be quick, since each instance sends one
every few seconds.
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
    Answered,
    ApiRequest,
    ApiResponse,
    DeferredResponse,
    error_response,
)
from bender.api.route import Route, RouteTable
from bender.api.routes import ROUTES, access_refused, answer, require_access, without_command
from bender.api.server import ApiSite, HttpRequest, respond, send
from bender.core.authors import signature
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
    """Return the site that serves clients of a node.

    `turns` are those of all work at the node, `tokens` those that clients must send; without them they need none.
    `routes` are those of other protocols, beside bender's own. `hosts` checks the names by which clients ask for the
    node, None checks none.
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
    """Return a site that serves the routes of a table alone, such as one with the API of another program.

    The names of its limits in `/status` begin with `prefix`.
    """
    klein = _on_klein(table.routes).__get__(_Front(node, reactor, turns, tokens, table), _Front)
    paths = _Paths(klein.resource(), node, tokens, table, hosts)
    fast_path = FastPath(node, reactor.seconds, tokens, table, hosts)
    return ApiSite(paths, fast_path, reactor, turns, node.limits, node.requests, prefix)


class _Paths(Resource):
    """Stands before Klein, which joins the decoded parts of a path and reads the slashes again.

    A client without a valid token gets no further: it learns nothing, and nothing waits for it. Neither does a web page
    of another site.
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
        """Return a body, or that there will be one later."""
        request.access = self._tokens.access(_token(request))
        try:
            self._require_own_page(request)
            if not self._table.is_open(request.path):
                request.access.require_valid()
        except AccessDenied as error:
            return respond(request, self._table.formed(access_refused(self._node, error)))
        problem = _path_problem(request)
        if problem is None:
            return self._klein.render(request)
        refused = error_response(Invalid("path", problem)) if self._node.ready else NOT_READY
        return respond(request, self._table.formed(refused))

    def _require_own_page(self, request: HttpRequest) -> None:
        """Raise `AccessDenied` where a browser asks for a page of another site, or under a name that is not known."""
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
    """Answers the requests of one site, for Klein."""

    def __init__(self, node: Node, reactor: IReactorTime, turns: Turns, tokens: Tokens, table: RouteTable) -> None:
        self._node = node
        self._reactor = reactor
        self._turns = turns
        self._tokens = tokens
        self._table = table

    async def stream(self, route: Route, request: HttpRequest, path: dict[str, str]) -> Any:
        self._set_counts(request, route)
        await self._until_ready(request)
        api_request = _api_request(request, path, route)
        try:
            require_access(route, api_request)
        except AccessDenied as error:
            return self._respond(request, access_refused(self._node, error))
        if request.method in (b"GET", b"HEAD"):
            return await watch(self._node, request, self._reactor, self._turns, self._tokens)
        return self._respond(request, without_command(route, api_request))

    def command(self, route: Route, request: HttpRequest, path: dict[str, str]) -> bytes | Coroutine[Any, Any, bytes]:
        self._set_counts(request, route)
        if not (route.while_not_ready or self._node.ready):
            return self._once_ready(route, request, path)
        answered = answer(self._node, route, _api_request(request, path, route))
        return self._respond(request, answered) if _is_whole(answered) else self._at_length(request, answered)

    def _respond(self, request: HttpRequest, response: ApiResponse) -> bytes:
        return respond(request, self._table.formed(response))

    def _set_counts(self, request: HttpRequest, route: Route) -> None:
        """Note the route for which a request is counted."""
        method = request.method.decode("latin-1")
        request.counts = self._node.requests.counts_of(route.name, method, timed=not route.streams)

    async def _until_ready(self, request: HttpRequest) -> None:
        """Wait until the node is ready; tokens may have been replaced meanwhile."""
        if not self._node.ready:
            await self._node.until_ready()
            request.access = self._tokens.current_access(request.access)

    async def _once_ready(self, route: Route, request: HttpRequest, path: dict[str, str]) -> bytes:
        await self._until_ready(request)
        answered = answer(self._node, route, _api_request(request, path, route))
        return self._respond(request, answered) if _is_whole(answered) else await self._at_length(request, answered)

    async def _at_length(self, request: HttpRequest, answered: Answered) -> bytes:
        size = answered.held_bytes if isinstance(answered, DeferredResponse) else 0
        if not size:
            return await self._made_and_sent(request, answered)
        channel = request.channel
        if not channel.reserve_answer_bytes(size):
            raise Full("this node makes too many long lists at a time: ask for an app or a version, or try again")
        try:
            return await self._made_and_sent(request, answered)
        finally:
            channel.reserve_answer_bytes(0)

    async def _made_and_sent(self, request: HttpRequest, answered: Answered) -> bytes:
        if isinstance(answered, DeferredResponse):
            await self._turns.run_steps(answered.steps)
            answered = answered.answer()
        elif not isinstance(answered, ApiResponse):
            answered = await answered
        if answered.pieces is None or request.method == b"HEAD":
            return self._respond(request, answered)
        await send(request, answered, self._turns)
        return b""

    # Klein's types know of any IRequest; here all are our own.

    async def no_route(self, request: HttpRequest, failure: Failure) -> bytes:
        """Answer where no route has the path, or Klein would redirect the client in HTML."""
        del failure
        try:
            await self._node.until_ready()
        except NotReady:
            return self._respond(request, NOT_READY)
        return self._respond(request, NO_ROUTE)

    def failed(self, request: HttpRequest, failure: Failure) -> bytes:
        """Answer where a coroutine raised: with its refusal, or with 500 and a line of the log."""
        refused = error_response(failure.value)
        if refused.status == 500:
            _log.failure("A request for {path} failed.", failure, path=request.path)
        return self._respond(request, refused)


@lru_cache(maxsize=8)
def _on_klein(routes: tuple[Route, ...]) -> Klein:
    """Return routes with a rule for each path, made once for all sites: compiling the rules takes the most time."""
    klein = Klein()
    for route in routes:
        klein.route(route.path, endpoint=route.path)(_endpoint(route))
    klein.handle_errors(HTTPException)(_Front.no_route)  # type: ignore[arg-type]
    klein.handle_errors(Exception)(_Front.failed)  # type: ignore[arg-type]
    return klein


def _endpoint(route: Route) -> Callable[..., Any]:
    take = _Front.stream if route.streams else _Front.command
    return lambda front, request, **path: take(front, route, request, path)


def _is_whole(answered: Answered) -> TypeGuard[ApiResponse]:
    """Return True if an answer is there, in one piece."""
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
        # A hot request has no author; the fast path, which takes nearly all of them, does not look at the name either.
        identity if route.hot else signature(_name(request), identity),
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
    """Return the value of a header; a client that sends it more than once has sent a list."""
    values = request.requestHeaders.getRawHeaders(name)
    return b",".join(values) if values else None


def _name(request: HttpRequest) -> str | None:
    """Return the name that a client gives itself. Raises `Invalid` where it is not text."""
    header = _header(request, b"X-Bender-As")
    try:
        return None if header is None else unquote(header.encode("latin-1").decode("ascii"), errors="strict")
    except UnicodeDecodeError as error:
        raise Invalid("X-Bender-As", "must be ASCII: percent-encode other characters as UTF-8") from error
