"""The line protocol, byte for byte, on transports of memory."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from bender import __version__
from bender.events import LINE_BYTES_MAX, EventsFactory
from bender.journal import Journal
from bender.stream import STALLED_S
from tests.api.conversation import NOW_MS, Network
from tests.watched import Watched, events, named


class Transport(StringTransport):
    """One that is full whenever it holds more than `full_bytes`, as those with a socket are."""

    full_bytes = 1_000_000_000

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.producer is not None and len(self.value()) > self.full_bytes:
            self.producer.pauseProducing()


class Connected:
    """A client of a node's line protocol."""

    def __init__(self, factory: EventsFactory, full_bytes: int = 1_000_000_000) -> None:
        self.transport = Transport()
        self.transport.full_bytes = full_bytes
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    def send(self, sent: bytes) -> None:
        self.protocol.dataReceived(sent)

    def subscribe(self, **selection: Any) -> None:
        self.send(msgspec.json.encode({"subscribe": selection}) + b"\n")

    def received(self) -> list[dict[str, Any]]:
        """All events since this was asked last; then there is room for more."""
        received = self.transport.value()
        self.transport.clear()
        if self.transport.producer is not None:
            self.transport.producer.resumeProducing()
        return events(received)

    def named(self) -> list[str]:
        return named(self.received())

    def lose(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))

    @property
    def reading(self) -> bool:
        """Whether the node would read what this client sent now."""
        return self.transport.producerState == "producing"


class EventsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.watched = Watched(self.clock)
        self.factory = EventsFactory(self.watched.node, self.clock)

    def connect(self, full_bytes: int = 1_000_000_000) -> Connected:
        """A client that has read its `hello`."""
        connected = Connected(self.factory, full_bytes)
        self.assertEqual(connected.named(), ["hello"])
        return connected

    def refused(self, connected: Connected) -> str:
        """Expect one error line; returns its message."""
        (error,) = connected.received()
        self.assertEqual([*error], ["event", "code", "message"])
        self.assertEqual((error["event"], error["code"]), ("error", "INVALID"))
        return str(error["message"])


class Connecting(EventsCase):
    def test_hello(self) -> None:
        """The first line says which node this is, and where its events are at."""
        self.watched.up()
        (hello,) = Connected(self.factory).received()
        cursor = self.watched.journal.cursor
        self.assertEqual(hello, {"event": "hello", "cursor": cursor, "node": "n1", "version": __version__})

    def test_all_events_from_now_on(self) -> None:
        """Nothing needs to be sent: `nc` is a client."""
        self.watched.up(port=1)
        connected = self.connect()
        self.watched.up(port=2)
        self.watched.configure()
        self.watched.down(port=2)
        self.assertEqual(connected.named(), ["online 2", "created backend/site", "created frontend/edge", "offline 2"])

    def test_a_line_is_an_event_of_the_journal(self) -> None:
        """Its bytes are the same for everybody."""
        connected = [Connected(self.factory), Connected(self.factory)]
        for each in connected:
            each.transport.clear()
        self.watched.up()
        entry = self.watched.journal.entry(1)
        assert entry is not None
        self.assertEqual([each.transport.value() for each in connected], [entry.line, entry.line])

    def test_ticks(self) -> None:
        """After 15 s without an event there is one."""
        connected = self.connect()
        self.clock.advance(15)
        self.assertEqual(connected.named(), ["tick"])

    def test_a_client_that_is_gone_is_forgotten(self) -> None:
        """It has no timers left, and is told nothing."""
        connected = self.connect()
        connected.lose()
        self.watched.up()
        self.assertEqual(connected.transport.value(), b"")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_too_many(self) -> None:
        """It is told so, and its connection closed; the others notice nothing."""
        self.watched.node.journal = self.watched.journal = Journal("few", lambda: NOW_MS, listeners_max=1)
        first = self.connect()
        second = Connected(self.factory)
        (error,) = events(second.transport.value())
        self.assertEqual((error["event"], error["code"]), ("error", "BUSY"))
        self.assertTrue(second.transport.disconnecting)
        second.lose()
        self.watched.up()
        self.assertEqual(first.named(), ["online 80"])

    def test_the_listener_closes(self) -> None:
        """Then the connections do."""
        connected = self.connect()
        self.factory.doStart()
        self.factory.doStop()
        self.assertTrue(connected.transport.disconnecting)
        self.assertIsNone(connected.transport.producer)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        connected.lose()


class Subscribing(EventsCase):
    def test_all_keys(self) -> None:
        """The line of the documentation."""
        connected = self.connect()
        connected.send(b'{"subscribe": {"app": "web", "version": "1.2.0", "snapshot": true, "since": "k3f9-1042"}}\n')
        self.watched.up("web", "1.2.0", 1)
        self.watched.up("web", "1.3.0", 2)
        self.assertEqual(connected.named(), ["reset", "synced", "online 1"])

    def test_no_keys(self) -> None:
        """Everything from now on; `null` is as good as nothing."""
        connected = self.connect()
        for line in (b'{"subscribe":{}}\n', b'{"subscribe":{"app":null,"snapshot":null,"since":null}}\r\n'):
            connected.subscribe(app="nobody")
            connected.send(line)
            self.watched.up()
            self.watched.down()
            self.assertEqual(connected.named(), ["online 80", "offline 80"])

    def test_replaces_the_subscription(self) -> None:
        """From that line on, without a gap or a duplicate."""
        connected = self.connect()
        self.watched.up(port=1)
        connected.subscribe(app="api")
        self.watched.up("api", port=2)
        self.watched.up(port=3)
        connected.subscribe(app="web", snapshot=True)
        self.watched.up(port=4)
        self.assertEqual(connected.named(), ["online 1", "online 2", "online 1", "online 3", "synced", "online 4"])

    def test_while_anything_is_owed(self) -> None:
        """What a client was to get before its line it gets first, and then the line counts; more is not read yet."""
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
        """A client that sends much and reads little waits for itself, whatever it sends."""
        connected = self.connect(full_bytes=1000)
        connected.send(b"{}\n" * 20_000)
        self.assertFalse(connected.reading)
        self.assertLess(len(connected.transport.value()), 1200)
        connected = self.connect()
        connected.send(b'{"subscribe":{"snapshot":true}}\n' * 5000)
        self.assertEqual(connected.named(), ["synced"] * 5000)
        self.assertTrue(connected.reading)

    def test_line_by_line(self) -> None:
        """A line may come in parts, or many in one."""
        connected = self.connect()
        for byte in b'{"subscribe":{"snapshot":true}}\n':
            connected.send(bytes([byte]))
        connected.send(b'{"subscribe":{"since":""}}\n{"subscribe":{"snapshot":true}}\n{"sub')
        self.assertEqual(connected.named(), ["synced", "reset", "synced", "synced"])


class BadLines(EventsCase):
    def test_are_answered(self) -> None:
        """Each by an error that says what is wrong, in one line."""
        connected = self.connect()
        for line, problem in (
            (b"", "JSON"),
            (b"hello", "JSON"),
            (b"GET / HTTP/1.1\r", "JSON"),
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
            (b'{"subscribe":{},"else":1}', "else"),
            (b'{"subscribe":{"ap":"web"}}', "ap"),
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
        """The subscription goes on as it was, and so does the connection."""
        connected = self.connect()
        connected.subscribe(app="web")
        connected.send(b'{"subscribe":{"app":"api","version":5}}\n')
        self.refused(connected)
        self.watched.up("api")
        self.watched.up("web")
        self.assertEqual(connected.named(), ["online 80"])
        self.assertFalse(connected.transport.disconnecting)

    def test_too_long(self) -> None:
        """It is refused once, before it ends, kept nowhere, and the line after it is read."""
        connected = self.connect()
        for _ in range(10):
            connected.send(b"x" * (LINE_BYTES_MAX + 1))
            self.assertEqual(connected.protocol._unfinished, b"")
        self.assertIn(str(LINE_BYTES_MAX), self.refused(connected))
        connected.send(b'x\n{"subscribe":{"snapshot":true}}\n')
        self.assertEqual(connected.named(), ["synced"])

    def test_too_long_at_once(self) -> None:
        """The same if all of it comes in one piece, before or after others."""
        connected = self.connect()
        connected.send(b'{"subscribe":{"snapshot":true}}\n' + b"x" * (LINE_BYTES_MAX + 1) + b"\n{}\n")
        self.assertEqual(connected.named(), ["synced", "error", "error"])

    def test_as_long_as_it_may_be(self) -> None:
        """White space fills it up."""
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
        """`echo '{"subscribe": …}' | nc host 1731` gets what it asked for."""
        connected = self.connect()
        connected.subscribe(snapshot=True, app="web")
        connected.protocol.readConnectionLost()
        self.watched.up("api", port=1)
        self.watched.up("web", port=2)
        self.assertEqual(connected.named(), ["synced", "online 2"])

    def test_a_line_was_sent_without_its_end(self) -> None:
        """`printf` instead of `echo`: there is no more to come, so this is a line."""
        connected = self.connect()
        connected.send(b'{"subscribe":{"snapshot":true}}')
        self.assertEqual(connected.named(), [])
        connected.protocol.readConnectionLost()
        self.assertEqual(connected.named(), ["synced"])

    def test_is_not_read_from_again(self) -> None:
        """The reactor would find its end once more."""
        connected = self.connect(full_bytes=0)
        connected.send(b"{}\n{}\n")
        self.assertFalse(connected.reading)
        connected.protocol.readConnectionLost()
        self.assertEqual([*connected.named(), *connected.named()], ["error", "error"])
        self.assertFalse(connected.reading)

    def test_and_gone(self) -> None:
        """When a write fails it is forgotten."""
        connected = self.connect()
        connected.protocol.readConnectionLost()
        connected.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class NotReading(EventsCase):
    def test_is_dropped(self) -> None:
        """With more than 256 KiB waiting its connection is cut, and others notice nothing."""
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
        """And what happens when the node is ready is announced."""
        connected = self.connect()
        self.become_ready()
        Watched.up(self.over())
        self.assertEqual(connected.named(), ["online 80"])

    def test_a_snapshot_when_ready(self) -> None:
        """Until then nothing is claimed about what is there; then it comes, and the next line is acted upon."""
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
