"""Requests from web pages of other sites, in a browser that reaches a node, on the fast path and on the long way."""

from __future__ import annotations

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from tests.access.known import headers, secret
from tests.api.conversation import WEB_PATH, Response, parsed, request
from tests.api.fronts import Front
from tests.api.guarded import Guarded
from tests.api.test_access import TABLE

PAGE = "http://evil.example"


def response(front: Front, sent: bytes) -> Response:
    received, _ = front.ask([sent])
    (only,) = parsed(received)
    return only


class Changes(SynchronousTestCase):
    """A page of another site may not change anything, whatever else protects the node."""

    def setUp(self) -> None:
        self.fronts = [Front(fast=fast) for fast in (True, False)]

    def test_every_change_is_refused(self) -> None:
        """Every change gets 403 and is counted, even with a token that permits it; nothing is changed."""
        for fast in (True, False):
            front = Guarded(fast=fast)
            for (method, _), row in TABLE.items():
                if method == "GET":
                    continue
                for page in ({"Origin": PAGE}, {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}):
                    before, forbidden = front.state, front.node.counters.forbidden
                    refused = front.response(method, row.path, row.body, "root", **page)
                    self.assertEqual((refused.status, refused.json["code"]), (403, "FORBIDDEN"), (method, row.path))
                    self.assertEqual((front.state, front.node.counters.forbidden), (before, forbidden + 1))

    def test_reading_is_not(self) -> None:
        """Reading is answered, but no header permits the browser to give the answer to the page."""
        for front, method in product(self.fronts, ("GET", "HEAD", "OPTIONS")):
            sent = request(method, "/registrations", Origin=PAGE, Sec_Fetch_Site="cross-site")
            received, _ = front.ask([sent])
            (answer,) = parsed(received, head=method == "HEAD")
            self.assertIn(answer.status, (200, 204))
            self.assertNotIn("access-control", "".join(answer.headers))

    def test_pages_of_the_node(self) -> None:
        """Requests of the node's own pages pass, by `Sec-Fetch-Site` or by `Origin`."""
        for front in self.fronts:
            for page in (
                {"Sec_Fetch_Site": "same-origin", "Origin": "http://localhost"},
                {"Sec_Fetch_Site": "none"},
                {"Origin": "http://localhost"},
                {},
            ):
                self.assertEqual(response(front, request("POST", WEB_PATH, **page)).status, 200, page)

    def test_headers_twice(self) -> None:
        """A request with two values of a header that decides, or two Host headers, gets 403."""
        twice = (
            b"Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site",
            b"Origin: http://localhost\r\nOrigin: http://evil.example",
            b"Host: localhost\r\nOrigin: http://localhost",
        )
        for front, lines in product(self.fronts, twice):
            sent = request("POST", WEB_PATH).replace(b"Host: localhost", b"Host: localhost\r\n" + lines)
            self.assertEqual(response(front, sent).status, 403, lines)

    def test_the_fast_path(self) -> None:
        """The fast path takes no request of a browser, but other requests."""
        front = self.fronts[0]
        for page in ({"Origin": "http://localhost"}, {"Sec_Fetch_Site": "same-origin"}):
            response(front, request("POST", WEB_PATH, **page))
        self.assertEqual(front.fast_path.taken, 0)
        response(front, request("POST", WEB_PATH))
        self.assertEqual(front.fast_path.taken, 1)


class Names(SynchronousTestCase):
    """A node without tokens that knows its host names."""

    def setUp(self) -> None:
        self.fronts = [Front(fast=fast, host_names=["n1.example"]) for fast in (True, False)]

    def asked(self, front: Front, method: str, path: str, *hosts: bytes) -> Response:
        lines = b"".join(b"Host: %b\r\n" % host for host in hosts)
        received, _ = front.ask([request(method, path).replace(b"Host: localhost\r\n", lines)])
        (only,) = parsed(received, head=method == "HEAD")
        return only

    def test_another_name(self) -> None:
        """Every request for another host name gets 403, because a page may have directed that name to the node."""
        for front, (method, route), again in product(self.fronts, TABLE, (1, 2)):
            path = TABLE[method, route].path
            before = front.node.counters.forbidden
            answer = self.asked(front, method, path, b"evil.example:1729")
            self.assertEqual((answer.status, answer.json["code"]), (403, "FORBIDDEN"), (method, path, again))
            self.assertIn("Host: evil.example:1729 is not a name of this node", answer.json["message"])
            self.assertEqual(front.node.counters.forbidden, before + 1)
            self.assertEqual(front.node.claims(), [])
        self.assertEqual(self.fronts[0].fast_path.taken, 0)

    def test_paths_that_are_not_there(self) -> None:
        """Unknown paths and unusual requests with another host name get 403, too."""
        for front, path in product(self.fronts, ("/nothing", "*", "//", "/a%2Fb", "http://localhost/ready")):
            self.assertEqual(self.asked(front, "GET", path, b"evil.example").status, 403, path)

    def test_own_names(self) -> None:
        """The fast path takes requests with a name of the node."""
        for front, host in product(self.fronts, (b"localhost:1729", b"127.0.0.1", b"[::1]:1729", b"n1.example", b"n1")):
            self.assertEqual(self.asked(front, "POST", WEB_PATH, host).status, 200, host)
        self.assertEqual(self.fronts[0].fast_path.taken, 5)

    def test_no_name(self) -> None:
        """A request without a Host header passes, because browsers always send one."""
        for front in self.fronts:
            self.assertEqual(self.asked(front, "GET", "/registrations").status, 200)
            self.assertEqual(response(front, b"GET /status HTTP/1.0\r\n\r\n").status, 200)

    def test_several_names(self) -> None:
        """Two Host headers get 403, even if both are names of the node."""
        for front in self.fronts:
            answer = self.asked(front, "GET", "/registrations", b"localhost", b"localhost")
            self.assertEqual(answer.status, 403)

    def test_when_tokens_are_required(self) -> None:
        """The host name decides only while no tokens are required, also for remembered requests."""
        for front in self.fronts:
            self.assertEqual(self.asked(front, "GET", "/ready", b"evil.example").status, 403)
            front.tokens.replace([])
            self.assertEqual(self.asked(front, "GET", "/ready", b"evil.example").status, 200)
            self.assertEqual(self.asked(front, "GET", "/registrations", b"evil.example").status, 401)
            front.tokens.replace(None)
            self.assertEqual(self.asked(front, "GET", "/ready", b"evil.example").status, 403)

    def test_a_page_is_refused_before_its_token(self) -> None:
        """A page of another site gets 403 whatever its token, so the page learns nothing about tokens."""
        for fast in (True, False):
            front = Guarded(fast=fast)
            for name in (None, "unknown", "root"):
                sent = request("PUT", WEB_PATH, Origin=PAGE, **headers(name))
                self.assertEqual(response(front, sent).status, 403)
                self.assertNotIn(secret("root"), response(front, sent).body.decode())
