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
from bender.core.model import RegistrationRequest
from bender.line_protocol.connection import EventsFactory
from bender.line_protocol.messages import LINE_BYTES_MAX
from bender.net.fair_turns import Turns
from bender.node.event_stream import STALLED_S
from bender.node.journal import Journal
from tests.api.conversation import NOW_MS, Network
from tests.net.reactor_turns import take_turn
from tests.node.watched import Watched, events, named, never


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


class Confirming(EventsCase):
    """Who subscribes with a name acts on what he is told, and says so."""

    def consumers(self) -> list[tuple[str, bool, str | None]]:
        return [(each.name, each.connected, each.cursor) for each in self.watched.node.consumers.shown()]

    def test_a_consumer(self) -> None:
        """It is known as long as it is connected, and confirms without an answer."""
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
        """Each confirms for itself."""
        self.confirm_in_turn({"name": "edge-1", "instance": "a"}, {"name": "edge-1", "instance": "b"})

    def test_two_of_one_name_that_give_no_instance(self) -> None:
        """They are told apart by their connections."""
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
        """Confirming without a name, what nobody was told, and what goes with other lines."""
        connected = self.connect()
        cursor = self.watched.journal.cursor.encode()
        connected.send(b'{"ack": "%b"}\n' % cursor)
        self.assertIn("subscribe with a name", self.refused(connected))
        connected.subscribe(name="edge-1")
        for line, said in (
            (b'{"ack": "k3f9-7"}', "cursor"),
            (b'{"ack": 7}', "ack"),
            (b'{"ack": "%b", "renew": []}' % cursor, "exactly one"),
            (b'{"ack": "%b", "session": true}' % cursor, "session"),
            (b'{"renew": [], "report": {}}', "report"),
            (b'{"subscribe": {"name": "a/b"}}', "name"),
            (b'{"subscribe": {"name": "a", "instance": "a/b"}}', "instance"),
        ):
            connected.send(line + b"\n")
            self.assertIn(said, self.refused(connected))
        self.assertEqual(self.consumers(), [("edge-1", True, None)])


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
            (b'{"subscribe":{},"else":1}', "line: else: is not a field of a line, whose fields are subscribe, ack,"),
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
            self.assertEqual(connected.protocol._held, b"")
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

    def test_a_consumer(self) -> None:
        """It can confirm nothing any more, so nobody waits for it; the death of its process looks the same."""
        connected = self.connect()
        connected.subscribe(name="edge", snapshot=True)
        (consumer,) = self.watched.node.consumers.shown()
        self.assertTrue(consumer.connected)
        connected.protocol.readConnectionLost()
        (consumer,) = self.watched.node.consumers.shown()
        self.assertFalse(consumer.connected)
        self.watched.up()
        self.assertEqual(connected.named(), ["synced", "online 80"])

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


class Agents(EventsCase):
    """Clients that register and renew by lines."""

    WEB: dict[str, Any] = {"app": "web", "version": "1", "host": "10.0.0.1", "port": 80}
    ID = "registration/web/1/10.0.0.1/80"

    def agent(self) -> Connected:
        """One that wants no events."""
        agent = self.connect()
        agent.send(b'{"subscribe": false}\n')
        return agent

    def tell(self, agent: Connected, **line: Any) -> dict[str, Any]:
        """A line, and the one that answers it."""
        agent.send(msgspec.json.encode(line) + b"\n")
        (answer,) = agent.received()
        return answer

    def wait(self, seconds: float) -> None:
        """Time goes by, and the node sweeps."""
        for _ in range(int(seconds * 4)):
            self.clock.advance(0.25)
            self.watched.node.sweep()

    @property
    def listed(self) -> bool:
        return self.watched.node.registration(self.ID) is not None

    def test_register(self) -> None:
        """The answer is the registration, and whether it is new; what is not sent stays as it was."""
        agent = self.agent()
        answer = self.tell(agent, register={**self.WEB, "weight": 5, "resource": "Registration"})
        self.assertEqual([*answer], ["event", "created", "registration"])
        self.assertEqual((answer["event"], answer["created"]), ("registered", True))
        self.assertEqual((answer["registration"]["id"], answer["registration"]["weight"]), (self.ID, 5))
        answer = self.tell(agent, register=self.WEB)
        self.assertEqual((answer["created"], answer["registration"]["weight"]), (False, 5))

    def test_renew(self) -> None:
        """Thousands in a line; the answer names those that are not known as they were spelled."""
        self.watched.up()
        agent = self.agent()
        self.wait(9)
        answer = self.tell(agent, renew=[self.ID, "registration/web/1/10.0.0.1/81", "REGISTRATION"])
        self.assertEqual(
            answer, {"event": "renewed", "renewed": 1, "unknown": ["registration/web/1/10.0.0.1/81", "REGISTRATION"]}
        )
        self.wait(9)
        self.assertTrue(self.listed)

    def test_another_spelling(self) -> None:
        """It is the same instance in the form in which it was registered."""
        agent = self.agent()
        self.tell(agent, register={**self.WEB, "host": "FE80::0:1"}, session=True)
        answer = self.tell(agent, renew=["registration/web/1/FE80::0:1/80"], session=True, grace=5)
        self.assertEqual((answer["renewed"], answer["unknown"]), (1, []))
        agent.lose()
        self.wait(3)
        self.assertEqual(self.watched.node.listed, 1)
        self.wait(4)
        self.assertEqual(self.watched.node.listed, 0)

    def test_its_own_events(self) -> None:
        """An agent that also watches hears of what it does, before the answer."""
        agent = self.connect()
        agent.send(msgspec.json.encode({"register": self.WEB}) + b"\n")
        self.assertEqual(agent.named(), ["online 80", "registered 80"])

    def test_no_events(self) -> None:
        """With `false` there are none, but for ticks, until it subscribes again."""
        agent = self.agent()
        self.watched.up()
        self.clock.advance(15)
        self.watched.up(port=81)
        (tick,) = agent.received()
        self.assertEqual((tick["event"], tick["cursor"]), ("tick", self.watched.journal.cursor_at(1)))
        agent.subscribe()
        self.watched.up(port=82)
        self.assertEqual(agent.named(), ["online 82"])

    def test_refused(self) -> None:
        """What is wrong is named, and nothing is changed."""
        agent = self.agent()
        for line, code, field in (
            ({"register": {**self.WEB, "port": 0}}, "INVALID", "port"),
            ({"register": {**self.WEB, "meta": {"large": "x" * 5000}}}, "TOO_LARGE", "a registration"),
            ({"register": self.WEB, "renew": []}, "INVALID", "line"),
            ({"register": self.WEB, "grace": -1}, "INVALID", "line"),
            ({"register": self.WEB, "grace": 4000}, "INVALID", "line"),
            ({"register": None}, "INVALID", "body"),
            ({"register": {**self.WEB, "session": True, "grace": -1}}, "INVALID", "grace"),
            ({"register": {**self.WEB, "session": 1}}, "INVALID", "session"),
            ({"renew": [1]}, "INVALID", "line"),
            ({"renew": [self.ID] * 1001}, "TOO_LARGE", "renew"),
            ({"subscribe": True}, "INVALID", "line"),
            ({"subscribe": {}, "session": True}, "INVALID", "line"),
            ({"session": True}, "INVALID", "line"),
            ({"renewals": []}, "INVALID", "line"),
        ):
            answer = self.tell(agent, **line)
            self.assertEqual((answer["event"], answer["code"]), ("error", code), line)
            self.assertTrue(answer["message"].startswith(field), answer)
        self.assertEqual(self.watched.node.listed, 0)

    def test_a_full_node(self) -> None:
        """It says so."""
        watched = Watched(self.clock, registrations_max=0)
        agent = Connected(EventsFactory(watched.node, self.clock))
        agent.received()
        self.assertEqual(self.tell(agent, register=self.WEB)["code"], "BUSY")

    def test_a_session(self) -> None:
        """When its connection closes, what it registered ends after its grace, and not before."""
        agent = self.agent()
        self.tell(agent, register={**self.WEB, "ttl": 60}, session=True, grace=2)
        self.wait(20)
        self.assertTrue(self.listed)
        agent.lose()
        self.wait(1.75)
        self.assertTrue(self.listed)
        self.wait(1.25)
        self.assertFalse(self.listed)

    def test_a_session_said_in_the_registration(self) -> None:
        """It may stand there as well."""
        agent = self.agent()
        self.tell(agent, register={**self.WEB, "session": True, "grace": 1})
        agent.lose()
        self.wait(0.75)
        self.assertTrue(self.listed)
        self.wait(1.25)
        self.assertFalse(self.listed)

    def test_a_session_whose_client_says_no_more(self) -> None:
        """That is what the death of a process looks like: its connection is not lost before somebody writes to it."""
        agent = self.agent()
        agent.send(msgspec.json.encode({"register": self.WEB, "session": True}))  # without the end of the line
        agent.protocol.readConnectionLost()
        self.assertTrue(self.listed)
        self.wait(1)
        self.assertFalse(self.listed)

    def test_a_session_outlives_no_ttl(self) -> None:
        """Who does not renew expires, also on a connection that is open, and grace prolongs nothing."""
        agent = self.agent()
        self.tell(agent, register=self.WEB, session=True, grace=60)
        self.wait(5)
        agent.lose()
        self.wait(6)
        self.assertFalse(self.listed)

    def test_going_on_elsewhere(self) -> None:
        """A session that another connection has taken over does not end with the first, nor what is renewed by HTTP."""
        first, second = self.agent(), self.agent()
        self.tell(first, register=self.WEB, session=True)
        self.tell(second, renew=[self.ID], session=True, grace=1)
        first.lose()
        self.wait(3)
        self.assertTrue(self.listed)
        second.lose()
        self.watched.node.renew(self.ID)
        self.wait(3)
        self.assertTrue(self.listed)

    def test_another_instance_registers_in_its_place(self) -> None:
        """The end of the session does not end that one, also where the first has renewed it unknowingly."""
        for renew in (False, True):
            agent = self.agent()
            self.tell(agent, register={**self.WEB, "instance": "a"}, session=True)
            self.watched.node.register(RegistrationRequest(**self.WEB, instance="b"))
            if renew:
                self.tell(agent, renew=[self.ID], session=True)
            agent.lose()
            self.wait(3)
            self.assertTrue(self.listed, renew)

    def test_another_token_of_its_own(self) -> None:
        """What a connection has registered last is its own, whatever it has registered before."""
        agent = self.agent()
        for token in ("a", "b"):
            self.tell(agent, register={**self.WEB, "instance": token}, session=True)
        agent.lose()
        self.wait(1)
        self.assertFalse(self.listed)

    def test_without_a_session(self) -> None:
        """The end of the connection says nothing."""
        agent = self.agent()
        self.tell(agent, register=self.WEB)
        agent.lose()
        self.wait(5)
        self.assertTrue(self.listed)

    def test_a_node_that_leaves(self) -> None:
        """That it closes the connection says nothing about who was on the other side, and goes on elsewhere."""
        agent = self.agent()
        self.tell(agent, register=self.WEB, session=True)
        self.factory.doStart()
        self.factory.doStop()
        self.assertTrue(agent.transport.disconnecting)
        agent.lose()
        self.wait(5)
        self.assertTrue(self.listed)
        self.assertEqual(self.factory._sessions, {})

    def test_sessions_are_forgotten(self) -> None:
        """Nothing is left of those that are over."""
        agent = self.agent()
        self.tell(agent, register=self.WEB, session=True)
        agent.lose()
        self.assertEqual(self.factory._sessions, {})


class AgentsOfNodesThatWereAway(EventsCase):
    def setUp(self) -> None:
        super().setUp()
        self.network = Network(self.clock)
        self.node = self.network.first

    def test_waiting(self) -> None:
        """A line that comes before the node is back waits for that, and those behind it with it."""
        agent = Connected(EventsFactory(self.node, self.clock))
        self.node.begin_round()
        self.node.sweep()
        self.assertTrue(self.node.ready)
        self.network.connected = False
        self.clock.advance(3)
        agent.received()
        agent.send(b'{"renew": []}\n{"subscribe": false}\n{"renew": [1]}\n')
        self.assertEqual(agent.received(), [])
        self.assertFalse(agent.reading)
        self.network.reconnect()
        self.assertEqual([event["event"] for event in agent.received()], ["renewed", "error"])
        self.assertTrue(agent.reading)

    def test_in_vain(self) -> None:
        """After an interval it is refused."""
        agent = Connected(EventsFactory(self.node, self.clock))
        self.assertFalse(self.node.ready)
        agent.received()
        agent.send(b'{"renew": []}\n')
        self.clock.advance(1)
        (error,) = agent.received()
        self.assertEqual((error["event"], error["code"]), ("error", "NOT_READY"))

    def test_gone_meanwhile(self) -> None:
        """Of a client that did not wait nothing is done."""
        agent = Connected(EventsFactory(self.node, self.clock))
        self.node.begin_round()
        self.node.sweep()
        self.network.connected = False
        self.clock.advance(3)
        agent.send(b'{"register": {"app": "web", "version": "1", "host": "10.0.0.1", "port": 80}}\n')
        agent.lose()
        self.network.reconnect()
        self.assertEqual(self.node.claims(), [])


class Budgets(SynchronousTestCase):
    """What one connection makes a node do in one turn is limited, whatever its lines say.

    Each piece of work takes 1 s here, as long as a connection has; all of them together have 4 s.
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
        """Pass as if a piece of work had been done since this was asked last."""
        self.worked_s += 1
        return self.worked_s

    def turn(self) -> None:
        """A turn of the reactor, without any news."""
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
        """The rest of them is acted upon in later turns; one that answers nothing is counted by the work it makes."""
        for kind, line in self.LINES.items():
            connected = self.connect()
            before = self.worked_s
            connected.send(line * self.COUNT)
            self.assertLessEqual(self.worked_s - before, 6, kind)
            turns = 0
            while self.clock.calls and connected.protocol._turns.waits(connected.protocol):
                self.turn()
                turns += 1
            self.assertGreaterEqual(turns, self.COUNT / 5, kind)
            answers = 0 if kind == "subscriptions" else self.COUNT
            self.assertEqual(len(events(connected.transport.value())), answers, kind)
            connected.lose()

    def test_a_snapshot(self) -> None:
        """It is sent piece by piece, and the line behind it waits for all of it."""
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
        """What is held of a client that sends more than it is given time for is bounded, and nothing is lost."""
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
        """Its lines go with it."""
        connected = self.connect()
        connected.send(b"{\n" * 100)
        connected.lose()
        before = self.worked_s
        self.turn()
        self.assertEqual(self.worked_s, before)
