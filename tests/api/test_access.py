"""The requests that each token permits at a node that requires tokens, on the fast path and on the long way."""

from __future__ import annotations

from itertools import product

import msgspec
from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from bender.api.responses import STATUS_OF_CODE
from bender.api.route import RouteTable
from bender.api.routes import ROUTES
from tests.access.known import SCOPES, hash_of, headers, secret
from tests.api.conversation import parsed, request
from tests.api.fronts import Front
from tests.api.guarded import API, ID, INSTANCE, SHOP, SITE, Guarded

BROWSER_CHALLENGE = 'Bearer realm="bender"'

#: The tokens of the table, by the names in `SCOPES`: no token, an unknown one, `read`, `register:web-*`, `configure`
#: and `admin`.
TOKENS = (None, "unknown", "reader", "web", "deployer", "root")

# The status that refuses a request with each of these tokens, or None where the request passes.
OPEN = (None, None, None, None, None, None)
READ = (401, 401, None, 403, 403, None)
REGISTER = (401, 401, 403, None, 403, None)
CONFIGURE = (401, 401, 403, 403, None, None)
#: Requests that read nothing and change nothing, such as OPTIONS, need any valid token.
ANY = (401, 401, None, None, None, None)


@frozen
class Row:
    """A request for a route: the tokens that are refused, and the status of a request that passes."""

    refused: tuple[int | None, ...]
    passes: int
    path: str
    body: object = None


#: Every route with every method that it has. A new route needs a line here.
TABLE = {
    ("GET", "/registrations"): Row(READ, 200, "/registrations"),
    ("POST", "/registrations"): Row(REGISTER, 200, "/registrations", SHOP),
    ("GET", "/registrations/<app>"): Row(READ, 200, "/registrations/web-shop"),
    ("GET", "/registrations/<app>/<version>"): Row(READ, 200, "/registrations/web-shop/1"),
    ("GET", "/registrations/<app>/<version>/<host>/<port>"): Row(READ, 200, INSTANCE),
    ("POST", "/registrations/<app>/<version>/<host>/<port>"): Row(REGISTER, 200, INSTANCE, {"weight": 7}),
    ("PUT", "/registrations/<app>/<version>/<host>/<port>"): Row(REGISTER, 200, INSTANCE),
    ("DELETE", "/registrations/<app>/<version>/<host>/<port>"): Row(REGISTER, 204, INSTANCE),
    ("GET", "/registrations/<app>/<version>/<host>/<port>/state"): Row(READ, 200, f"{INSTANCE}/state"),
    ("PUT", "/registrations/<app>/<version>/<host>/<port>/state"): Row(
        CONFIGURE, 200, f"{INSTANCE}/state?force", {"state": "maint"}
    ),
    ("DELETE", "/registrations/<app>/<version>/<host>/<port>/state"): Row(CONFIGURE, 204, f"{INSTANCE}/state"),
    ("GET", "/states"): Row(READ, 200, "/states"),
    ("GET", "/explain/registration/<app>/<version>/<host>/<port>"): Row(READ, 200, f"/explain/{ID}"),
    ("POST", "/claims"): Row(READ, 200, "/claims", {"ids": [ID]}),
    ("GET", "/nodes"): Row(READ, 200, "/nodes"),
    ("POST", "/renewals"): Row(REGISTER, 200, "/renewals", {"ids": [ID]}),
    ("GET", "/backends"): Row(READ, 200, "/backends"),
    ("POST", "/backends"): Row(CONFIGURE, 201, "/backends", {"name": "new", **SITE}),
    ("GET", "/backends/<name>"): Row(READ, 200, "/backends/site"),
    ("PUT", "/backends/<name>"): Row(CONFIGURE, 200, "/backends/site", {"app": "web-shop", "version": "3"}),
    ("DELETE", "/backends/<name>"): Row(CONFIGURE, 204, "/backends/site?force"),
    ("GET", "/backends/<name>/history"): Row(READ, 200, "/backends/site/history"),
    ("POST", "/backends/<name>/rollback"): Row(CONFIGURE, 200, "/backends/site/rollback"),
    ("GET", "/backends/<name>/members"): Row(READ, 200, "/backends/site/members"),
    ("GET", "/frontends"): Row(READ, 200, "/frontends"),
    ("POST", "/frontends"): Row(CONFIGURE, 201, "/frontends", {"name": "new", "backend": "site"}),
    ("GET", "/frontends/<name>"): Row(READ, 200, "/frontends/edge"),
    ("PUT", "/frontends/<name>"): Row(CONFIGURE, 200, "/frontends/edge", {"backend": "site", "meta": {"a": 1}}),
    ("DELETE", "/frontends/<name>"): Row(CONFIGURE, 204, "/frontends/edge?force"),
    ("GET", "/frontends/<name>/history"): Row(READ, 200, "/frontends/edge/history"),
    ("POST", "/frontends/<name>/rollback"): Row(CONFIGURE, 200, "/frontends/edge/rollback?force"),
    ("GET", "/guard"): Row(READ, 200, "/guard"),
    ("GET", "/guard/<app>"): Row(READ, 404, "/guard/web-shop"),
    ("DELETE", "/guard/<app>"): Row(CONFIGURE, 404, "/guard/web-shop"),
    ("GET", "/events"): Row(READ, 200, "/events"),
    ("GET", "/consumers"): Row(READ, 200, "/consumers"),
    ("PUT", "/consumers/<name>"): Row(READ, 200, "/consumers/edge-1", {"report": {"down": []}}),
    ("GET", "/token"): Row(ANY, 200, "/token"),
    ("GET", "/metrics"): Row(READ, 200, "/metrics"),
    ("GET", "/status"): Row(OPEN, 200, "/status"),
    ("GET", "/ready"): Row(OPEN, 200, "/ready"),
    ("GET", "/"): Row(OPEN, 200, "/"),
    ("GET", "/page/<file>"): Row(OPEN, 200, "/page/main.js"),
    ("GET", "/page/<folder>/<file>"): Row(OPEN, 200, "/page/views/now.js"),
}

#: Requests for the fast path, if they have a token.
HOT = {route.path for route in ROUTES if route.hot}


class Matrix(SynchronousTestCase):
    def test_every_route_is_in_the_table(self) -> None:
        """The table has every route, with every method of the route."""
        self.assertEqual({*TABLE}, {(method, route.path) for route in ROUTES for method in route.commands})

    def test_every_request_with_every_token(self) -> None:
        """Both ways answer as the table states. A refused request changes nothing, and is counted."""
        for fast in (True, False):
            front = Guarded(fast=fast)
            for (method, route), row in TABLE.items():
                for name, refused in zip(TOKENS, row.refused, strict=True):
                    self.sent(front, method, row, name, refused, hot=fast and route in HOT)
                    if not refused:
                        front = Guarded(fast=fast)

    def sent(self, front: Guarded, method: str, row: Row, name: str | None, refused: int | None, *, hot: bool) -> None:
        where = f"{method} {row.path} with the token {name}, {front.way}"
        before, counted, taken = front.state, front.refused, front.fast_path.taken
        response = front.response(method, row.path, row.body, name)
        self.assertEqual(response.status, refused or row.passes, where)
        unauthorized, forbidden = counted
        self.assertEqual(front.refused, (unauthorized + (refused == 401), forbidden + (refused == 403)), where)
        self.assertEqual(front.fast_path.taken - taken, hot, where)
        if refused:
            self.assertEqual(front.state, before, where)
            self.assertEqual(STATUS_OF_CODE[response.json["code"]], refused, where)
            self.assertEqual({*response.json}, {"code", "message"}, where)
            self.assertEqual(response.headers.get("www-authenticate"), _challenge(refused), where)

    def test_head(self) -> None:
        """A HEAD request gets the status of a GET without the body, also if the request is refused."""
        front = Guarded(fast=True)
        for (method, _), row in TABLE.items():
            if method != "GET":
                continue
            for name, refused in zip(TOKENS, row.refused, strict=True):
                response = front.response("HEAD", row.path, name=name)
                self.assertEqual((response.status, response.body), (refused or row.passes, b""), (row.path, name))

    def test_methods_that_a_route_does_not_have(self) -> None:
        """Without a token, a client does not learn which methods there are, unless the route is open."""
        front = Guarded(fast=True)
        paths = {route: row.path.partition("?")[0] for (_, route), row in TABLE.items()}
        for route in ROUTES:
            expected = OPEN if RouteTable(ROUTES).is_open(route.path.encode()) else ANY
            for name, refused in zip(TOKENS, expected, strict=True):
                absent = [(method, 405) for method in ("GET", "POST", "PUT", "DELETE") if method not in route.commands]
                for method, passes in (("OPTIONS", 204), ("BREW", 405), *absent):
                    response = front.response(method, paths[route.path], name=name)
                    self.assertEqual(response.status, refused or passes, (method, route.path, name))
                    self.assertEqual("allow" in response.headers, not refused, (method, route.path, name))

    def test_paths_that_do_not_exist(self) -> None:
        """A request for an unknown path gets 401 without a token, and 404 with any valid token.

        To the router, `//` is the path `/`, but `//` is not open.
        """
        fronts = [Guarded(fast=fast) for fast in (True, False)]
        for path, passes in (
            ("/nothing", 404),
            ("/ready/", 404),
            ("/readily", 404),
            ("/status/x", 404),
            ("//", 200),
            ("//ready", 200),
            ("/%72eady/x", 404),
            ("/registrations/a%2Fb", 400),
            ("/registrations/%ff", 400),
            ("ready", 400),
        ):
            for front, (name, refused) in product(fronts, zip(TOKENS, ANY, strict=True)):
                status = front.response("GET", path, name=name).status
                self.assertEqual(status, refused or passes, (path, name, front.way))

    def test_open_paths(self) -> None:
        """Only these paths are open, whatever else is in the request."""
        table = RouteTable(ROUTES)
        self.assertEqual((table.open_paths, table.open_prefixes), ({b"/", b"/ready", b"/status"}, (b"/page/",)))
        fronts = [Guarded(fast=fast) for fast in (True, False)]
        for path in ("*", "/", "/?x", "/ready?x", "http://node/ready", "http://node", "/status?x"):
            for front, name in product(fronts, (None, "unknown", "root")):
                response = front.response("GET", path, name=name)
                self.assertEqual(response.status, 200, (path, name))

    def test_an_encoded_open_path(self) -> None:
        """An open path is not open in percent-encoded form, because no client needs that form."""
        self.assertEqual(Guarded(fast=True).response("GET", "/%72eady").status, 401)
        self.assertEqual(Guarded(fast=True).response("GET", "/%72eady", name="reader").status, 200)

    def test_bodies_of_clients_that_may_not_register(self) -> None:
        """The node refuses the token before it reads the body, so a mistake in the body does not matter."""
        for front in (Guarded(fast=True), Guarded(fast=False)):
            bodies: tuple[object, ...] = (None, b"{", {}, {"ids": []})
            for path, body in product(("/registrations", "/renewals"), bodies):
                for name, status in ((None, 401), ("reader", 403), ("deployer", 403)):
                    self.assertEqual(front.response("POST", path, body, name).status, status, (path, body))


def _challenge(status: int) -> str | None:
    return BROWSER_CHALLENGE if status == 401 else None


class Granted(SynchronousTestCase):
    def test_what_a_token_permits(self) -> None:
        """Each client can read the name and the scopes of its own token, whatever the scopes are."""
        for front, name in product([Guarded(fast=fast) for fast in (True, False)], SCOPES):
            response = front.response("GET", "/token", name=name)
            self.assertEqual(response.json, {"required": True, "token": name, "scopes": SCOPES[name]})

    def test_a_node_without_tokens(self) -> None:
        """A node without tokens permits every request."""
        received, _ = Front(fast=True).ask([request("GET", "/token", **headers("reader"))])
        (response,) = parsed(received)
        self.assertEqual(response.json, {"required": False, "token": None, "scopes": ["admin"]})


class Refused(SynchronousTestCase):
    """The answers to refused requests."""

    def setUp(self) -> None:
        self.fronts = [Guarded(fast=fast) for fast in (True, False)]

    def message(self, name: str | None, method: str, path: str, body: object = None) -> str:
        messages = {
            str(Guarded(fast=fast).response(method, path, body, name).json["message"]) for fast in (True, False)
        }
        (message,) = messages
        return message

    def test_messages(self) -> None:
        """A refusal states what to do, or names the token and its scopes."""
        self.assertIn("Authorization: Bearer TOKEN", self.message(None, "GET", "/registrations"))
        self.assertIn("does not know the token", self.message("unknown", "GET", "/backends"))
        self.assertEqual(
            self.message("web", "PUT", INSTANCE.replace("web-shop", "api")),
            "the token web does not have the scope register:api: its scopes are register:web-*",
        )
        self.assertEqual(
            self.message("web", "POST", "/registrations", API),
            "the token web does not have the scope register:api: its scopes are register:web-*",
        )
        self.assertEqual(
            self.message("reader", "PUT", "/backends/site", SITE),
            "the token reader does not have the scope configure: its scopes are read",
        )

    def test_no_answer_has_a_secret(self) -> None:
        """No answer contains the token that was sent, or the hash of any token."""
        front = self.fronts[0]
        for (method, _), row in TABLE.items():
            for name in TOKENS:
                received, _ = front.ask([request(method, row.path, row.body, **headers(name))])
                for shown in (*SCOPES, "unknown"):
                    self.assertNotIn(secret(shown).encode(), received)
                    self.assertNotIn(hash_of(shown).encode(), received)

    def test_the_counts_are_shown(self) -> None:
        """`/status` has the numbers of refused requests, so that an attack or a mistake is noticed."""
        front = self.fronts[0]
        for name in (None, "unknown", None, "web"):
            front.response("GET", "/registrations", name=name)
        since_start = front.response("GET", "/status").json["since_start"]
        self.assertEqual((since_start["unauthorized"], since_start["forbidden"]), (3, 1))


class LargeBodies(SynchronousTestCase):
    def test_of_clients_without_a_token(self) -> None:
        """A body above the limit gets 413 also without a token, and the node stops reading the connection."""
        front = Guarded(fast=True)
        received, _ = front.ask([request("POST", "/registrations", b" " * 70_000) + request("PUT", INSTANCE)])
        self.assertEqual([response.status for response in parsed(received)], [413])
        self.assertEqual(msgspec.json.decode(parsed(received)[0].body)["code"], "TOO_LARGE")
