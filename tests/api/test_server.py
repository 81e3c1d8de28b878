"""HTTP itself: methods and limits, and JSON for every error."""

from __future__ import annotations

from typing import Any

from bender.api import site
from tests.api.conversation import WEB, WEB_PATH, ApiCase, Network, Response, parsed, request

ALLOWED = {
    "/": "GET, HEAD, OPTIONS",
    "/registrations": "GET, HEAD, POST, OPTIONS",
    "/registrations/web": "GET, HEAD, OPTIONS",
    "/registrations/web/1": "GET, HEAD, OPTIONS",
    WEB_PATH: "GET, HEAD, POST, PUT, DELETE, OPTIONS",
    "/renewals": "POST, OPTIONS",
    "/claims": "POST, OPTIONS",
    "/backends": "GET, HEAD, POST, OPTIONS",
    "/backends/site": "GET, HEAD, PUT, DELETE, OPTIONS",
    "/backends/site/members": "GET, HEAD, OPTIONS",
    "/frontends": "GET, HEAD, POST, OPTIONS",
    "/frontends/edge": "GET, HEAD, PUT, DELETE, OPTIONS",
    "/events": "GET, HEAD, OPTIONS",
    "/status": "GET, HEAD, OPTIONS",
    "/ready": "GET, HEAD, OPTIONS",
    "/token": "GET, HEAD, OPTIONS",
    "/nodes": "GET, HEAD, OPTIONS",
}


class Methods(ApiCase):
    def test_options(self) -> None:
        """OPTIONS returns the allowed methods, and has no body."""
        for path, allowed in ALLOWED.items():
            response = self.ask("OPTIONS", path)
            self.assertEqual((response.status, response.headers["allow"], response.body), (204, allowed, b""))
        self.assertEqual(self.ask("OPTIONS", "*").status, 204)

    def test_not_allowed(self) -> None:
        """Any other method gets 405 with the allowed methods."""
        for path, allowed in ALLOWED.items():
            for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW", "get"):
                if method not in allowed.split(", "):
                    response = self.ask(method, path)
                    self.refused("METHOD_NOT_ALLOWED", response)
                    self.assertEqual(response.headers["allow"], allowed)

    def test_head(self) -> None:
        """HEAD gets the status and headers of GET, without the body."""
        self.ask("POST", "/registrations", WEB)
        self.ask("POST", "/backends", {"name": "site", "app": "web", "version": "1.2.0"})
        for path in ("/", "/registrations", WEB_PATH, "/backends/site/members", "/ready", "/nowhere", "/backends/x"):
            get, head = self.ask("GET", path), self.ask("HEAD", path)
            self.assertEqual((head.status, head.body), (get.status, b""))
            self.assertEqual(
                {name: value for name, value in head.headers.items() if name != "date"},
                {name: value for name, value in get.headers.items() if name != "date"},
            )
        self.assertEqual(self.ask("HEAD", "/events").status, 200)

    def test_no_cors(self) -> None:
        """No answer permits pages of other sites to read it."""
        for method in ("GET", "OPTIONS"):
            headers = self.ask(method, "/registrations", Origin="http://example.org").headers
            self.assertFalse([name for name in headers if name.startswith("access-control")])


class Paths(ApiCase):
    def test_unknown(self) -> None:
        """An unknown path gets 404, whatever the method."""
        below = [f"/registrations/{path}" for path in ("", "/web", "/1/h/1", "a//1", "a/1/h", "a/1/h/1/x")]
        for path in (
            *below,
            "/nowhere",
            "/backends/a/members/b",
            "/backends/a/b",
            "/x%00",
            "/%0a",
            "/<b>",
            "/ready/",
            "/STATUS",
        ):
            for method in ("GET", "POST", "HEAD", "OPTIONS", "DELETE"):
                response = self.ask(method, path)
                self.assertEqual(response.status, 404, path)
                if method != "HEAD":
                    self.refused("NOT_FOUND", response)

    def test_no_text(self) -> None:
        """A path that is not UTF-8, does not begin with a slash, or has an encoded slash, gets 400."""
        encoded = ("/%ff", "/registrations/%c3/%a9", "/a%2fb", "/registrations/web%2F1")
        for path in (*encoded, "/x\x80", "registrations", "a:1"):
            self.invalid("path", self.ask("GET", path))

    def test_not_encoded(self) -> None:
        """UTF-8 without percent-encoding is accepted in paths and queries; other bytes get 400."""
        self.ask("POST", "/registrations/%C3%A9/1/h/1", {"meta": {"a": "é"}})
        path = "/registrations/é?meta.a=é".encode().decode("latin-1")
        self.assertEqual([each["app"] for each in self.ask("GET", path).json], ["é"])
        self.invalid("path", self.ask("GET", "/registrations/\xff"))

    def test_absolute(self) -> None:
        """A client may name the host in the request line."""
        self.assertEqual(self.ask("GET", "http://localhost:1729/registrations").json, [])
        self.assertEqual(self.ask("GET", "http://localhost:1729").json["name"], "bender")

    def test_host_header(self) -> None:
        """A request may have any Host header, or none."""
        for host in ("", "a..b", "é", "x" * 300, "[::1]:80", "localhost:x", "\xff\xfe"):
            connection = self.connect()
            connection.send(b"GET /registrations HTTP/1.1\r\nHost: %s\r\n\r\n" % host.encode("latin-1"))
            self.assertEqual([each.json for each in parsed(connection.received())], [[]])
        connection.send(b"GET /registrations HTTP/1.1\r\n\r\n")
        self.assertEqual([each.json for each in parsed(connection.received())], [[]])


class HalfClosed(ApiCase):
    """A client may close its sending side after its requests."""

    def test_idle(self) -> None:
        """If no request is waiting, the connection is closed at once."""
        connection = self.connect()
        connection.send(request("GET", "/registrations"))
        self.assertFalse(connection.closed)
        connection.end()
        self.assertTrue(connection.closed)

    def test_waiting(self) -> None:
        """All requests that were sent before are answered first."""
        network = Network(self.clock)
        network.first.begin_round()
        network.first.sweep()
        network.connected = False
        self.clock.advance(3)
        self.site = site(network.first, self.clock)
        connection = self.connect()
        connection.send(request("POST", "/registrations", WEB) + request("GET", "/registrations"))
        connection.end()
        self.assertFalse(connection.closed)
        network.reconnect()
        self.assertEqual([each.status for each in parsed(connection.received())], [201, 200])
        self.assertTrue(connection.closed)

    def test_in_the_middle(self) -> None:
        """The connection is closed at once if a request is incomplete."""
        connection = self.connect()
        connection.send(b"POST /registrations HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        connection.end()
        self.assertTrue(connection.closed)

    def test_watching(self) -> None:
        """A stream is closed at once, because the node could not notice otherwise that its client has gone."""
        connection = self.connect()
        connection.send(request("GET", "/events", Accept="text/event-stream"))
        connection.end()
        self.assertTrue(connection.closed)

    def test_a_poll(self) -> None:
        """A poll is answered as usual, at an event or when its wait ends."""
        cursor = self.ask("GET", "/events").json["cursor"]
        connection = self.connect()
        connection.send(request("GET", f"/events?since={cursor}&wait=5"))
        connection.end()
        self.assertEqual((connection.received(), connection.closed), (b"", False))
        self.clock.advance(5)
        self.assertEqual([each.json["cursor"] for each in parsed(connection.received())], [cursor])
        self.assertTrue(connection.closed)

    def test_after_a_poll(self) -> None:
        """A request after a poll is answered, too."""
        cursor = self.ask("GET", "/events").json["cursor"]
        connection = self.connect()
        connection.send(request("GET", f"/events?since={cursor}&wait=5") + request("GET", "/ready"))
        connection.end()
        self.clock.advance(5)
        self.assertEqual([each.status for each in parsed(connection.received())], [200, 200])
        self.assertTrue(connection.closed)


class LineEnds(ApiCase):
    """A bare LF ends a line of a head as CR LF does (RFC 9112, 2.2), and never leaves a client without an answer."""

    def test_bare_line_feeds(self) -> None:
        """The whole head, or a part of it, may have bare line feeds."""
        for head in (b"GET /ready HTTP/1.1\nHost: a\n\n", b"GET /ready HTTP/1.1\nHost: a\r\n\n"):
            connection = self.connect()
            connection.send(head + head)
            self.assertEqual([each.status for each in parsed(connection.received())], [200, 200], head)

    def test_byte_by_byte(self) -> None:
        """The bytes of the head may arrive one by one."""
        connection = self.connect()
        for byte in b"POST /registrations HTTP/1.1\nContent-Length: 2\n\n{}":
            connection.send(bytes([byte]))
        self.assertEqual([each.status for each in parsed(connection.received())], [400])

    def test_in_chunks(self) -> None:
        """Chunks must have CR LF, because a lenient reading of them permits request smuggling."""
        head = b"POST /registrations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        for chunks in (b"2\n{}\n0\n\n", b"2\r\n{}\r\n0\n\n", b"2\r\n{}\r\n0\r\na: b\n\n"):
            connection = self.connect()
            connection.send(head + chunks)
            self.assertEqual([each.status for each in parsed(connection.received())], [400], chunks)
            self.assertTrue(connection.closed)

    def test_bare_carriage_returns(self) -> None:
        """A bare carriage return does not end a line."""
        connection = self.connect()
        connection.send(b"GET /ready HTTP/1.1\r\nA: b\rC: d\r\n\r\n")
        self.assertEqual([each.status for each in parsed(connection.received())], [400])


class Limits(ApiCase):
    def exchange(self, sent: bytes) -> Response:
        self.connection = self.connect()
        self.connection.send(sent)
        (response,) = parsed(self.connection.received())
        return response

    def bare(self, sent: bytes) -> None:
        """Expect a 400 in the common form for bytes that are not a request."""
        response = self.exchange(sent)
        self.assertIn("not a valid HTTP/1.1 request", self.refused("INVALID", response))
        self.assertEqual(response.headers["connection"], "close")
        self.assertTrue(self.connection.closed)

    def test_request_line(self) -> None:
        """A request line over 8 KiB gets 400, a shorter one is accepted."""
        line = b"GET /registrations?x=%s HTTP/1.1"
        longest = line % (b"x" * (8192 - len(line) + 2))
        self.assertEqual(self.exchange(longest + b"\r\n\r\n").status, 200)
        self.bare(longest.replace(b"?x", b"?xx") + b"\r\n\r\n")
        self.bare(b"GET /" + b"x" * 20_000)

    def test_headers(self) -> None:
        """Headers over 16 KiB get 400, shorter ones are accepted, after a request line of any length."""
        line = b"GET /registrations?%s HTTP/1.1\r\n" % (b"x" * 8000)
        for many in (1, 15):
            headers = b"".join(b"X-%02d: %s\r\n" % (n, b"x" * (16_384 // many - 6)) for n in range(many))
            self.assertEqual(self.exchange(line + headers + b"\r\n").status, 200)
            self.bare(line + headers + b"X: yyy\r\n\r\n")
        self.bare(line + b"X: " + b"x" * 20_000)
        self.bare(line + b"X: y\r\n" * 6000 + b"\r\n")
        self.assertEqual(self.exchange(line + b"X: y\r\n" * 2500 + b"\r\n").status, 200)

    def test_broken(self) -> None:
        """Bytes that are not HTTP get 400."""
        for sent in (
            b"GET\r\n\r\n",
            b"GET / HTTP/9\r\n\r\n",
            b"G\0T / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"POST /registrations HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            b"POST /registrations HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"POST /registrations HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
            b"POST /registrations HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            b"POST /registrations HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            b"POST /registrations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            b"POST /registrations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n",
            b"POST /registrations HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"GET /registrations/a b HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
        ):
            self.bare(sent)

    def test_broken_after_an_answer(self) -> None:
        """A request that got 413 does not get another answer for an invalid chunk."""
        head = b"POST /registrations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.refused("TOO_LARGE", self.exchange(head + b"20000\r\n" + b" " * 0x20000 + b"\r\n"))
        self.connection.send(b"x\r\n")
        self.assertEqual((self.connection.received(), self.connection.closed), (b"", True))

    def test_body(self) -> None:
        """A body of 64 KiB is read, a larger one gets 413."""
        body = b" " * (64 * 1024 - 2) + b"{}"
        self.invalid("app", self.exchange(request("POST", "/registrations", body)))
        self.assertFalse(self.connection.closed)
        self.refused("TOO_LARGE", self.exchange(request("POST", "/registrations", b" " + body)))
        self.assertTrue(self.connection.closed)
        self.refused("TOO_LARGE", self.exchange(request("PUT", "/nowhere", b" " + body)))

    def test_chunked_body(self) -> None:
        """A chunked body gets 413 as soon as it is too long."""
        head = b"POST /registrations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunks = [b"1000\r\n%s\r\n" % (b" " * 0x1000)] * 16
        self.invalid("app", self.exchange(b"".join([head, *chunks[1:], b"2\r\n{}\r\n0\r\n\r\n"])))
        self.refused("TOO_LARGE", self.exchange(b"".join([head, *chunks, b"2\r\n{}\r\n"])))
        self.assertFalse(self.connection.closed)
        self.connection.send(b"0\r\n\r\n")
        self.assertEqual((self.connection.received(), self.connection.closed), (b"", True))

    def test_body_is_refused_early(self) -> None:
        """The answer comes before the body; the body is discarded, so that the client can read the answer."""
        head = b"POST /registrations HTTP/1.1\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
        response = self.exchange(head)
        self.refused("TOO_LARGE", response)
        self.assertEqual(response.headers["connection"], "close")
        for _ in range(10):
            self.assertFalse(self.connection.closed)
            self.connection.send(b"x" * 100_000)
        self.assertEqual((self.connection.received(), self.connection.closed), (b"", True))

    def test_endless_body(self) -> None:
        """A connection that still sends after 16 MiB of a refused body is closed."""
        self.exchange(b"POST /registrations HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n")
        for _ in range(16):
            self.assertFalse(self.connection.closed)
            self.connection.send(b"x" * (1024 * 1024))
        self.connection.send(b"x")
        self.assertTrue(self.connection.closed)

    def test_continue(self) -> None:
        """A client that expects 100 Continue gets it before it sends the body."""
        connection = self.connect()
        connection.send(b"POST /renewals HTTP/1.1\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
        self.assertEqual([each.status for each in parsed(connection.received())], [100])
        connection.send(b'{"ids":[]}')
        self.assertEqual([each.status for each in parsed(connection.received())], [200])

    def test_renewals(self) -> None:
        """Renewals may have 256 KiB, whatever the query."""
        for path in ("/renewals", "/renewals?x"):
            self.invalid("body", self.exchange(request("POST", path, b" " * 256 * 1024)))
            self.refused("TOO_LARGE", self.exchange(request("POST", path, b" " * 256 * 1024 + b" ")))

    def test_idle(self) -> None:
        """A connection without a request for a minute is closed; each request begins another minute."""
        connection = self.connect()
        for _ in range(3):
            self.clock.advance(59)
            connection.send(request("GET", "/registrations"))
        self.clock.advance(59)
        self.assertFalse(connection.closed)
        self.clock.advance(2)
        self.assertTrue(connection.closed)

    def test_slow(self) -> None:
        """The connection is closed if a request is incomplete after a minute, even if bytes arrive steadily."""
        for sent in (b"GET /" + b"x" * 70, b"GET / HTTP/1.1\r\n" + b"x" * 70, request("PUT", "/x", b" " * 1000)):
            connection = self.connect()
            connection.send(sent[:-70])
            for byte in sent[-70:-10]:
                self.assertFalse(connection.closed)
                self.clock.advance(1)
                connection.send(bytes([byte]))
            self.assertTrue(connection.closed, sent)


class Connections(ApiCase):
    def test_kept(self) -> None:
        """A connection is kept, and pipelined requests are answered in order."""
        connection = self.connect()
        connection.send(request("POST", "/registrations", WEB) + request("GET", "/x") + request("DELETE", WEB_PATH))
        self.assertEqual([each.status for each in parsed(connection.received())], [201, 404, 204])
        self.assertFalse(connection.closed)

    def test_old_http(self) -> None:
        """A client that speaks HTTP/1.0 gets its answer, and the connection is closed."""
        connection = self.connect()
        connection.send(b"GET /registrations HTTP/1.0\r\n\r\n")
        self.assertEqual([each.json for each in parsed(connection.received())], [[]])
        self.assertTrue(connection.closed)

    def test_no_http_2(self) -> None:
        """HTTP/2 is not offered, because it has no such limits."""
        self.assertEqual(self.site.acceptableProtocols(), [b"http/1.1"])


class Mistakes(ApiCase):
    def test_of_ours(self) -> None:
        """An unexpected exception is answered with 500 in JSON, and logged with its traceback."""

        def fails(*_: object) -> Any:
            raise ZeroDivisionError

        self.patch(self.node.listings, "short_listing", fails)
        response = self.ask("GET", "/registrations")
        self.assertEqual((response.status, response.json["code"]), (500, "INTERNAL"))
        self.assertNotIn("ZeroDivisionError", response.json["message"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class NodeItself(ApiCase):
    def test_root(self) -> None:
        """The root returns the name and the version."""
        response = self.ask("GET", "/")
        self.assertEqual((response.status, set(response.json)), (200, {"name", "version"}))

    def test_status(self) -> None:
        """The status has the name of the node, its peers, the counts and the digest."""
        self.ask("POST", "/registrations", WEB)
        status = self.ask("GET", "/status").json
        self.assertEqual((status["node"], status["peers"], status["counts"]["registrations"]), ("n1", [], 1))
        self.assertLess({"version", "digest", "ready"}, {*status})

    def test_ready(self) -> None:
        """A node without peers is ready."""
        self.assertEqual(self.ask("GET", "/ready").status, 200)
