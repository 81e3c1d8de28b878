"""The paths of an HTTP API: their commands, and the permissions that they need.

A site serves one `RouteTable`: the routes of `bender.api.routes`, and those of the other protocols that are switched
on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from enum import Enum, auto

from attrs import Factory, field, frozen

from bender.api.responses import ApiResponse, Command


class Need(Enum):
    """What a client must be permitted for a request."""

    NOTHING = auto()
    #: A token that the node knows, whatever its scopes are.
    VALID = auto()
    READ = auto()
    CONFIGURE = auto()
    #: To register instances of the app that is the first part of the path.
    REGISTER = auto()
    #: To register instances of the apps in the body, which the command looks at.
    REGISTER_IN_BODY = auto()


@frozen(eq=False)
class Route:
    """A path in Klein's syntax, and its commands by method.

    `hot`: requested all the time, so that the fast path serves it. `while_not_ready`: answered also by a node that is
    not ready. `streams`: GET and HEAD are answered with events, without an end. `query`: the fields that the query may
    have, by method. `body_bytes_always`: a body may have this size whatever `--max-body` is. GET and HEAD need the
    permission `reads`, the other methods `changes`. Requests are counted under `name`, by default the path.
    """

    path: str
    commands: Mapping[str, Command]
    hot: bool = False
    while_not_ready: bool = False
    streams: bool = False
    query: Mapping[str, Collection[str]] = {}
    reads: Need = Need.READ
    changes: Need = Need.CONFIGURE
    body_bytes_always: int = 0
    name: str = field(default=Factory(lambda route: route.path, takes_self=True))
    allow_header: str = field(init=False, default=Factory(lambda route: _allow(route.commands), takes_self=True))


def _allow(methods: Mapping[str, Command]) -> str:
    named = [name for method in methods for name in ((method, "HEAD") if method == "GET" else (method,))]
    return ", ".join([*named, "OPTIONS"])


class RouteTable:
    """The routes of one site, to be looked up by path."""

    def __init__(
        self, routes: Iterable[Route], error_form: Callable[[ApiResponse], ApiResponse] = lambda response: response
    ) -> None:
        """No two routes may have the same path.

        `error_form` returns an error, which is in the API's form, in the form that the clients of the site know.
        """
        self.routes = tuple(routes)
        self.error_form = error_form
        open_paths = [route.path.partition("<") for route in self.routes if route.reads is Need.NOTHING]
        #: The paths for which a client needs no token, and what such paths begin with that have a variable part.
        self.open_paths = frozenset(path.encode() for path, variable, _ in open_paths if not variable)
        self.open_prefixes = tuple({path.encode() for path, variable, _ in open_paths if variable})
        # Routes that are hot, by the number of parts of the path and the first of them. All other parts are variable.
        self._hot = {(route.path.count("/"), route.path.split("/")[1]): route for route in self.routes if route.hot}
        self._body_bytes_always: dict[bytes, int] = {}
        for route in self.routes:
            first = route.path.encode().split(b"/")[1]
            self._body_bytes_always[first] = max(self._body_bytes_always.get(first, 0), route.body_bytes_always)

    def is_open(self, path: bytes) -> bool:
        """Return True if a client needs no token for a path, whether there is something at it or not."""
        return path in self.open_paths or path.startswith(self.open_prefixes)

    def formed(self, response: ApiResponse) -> ApiResponse:
        """Return a response in the form of the site."""
        return response if response.status < 400 else self.error_form(response)

    def find_hot(self, path: str) -> tuple[Route, tuple[str, ...]] | None:
        """Return the hot route of a path that needs no decoding, with its variable parts; None where there is none."""
        empty, *parts = path.split("/")
        route = self._hot.get((len(parts), parts[0])) if parts and not empty else None
        names = tuple(parts[1:])
        return None if route is None or "" in names else (route, names)

    def body_bytes_always(self, path: bytes) -> int:
        """Return the bytes that a body may always have, whatever the limit is, by the first part of a path."""
        parts = path.split(b"/", 2)
        return self._body_bytes_always.get(parts[1], 0) if len(parts) > 1 else 0
