"""Who may send which request to a node that requires tokens, on the fast path and on the long way."""

from __future__ import annotations

from base64 import b64encode
from itertools import product
from typing import Any

import msgspec
from attrs import frozen
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.access.tokens import Tokens
from bender.api import site
from bender.api.responses import STATUS_OF_CODE
from bender.api.routes import OPEN_PATHS, ROUTES
from tests.access.known import SCOPES, hash_of, headers, known, secret, token
from tests.api.conversation import ApiCase, Connection, Network, Response, parsed, request
from tests.api.fronts import Front

INSTANCE = "/registrations/web-shop/1/10.0.0.5/80"
ID = "registration/web-shop/1/10.0.0.5/80"
OTHER_ID = "registration/api/1/10.0.0.6/80"
SHOP = {"app": "web-shop", "version": "1", "host": "10.0.0.5", "port": 80}
API = {"app": "api", "version": "1", "host": "10.0.0.6", "port": 80}
SITE = {"app": "web-shop", "version": "1"}
BROWSER_CHALLENGE = 'Bearer realm="bender"'

#: The tokens of the table, by the names in `SCOPES`: none, one that is not known, `read`, `register:web-*`,
#: `configure` and `admin`.
TOKENS = (None, "unknown", "reader", "web", "deployer", "root")

# What becomes of a request with each of them: a status, or None where it passes.
OPEN = (None, None, None, None, None, None)
READ = (401, 401, None, 403, 403, None)
REGISTER = (401, 401, 403, None, 403, None)
CONFIGURE = (401, 401, 403, 403, None, None)
#: Requests that read nothing and change nothing, such as OPTIONS: they only need some token.
ANY = (401, 401, None, None, None, None)


@frozen
class Row:
    """A request for a route: which tokens are refused, and the status where it passes."""

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
    ("GET", "/status"): Row(OPEN, 200, "/status"),
    ("GET", "/ready"): Row(OPEN, 200, "/ready"),
    ("GET", "/"): Row(OPEN, 200, "/"),
}

#: Requests for the fast path, if they have a token.
HOT = {route.path for route in ROUTES if route.hot}


class Guarded(Front):
    """A node that knows all tokens, with a registration, a backend, a frontend and an operator's state."""

    def __init__(self, *, fast: bool) -> None:
        super().__init__(fast=fast, tokens=known())
        self.way = "fast path" if fast else "long way"
        for method, path, body in (
            ("POST", "/registrations", SHOP),
            ("PUT", "/backends/site", {"app": "web-shop", "version": "2"}),
            ("PUT", "/backends/site", SITE),
            ("PUT", "/frontends/edge", {"backend": "site"}),
            ("PUT", "/frontends/edge", {"backend": "site", "meta": {"a": 0}}),
            ("PUT", f"{INSTANCE}/state?force", {"state": "drain"}),
        ):
            assert self.response(method, path, body, "root").status in (200, 201), (method, path)

    def response(self, method: str, path: str, body: object = None, name: str | None = None, **more: str) -> Response:
        """The one response to a request with a token."""
        received, _ = self.ask([request(method, path, body, **headers(name), **more)])
        (response,) = parsed(received, head=method == "HEAD")
        return response

    @property
    def refused(self) -> tuple[int, int]:
        """How many requests were refused: without a valid token, and with one that does not permit them."""
        return self.node.counters.unauthorized, self.node.counters.forbidden

    @property
    def state(self) -> object:
        """Everything that requests can change, except for what is only counted."""
        node = self.node
        claims = [(claim.key, claim.body) for claim in node.claims()]
        return node.replica.digest(), node.journal.cursor, claims, [*node.keys_of_states()]


class Matrix(SynchronousTestCase):
    def test_every_route_is_in_the_table(self) -> None:
        """Also every method of it."""
        self.assertEqual({*TABLE}, {(method, route.path) for route in ROUTES for method in route.commands})

    def test_every_request_with_every_token(self) -> None:
        """Both ways answer as the table has it. A request that is refused changes nothing, and is counted."""
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
        """It is GET without the body, also where it is refused."""
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
            expected = OPEN if route.path.encode() in OPEN_PATHS else ANY
            for name, refused in zip(TOKENS, expected, strict=True):
                for method, passes in (("OPTIONS", 204), ("BREW", 405)):
                    response = front.response(method, paths[route.path], name=name)
                    self.assertEqual(response.status, refused or passes, (method, route.path, name))
                    self.assertEqual("allow" in response.headers, not refused, (method, route.path, name))

    def test_paths_that_do_not_exist(self) -> None:
        """They are like all others without a token; with any, the client learns that they do not exist.

        To the router, `//` is the path `/`, and is not open all the same.
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
        """They are these alone, whatever else is in the request."""
        self.assertEqual(OPEN_PATHS, {b"/", b"/ready", b"/status"})
        fronts = [Guarded(fast=fast) for fast in (True, False)]
        for path in ("*", "/", "/?x", "/ready?x", "http://node/ready", "http://node", "/status?x"):
            for front, name in product(fronts, (None, "unknown", "root")):
                response = front.response("GET", path, name=name)
                self.assertEqual(response.status, 200, (path, name))

    def test_an_encoded_open_path(self) -> None:
        """It is not needed by anybody, so it is not open."""
        self.assertEqual(Guarded(fast=True).response("GET", "/%72eady").status, 401)
        self.assertEqual(Guarded(fast=True).response("GET", "/%72eady", name="reader").status, 200)

    def test_bodies_of_clients_that_may_not_register(self) -> None:
        """They are not looked at: a mistake in them is not what is wrong."""
        for front in (Guarded(fast=True), Guarded(fast=False)):
            bodies: tuple[object, ...] = (None, b"{", {}, {"ids": []})
            for path, body in product(("/registrations", "/renewals"), bodies):
                for name, status in ((None, 401), ("reader", 403), ("deployer", 403)):
                    self.assertEqual(front.response("POST", path, body, name).status, status, (path, body))


def _challenge(status: int) -> str | None:
    return BROWSER_CHALLENGE if status == 401 else None


class Refused(SynchronousTestCase):
    """What a client learns that is refused."""

    def setUp(self) -> None:
        self.fronts = [Guarded(fast=fast) for fast in (True, False)]

    def message(self, name: str | None, method: str, path: str, body: object = None) -> str:
        messages = {
            str(Guarded(fast=fast).response(method, path, body, name).json["message"]) for fast in (True, False)
        }
        (message,) = messages
        return message

    def test_messages(self) -> None:
        """A refusal states what to do, or which token it was and what that permits."""
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
        """Neither the token that was sent, nor the hash of any."""
        front = self.fronts[0]
        for (method, _), row in TABLE.items():
            for name in TOKENS:
                received, _ = front.ask([request(method, row.path, row.body, **headers(name))])
                for shown in (*SCOPES, "unknown"):
                    self.assertNotIn(secret(shown).encode(), received)
                    self.assertNotIn(hash_of(shown).encode(), received)

    def test_the_counts_are_shown(self) -> None:
        """`/status` has them, so that an attack or a mistake is seen."""
        front = self.fronts[0]
        for name in (None, "unknown", None, "web"):
            front.response("GET", "/registrations", name=name)
        since_start = front.response("GET", "/status").json["since_start"]
        self.assertEqual((since_start["unauthorized"], since_start["forbidden"]), (3, 1))


class Credentials(SynchronousTestCase):
    """The forms in which a token may come, the same on both ways."""

    def setUp(self) -> None:
        self.fronts = [Guarded(fast=fast) for fast in (True, False)]

    def status(self, *lines: str) -> int:
        """The status of a list of registrations for a client that sends these headers."""
        sent = "\r\n".join(["GET /registrations HTTP/1.1", "Host: a", *lines, "", ""]).encode("latin-1")
        first, second = (parsed(front.ask([sent])[0])[0].status for front in self.fronts)
        self.assertEqual(first, second)
        return first

    def basic(self, password: str, user: str = "anybody") -> str:
        return f"Authorization: Basic {b64encode(f'{user}:{password}'.encode()).decode()}"

    def test_accepted(self) -> None:
        reader = secret("reader")
        for line in (
            f"Authorization: Bearer {reader}",
            f"authorization: bearer {reader}",
            f"AUTHORIZATION:BEARER   {reader}  ",
            f"Authorization: {reader}",
            f"Authorization:\t{reader}\t",
            self.basic(reader),
            self.basic(reader, user=""),
            f"X-Consul-Token: {reader}",
            f"x-consul-token: {reader}",
        ):
            self.assertEqual(self.status(line), 200, line)

    def test_not_accepted(self) -> None:
        """Empty ones, halves, other schemes, other places, and tokens that are only nearly right."""
        reader = secret("reader")
        for line in (
            "Authorization:",
            "Authorization: Bearer",
            "Authorization: Bearer ",
            "Authorization: Basic",
            "Authorization: Basic !",
            f"Authorization: Basic {reader}",
            f"Authorization: Digest {reader}",
            f"Authorization: Bearer {reader}x",
            f"Authorization: Bearer {reader[:-1]}",
            f"Authorization: Bearer {reader.upper()}",
            f"Authorization: Bearer {hash_of('reader')}",
            "Authorization: Bearer \xe9",
            self.basic(""),
            self.basic("", user=reader),
            self.basic(f"{reader}\n"),
            "X-Consul-Token:",
            f"X-Consul-Token: Bearer {reader}",
            f"Proxy-Authorization: Bearer {reader}",
            f"Cookie: token={reader}",
        ):
            self.assertEqual(self.status(line), 401, line)

    def test_several(self) -> None:
        """`Authorization` decides, and one that comes twice is not valid even if both are."""
        reader, unknown = (f"Authorization: Bearer {secret(name)}" for name in ("reader", "unknown"))
        consul = f"X-Consul-Token: {secret('reader')}"
        self.assertEqual(self.status(reader, "X-Consul-Token: x"), 200)
        self.assertEqual(self.status(unknown, consul), 401)
        self.assertEqual(self.status("Authorization:", consul), 401)
        self.assertEqual(self.status(reader, reader), 401)
        self.assertEqual(self.status(reader, unknown), 401)
        self.assertEqual(self.status(consul, consul), 401)

    def test_in_the_query(self) -> None:
        """A token in an address would get into logs of proxies, so it is not accepted there."""
        front = self.fronts[0]
        self.assertEqual(front.response("GET", f"/registrations?token={secret('reader')}").status, 401)


class Apps(SynchronousTestCase):
    """A scope for registrations is for the apps that it matches, wherever a request names them."""

    def setUp(self) -> None:
        self.fronts = [Guarded(fast=fast) for fast in (True, False)]
        for front in self.fronts:
            front.response("POST", "/registrations", API, "root")

    def both(self, method: str, path: str, body: object = None, name: str = "web") -> Any:
        """The status and the body of the answer, which is the same both ways."""
        first, second = (front.response(method, path, body, name) for front in self.fronts)
        self.assertEqual((first.status, first.body), (second.status, second.body))
        return first.status, first.json if first.body else None

    def pass_time(self, seconds: int) -> None:
        for front in self.fronts:
            for _ in range(seconds):
                front.clock.advance(1)
                front.node.sweep()

    def ids(self) -> list[str]:
        first, second = ([claim.key for claim in front.node.claims()] for front in self.fronts)
        self.assertEqual(first, second)
        return sorted(first)

    def test_another_app(self) -> None:
        """None of the requests about its instances is permitted."""
        other = INSTANCE.replace("web-shop", "api")
        for method, path, body in (
            ("POST", "/registrations", API),
            ("POST", other, None),
            ("PUT", other, None),
            ("DELETE", other, None),
            ("DELETE", f"{other}?wait=1", None),
            ("POST", "/renewals", {"ids": [OTHER_ID]}),
            ("POST", other.replace("/api/", "/%61pi/"), None),
        ):
            self.assertEqual(self.both(method, path, body)[0], 403, (method, path))
        self.assertEqual(self.ids(), [OTHER_ID, ID])

    def test_an_app_that_is_encoded(self) -> None:
        """It is the same app."""
        self.assertEqual(self.both("POST", INSTANCE.replace("web", "%77eb"))[0], 200)
        self.assertEqual(self.both("POST", INSTANCE.replace("web-shop", "%77ew-shop"))[0], 403)

    def test_renewals_of_another_app(self) -> None:
        """One such id among many refuses them all, and nothing is renewed: both end when their ttl does."""
        self.pass_time(6)
        status, refusal = self.both("POST", "/renewals", {"ids": [ID, OTHER_ID]})
        self.assertEqual((status, refusal["code"]), (403, "FORBIDDEN"))
        self.pass_time(6)
        self.assertEqual(self.ids(), [])

    def test_renewals(self) -> None:
        """Ids of permitted apps are renewed, and other texts are unknown."""
        self.pass_time(6)
        answer = (200, {"renewed": 1, "unknown": ["nothing", "registration/web-x/1/h/1"]})
        self.assertEqual(self.both("POST", "/renewals", {"ids": [ID, "nothing", "registration/web-x/1/h/1"]}), answer)
        self.pass_time(6)
        self.assertEqual(self.ids(), [ID])

    def test_a_refused_deregistration(self) -> None:
        """The instance stays, and a token that may deregister it does so."""
        self.assertEqual(self.both("DELETE", INSTANCE, name="deployer")[0], 403)
        self.assertIn(ID, self.ids())
        self.assertEqual(self.both("DELETE", INSTANCE)[0], 204)
        self.assertNotIn(ID, self.ids())


class Replaced(SynchronousTestCase):
    """Requests obey the tokens of the moment, also those that are remembered."""

    def setUp(self) -> None:
        self.tokens = known()
        self.front = Front(fast=True, tokens=self.tokens)

    def status(self, method: str, path: str, body: object = None, name: str = "web") -> int:
        taken = self.front.fast_path.taken
        received, _ = self.front.ask([request(method, path, body, **headers(name))])
        self.assertEqual(self.front.fast_path.taken, taken + 1)
        (response,) = parsed(received)
        return response.status

    def test_remembered_requests(self) -> None:
        """The fast path has them with their access, and forgets both when the tokens are replaced."""
        asked = (
            ("POST", "/registrations", SHOP),
            ("POST", INSTANCE, None),
            ("PUT", INSTANCE, None),
            ("POST", "/renewals", {"ids": [ID]}),
        )
        for granted, status in (
            (["register:web-*"], 200),
            (["register:api"], 403),
            (["register:web-shop"], 200),
            (["read"], 403),
            (["admin"], 200),
        ):
            self.tokens.replace([token("web", *granted)])
            for method, path, body in asked:
                for _ in range(2):
                    answered = self.status(method, path, body)
                    self.assertEqual(200 if answered == 201 else answered, status, (granted, method, path))

    def test_a_token_that_is_removed_and_added(self) -> None:
        """A request that was refused is not refused for ever."""
        for _ in range(2):
            self.tokens.replace([token("reader")])
            self.assertEqual([self.status("POST", INSTANCE) for _ in range(2)], [401, 401])
            self.tokens.replace([token("web")])
            self.assertEqual([self.status("POST", INSTANCE) for _ in range(2)], [200, 200])

    def test_tokens_turned_on(self) -> None:
        """A client without a token is refused from then on."""
        tokens = Tokens()
        front = Front(fast=True, tokens=tokens)
        connection = Connection(front.site)
        for required, status in ((None, 200), ([token("web")], 401), (None, 200)):
            tokens.replace(required)
            connection.send(request("POST", INSTANCE))
            (response,) = parsed(connection.received())
            self.assertEqual(response.status, status)


class Waiting(SynchronousTestCase):
    """A request that waits until the node is ready obeys the tokens of the time at which it is done."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.tokens = known()
        self.network = Network(self.clock)
        for node in (self.network.first, self.network.second):
            node.begin_round()
        self.network.first.sweep()
        self.site = site(self.network.first, self.clock, tokens=self.tokens)
        self.network.connected = False
        self.clock.advance(3)

    def sent(self, method: str, path: str, name: str | None, **more: str) -> Connection:
        connection = Connection(self.site)
        connection.send(request(method, path, **headers(name), **more))
        return connection

    def test_without_a_token(self) -> None:
        """It is refused at once: nothing waits for such a client."""
        for method, path in (("PUT", INSTANCE), ("GET", "/backends"), ("GET", "/nothing"), ("GET", "/events")):
            (response,) = parsed(self.sent(method, path, "unknown").received())
            self.assertEqual(response.status, 401, path)

    def test_revoked_meanwhile(self) -> None:
        """The registration is not made, the list not shown, and the stream does not begin."""
        waiting = [
            self.sent("POST", INSTANCE, "agent"),
            self.sent("GET", "/backends", "agent"),
            self.sent("GET", "/events", "agent", Accept="text/event-stream"),
        ]
        self.assertEqual([connection.received() for connection in waiting], [b"", b"", b""])
        self.tokens.replace([token("reader")])
        self.network.reconnect()
        statuses = [parsed(connection.received())[0].status for connection in waiting]
        self.assertEqual(statuses, [401, 401, 401])
        self.assertEqual(self.network.first.claims(), [])


class Authors(ApiCase):
    """Histories show the token of an author, which proves more than a name or an address."""

    def setUp(self) -> None:
        super().setUp()
        self.site = site(self.node, self.clock, tokens=known())

    def author(self, **sent: str) -> str:
        changed = self.ask("PUT", "/backends/site", SITE, **headers("deployer"), **sent)
        self.assertIn(changed.status, (200, 201))
        history = self.ask("GET", "/backends/site/history", **headers("reader")).json
        author: str = history[0]["author"]
        return author

    def test_the_name_of_the_token(self) -> None:
        """Alone, or after the name that the client gives itself."""
        self.assertEqual(self.author(), "deployer")
        self.ask("DELETE", "/backends/site", **headers("root"))
        self.assertEqual(self.author(X_Bender_As="anna@web1"), "anna@web1 (deployer)")

    def test_a_state(self) -> None:
        """The same for operators' states."""
        self.ask("POST", INSTANCE, **headers("web"))
        self.ask("PUT", f"{INSTANCE}/state?force", {"state": "drain"}, **headers("deployer"), X_Bender_As="anna")
        state = self.ask("GET", f"{INSTANCE}/state", **headers("reader")).json
        self.assertEqual(state["author"], "anna (deployer)")

    def test_without_tokens(self) -> None:
        """It is the address of the client, whatever token it sends."""
        self.site = site(self.node, self.clock)
        self.assertEqual(self.author(X_Bender_As="anna"), "anna (10.9.9.9)")


class Streams(ApiCase):
    """Answers that go on end when the token of their client may no longer read; others go on."""

    def setUp(self) -> None:
        super().setUp()
        self.tokens = Tokens([token("reader"), token("agent")])
        self.site = site(self.node, self.clock, tokens=self.tokens)

    def watch(self, name: str | None, query: str = "", **sent: str) -> Connection:
        connection = self.connect()
        connection.send(request("GET", f"/events{query}", **headers(name), **sent))
        return connection

    def streams(self, name: str) -> Connection:
        connection = self.watch(name, Accept="text/event-stream")
        self.assertIn(b": connected", connection.received())
        return connection

    def register(self, port: int) -> None:
        self.assertEqual(self.ask("POST", f"/registrations/web-shop/1/10.0.0.5/{port}", **headers("agent")).status, 200)

    def test_streams(self) -> None:
        """The client sees an end of the response, after the events that it was owed."""
        reader, agent = self.streams("reader"), self.streams("agent")
        self.register(1)
        self.assertIn(b'"port":1', reader.received())
        self.tokens.replace([token("agent")])
        self.assertTrue(reader.received().endswith(b"0\r\n\r\n"))
        self.register(2)
        self.assertEqual(reader.received(), b"")
        self.assertIn(b'"port":2', agent.received())
        agent.lose()

    def test_a_stream_whose_token_changes(self) -> None:
        """It goes on as long as the token may read, whatever else it may or may not do any more."""
        reader = self.streams("reader")
        for scopes in (["read", "configure"], ["admin"], ["read"]):
            self.tokens.replace([token("reader", *scopes), token("agent")])
            self.register(len(scopes))
        self.assertIn(b'"port":1', reader.received())
        self.tokens.replace([token("reader", "configure"), token("agent")])
        self.assertTrue(reader.received().endswith(b"0\r\n\r\n"))

    def test_twice(self) -> None:
        """A second replacement finds the stream ended."""
        reader = self.streams("reader")
        self.tokens.replace([])
        self.tokens.replace([token("reader")])
        self.assertEqual(reader.received().count(b"0\r\n\r\n"), 1)

    def test_polls(self) -> None:
        """A poll that waits is answered at once, without what happens afterwards."""
        reader = self.watch("reader", f"?since={self.node.journal.cursor}&wait=30")
        self.assertEqual(reader.received(), b"")
        self.tokens.replace([token("agent")])
        self.clock.advance(0)
        (response,) = parsed(reader.received())
        self.assertEqual((response.status, response.json["events"]), (200, []))

    def test_no_stream_without_a_token(self) -> None:
        """Nothing of it is sent, in either form."""
        for sent in ({}, {"Accept": "text/event-stream"}):
            for name, status in ((None, 401), ("unknown", 401)):
                (response,) = parsed(self.watch(name, **sent).received())
                self.assertEqual((response.status, response.headers["content-type"]), (status, "application/json"))
        self.assertEqual(self.node.journal.listeners, 0)


class LargeBodies(SynchronousTestCase):
    def test_of_clients_without_a_token(self) -> None:
        """A body over its limit is refused as everywhere, and what follows on the connection is not read."""
        front = Guarded(fast=True)
        received, _ = front.ask([request("POST", "/registrations", b" " * 70_000) + request("PUT", INSTANCE)])
        self.assertEqual([response.status for response in parsed(received)], [413])
        self.assertEqual(msgspec.json.decode(parsed(received)[0].body)["code"], "TOO_LARGE")
