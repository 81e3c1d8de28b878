"""Routes of other protocols, beside those of the API."""

from __future__ import annotations

from bender.access.tokens import Tokens
from bender.api import site
from bender.api.responses import ApiRequest, ApiResponse, json_response
from bender.api.route import Route
from bender.node.node import Node
from tests.api.conversation import ApiCase


def _echo(_node: Node, asked: ApiRequest) -> ApiResponse:
    return json_response(asked, b'["%b",%d]' % (asked.path[0].encode(), len(asked.body)))


LARGE = Route("/other/<name>", {"GET": _echo, "POST": _echo}, hot=True, body_bytes_least=100_000)


class Other(ApiCase):
    def setUp(self) -> None:
        super().setUp()
        self.site = site(self.node, self.clock, routes=[LARGE])

    def test_both_are_served(self) -> None:
        """On both paths of a request."""
        self.assertEqual(self.ask("GET", "/other/a").json, ["a", 0])
        self.assertEqual(self.ask("GET", "/other/%61").json, ["a", 0])
        self.refused("NOT_FOUND", self.ask("GET", "/other/a/b"))
        self.assertEqual(self.ask("GET", "/registrations").json, [])
        self.refused("METHOD_NOT_ALLOWED", self.ask("PUT", "/other/a"))

    def test_a_site_without_them(self) -> None:
        """Sites do not share their routes."""
        self.site = site(self.node, self.clock)
        self.refused("NOT_FOUND", self.ask("GET", "/other/a"))

    def test_the_size_of_a_body(self) -> None:
        """It is that of the route, on both paths of a request; other routes have the limit of the node."""
        for path in ("/other/a", "/other/%61"):
            self.assertEqual(self.ask("POST", path, b"x" * 100_000).json, ["a", 100_000])
            self.refused("TOO_LARGE", self.ask("POST", path, b"x" * 100_001))
        self.refused("TOO_LARGE", self.ask("POST", "/backends", b"x" * 100_000))

    def test_tokens(self) -> None:
        """A client needs one for them, as for all others."""
        tokens = Tokens()
        tokens.replace([])
        self.site = site(self.node, self.clock, tokens=tokens, routes=[LARGE])
        self.assertEqual(self.ask("GET", "/other/a").status, 401)

    def test_a_node_that_is_not_ready(self) -> None:
        """It answers 503, and no list that could be empty."""
        self.node.leave()
        self.refused("NOT_READY", self.ask("GET", "/other/a"))
