"""Thalassa's HTTP API: answers as recorded from Thalassa, and the differences of bender."""

from __future__ import annotations

from hashlib import sha256
from http import HTTPStatus
from typing import Any

import msgspec
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.access.tokens import Token, Tokens
from bender.core.admin_state import Override
from bender.core.model import RegistrationRequest
from bender.core.scopes import Scopes
from bender.net.fair_turns import Turns
from bender.node.limits import Limits
from bender.node.node import Node
from bender.protocols.thalassa.http import PIECE, thalassa_site
from tests.api.conversation import NOW_MS, Connection, Network, Response, a_node, parsed, request

PATH = "/registrations/web/1.0.0/10.0.0.1/8080"
KEY = "registration/web/1.0.0/10.0.0.1/8080"
#: A phrase that differs between releases of Python.
TOO_LARGE = HTTPStatus(413).phrase
NOT_FOUND = b'{"code":404,"error":"Not Found"}'


class ThalassaCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.serve(a_node(self.clock))

    def serve(self, node: Node, tokens: Tokens | None = None) -> None:
        self.node = node
        self.turns = Turns(self.clock)
        self.site = thalassa_site(node, self.clock, self.turns, tokens)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Response:
        connection = Connection(self.site)
        connection.send(request(method, path, body, **headers))
        (response,) = parsed(connection.received(), head=method == "HEAD")
        return response

    def listed(self, path: str = "/registrations") -> list[dict[str, Any]]:
        response = self.ask("GET", path)
        self.assertEqual(response.status, 200, response)
        self.assertEqual(response.headers["content-type"], "application/json; charset=utf-8")
        shown: list[dict[str, Any]] = msgspec.json.decode(response.body)
        return shown

    def ids(self, path: str = "/registrations") -> list[str]:
        return [shown["id"] for shown in self.listed(path)]

    def refused(self, status: int, error: str, response: Response) -> str:
        """Check that the answer is an error in Thalassa's form, and return its message."""
        document = msgspec.json.decode(response.body)
        self.assertEqual((response.status, document["code"], document["error"]), (status, status, error), response)
        self.assertEqual(response.headers["content-type"], "application/json; charset=utf-8")
        message: str = document["message"]
        return message

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            self.node.sweep()


class Registering(ThalassaCase):
    def test_an_update(self) -> None:
        """Every update gets status 200 with the body 200."""
        for _ in range(3):
            response = self.ask("POST", PATH, {"secondsToExpire": 6, "az": "a"})
            self.assertEqual((response.status, response.body), (200, b"200"))
            self.assertEqual(response.headers["content-type"], "application/json; charset=utf-8")
            self.assertEqual(response.headers["cache-control"], "no-cache")
        self.assertEqual(
            self.ask("GET", "/registrations/web/1.0.0").body,
            b'[{"name":"web","version":"1.0.0","host":"10.0.0.1","port":8080,"lastKnown":%d,'
            b'"meta":{"az":"a","secondsToExpire":6,"hostname":"10.0.0.1"},"id":"/web/1.0.0/10.0.0.1/8080"}]' % NOW_MS,
        )

    def test_it_is_a_registration_like_any_other(self) -> None:
        """An update makes an ordinary registration with the same id, and the given ttl and meta."""
        self.ask("POST", PATH, {"secondsToExpire": 6, "az": "a"})
        shown = msgspec.json.decode(self.node.registration(KEY) or b"")
        self.assertEqual((shown["ttl"], shown["meta"], shown["weight"]), (6.0, {"az": "a"}, 1))

    def test_an_update_of_a_web_page(self) -> None:
        """An update from a web page is refused in Thalassa's form, and changes nothing."""
        message = self.refused(403, "Forbidden", self.ask("POST", PATH, Origin="http://evil.example"))
        self.assertIn("a web page of http://evil.example", message)
        self.assertEqual(self.ids(), [])

    def test_each_update_renews(self) -> None:
        """Each update renews the registration; without an update, it expires."""
        for _ in range(5):
            self.ask("POST", PATH, {"secondsToExpire": 6})
            self.pass_time(5)
        self.assertEqual(self.ids(), ["/web/1.0.0/10.0.0.1/8080"])
        self.pass_time(4)
        self.assertEqual(self.ids(), [])

    def test_an_update_changes(self) -> None:
        """An update replaces the meta and the ttl; fields that Thalassa does not know stay."""
        self.node.register(RegistrationRequest("web", "1.0.0", "10.0.0.1", 8080, 30.0, 5, {"az": "a", "pid": 1}))
        self.ask("POST", PATH, {"az": "b"})
        shown = msgspec.json.decode(self.node.registration(KEY) or b"")
        self.assertEqual((shown["ttl"], shown["meta"], shown["weight"]), (10.0, {"az": "b"}, 5))
        self.ask("POST", PATH)
        self.assertEqual(self.listed()[0]["meta"], {"secondsToExpire": 10, "hostname": "10.0.0.1"})

    def test_removing(self) -> None:
        """A removal returns 200, also for an instance that is not registered."""
        self.ask("POST", PATH)
        for _ in range(2):
            response = self.ask("DELETE", PATH)
            self.assertEqual((response.status, response.body), (200, b"200"))
            self.assertEqual(self.ids(), [])

    def test_a_request_that_comes_in_parts(self) -> None:
        """The body may arrive in a later packet, as from the published client."""
        connection = Connection(self.site)
        whole = request("POST", PATH, {"secondsToExpire": 6})
        connection.send(whole[:-10])
        self.assertEqual(connection.received(), b"")
        connection.send(whole[-10:])
        self.assertEqual([each.body for each in parsed(connection.received())], [b"200"])

    def test_odd_names(self) -> None:
        """Unusual names are percent-encoded as in the API."""
        self.ask("POST", "/registrations/gr%C3%B6%C3%9Fe/1%200/10.0.0.1/80")
        self.assertEqual(self.ids("/registrations/gr%C3%B6%C3%9Fe"), ["/größe/1 0/10.0.0.1/80"])


class Listing(ThalassaCase):
    def setUp(self) -> None:
        super().setUp()
        for app, version, port in (("web", "1.0.0", 1), ("web", "2.0.0", 2), ("shop", "1.0.0", 3)):
            self.node.register(RegistrationRequest(app, version, "10.0.0.1", port))

    def test_all_of_an_app_and_of_a_version(self) -> None:
        """Lists are of all, of an app or of a version, and include registrations by the API."""
        web = ["/web/1.0.0/10.0.0.1/1", "/web/2.0.0/10.0.0.1/2"]
        self.assertEqual(self.ids(), ["/shop/1.0.0/10.0.0.1/3", *web])
        self.assertEqual(self.ids("/registrations/web"), web)
        self.assertEqual(self.ids("/registrations/web/2.0.0"), web[1:])
        self.assertEqual(self.ids("/registrations/nothing"), [])

    def test_what_is_out_of_rotation(self) -> None:
        """Instances out of rotation are not listed, because Aqueduct would send them traffic."""
        self.node.set_state("registration/web/1.0.0/10.0.0.1/1", Override("drain", 60.0), "somebody")
        self.assertEqual(self.ids("/registrations/web"), ["/web/2.0.0/10.0.0.1/2"])
        self.node.register(RegistrationRequest("web", "2.0.0", "10.0.0.1", 2, weight=0))
        self.assertEqual(self.ids("/registrations/web"), [])
        self.node.remove_state("registration/web/1.0.0/10.0.0.1/1", "somebody")
        self.assertEqual(self.ids("/registrations/web"), ["/web/1.0.0/10.0.0.1/1"])

    def test_a_long_list(self) -> None:
        """A long list is sent in pieces, between which other work has its turn."""
        for port in range(1, 3 * PIECE):
            self.node.register(RegistrationRequest("api", "1", "10.0.0.1", port, weight=port % 2))
        head, chunks = self.chunks("/registrations/api")
        self.assertIn(b"Transfer-Encoding: chunked", head)
        self.assertEqual(len(chunks), 4)
        self.assertEqual({each["port"] for each in msgspec.json.decode(b"".join(chunks))}, {*range(1, 3 * PIECE, 2)})

    def test_a_long_list_of_nothing(self) -> None:
        """A long list is empty if all its instances are out of rotation."""
        for port in range(1, PIECE + 10):
            self.node.register(RegistrationRequest("api", "1", "10.0.0.1", port, weight=0))
        _, chunks = self.chunks("/registrations/api")
        self.assertEqual(msgspec.json.decode(b"".join(chunks)), [])

    def chunks(self, path: str) -> tuple[bytes, list[bytes]]:
        """Return the head of an answer in pieces, and the pieces."""
        connection = Connection(self.site)
        connection.send(request("GET", path))
        self.clock.advance(0)
        head, _, body = connection.received().partition(b"\r\n\r\n")
        chunks = []
        while body:
            size, _, rest = body.partition(b"\r\n")
            chunks.append(rest[: int(size, 16)])
            body = rest[int(size, 16) + 2 :]
        self.assertEqual(chunks.pop(), b"")
        return head, chunks


class Refusing(ThalassaCase):
    def test_other_paths_and_methods(self) -> None:
        """Other paths and methods get exactly Thalassa's answer."""
        for method, path in (
            *(("GET", path) for path in ("/", "/dbs", "/registrations/", PATH, "/backends", "/ready")),
            *((method, PATH) for method in ("PUT", "PATCH")),
            *((method, "/registrations/web") for method in ("POST", "DELETE")),
        ):
            response = self.ask(method, path)
            self.assertEqual((response.status, response.body), (404, NOT_FOUND), (method, path))
            self.assertNotIn("allow", response.headers)

    def test_invalid_requests(self) -> None:
        self.assertIn("is not JSON", self.refused(400, "Bad Request", self.ask("POST", PATH, b"{bad")))
        self.assertIn("Expected", self.refused(400, "Bad Request", self.ask("POST", PATH, [1])))
        path = "/registrations/web/1.0.0/10.0.0.2/notaport"
        self.assertEqual(
            self.refused(400, "Bad Request", self.ask("POST", path)), "port: must be a number from 1 to 65535"
        )
        self.refused(400, "Bad Request", self.ask("DELETE", path))
        self.refused(400, "Bad Request", self.ask("GET", "/registrations/a%2Fb"))
        self.assertEqual(self.node.listed_count, 0)

    def test_too_much_meta(self) -> None:
        """Meta above the size limit of a node is refused, and changes nothing."""
        self.ask("POST", PATH, {"az": "a"})
        message = self.refused(413, TOO_LARGE, self.ask("POST", PATH, {"x": "y" * 5000}))
        self.assertIn("must not be larger than 4096 bytes", message)
        self.refused(413, TOO_LARGE, self.ask("POST", PATH, b'"' + b"y" * 70_000))
        self.assertEqual(self.listed()[0]["meta"]["az"], "a")

    def test_too_many(self) -> None:
        """Registrations, requests and connections have the limits of the API."""
        self.serve(a_node(self.clock, limits=Limits(registrations=1)))
        self.ask("POST", PATH)
        self.assertIn("--max-registrations", self.refused(429, "Too Many Requests", self.ask("POST", PATH[:-1])))
        self.serve(a_node(self.clock, limits=Limits(rate=1.0)))
        self.ask("POST", PATH)
        response = self.ask("POST", PATH)
        self.assertIn("--max-rate", self.refused(429, "Too Many Requests", response))
        self.assertEqual(response.headers["retry-after"], "1")
        self.serve(a_node(self.clock, limits=Limits(connections=1)))
        kept = Connection(self.site)
        self.assertIn("--max-connections", self.refused(429, "Too Many Requests", self.ask("POST", PATH)))
        kept.lose()
        self.assertEqual(self.node.status()["limits"]["thalassa_connections"]["peak"], 1)

    def test_a_node_that_is_not_ready(self) -> None:
        """A node that is not ready answers 503, except for its status, and never sends an empty list."""
        self.serve(Network(self.clock).first)
        for method, path in (
            ("GET", "/registrations"),
            ("GET", "/registrations/web"),
            ("POST", PATH),
            ("DELETE", PATH),
        ):
            response = self.ask(method, path)
            self.assertIn("this node has not heard", self.refused(503, "Service Unavailable", response))
            self.assertEqual(response.headers["retry-after"], "1")
        shown = msgspec.json.decode(self.ask("GET", "/status").body)
        self.assertEqual((shown["name"], shown["ready"]), ("bender", False))


class Status(ThalassaCase):
    def test_status(self) -> None:
        self.pass_time(3)
        shown = msgspec.json.decode(self.ask("GET", "/status").body)
        self.assertEqual((shown["name"], shown["uptime"], shown["ready"]), ("bender", 3, True))


class Counting(ThalassaCase):
    def test_requests(self) -> None:
        """Requests are counted separately from those for the same paths of the API."""
        self.ask("POST", PATH)
        self.ask("GET", "/registrations")
        self.ask("GET", "/dbs")
        self.assertEqual(
            {(counts.route, counts.method): [*counts.by_status] for counts in self.node.requests},
            {
                ("thalassa:/registrations/<name>/<version>/<host>/<port>", "POST"): [200],
                ("thalassa:/registrations", "GET"): [200],
                ("unknown", "GET"): [404],
            },
        )


class Access(ThalassaCase):
    def setUp(self) -> None:
        super().setUp()
        tokens = [
            Token("reader", sha256(b"r").digest(), Scopes(("read",))),
            Token("web", sha256(b"w").digest(), Scopes(("register:web",))),
        ]
        self.serve(a_node(self.clock), Tokens(tokens))

    def test_without_a_token(self) -> None:
        """Without a token, all requests except for the status are refused."""
        for method, path in (("GET", "/registrations"), ("POST", PATH), ("DELETE", PATH), ("GET", "/dbs")):
            response = self.ask(method, path)
            self.assertIn("requires a token", self.refused(401, "Unauthorized", response))
            self.assertEqual(response.headers["www-authenticate"], 'Bearer realm="bender"')
        self.assertEqual(self.ask("GET", "/status").status, 200)

    def test_scopes(self) -> None:
        """Tokens have the same permissions as at the API, and may be sent as passwords, as by the published client."""
        basic = "Basic eDp3"  # the user x with the password w
        self.assertEqual(self.ask("POST", PATH, Authorization=basic).status, 200)
        other = PATH.replace("web", "shop")
        self.assertIn("register:shop", self.refused(403, "Forbidden", self.ask("POST", other, Authorization=basic)))
        self.assertIn("read", self.refused(403, "Forbidden", self.ask("GET", "/registrations", Authorization=basic)))
        self.assertEqual(self.ask("GET", "/registrations", Authorization="Bearer r").status, 200)
        self.refused(403, "Forbidden", self.ask("DELETE", PATH, Authorization="Bearer r"))
        self.assertEqual(self.ask("DELETE", PATH, Authorization=basic).status, 200)
