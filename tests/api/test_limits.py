"""Limits for clients: connections, the rate of requests, sizes and times."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import Any

from bender.api import site
from bender.core.model import RegistrationRequest
from bender.net.fair_shares import REFUSED_AT_ONCE_MAX
from bender.net.fair_turns import Turns
from bender.net.http_server import REFUSED_S_MAX
from bender.node.limits import Limits
from tests.api.conversation import WEB, WEB_PATH, ApiCase, Connection, Response, a_node, parsed, request
from tests.net.reactor_turns import take_turn

READY = request("GET", "/ready")


class LimitsCase(ApiCase):
    def limit(self, **limits: Any) -> None:
        self.node = a_node(self.clock, limits=Limits(**limits))
        self.site = site(self.node, self.clock)

    def from_(self, host: str, count: int = 1) -> list[Connection]:
        return [Connection(self.site, client=(host, port)) for port in range(1, count + 1)]

    def answered(self, connection: Connection, sent: bytes = READY) -> list[int]:
        connection.send(sent)
        return [each.status for each in parsed(connection.received())]

    def use(self, name: str) -> dict[str, Any]:
        use: dict[str, Any] = self.node.status()["limits"][name]
        return use


class Connections(LimitsCase):
    def test_one_busy_host(self) -> None:
        """One host may use all connections; another connection gets 429 with the limit and the option."""
        self.limit(connections=3)
        kept = self.from_("10.0.0.1", 3)
        (other,) = self.from_("10.0.0.1")
        other.send(READY)
        (response,) = parsed(other.received())
        self.assertEqual(
            self.refused("BUSY", response),
            "3 connections to this node are open, the maximum (--max-connections): use another node, or try again",
        )
        self.assertEqual((response.headers["retry-after"], response.headers["connection"]), ("1", "close"))
        self.assertTrue(other.transport.half_closed)
        self.assertEqual([self.answered(each) for each in kept], [[200]] * 3)
        self.assertEqual(self.use("connections"), {"max": 3, "used": 3, "peak": 3, "refused": 1})

    def test_another_client(self) -> None:
        """At the limit, the newest connections of the client with the most are closed for another client."""
        self.limit(connections=4)
        greedy = self.from_("10.0.0.1", 4)
        modest = self.from_("10.0.0.2", 2)
        self.assertEqual([each.aborted for each in greedy], [False, False, True, True])
        for each in greedy[2:]:
            each.lose()
        self.assertEqual([self.answered(each) for each in (*greedy[:2], *modest)], [[200]] * 4)
        (more,) = self.from_("10.0.0.2")
        self.assertEqual(self.answered(more), [429])

    def test_a_network_is_one_client(self) -> None:
        """All addresses of one IPv6 network count as one client."""
        self.limit(connections=2)
        greedy = [*self.from_("fd00::1"), *self.from_("fd00::2")]
        self.assertEqual([self.answered(each) for each in self.from_("10.0.0.2")], [[200]])
        self.assertEqual([each.aborted for each in greedy], [False, True])
        self.assertEqual([self.answered(each) for each in self.from_("fd00::3")], [[429]])

    def test_a_place_is_freed(self) -> None:
        """A lost connection frees its place, also if it was refused."""
        self.limit(connections=1)
        (first,) = self.from_("10.0.0.1")
        (refused,) = self.from_("10.0.0.1")
        refused.lose()
        first.lose()
        self.assertEqual(self.answered(self.from_("10.0.0.1")[0]), [200])

    def test_a_refused_client_that_goes_on(self) -> None:
        """A refused connection gets one answer, and is closed after two seconds, whether it sends or not."""
        self.limit(connections=1)
        self.from_("10.0.0.1")
        for sends in (True, False):
            (refused,) = self.from_("10.0.0.1")
            for _ in range(REFUSED_S_MAX):
                self.assertFalse(refused.aborted)
                if sends:
                    refused.send(READY * 100)
                self.clock.advance(1)
            self.assertEqual(refused.received().count(b"HTTP/1.1 429"), sends)
            self.assertTrue(refused.aborted)
            refused.lose()

    def test_many_refused_clients(self) -> None:
        """At most a hundred refused connections at a time get an answer; any further one is closed at once."""
        self.limit(connections=1)
        self.from_("10.0.0.1")
        refused = self.from_("10.0.0.1", REFUSED_AT_ONCE_MAX + 2)
        self.assertEqual([each.aborted for each in refused], [False] * REFUSED_AT_ONCE_MAX + [True] * 2)

    def test_the_limit_changes(self) -> None:
        """A changed limit applies to new connections at once; present connections stay."""
        kept = self.from_("10.0.0.1", 3)
        self.node.limits.change(Limits(connections=2))
        self.assertEqual(self.answered(self.from_("10.0.0.1")[0]), [429])
        self.assertEqual([self.answered(each) for each in kept], [[200]] * 3)
        self.node.limits.change(Limits(connections=4))
        self.assertEqual(self.answered(self.from_("10.0.0.1")[0]), [200])


class Rate(LimitsCase):
    def test_no_limit(self) -> None:
        """Without `--max-rate`, requests are not limited and not counted."""
        (connection,) = self.from_("10.0.0.1")
        self.assertEqual(self.answered(connection, READY * 5000), [200] * 5000)
        self.assertEqual(self.use("rate"), {"max": None, "used": 0, "peak": 0, "refused": 0})

    def test_too_many(self) -> None:
        """A client above the rate gets 429 with the limit, the option and the time to wait, on both ways."""
        for path in (WEB_PATH, "/status", "/nothing"):
            self.limit(rate=2)
            (connection,) = self.from_("10.0.0.1")
            self.assertNotIn(429, self.answered(connection, request("GET", path) * 2))
            connection.send(request("GET", path))
            (response,) = parsed(connection.received())
            self.assertEqual(
                self.refused("BUSY", response),
                "10.0.0.1 sends more than 2 requests a second, the maximum for one address (--max-rate): send fewer, "
                "or several renewals in one",
            )
            self.assertEqual(response.headers["retry-after"], "1")
            self.assertNotIn(429, self.answered(self.from_("10.0.0.2")[0], request("GET", path)))
            self.clock.advance(0.5)
            self.assertNotIn(429, self.answered(connection, request("GET", path)))
            self.assertEqual(self.use("rate"), {"max": 2, "used": 4, "peak": 4, "refused": 1})
            self.clock.advance(9.5)

    def test_all_connections_of_a_client(self) -> None:
        """All connections of a client share one rate."""
        self.limit(rate=3)
        self.assertEqual([self.answered(each) for each in self.from_("10.0.0.1", 4)], [[200]] * 3 + [[429]])

    def test_a_request_that_goes_both_ways(self) -> None:
        """A long list, which the fast path leaves to Twisted, counts as one request."""
        self.limit(rate=1000)
        (connection,) = self.from_("10.0.0.1")
        for port in range(1, 300):
            self.assertEqual(self.answered(connection, request("POST", "/registrations", {**WEB, "port": port})), [201])
        self.clock.advance(5)
        connection.send(request("GET", "/registrations"))
        for _ in range(20):
            self.clock.advance(0)
        self.assertTrue(connection.received().startswith(b"HTTP/1.1 200"))
        self.assertEqual(self.use("rate")["used"], 1)

    def test_the_limit_changes(self) -> None:
        (connection,) = self.from_("10.0.0.1")
        self.node.limits.change(Limits(rate=1))
        self.assertEqual(self.answered(connection, READY * 3), [200, 429, 429])
        self.node.limits.change(Limits())
        self.assertEqual(self.answered(connection, READY * 3), [200] * 3)


class Sizes(LimitsCase):
    def ask_for(self, method: str, path: str, body: object) -> Response:
        (connection,) = self.from_("10.0.0.1")
        connection.send(request(method, path, body))
        (response,) = parsed(connection.received())
        return response

    def test_a_larger_body(self) -> None:
        """A body over 64 KiB is read if the limit is larger."""
        self.limit(body_bytes=100_000)
        body = b" " * 99_998 + b"{}"
        self.invalid("app", self.ask_for("POST", "/registrations", body))
        text = self.refused("TOO_LARGE", self.ask_for("POST", "/registrations", body + b" "))
        self.assertEqual(text, "the body must not be larger than 100000 bytes (--max-body)")
        self.assertEqual(self.use("body"), {"max": 100_000, "used": 100_000, "peak": 100_000, "refused": 1})

    def test_a_smaller_body(self) -> None:
        """A smaller limit also applies on the fast path; renewals and reports keep limits of their own."""
        self.limit(body_bytes=4096)
        for size in (4097, 60_000):
            body = b" " * (size - 2) + b"{}"
            self.refused("TOO_LARGE", self.ask_for("POST", "/registrations", body))
            self.assertEqual(self.ask_for("POST", "/renewals", b" " * size + b'{"ids":[]}').status, 200)
            self.invalid("cursor", self.ask_for("PUT", "/consumers/edge", b" " * (size - 20) + b'{"cursor":"x"}'))
        text = self.refused("TOO_LARGE", self.ask_for("POST", "/renewals", b" " * (256 * 1024 + 1)))
        self.assertEqual(text, "the body must not be larger than 262144 bytes")

    def test_the_limit_of_bodies_changes(self) -> None:
        body = b" " * 5000 + b"{}"
        self.invalid("app", self.ask_for("POST", "/registrations", body))
        self.node.limits.change(Limits(body_bytes=5000))
        self.refused("TOO_LARGE", self.ask_for("POST", "/registrations", body))

    def test_an_entry(self) -> None:
        """Registrations, backends and frontends share the limit; the error names its value and its option."""
        self.limit(entry_bytes=8192)
        backend = {"name": "site", "app": "web", "version": "1"}
        for path, sent, what in (
            ("/registrations", WEB, "registration"),
            ("/backends", backend, "backend"),
            ("/frontends", {"name": "edge", "backend": "site"}, "frontend"),
        ):
            self.assertEqual(self.ask_for("POST", path, {**sent, "meta": {"x": "y" * 7000}}).status, 201)
            text = self.refused("TOO_LARGE", self.ask_for("POST", path, {**sent, "meta": {"x": "y" * 8192}}))
            self.assertTrue(
                text.startswith(f"a {what} must not be larger than 8192 bytes of JSON (--max-entry of the node), this"),
                text,
            )
        use = self.use("entry")
        self.assertEqual((use["max"], use["refused"]), (8192, 3))
        self.assertTrue(7000 < use["used"] == use["peak"] < 8192)

    def test_an_entry_of_another_limit(self) -> None:
        """An entry above the limit of a node is renewed and shown there; only a change gets 413."""
        self.limit(entry_bytes=8192)
        self.ask_for("POST", "/registrations", {**WEB, "meta": {"x": "y" * 7000}})
        self.node.limits.change(Limits(entry_bytes=4096))
        self.assertEqual(self.ask_for("PUT", WEB_PATH, b"").status, 200)
        self.assertEqual(self.ask_for("POST", "/registrations", WEB).status, 200)
        self.refused("TOO_LARGE", self.ask_for("POST", "/registrations", {**WEB, "weight": 2}))

    def test_registrations(self) -> None:
        """A new registration above the limit gets 429 with the limit and the option."""
        self.limit(registrations=1)
        self.assertEqual(self.ask_for("POST", "/registrations", WEB).status, 201)
        text = self.refused("BUSY", self.ask_for("POST", "/registrations", {**WEB, "port": 1}))
        self.assertEqual(
            text,
            "this node has accepted 1 registrations, and the maximum is 1 (--max-registrations): register at another "
            "node, or remove some",
        )
        self.assertEqual(self.use("registrations"), {"max": 1, "used": 1, "peak": 1, "refused": 1})


class HeldRequests(LimitsCase):
    HEAD = b"POST /renewals HTTP/1.1\r\nContent-Length: 262144\r\n\r\n"

    def test_too_much_together(self) -> None:
        """The client with the most bytes in incomplete bodies loses the connection with the largest; others go on."""
        (modest,) = self.from_("10.0.0.2")
        modest.send(self.HEAD + b" " * 200_000)
        greedy = self.from_("10.0.0.1", 512)
        for each in greedy:
            each.send(self.HEAD + b" " * 262_000)
        self.assertEqual([each.aborted for each in greedy].count(True), 1)
        self.assertFalse(modest.aborted)
        use = self.use("request_bytes")
        self.assertEqual((use["max"], use["used"], use["refused"]), (128 * 1024 * 1024, 200_000 + 511 * 262_000, 1))
        for each in (modest, *greedy):
            each.lose()
        self.assertEqual(self.use("request_bytes")["used"], 0)

    def test_requests_that_come_completely(self) -> None:
        """No bytes of a complete request are held, on either way and in any pieces."""
        (connection,) = self.from_("10.0.0.1")
        for path, head in (("/renewals", self.HEAD), ("/x", b"POST /x HTTP/1.1\r\nContent-Length: 50000\r\n\r\n")):
            length = int(head.split()[-1])
            connection.send(head + b" " * 20_000)
            self.assertEqual(self.use("request_bytes")["used"], 20_000, path)
            connection.send(b" " * (length - 20_000))
            self.assertEqual(self.use("request_bytes")["used"], 0, path)
            connection.received()


class HeldAnswers(LimitsCase):
    MIB = 1024 * 1024

    def pause(self, connection: Connection, size: int) -> None:
        """The client reads no byte of an answer of this size."""
        transport: Any = connection.transport
        transport._appSendBuffer = [b"x" * size]
        transport.producer.pauseProducing()

    def test_too_much_together(self) -> None:
        """The client with the most unread bytes loses its largest answer; others go on."""
        greedy, (modest,) = self.from_("10.0.0.1", 4), self.from_("10.0.0.2")
        self.pause(modest, 100 * self.MIB)
        for number, each in enumerate(greedy):
            self.pause(each, (110 + number) * self.MIB)
        self.assertEqual([each.aborted for each in (modest, *greedy)], [False, False, False, False, True])
        use = self.use("answer_bytes")
        self.assertEqual((use["max"], use["used"], use["refused"]), (512 * self.MIB, 433 * self.MIB, 1))
        producer: Any = modest.transport.producer
        producer.resumeProducing()
        greedy[0].lose()
        self.assertEqual(self.use("answer_bytes")["used"], 223 * self.MIB)

    def test_little_is_not_counted(self) -> None:
        (connection,) = self.from_("10.0.0.1")
        self.pause(connection, 100_000)
        self.assertEqual(self.use("answer_bytes")["peak"], 0)

    def long_list(self) -> Connection:
        (connection,) = self.from_("10.0.0.1")
        connection.send(request("GET", "/registrations"))
        for _ in range(100):
            self.clock.advance(0)
        return connection

    def test_very_long_lists(self) -> None:
        """A very long list counts from its beginning until it is sent."""
        for number in range(5100):
            self.node.register(RegistrationRequest("web", "1", f"10.0.{number // 250}.{number % 250}", 80))
        self.assertTrue(self.long_list().received().startswith(b"HTTP/1.1 200"))
        self.assertEqual((self.use("answer_bytes")["used"], self.use("answer_bytes")["peak"]), (0, 8 * 5100))

    def test_too_many_very_long_lists(self) -> None:
        """A long list above the limit gets 429; the list that is being made is completed."""
        for number in range(5100):
            self.node.register(RegistrationRequest("web", "1", f"10.0.{number // 250}.{number % 250}", 80))
        # Each piece of work takes a millisecond, as much as a connection has in one turn.
        turns = Turns(self.clock, each_s=0.001, all_s=0.004, seconds=partial(next, count(1, 0.001)))
        self.site = site(self.node, self.clock, turns)
        self.site.unsent.maximum = 50_000
        first, second = self.from_("10.0.0.1", 2)
        for each in (first, second):
            each.send(request("GET", "/registrations?meta.a=b"))
        take_turn(self.clock)
        take_turn(self.clock)
        self.assertEqual(first.received(), b"")
        (response,) = parsed(second.received())
        self.assertIn("as many long lists as it can at a time", self.refused("BUSY", response))
        for _ in range(100):
            take_turn(self.clock)
        self.assertEqual(parsed(first.received())[0].status, 200)
        self.assertEqual(self.use("answer_bytes")["used"], 0)


class SlowClients(LimitsCase):
    def test_a_timeout_of_the_operator(self) -> None:
        """The timeout begins with the connection, and again with each request."""
        self.limit(client_timeout_s=5)
        silent, busy = self.from_("10.0.0.1", 2)
        for _ in range(4):
            self.assertEqual(self.answered(busy, request("GET", "/registrations")), [200])
            self.clock.advance(4)
        self.assertEqual((silent.closed, busy.closed), (True, False))
        self.clock.advance(1)
        self.assertTrue(busy.closed)

    def test_the_timeout_changes(self) -> None:
        """A changed timeout applies to new connections."""
        before = self.connect()
        self.node.limits.change(Limits(client_timeout_s=2))
        after = self.connect()
        self.clock.advance(2)
        self.assertEqual((before.closed, after.closed), (False, True))

    def test_a_node_that_was_away(self) -> None:
        """A request that arrived while the node was paused is answered, even though its time is over."""
        connection = self.connect()
        self.clock.rightNow += 120  # no timer was called meanwhile
        self.clock.callLater(0, connection.send, READY)  # read in the turn after that of the timers
        self.clock.advance(0)
        self.assertEqual(([each.status for each in parsed(connection.received())], connection.closed), ([200], False))
        self.clock.advance(60)
        self.assertTrue(connection.closed)

    def test_a_client_that_reads_nothing(self) -> None:
        """A client that reads nothing for a minute is disconnected, during a long answer or after an answer."""
        for sent in (READY, request("GET", "/registrations"), request("GET", "/events", Accept="text/event-stream")):
            connection = self.connect()
            connection.send(sent)
            producer: Any = connection.transport.producer
            producer.pauseProducing()
            self.clock.advance(59)
            producer.resumeProducing()
            producer.pauseProducing()
            self.clock.advance(59)
            self.assertFalse(connection.aborted)
            self.clock.advance(1)
            self.assertTrue(connection.aborted, sent)
            connection.lose()

    def test_a_client_that_never_takes_the_end(self) -> None:
        """A connection that is being closed is aborted after a minute if its client reads nothing."""
        connection = self.connect()
        connection.send(request("GET", "/status", Connection="close"))
        self.assertTrue(connection.closed)
        self.clock.advance(59)
        self.assertFalse(connection.aborted)
        self.clock.advance(1)
        self.assertTrue(connection.aborted)

    def test_nothing_is_left(self) -> None:
        """A lost connection has no timers."""
        self.limit(connections=1)
        for sent in (b"", READY, b"GET /", request("GET", "/status", Connection="close"), b"\r\n\r\nx"):
            connection, refused = self.connect(), self.connect()
            for each in (connection, refused):
                each.send(sent)
                producer: Any = each.transport.producer
                if producer is not None:
                    producer.pauseProducing()
                each.lose()
            self.assertEqual(self.clock.getDelayedCalls(), [], sent)
