"""The line protocol, byte for byte, on transports in memory."""

from __future__ import annotations

import msgspec
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from bender import __version__
from bender.line_protocol.connection import EventsFactory
from bender.line_protocol.messages import LINE_BYTES_MAX
from bender.net.fair_turns import Turns
from bender.node.journal import Journal
from bender.node.watcher_stream import STALLED_S
from tests.api.conversation import NOW_MS, Network
from tests.line_protocol.connected import Connected, EventsCase
from tests.net.reactor_turns import take_turn
from tests.node.watched import Watched, events, never


class Connecting(EventsCase):
    def test_hello(self) -> None:
        """The first line has the name and version of the node, and the present cursor."""
        self.watched.up()
        (hello,) = Connected(self.factory).received()
        cursor = self.watched.journal.cursor
        self.assertEqual(hello, {"event": "hello", "cursor": cursor, "node": "n1", "version": __version__})

    def test_all_events_from_now_on(self) -> None:
        """A client that sends nothing, such as `nc`, gets all events."""
        self.watched.up(port=1)
        connected = self.connect()
        self.watched.up(port=2)
        self.watched.configure()
        self.watched.down(port=2)
        self.assertEqual(connected.named(), ["online 2", "created backend/site", "created frontend/edge", "offline 2"])

    def test_a_line_is_an_event_of_the_journal(self) -> None:
        """All clients get the bytes of the journal's entry."""
        connected = [Connected(self.factory), Connected(self.factory)]
        for each in connected:
            each.transport.clear()
        self.watched.up()
        entry = self.watched.journal.entry(1)
        assert entry is not None
        self.assertEqual([each.transport.value() for each in connected], [entry.line, entry.line])

    def test_ticks(self) -> None:
        """A tick is sent after 15 s without an event."""
        connected = self.connect()
        self.clock.advance(15)
        self.assertEqual(connected.named(), ["tick"])

    def test_a_client_that_is_gone_is_forgotten(self) -> None:
        """A client that is disconnected has no timer, and nothing is sent to it."""
        connected = self.connect()
        connected.lose()
        self.watched.up()
        self.assertEqual(connected.transport.value(), b"")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_too_many(self) -> None:
        """A client above the limit gets an error and is disconnected; other clients are not affected."""
        self.watched.node.journal = self.watched.journal = Journal("few", lambda: NOW_MS, never, listeners_max=1)
        first = self.connect()
        second = Connected(self.factory)
        (error,) = events(second.transport.value())
        self.assertEqual((error["event"], error["code"]), ("error", "BUSY"))
        self.assertTrue(second.transport.disconnecting)
        second.lose()
        self.watched.up()
        self.assertEqual(first.named(), ["online 80"])

    def test_the_listener_closes(self) -> None:
        """Connections are closed when the port stops listening."""
        connected = self.connect()
        self.factory.doStart()
        self.factory.doStop()
        self.assertTrue(connected.transport.disconnecting)
        self.assertIsNone(connected.transport.producer)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        connected.lose()


class Subscribing(EventsCase):
    def test_all_keys(self) -> None:
        """The subscription of the documentation, with all keys, works."""
        connected = self.connect()
        connected.send(b'{"subscribe": {"app": "web", "version": "1.2.0", "snapshot": true, "since": "k3f9-1042"}}\n')
        self.watched.up("web", "1.2.0", 1)
        self.watched.up("web", "1.3.0", 2)
        self.assertEqual(connected.named(), ["reset", "synced", "online 1"])

    def test_no_keys(self) -> None:
        """A subscription without keys, or with `null`, selects all events from now on."""
        connected = self.connect()
        for line in (b'{"subscribe":{}}\n', b'{"subscribe":{"app":null,"snapshot":null,"since":null}}\r\n'):
            connected.subscribe(app="nobody")
            connected.send(line)
            self.watched.up()
            self.watched.down()
            self.assertEqual(connected.named(), ["online 80", "offline 80"])

    def test_replaces_the_subscription(self) -> None:
        """A subscription replaces the one before, without a missing or repeated event."""
        connected = self.connect()
        self.watched.up(port=1)
        connected.subscribe(app="api")
        self.watched.up("api", port=2)
        self.watched.up(port=3)
        connected.subscribe(app="web", snapshot=True)
        self.watched.up(port=4)
        self.assertEqual(connected.named(), ["online 1", "online 2", "online 1", "online 3", "synced", "online 4"])

    def test_while_anything_is_owed(self) -> None:
        """A line is processed after the events before it were sent; later lines are not read until then."""
        connected = self.connect(full_bytes=0)
        self.watched.up(port=1)
        self.watched.up("api", port=2)
        connected.subscribe(app="web")
        connected.send(b"rubbish\n")
        self.assertFalse(connected.reading)
        self.watched.up("api", port=3)
        self.assertEqual(connected.named(), ["online 1"])
        self.assertEqual(connected.named(), ["online 2", "online 3"])
        self.assertEqual(connected.named(), ["error"])
        self.assertTrue(connected.reading)
        self.watched.up("api", port=4)
        self.watched.up(port=5)
        self.assertEqual(connected.named(), ["online 5"])

    def test_many_lines_at_once(self) -> None:
        """The node does not read from a client that sends many lines and reads few answers."""
        connected = self.connect(full_bytes=1000)
        connected.send(b"{}\n" * 20_000)
        self.assertFalse(connected.reading)
        self.assertLess(len(connected.transport.value()), 1200)
        connected = self.connect()
        connected.send(b'{"subscribe":{"snapshot":true}}\n' * 5000)
        self.assertEqual(connected.named(), ["synced"] * 5000)
        self.assertTrue(connected.reading)

    def test_line_by_line(self) -> None:
        """A line may arrive in parts, and many lines in one part."""
        connected = self.connect()
        for byte in b'{"subscribe":{"snapshot":true}}\n':
            connected.send(bytes([byte]))
        connected.send(b'{"subscribe":{"since":""}}\n{"subscribe":{"snapshot":true}}\n{"sub')
        self.assertEqual(connected.named(), ["synced", "reset", "synced", "synced"])


class Confirming(EventsCase):
    """A client that subscribes with a name confirms the events that it has acted on."""

    def consumers(self) -> list[tuple[str, bool, str | None]]:
        return [(each.name, each.connected, each.cursor) for each in self.watched.node.consumers.states()]

    def test_a_consumer(self) -> None:
        """A consumer is known as long as it is connected, and its confirmations have no answer."""
        connected = self.connect()
        connected.subscribe(name="edge-1", app="web")
        self.assertEqual(self.consumers(), [("edge-1", True, None)])
        self.watched.up()
        (told,) = connected.received()
        connected.send(msgspec.json.encode({"ack": told["cursor"], "report": {"down": []}}) + b"\n")
        self.assertEqual(self.consumers(), [("edge-1", True, told["cursor"])])
        self.assertEqual(connected.received(), [])
        connected.lose()
        self.assertEqual(self.consumers(), [("edge-1", False, told["cursor"])])

    def test_two_of_one_name(self) -> None:
        """Two consumers with one name confirm separately."""
        self.confirm_in_turn({"name": "edge-1", "instance": "a"}, {"name": "edge-1", "instance": "b"})

    def test_two_of_one_name_that_give_no_instance(self) -> None:
        """Consumers without an instance are distinguished by their connections."""
        self.confirm_in_turn({"name": "edge-1"}, {"name": "edge-1"})

    def confirm_in_turn(self, *selections: dict[str, str]) -> None:
        connected = [self.connect(), self.connect()]
        for each, selection in zip(connected, selections, strict=True):
            each.subscribe(**selection)
        self.watched.up()
        cursor = connected[0].received()[0]["cursor"]
        connected[0].send(msgspec.json.encode({"ack": cursor}) + b"\n")
        self.assertEqual(self.consumers(), [("edge-1", True, cursor), ("edge-1", True, None)])
        connected[1].send(msgspec.json.encode({"ack": cursor}) + b"\n")
        self.assertEqual(self.consumers(), [("edge-1", True, cursor)] * 2)

    def test_what_is_refused(self) -> None:
        """A confirmation without a name, of an unknown cursor, or with another purpose in its line is refused."""
        connected = self.connect()
        cursor = self.watched.journal.cursor.encode()
        connected.send(b'{"ack": "%b"}\n' % cursor)
        self.assertIn("subscribe with a name", self.refused(connected))
        connected.subscribe(name="edge-1")
        for line, event_line in (
            (b'{"ack": "k3f9-7"}', "cursor"),
            (b'{"ack": 7}', "ack"),
            (b'{"ack": "%b", "renew": []}' % cursor, "exactly one"),
            (b'{"ack": "%b", "session": true}' % cursor, "session"),
            (b'{"renew": [], "report": {}}', "report"),
            (b'{"subscribe": {"name": "a/b"}}', "name"),
            (b'{"subscribe": {"name": "a", "instance": "a/b"}}', "instance"),
        ):
            connected.send(line + b"\n")
            self.assertIn(event_line, self.refused(connected))
        self.assertEqual(self.consumers(), [("edge-1", True, None)])


class BadLines(EventsCase):
    def test_are_answered(self) -> None:
        """Each bad line is answered by an error that names the problem, in one line."""
        connected = self.connect()
        for line, problem in (
            (b"", "JSON"),
            (b"hello", "JSON"),
            (b"GET /\r", "JSON"),
            (b'{"subscribe":{}', "JSON"),
            (b'{"subscribe":{}}{}', "JSON"),
            (b"\xff", "JSON"),
            (b'{"subscribe":{"app":"\xff"}}', "line"),
            (b'{"subscribe":{"app":"\\ud800"}}', ""),
            (b"\x00", "JSON"),
            (b"null", "object"),
            (b"[]", "object"),
            (b"{}", "subscribe"),
            (b'{"subscribe":null}', "subscribe"),
            (b'{"subscribe":[]}', "subscribe"),
            (b'{"subscribe":{},"else":1}', "line: else: is not a field of a line, whose fields are token, subscribe,"),
            (b'{"subscibe":{}}', "line: subscibe: is not a field of a line, did you mean subscribe?"),
            (b'{"subscribe":{"ap":"web"}}', "line: subscribe: ap: is not a field of subscribe, did you mean app?"),
            (b'{"register":{"app":"web","grase":1}}', "grase: is not a field of a registration, did you mean grace?"),
            (b'{"register":{"wieght":1}}', "wieght: is not a field of a registration, did you mean weight?"),
            (b'{"subscribe":{"app":1}}', "app"),
            (b'{"subscribe":{"app":""}}', "app"),
            (b'{"subscribe":{"app":"a/b"}}', "app"),
            (b'{"subscribe":{"version":["1"]}}', "version"),
            (b'{"subscribe":{"version":"."}}', "version"),
            (b'{"subscribe":{"snapshot":1}}', "snapshot"),
            (b'{"subscribe":{"snapshot":"true"}}', "snapshot"),
            (b'{"subscribe":{"since":5}}', "since"),
            (b'{"subscribe":{"since":' + b"[" * 8000 + b"]" * 8000 + b"}}", ""),
            (b'{"subscribe":{"x":' + b"[" * 8000 + b"]" * 8000 + b"}}", ""),
        ):
            connected.send(line + b"\n")
            self.assertIn(problem, self.refused(connected), line)

    def test_change_nothing(self) -> None:
        """A bad line changes neither the subscription nor the connection."""
        connected = self.connect()
        connected.subscribe(app="web")
        connected.send(b'{"subscribe":{"app":"api","version":5}}\n')
        self.refused(connected)
        self.watched.up("api")
        self.watched.up("web")
        self.assertEqual(connected.named(), ["online 80"])
        self.assertFalse(connected.transport.disconnecting)

    def test_too_long(self) -> None:
        """A line that is too long is refused once, before its end; it is not kept, and the next line is read."""
        connected = self.connect()
        for _ in range(10):
            connected.send(b"x" * (LINE_BYTES_MAX + 1))
            self.assertEqual(connected.protocol._held, b"")
        self.assertIn(str(LINE_BYTES_MAX), self.refused(connected))
        connected.send(b'x\n{"subscribe":{"snapshot":true}}\n')
        self.assertEqual(connected.named(), ["synced"])

    def test_too_long_at_once(self) -> None:
        """A line that is too long is refused also if it arrives in one piece with others."""
        connected = self.connect()
        connected.send(b'{"subscribe":{"snapshot":true}}\n' + b"x" * (LINE_BYTES_MAX + 1) + b"\n{}\n")
        self.assertEqual(connected.named(), ["synced", "error", "error"])

    def test_as_long_as_it_may_be(self) -> None:
        """A line of the longest permitted length is accepted."""
        connected = self.connect()
        line = b'{"subscribe":{"snapshot":true}}'
        connected.send(line + b" " * (LINE_BYTES_MAX - len(line)) + b"\n")
        self.assertEqual(connected.named(), ["synced"])


class HalfClosed(EventsCase):
    def test_nothing_was_sent(self) -> None:
        """`nc host 1731 </dev/null` gets events."""
        connected = self.connect()
        verifyObject(IHalfCloseableProtocol, connected.protocol)
        connected.protocol.readConnectionLost()
        self.watched.up()
        self.assertEqual(connected.named(), ["online 80"])
        self.assertFalse(connected.transport.disconnecting)

    def test_a_line_was_sent(self) -> None:
        """`echo '{"subscribe": …}' | nc host 1731` gets the events of its subscription."""
        connected = self.connect()
        connected.subscribe(snapshot=True, app="web")
        connected.protocol.readConnectionLost()
        self.watched.up("api", port=1)
        self.watched.up("web", port=2)
        self.assertEqual(connected.named(), ["synced", "online 2"])

    def test_a_line_was_sent_without_its_end(self) -> None:
        """The last line needs no end if the client closes its sending side, as with `printf` instead of `echo`."""
        connected = self.connect()
        connected.send(b'{"subscribe":{"snapshot":true}}')
        self.assertEqual(connected.named(), [])
        connected.protocol.readConnectionLost()
        self.assertEqual(connected.named(), ["synced"])

    def test_a_consumer(self) -> None:
        """A consumer that closed its sending side is not connected, because it cannot confirm any more."""
        connected = self.connect()
        connected.subscribe(name="edge", snapshot=True)
        (consumer,) = self.watched.node.consumers.states()
        self.assertTrue(consumer.connected)
        connected.protocol.readConnectionLost()
        (consumer,) = self.watched.node.consumers.states()
        self.assertFalse(consumer.connected)
        self.watched.up()
        self.assertEqual(connected.named(), ["synced", "online 80"])

    def test_is_not_read_from_again(self) -> None:
        """A connection whose sending side was closed is not read again."""
        connected = self.connect(full_bytes=0)
        connected.send(b"{}\n{}\n")
        self.assertFalse(connected.reading)
        connected.protocol.readConnectionLost()
        self.assertEqual([*connected.named(), *connected.named()], ["error", "error"])
        self.assertFalse(connected.reading)

    def test_and_gone(self) -> None:
        """A client that closed its sending side and then disconnects leaves no timer."""
        connected = self.connect()
        connected.protocol.readConnectionLost()
        connected.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class NotReading(EventsCase):
    def test_is_dropped(self) -> None:
        """A client with more than 256 KiB unread is disconnected, and other clients are not affected."""
        stuck, other = self.connect(full_bytes=65_536), self.connect()
        for port in range(1, 1200):
            self.watched.up(port=port)
        self.assertEqual(len(other.named()), 1199)
        self.assertLess(len(stuck.transport.value()), 66_000)
        self.assertFalse(stuck.transport.disconnecting)
        self.clock.advance(STALLED_S)
        self.assertTrue(stuck.transport.disconnected)
        stuck.lose()
        self.watched.up("api")
        self.assertEqual(other.named(), ["online 80"])


class NotReady(EventsCase):
    """A node that has not heard from its peer yet."""

    def setUp(self) -> None:
        super().setUp()
        self.network = Network(self.clock)
        self.network.connected = False
        self.factory = EventsFactory(self.network.first, self.clock)

    def become_ready(self) -> None:
        self.network.first.begin_round()
        self.network.reconnect()
        self.network.first.sweep()
        self.clock.advance(0.3)

    def test_hello_at_once(self) -> None:
        """A client gets `hello` before the node is ready, and the events after that."""
        connected = self.connect()
        self.become_ready()
        Watched.up(self.over())
        self.assertEqual(connected.named(), ["online 80"])

    def test_a_snapshot_when_ready(self) -> None:
        """A snapshot is sent when the node is ready, and the next line is processed after it."""
        connected = self.connect()
        connected.subscribe(snapshot=True)
        connected.send(b"rubbish\n")
        self.clock.advance(0.5)
        self.assertEqual(connected.named(), [])
        self.become_ready()
        self.assertEqual(connected.named(), ["synced", "error"])

    def over(self) -> Watched:
        watched = Watched(Clock())
        watched.node = self.network.first
        return watched


class Budgets(SynchronousTestCase):
    """The work of a node for one connection in one turn is limited, whatever its lines are.

    Each piece of work takes 1 s here, which is the limit for one connection; all connections together have 4 s.
    """

    LINES = {
        "subscriptions": b'{"subscribe": {"app": "web"}}\n',
        "acknowledgements": b'{"ack": "x"}\n',
        "renewals": b'{"renew": ["registration/web/1/h/1"]}\n',
        "empty lines": b"\n",
        "rubbish": b"{\n",
    }
    COUNT = 40

    def setUp(self) -> None:
        self.clock = Clock()
        self.watched = Watched(self.clock)
        self.worked_s = 0.0
        turns = Turns(self.clock, each_s=1, all_s=4, seconds=self.seconds)
        self.factory = EventsFactory(self.watched.node, self.clock, turns)

    def seconds(self) -> float:
        """Return the time, as if a piece of work had been done since the last call."""
        self.worked_s += 1
        return self.worked_s

    def turn(self) -> None:
        """Run a turn of the reactor without new input, and check the time of its work."""
        before = self.worked_s
        take_turn(self.clock)
        self.assertLessEqual(self.worked_s - before, 3 * 4)

    def connect(self) -> Connected:
        connected = Connected(self.factory)
        for _ in range(3):
            self.turn()
        connected.transport.clear()
        return connected

    def test_lines(self) -> None:
        """The rest of the lines is processed in later turns, also lines without an answer."""
        for kind, line in self.LINES.items():
            connected = self.connect()
            before = self.worked_s
            connected.send(line * self.COUNT)
            self.assertLessEqual(self.worked_s - before, 6, kind)
            turns = 0
            while self.clock.calls and connected.protocol._turns.is_waiting(connected.protocol):
                self.turn()
                turns += 1
            self.assertGreaterEqual(turns, self.COUNT / 5, kind)
            answers = 0 if kind == "subscriptions" else self.COUNT
            self.assertEqual(len(events(connected.transport.value())), answers, kind)
            connected.lose()

    def test_a_snapshot(self) -> None:
        """A snapshot is sent in pieces, and the line after it waits for its end."""
        for n in range(1, 1000):
            self.watched.up(port=n)
        for _ in range(3):
            self.turn()
        connected = self.connect()
        connected.subscribe(snapshot=True)
        connected.send(b'{"renew": []}\n')
        first = len(events(connected.transport.value()))
        self.assertLess(first, 500)
        for _ in range(20):
            self.turn()
        told = [event["event"] for event in events(connected.transport.value())]
        self.assertEqual(told, ["online"] * 999 + ["synced", "renewed"])

    def test_reading_stops(self) -> None:
        """The node stops reading from a client that sends more than it gets time for; no line is lost."""
        connected = self.connect()
        for _ in range(2):
            connected.send(b'{"renew": []}' + b" " * 100 + b"\n" * 1)
            connected.send((b'{"renew": []}' + b" " * 100 + b"\n") * 600)
        self.assertFalse(connected.reading)
        for _ in range(400):
            self.turn()
        self.assertEqual(len(events(connected.transport.value())), 1202)
        self.assertTrue(connected.reading)

    def test_a_client_that_goes_away(self) -> None:
        """The held lines of a lost connection are dropped."""
        connected = self.connect()
        connected.send(b"{\n" * 100)
        connected.lose()
        before = self.worked_s
        self.turn()
        self.assertEqual(self.worked_s, before)
