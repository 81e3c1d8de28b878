"""Lists of registrations over HTTP: filters, tags, compression, and long lists in slices."""

from __future__ import annotations

import gzip

import msgspec

from bender.api import site
from bender.api.responses import ApiRequest, ApiResponse, DeferredResponse
from bender.api.route import RouteTable
from bender.api.routes import ROUTES, answer
from bender.core.model import RegistrationRequest
from bender.node.listings import OF_ONE_INSTANT_MAX, SLICE
from tests.api.conversation import WEB, WEB_PATH, ApiCase, Response, a_node, parsed, request


class Listing(ApiCase):
    def setUp(self) -> None:
        super().setUp()
        for app, version, port, zone in (("web", "2", 9, "a"), ("web", "1", 80, "b"), ("api", "1", 1, "a")):
            wanted = {"app": app, "version": version, "host": "h", "port": port, "meta": {"zone": zone}}
            self.assertEqual(self.ask("POST", "/registrations", wanted).status, 201)

    def ids(self, path: str) -> list[str]:
        return [each["id"].removeprefix("registration/") for each in self.ask("GET", path).json]

    def test_sorted(self) -> None:
        """All registrations, those of an app, or those of a version are listed in order of id."""
        self.assertEqual(self.ids("/registrations"), ["api/1/h/1", "web/1/h/80", "web/2/h/9"])
        self.assertEqual(self.ids("/registrations/web"), ["web/1/h/80", "web/2/h/9"])
        self.assertEqual(self.ids("/registrations/web/2"), ["web/2/h/9"])

    def test_none(self) -> None:
        """An unknown app has an empty list; an unknown instance gets 404."""
        self.assertEqual(self.ids("/registrations/other"), [])
        self.assertEqual(self.ids("/registrations/web/3"), [])
        self.refused("NOT_FOUND", self.ask("GET", "/registrations/web/2/h/10"))

    def test_meta(self) -> None:
        """`meta.KEY=VALUE` selects registrations with this value; several conditions must all be met."""
        self.ask("POST", "/registrations/num/1/h/1", {"meta": {"n": 1, "yes": True, "a.b c": "é&"}})
        self.assertEqual(self.ids("/registrations?meta.zone=a"), ["api/1/h/1", "web/2/h/9"])
        self.assertEqual(self.ids("/registrations/web?meta.zone=a"), ["web/2/h/9"])
        self.assertEqual(self.ids("/registrations?meta.zone=c"), [])
        self.assertEqual(self.ids("/registrations?meta.zone="), [])
        self.assertEqual(self.ids("/registrations?meta.n=1&meta.yes=true"), ["num/1/h/1"])
        self.assertEqual(self.ids("/registrations?meta.n=1&meta.yes=false"), [])
        self.assertEqual(self.ids("/registrations?meta.a.b+c=%C3%A9%26"), ["num/1/h/1"])
        self.assertEqual(len(self.ids("/registrations?other=x")), 4)
        self.assertEqual(self.ask("GET", "/registrations/web/2/h/9?meta.zone=a").status, 200)
        self.assertEqual(self.ask("GET", "/registrations/web/2/h/9?meta.zone=b").status, 404)

    def test_bad_query(self) -> None:
        """A query that is not UTF-8, or has too many conditions, gets 400."""
        self.invalid("query", self.ask("GET", "/registrations?meta.a=%ff"))
        self.invalid("query", self.ask("GET", "/registrations?" + "&".join(["meta.a=b"] * 100)))

    def test_bad_path(self) -> None:
        """A name that no app or version can have gets 400."""
        self.invalid("app", self.ask("GET", "/registrations/%01"))
        self.invalid("version", self.ask("GET", "/registrations/a/%01"))


class Tags(ApiCase):
    def test_not_modified(self) -> None:
        """An unchanged list or object is not sent again."""
        self.ask("POST", "/registrations", WEB)
        for path in ("/registrations", "/registrations/web", "/registrations/web/1.2.0", WEB_PATH):
            etag = self.ask("GET", path).headers["etag"]
            self.assertRegex(etag, '^"[0-9a-f]+"$')
            for sent in (etag, "*", f'"other", W/{etag}'):
                response = self.ask("GET", path, If_None_Match=sent)
                self.assertEqual((response.status, response.body, response.headers["etag"]), (304, b"", etag))
            self.assertEqual(self.ask("GET", path, If_None_Match='"other"').status, 200)

    def test_modified(self) -> None:
        """A changed list or object has another tag."""
        self.ask("POST", "/registrations", WEB)
        tags = [self.ask("GET", path).headers["etag"] for path in ("/registrations", WEB_PATH)]
        self.ask("POST", "/registrations", {**WEB, "weight": 2})
        for path, etag in zip(("/registrations", WEB_PATH), tags, strict=True):
            self.assertEqual(self.ask("GET", path, If_None_Match=etag).status, 200)

    def test_same_on_all_nodes(self) -> None:
        """The tag depends only on the content, so it is the same on all nodes."""
        self.ask("POST", "/registrations", WEB)
        here = self.ask("GET", "/registrations").headers["etag"]
        self.node = a_node(self.clock)
        self.site = site(self.node, self.clock)
        self.ask("POST", "/registrations", WEB)
        self.assertEqual(self.ask("GET", "/registrations").headers["etag"], here)

    def test_several_headers(self) -> None:
        """If-None-Match may be sent in several lines."""
        self.ask("POST", "/registrations", WEB)
        etag = self.ask("GET", WEB_PATH).headers["etag"]
        connection = self.connect()
        tags = f'If-None-Match: "x"\r\nIf-None-Match: {etag}\r\nHost:'
        connection.send(request("GET", WEB_PATH).replace(b"Host:", tags.encode()))
        self.assertEqual([each.status for each in parsed(connection.received())], [304])


class Deflated(ApiCase):
    """Lists are compressed for clients that accept gzip."""

    def fill(self, count: int) -> None:
        for port in range(1, count + 1):
            self.node.register(RegistrationRequest("web", "1.2.0", "10.0.0.5", port))

    def test_for_who_accepts_it(self) -> None:
        """The compressed list has a tag of its own, and `Vary` names the header that selects the form."""
        self.fill(100)
        plain = self.ask("GET", "/registrations/web")
        for accepted in ("gzip", "br, GZIP ; q=0.5", "x-gzip"):
            response = self.ask("GET", "/registrations/web", Accept_Encoding=accepted)
            self.assertEqual(response.headers["content-encoding"], "gzip")
            self.assertEqual(gzip.decompress(response.body), plain.body)
            self.assertEqual((response.headers["vary"], plain.headers["vary"]), ("Accept-Encoding",) * 2)
            self.assertNotEqual(response.headers["etag"], plain.headers["etag"])
            etag = response.headers["etag"]
            unchanged = self.ask("GET", "/registrations/web", Accept_Encoding=accepted, If_None_Match=etag)
            self.assertEqual((unchanged.status, unchanged.headers["vary"]), (304, "Accept-Encoding"))

    def test_not_for_others(self) -> None:
        """A client that does not name gzip, or excludes it, gets the plain list."""
        self.fill(100)
        for accepted in ("", "identity", "gzip;q=0", "gzip; q=0.00", "*", "gzipped"):
            response = self.ask("GET", "/registrations", Accept_Encoding=accepted)
            self.assertNotIn("content-encoding", response.headers, accepted)

    def test_not_short_ones(self) -> None:
        """A short list is not compressed."""
        self.fill(5)
        response = self.ask("GET", "/registrations", Accept_Encoding="gzip")
        self.assertEqual((len(response.json), "vary" in response.headers), (5, False))


class ListsOfOneInstant(ApiCase):
    """Lists of more than a few registrations are made in slices, and are the same as lists made in one piece."""

    COUNT = 2 * SLICE

    def setUp(self) -> None:
        super().setUp()
        for port in range(1, self.COUNT + 1):
            self.node.register(
                RegistrationRequest("web", "1.2.0", "10.0.0.5", port, meta={"odd": str(port % 2), "port": port})
            )

    def later(self, path: str) -> DeferredResponse:
        """Return the deferred answer."""
        route, names = RouteTable(ROUTES).find_hot(path.partition("?")[0]) or self.fail()
        answered = answer(self.node, route, ApiRequest("GET", names, path.partition("?")[2]))
        assert isinstance(answered, DeferredResponse)
        return answered

    def test_filtered(self) -> None:
        """A filtered list is made from the beginning each time; its tag is that of its content."""
        later = self.later("/registrations/web?meta.port=7")
        self.assertGreaterEqual(len([*later.steps]), 2)
        self.assertEqual(len(msgspec.json.decode(later.answer().body)), 1)
        first, second = (self.ask("GET", f"/registrations?meta.port={port}") for port in (7, 1000))
        self.assertEqual([each["port"] for each in first.json], [7])
        self.assertEqual(second.json, [])
        self.node.register(RegistrationRequest("api", "1", "h", 1))
        etag = first.headers["etag"]
        self.assertEqual(self.ask("GET", "/registrations?meta.port=7", If_None_Match=etag).status, 304)

    def test_whole(self) -> None:
        """A whole list is made once, and is sent in pieces to all clients until it changes."""
        later = self.later("/registrations")
        self.assertGreaterEqual(len([*later.steps]), 2)
        route, _ = RouteTable(ROUTES).find_hot("/registrations") or self.fail()
        kept = answer(self.node, route, ApiRequest("GET"))
        assert isinstance(kept, ApiResponse)
        assert kept.pieces is not None
        self.assertGreater(len([*kept.pieces]), 2)
        response = self.ask("GET", "/registrations")
        ids = [each["id"] for each in response.json]
        self.assertEqual((len(ids), ids), (self.COUNT, sorted(ids)))
        etag = response.headers["etag"]
        self.assertEqual(self.ask("GET", "/registrations", If_None_Match=etag).status, 304)
        head = self.ask("HEAD", "/registrations")
        self.assertEqual((head.headers["etag"], head.headers["content-length"]), (etag, str(len(response.body))))

    def test_members(self) -> None:
        """The members of a backend with fixed servers are made in slices, too."""
        servers = ["10.1.1.1:80"]
        self.ask("POST", "/backends", {"name": "blue", "app": "web", "version": "1.2.0", "servers": servers})
        self.assertEqual(len(self.ask("GET", "/backends/blue/members").json), self.COUNT + 1)


class LongLists(ApiCase):
    """Very long lists are made and sent in slices."""

    def setUp(self) -> None:
        super().setUp()
        for port in range(1, OF_ONE_INSTANT_MAX + 2):
            self.node.register(RegistrationRequest("web", "1.2.0", "10.0.0.5", port, meta={"odd": str(port % 2)}))

    def ask_long(self, method: str, path: str, **headers: str) -> Response:
        connection = self.connect()
        connection.send(request(method, path, None, **headers))
        for _ in range(10):
            self.clock.advance(0)
        (response,) = parsed(connection.received(), head=method == "HEAD")
        return response

    def test_whole(self) -> None:
        """The whole list is in order of id as text, and its tag stays while nothing changes."""
        response = self.ask_long("GET", "/registrations")
        ids = [each["id"] for each in response.json]
        self.assertEqual((len(ids), ids), (OF_ONE_INSTANT_MAX + 1, sorted(ids)))
        etag = response.headers["etag"]
        unchanged = self.ask_long("GET", "/registrations", If_None_Match=etag)
        self.assertEqual((unchanged.status, unchanged.body), (304, b""))
        self.node.register(RegistrationRequest("api", "1", "h", 1))
        self.assertEqual(self.ask_long("GET", "/registrations", If_None_Match=etag).status, 200)

    def test_selected(self) -> None:
        """A query selects registrations of a very long list, too."""
        response = self.ask_long("GET", "/registrations/web?meta.odd=1")
        self.assertEqual({each["port"] % 2 for each in response.json}, {1})

    def test_head(self) -> None:
        """A HEAD request gets the headers of the GET without the list."""
        head, whole = (self.ask_long(method, "/registrations") for method in ("HEAD", "GET"))
        self.assertEqual(head.body, b"")
        self.assertEqual({**head.headers, "date": ""}, {**whole.headers, "date": ""})

    def test_members_of_a_backend(self) -> None:
        """The members of a backend may be as many."""
        self.ask("POST", "/backends", {"name": "blue", "app": "web", "version": "1.2.0"})
        self.assertEqual(len(self.ask_long("GET", "/backends/blue/members").json), OF_ONE_INSTANT_MAX + 1)

    def test_deflated(self) -> None:
        """A compressed list is sent in chunks, because its length is not known before."""
        connection = self.connect()
        connection.send(request("GET", "/registrations", None, Accept_Encoding="gzip"))
        for _ in range(10):
            self.clock.advance(0)
        head, _, body = connection.received().partition(b"\r\n\r\n")
        self.assertIn(b"\r\nTransfer-Encoding: chunked", head)
        chunks = b""
        while size := int(body.partition(b"\r\n")[0], 16):
            body = body.partition(b"\r\n")[2]
            chunks, body = chunks + body[:size], body[size + 2 :]
        self.assertEqual(len(msgspec.json.decode(gzip.decompress(chunks))), OF_ONE_INSTANT_MAX + 1)

    def test_a_client_that_goes_away(self) -> None:
        """A client that goes away at any time during the list leaves no channel behind."""
        for steps in range(3):
            connection = self.connect()
            connection.send(request("GET", "/registrations"))
            for _ in range(steps):
                self.clock.advance(0)
            connection.lose()
        self.clock.advance(0)
        self.assertEqual(self.site.channels, {})
        self.assertEqual(self.ask("GET", "/ready").status, 200)
