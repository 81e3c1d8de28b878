"""The routes of an HTTP API: paths, their commands by method, and the permissions that requests need.

A site serves one `RouteTable`: the routes of `bender.api.routes`, and those of the other protocols that are enabled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from enum import Enum, auto

from attrs import Factory, field, frozen

from bender.api.responses import ApiResponse, Command


class Need(Enum):
    """The permission that a request needs."""

    NOTHING = auto()
    #: Any token that the node knows.
    VALID = auto()
    READ = auto()
    CONFIGURE = auto()
    #: The scope to register instances of the app that is the first part of the path.
    REGISTER = auto()
    #: The scope to register instances of the apps in the body; the command checks it.
    REGISTER_IN_BODY = auto()


@frozen(eq=False)
class Route:
    """A path in Klein's syntax, and its commands by method.

    - `hot`: requests are so frequent that the fast path serves them.
    - `while_not_ready`: a node that is not ready answers too.
    - `streams`: GET and HEAD are answered with an endless stream of events.
    - `query`: the known fields of the query, by method.
    - `reads`: the permission for GET and HEAD.
    - `changes`: the permission for the other methods.
    - `body_bytes_always`: a body may have this size even if `--max-body` is smaller.
    - `name`: requests are counted under it; the path by default.
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
    """The routes of one site, which can be looked up by path."""

    def __init__(
        self, routes: Iterable[Route], error_form: Callable[[ApiResponse], ApiResponse] = lambda response: response
    ) -> None:
        """Create a table of routes with different paths.

        `error_form` converts an error from the form of bender's API to the form that clients of the site expect.
        """
        self.routes = tuple(routes)
        self.error_form = error_form
        open_paths = [route.path.partition("<") for route in self.routes if route.reads is Need.NOTHING]
        #: The paths for which a client needs no token; for those with a variable part, the text before it.
        self.open_paths = frozenset(path.encode() for path, variable, _ in open_paths if not variable)
        self.open_prefixes = tuple({path.encode() for path, variable, _ in open_paths if variable})
        # Hot routes by the number of parts of the path, and its first part. All other parts are variable.
        self._hot = {(route.path.count("/"), route.path.split("/")[1]): route for route in self.routes if route.hot}
        self._body_bytes_always: dict[bytes, int] = {}
        for route in self.routes:
            first = route.path.encode().split(b"/")[1]
            self._body_bytes_always[first] = max(self._body_bytes_always.get(first, 0), route.body_bytes_always)

    def is_open(self, path: bytes) -> bool:
        """Return True if a client needs no token for a path, whether it exists or not."""
        return path in self.open_paths or path.startswith(self.open_prefixes)

    def in_error_form(self, response: ApiResponse) -> ApiResponse:
        """Return a response; an error is converted to the form of the site."""
        return response if response.status < 400 else self.error_form(response)

    def find_hot(self, path: str) -> tuple[Route, tuple[str, ...]] | None:
        """Return the hot route of a path that needs no decoding, with the variable parts; None if no hot route fits."""
        empty, *parts = path.split("/")
        route = self._hot.get((len(parts), parts[0])) if parts and not empty else None
        names = tuple(parts[1:])
        return None if route is None or "" in names else (route, names)

    def body_bytes_always(self, path: bytes) -> int:
        """Return the bytes that a body for this path may have even if the limit is lower."""
        parts = path.split(b"/", 2)
        return self._body_bytes_always.get(parts[1], 0) if len(parts) > 1 else 0
