"""Limits of the line protocol: connections, subscribers, the rate of requests, and the time for a line."""

from __future__ import annotations

from typing import Any

from bender.line_protocol.connection import EventsFactory
from bender.line_protocol.messages import LINE_BYTES_MAX
from bender.net.fair_shares import REFUSED_AT_ONCE_MAX
from bender.node.limits import Limits
from tests.access.known import known
from tests.line_protocol.connected import Connected, EventsCase


class LimitsCase(EventsCase):
    def limit(self, **limits: Any) -> None:
        self.watched.node.limits.change(Limits(**limits))

    def from_(self, client: str, count: int = 1) -> list[Connected]:
        return [Connected(self.factory, client=client) for _ in range(count)]

    def error(self, connected: Connected) -> tuple[str, str]:
        (error,) = [each for each in connected.received() if each["event"] == "error"]
        return error["code"], error["message"]

    def use(self, name: str) -> dict[str, Any]:
        use: dict[str, Any] = self.watched.node.status()["limits"][name]
        return use


class Connections(LimitsCase):
    def test_one_busy_host(self) -> None:
        """One host may use all connections; another connection gets the limit and the option, and is closed."""
        self.limit(connections=3)
        kept = self.from_("10.0.0.1", 3)
        (other,) = self.from_("10.0.0.1")
        text = (
            "3 connections to --events of this node are open, the maximum (--max-connections): use another node, or "
            "try again"
        )
        self.assertEqual(self.error(other), ("BUSY", text))
        self.assertTrue(other.transport.disconnecting)
        other.send(b"x")
        other.lose()
        self.assertEqual([each.named() for each in kept], [["hello"]] * 3)
        self.assertEqual(self.use("line_connections"), {"max": 3, "used": 3, "peak": 3, "refused": 1})

    def test_another_client(self) -> None:
        """At the limit, the newest connections of the client with the most are closed for another client."""
        self.limit(connections=4)
        greedy = self.from_("10.0.0.1", 4)
        modest = self.from_("10.0.0.2", 2)
        self.assertEqual([each.transport.disconnecting for each in greedy], [False, False, True, True])
        for each in greedy[2:]:
            code, message = self.error(each)
            self.assertEqual(
                (code, message.partition(",")[0]), ("BUSY", "4 connections to --events of this node are open")
            )
            each.lose()
        self.assertEqual([each.named() for each in (*greedy[:2], *modest)], [["hello"]] * 4)

    def test_sessions_go_on(self) -> None:
        """A session does not end if its connection is closed for another client; its instance has its ttl."""
        self.limit(connections=2)
        (_, agent) = self.from_("10.0.0.1", 2)
        agent.send(b'{"register": {"app": "web", "version": "1", "host": "10.0.0.1", "port": 80}, "session": true}\n')
        self.from_("10.0.0.2")
        self.assertTrue(agent.transport.disconnecting)
        agent.lose()
        self.clock.advance(2)
        self.watched.node.sweep()
        self.assertEqual(self.watched.node.listed_count, 1)

    def test_a_displaced_client_that_reads_nothing(self) -> None:
        """A displaced connection whose client reads nothing is aborted after two seconds."""
        self.limit(connections=2)
        (_, deaf) = self.from_("10.0.0.1", 2)
        self.from_("10.0.0.2")
        deaf.transport.disconnecting = False
        self.clock.advance(2)
        self.assertTrue(deaf.transport.disconnecting)

    def test_a_place_is_freed(self) -> None:
        self.limit(connections=1)
        for _ in range(3):
            (connected,) = self.from_("10.0.0.1")
            self.assertEqual(connected.named(), ["hello"])
            connected.lose()
        self.assertEqual(self.use("line_connections"), {"max": 1, "used": 0, "peak": 1, "refused": 0})

    def test_many_refused_clients(self) -> None:
        """At most a hundred refused connections at a time get an error; any further one is closed at once."""
        self.limit(connections=1)
        self.from_("10.0.0.1")
        refused = self.from_("10.0.0.1", REFUSED_AT_ONCE_MAX + 2)
        self.assertEqual([bool(each.received()) for each in refused], [True] * REFUSED_AT_ONCE_MAX + [False] * 2)
        for each in refused[-3:]:
            each.lose()
        self.assertTrue(self.from_("10.0.0.1")[0].received())


class Subscribers(LimitsCase):
    def test_a_place_for_another_client(self) -> None:
        """A client with the most subscribers loses the newest to a client with fewer, and gets the reason."""
        self.limit(subscribers=2)
        greedy = self.from_("10.0.0.1", 2)
        for each in greedy:
            each.received()
        (other,) = self.from_("10.0.0.2")
        self.assertEqual(other.named(), ["hello"])
        code, message = self.error(greedy[1])
        self.assertEqual((code, message.partition(",")[0]), ("BUSY", "this node has 2 subscribers"))
        self.assertTrue(greedy[1].transport.disconnecting)
        greedy[1].lose()
        self.watched.up()
        self.assertEqual([each.named() for each in (greedy[0], other)], [["online 80"]] * 2)

    def test_no_place(self) -> None:
        """A refused connection is closed in time, even if its client reads nothing, and leaves no timer."""
        self.limit(subscribers=1, client_timeout_s=5)
        (first, second) = self.from_("10.0.0.1", 2)
        self.assertEqual(self.error(second)[0], "BUSY")
        second.transport.disconnecting = False
        self.clock.advance(5)
        self.assertTrue(second.transport.disconnecting)
        for each in (first, second):
            each.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Rate(LimitsCase):
    RENEW = b'{"renew": ["registration/web/1/10.0.0.1/80"]}\n'

    def test_too_many(self) -> None:
        """Registrations and renewals count, over all connections of a client; subscriptions do not."""
        self.limit(rate=3)
        one, other = self.from_("10.0.0.1", 2)
        one.received()
        other.received()
        for _ in range(5):
            one.subscribe()
        one.send(self.RENEW * 2)
        other.send(b'{"register": {"app": "web", "version": "1", "host": "10.0.0.1", "port": 80}}\n' + self.RENEW)
        self.assertEqual(one.named().count("renewed"), 2)
        *_, registered, error = other.received()
        self.assertEqual(registered["event"], "registered")
        self.assertEqual((error["event"], error["code"]), ("error", "BUSY"))
        self.assertIn("more than 3 requests a second, the maximum for one address (--max-rate)", error["message"])
        self.clock.advance(1)
        one.received()
        one.send(self.RENEW)
        self.assertEqual(one.named(), ["renewed"])


class HeldLines(LimitsCase):
    def test_too_much_together(self) -> None:
        """The client with the most bytes in incomplete lines loses the longest, with the reason; others go on."""
        modest, *greedy = [*self.from_("10.0.0.2"), *self.from_("10.0.0.1", 257)]
        for each in (modest, *greedy):
            each.received()
        modest.send(b"x" * 200_000)
        for each in greedy:
            each.send(b"x" * (256 * 1024))
        ended = [each for each in greedy if each.transport.disconnecting]
        self.assertEqual(len(ended), 2)
        code, message = self.error(ended[0])
        self.assertEqual((code, message[:16]), ("BUSY", "incomplete lines"))
        self.assertFalse(modest.transport.disconnecting)
        use = self.use("line_bytes")
        self.assertEqual((use["used"], use["refused"]), (200_000 + 255 * 256 * 1024, 2))
        for each in (modest, *greedy):
            each.lose()
        self.assertEqual(self.use("line_bytes")["used"], 0)

    def test_lines_that_end(self) -> None:
        """No bytes of a complete line are held."""
        connected = self.connect()
        for _ in range(3):
            connected.send(b" " * 100_000)
            self.assertEqual(self.use("line_bytes")["used"], 100_000)
            connected.send(b'{"subscribe": {}}\n')
            self.assertEqual(self.use("line_bytes")["used"], 0)


class SlowLines(LimitsCase):
    def test_silence(self) -> None:
        """A subscriber may be silent for any time."""
        connected = self.connect()
        connected.subscribe()
        self.clock.advance(10_000)
        self.assertFalse(connected.transport.disconnecting)

    def test_a_line_that_drips(self) -> None:
        """A line must be complete within a minute, even if bytes arrive steadily."""
        connected = self.connect()
        for _ in range(60):
            self.assertFalse(connected.transport.disconnecting)
            connected.send(b" ")
            self.clock.advance(1)
        self.assertEqual(self.error(connected), ("INVALID", "the line was not complete within 60 s (--client-timeout)"))
        self.assertTrue(connected.transport.disconnecting)
        connected.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_endless_line(self) -> None:
        """A line that is refused for its length and goes on has a minute, too."""
        connected = self.connect()
        for _ in range(60):
            self.assertFalse(connected.transport.disconnecting)
            connected.send(b"x" * (LINE_BYTES_MAX // 4))
            self.clock.advance(1)
        self.assertTrue(connected.transport.disconnecting)

    def test_each_line_has_its_time(self) -> None:
        connected = self.connect()
        for _ in range(5):
            connected.send(b'{"subscribe"')
            self.clock.advance(59)
            connected.send(b": {}}\n")
            self.clock.advance(59)
        self.assertFalse(connected.transport.disconnecting)

    def test_a_node_that_was_away(self) -> None:
        """Bytes that arrived while the node was paused are read before the time of their line is over."""
        connected = self.connect()
        connected.send(b'{"subscribe"')
        self.clock.rightNow += 120
        self.clock.callLater(0, connected.send, b": {}}\n")
        self.clock.advance(0)
        self.assertFalse(connected.transport.disconnecting)
        self.clock.advance(1000)
        self.assertFalse(connected.transport.disconnecting)

    def test_a_client_that_has_said_all(self) -> None:
        """The last line needs no end, and its client goes on receiving."""
        connected = self.connect()
        connected.send(b'{"subscribe": {}}')
        connected.protocol.readConnectionLost()
        self.clock.advance(1000)
        self.assertFalse(connected.transport.disconnecting)

    def test_a_client_that_is_gone(self) -> None:
        connected = self.connect()
        connected.send(b"{")
        connected.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class BeforeAdmission(LimitsCase):
    """At a node that requires tokens, a connection counts before its token has arrived."""

    def setUp(self) -> None:
        super().setUp()
        self.factory = EventsFactory(self.watched.node, self.clock, tokens=known())
        self.limit(connections=2)

    def test_places(self) -> None:
        """These connections are limited like all others, and free their places when they close."""
        greedy = self.from_("10.0.0.1", 2)
        (other,) = self.from_("10.0.0.2")
        self.assertEqual([each.transport.disconnecting for each in (*greedy, other)], [False, True, False])
        self.assertEqual(self.error(self.from_("10.0.0.1")[0])[0], "BUSY")
        for each in (greedy[0], other):
            each.lose()
        self.assertEqual(self.use("line_connections")["used"], 0)
