"""Routes of other protocols, beside those of the API."""

from __future__ import annotations

from bender.access.tokens import Tokens
from bender.api import site, site_of
from bender.api.responses import ApiRequest, ApiResponse, json_response
from bender.api.route import Route, RouteTable
from bender.net.fair_turns import Turns
from bender.node.limits import Limits
from bender.node.node import Node
from tests.api.conversation import ApiCase, a_node


def _echo(_node: Node, asked: ApiRequest) -> ApiResponse:
    return json_response(asked, b'["%b",%d]' % (asked.path[0].encode(), len(asked.body)))


LARGE = Route("/other/<name>", {"GET": _echo, "POST": _echo}, hot=True, body_bytes_always=100_000)


class Other(ApiCase):
    def setUp(self) -> None:
        super().setUp()
        self.site = site(self.node, self.clock, routes=[LARGE])

    def test_both_are_served(self) -> None:
        """Routes of other protocols are served on the fast path and on the long way, beside those of the API."""
        self.assertEqual(self.ask("GET", "/other/a").json, ["a", 0])
        self.assertEqual(self.ask("GET", "/other/%61").json, ["a", 0])
        self.refused("NOT_FOUND", self.ask("GET", "/other/a/b"))
        self.assertEqual(self.ask("GET", "/registrations").json, [])
        self.refused("METHOD_NOT_ALLOWED", self.ask("PUT", "/other/a"))

    def test_a_site_without_them(self) -> None:
        """A site that was created without the routes does not serve them."""
        self.site = site(self.node, self.clock)
        self.refused("NOT_FOUND", self.ask("GET", "/other/a"))

    def test_the_size_of_a_body(self) -> None:
        """A route may have a limit of its own for bodies; other routes have the limit of the node."""
        for path in ("/other/a", "/other/%61"):
            self.assertEqual(self.ask("POST", path, b"x" * 100_000).json, ["a", 100_000])
            self.refused("TOO_LARGE", self.ask("POST", path, b"x" * 100_001))
        self.refused("TOO_LARGE", self.ask("POST", "/backends", b"x" * 100_000))

    def test_tokens(self) -> None:
        """The routes of other protocols require a token, too."""
        tokens = Tokens()
        tokens.replace([])
        self.site = site(self.node, self.clock, tokens=tokens, routes=[LARGE])
        self.assertEqual(self.ask("GET", "/other/a").status, 401)

    def test_a_node_that_is_not_ready(self) -> None:
        """A node that is not ready answers 503, because its lists may be incomplete."""
        self.node.leave()
        self.refused("NOT_READY", self.ask("GET", "/other/a"))


def _short(response: ApiResponse) -> ApiResponse:
    return ApiResponse(response.status, b"no %d" % response.status)


class Alone(ApiCase):
    """A site with routes and a form of errors of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.serve(a_node(self.clock, limits=Limits(body_bytes=1024)))

    def serve(self, node: Node, tokens: Tokens | None = None) -> None:
        self.node = node
        table = RouteTable([Route("/other/<name>", {"GET": _echo, "POST": _echo}, hot=True)], _short)
        self.site = site_of(table, node, self.clock, Turns(self.clock), tokens or Tokens(), prefix="other_")

    def said(self, method: str, path: str, body: object = None) -> bytes:
        response = self.ask(method, path, body)
        self.assertEqual(response.body, b"no %d" % response.status)
        return response.body

    def test_the_routes(self) -> None:
        """The routes of the API are not served."""
        self.assertEqual(self.ask("GET", "/other/a").json, ["a", 0])
        for path in ("/registrations", "/status", "/", "/events"):
            self.assertEqual(self.said("GET", path), b"no 404")

    def test_errors(self) -> None:
        """All errors have the site's form, on the fast path and on the long way."""
        for path in ("/other/a", "/other/%61"):
            self.assertEqual(self.said("PUT", path), b"no 405")
            self.assertEqual(self.said("POST", path, b"x" * 2000), b"no 413")
        self.assertEqual(self.said("GET", "/other/a%2Fb"), b"no 400")
        self.node.leave()
        self.assertEqual(self.said("GET", "/other/a"), b"no 503")
        self.assertEqual(self.said("GET", "/nothing"), b"no 503")
        self.serve(a_node(self.clock, limits=Limits(connections=0)))
        self.assertEqual(self.said("GET", "/other/a"), b"no 429")
        self.serve(a_node(self.clock, limits=Limits(rate=1.0)))
        self.ask("GET", "/other/a")
        for path in ("/other/a", "/other/%61"):
            self.assertEqual(self.said("GET", path), b"no 429")
        tokens = Tokens()
        tokens.replace([])
        self.serve(a_node(self.clock), tokens)
        for path in ("/other/a", "/other/%61", "/nothing"):
            self.assertEqual(self.said("GET", path), b"no 401")

    def test_the_names_of_its_limits(self) -> None:
        """The status of the node has the limits of both sites."""
        site(self.node, self.clock)
        limits = self.node.status()["limits"]
        for name in ("connections", "request_bytes", "answer_bytes", "body"):
            self.assertIn(name, limits)
            self.assertIn(f"other_{name}", limits)
