"""The event socket, on transports of memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from bender.core.admin_state import Override
from bender.core.model import RegistrationRequest
from bender.net.fair_turns import Turns
from bender.node.journal import Journal
from bender.node.limits import Limits
from bender.node.node import Node
from bender.node.watcher_stream import PIECE_BYTES, STALLED_S
from bender.protocols.thalassa.events import RECEIVED_BYTES_MAX, ThalassaEvents
from tests.api.conversation import NOW_MS, Network
from tests.line_protocol.connected import Transport
from tests.net.reactor_turns import take_turn
from tests.node.watched import Watched, never
from tests.protocols.thalassa.frames import FrameReader, in_words, registration_in


class Subscribed:
    """A connection to the event socket, and the messages that its client reads."""

    def __init__(self, factory: ThalassaEvents, full_bytes: int = 1_000_000_000, client: str = "10.9.9.9") -> None:
        address = IPv4Address("TCP", client, 40_000)
        self.transport = Transport(peerAddress=address)
        self.transport.full_bytes = full_bytes
        self._reader = FrameReader()
        protocol = factory.buildProtocol(address)
        assert protocol is not None
        self.protocol = protocol
        self.protocol.makeConnection(self.transport)

    def messages(self) -> list[tuple[bytes, ...]]:
        """Return all messages since the last call; the transport then has room for more."""
        messages = self._reader.read(self.transport.value())
        self.transport.clear()
        if self.transport.producer is not None:
            self.transport.producer.resumeProducing()
        return messages

    def named(self) -> list[str]:
        return in_words(self.messages())

    @property
    def closed(self) -> bool:
        return self.transport.disconnecting

    def lose(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))


class SubscriberCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.watched = Watched(self.clock)
        self.factory = ThalassaEvents(self.watched.node, self.clock)

    def connect(self, full_bytes: int = 1_000_000_000, client: str = "10.9.9.9") -> Subscribed:
        return Subscribed(self.factory, full_bytes, client)

    def state(self, state: Any, port: int = 80) -> None:
        self.watched.node.set_state(_key(port), Override(state, 60.0), "somebody")

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            self.watched.node.sweep()


def _key(port: int) -> str:
    return f"registration/web/1/10.0.0.1/{port}"


def on(*ports: int) -> list[str]:
    return [f"online /web/1/10.0.0.1/{port}" for port in ports]


def off(*ports: int) -> list[str]:
    return [f"offline /web/1/10.0.0.1/{port}" for port in ports]


class Connecting(SubscriberCase):
    def test_nothing_is_there(self) -> None:
        """A subscriber gets nothing if no instance is registered, because axon has no greeting."""
        self.watched.configure()
        self.assertEqual(self.connect().transport.value(), b"")

    def test_what_is_there(self) -> None:
        """Listed registrations are sent as `online`, in order of id, with the present time."""
        for port in (2, 1, 3):
            self.watched.up(port=port, meta={"az": "a"})
        self.watched.configure()
        messages = self.connect().messages()
        self.assertEqual(in_words(messages), on(1, 2, 3))
        shown = registration_in(messages[0])
        self.assertEqual((shown["lastKnown"], shown["meta"]["az"]), (NOW_MS, "a"))

    def test_what_went_before(self) -> None:
        """Recent ends are sent as `offline`, because Aqueduct may have missed them."""
        for port in (1, 2, 3):
            self.watched.up(port=port)
        self.watched.down(port=2)
        self.watched.down(port=3)
        self.watched.up(port=3)
        self.assertEqual(sorted(self.connect().named()), [*off(2), *on(1, 3)])
        self.pass_time(5)
        self.watched.node.renew_all([_key(1), _key(3)])
        self.clock.advance(590)
        self.watched.node.sweep()
        self.assertEqual(off(2), [each for each in self.connect().named() if each in off(2)])

    def test_what_is_out_of_rotation(self) -> None:
        """Instances out of rotation are sent as `offline`, because they may have been drained before the connection."""
        self.watched.up(port=1)
        self.watched.up(port=2, weight=0)
        self.watched.up(port=3)
        self.state("drain", 3)
        self.assertEqual(self.connect().named(), [*on(1), *off(2, 3)])

    def test_what_happens_meanwhile(self) -> None:
        """Later events follow the ends and the snapshot, so the last event of each id is right."""
        ports = range(1, 401)
        for port in ports:
            self.watched.up(port=port, meta={"filling": "x" * 100})
        self.watched.down(port=400)
        subscribed = self.connect(full_bytes=PIECE_BYTES)
        named = subscribed.named()
        self.assertLess(len(named), 400)
        self.watched.up(port=400)
        self.watched.down(port=1)
        for _ in range(20):
            self.clock.advance(0)
            named += subscribed.named()
        last = {each.rpartition("/")[2]: each for each in named}
        self.assertEqual([last["1"], last["400"]], [*off(1), *on(400)])
        self.assertEqual({last[str(port)] for port in ports[1:-1]}, {*on(*ports[1:-1])})

    def test_in_slices(self) -> None:
        """Thousands of registrations and ends are sent in pieces, between which the reactor does other work."""
        turns = Turns(self.clock)
        self.factory = ThalassaEvents(self.watched.node, self.clock, turns)
        for port in range(1, 2001):
            self.watched.up(port=port)
        for port in range(1, 1001):
            self.watched.down(port=port)
        subscribed = self.connect(full_bytes=PIECE_BYTES)
        pieces: list[int] = []
        while len(pieces) < 100 and (named := subscribed.named()):
            pieces.append(len(named))
            take_turn(self.clock)
        self.assertEqual(sum(pieces), 2000)
        self.assertLess(max(pieces), 1000)
        self.assertGreater(len(pieces), 5)


class Live(SubscriberCase):
    def setUp(self) -> None:
        super().setUp()
        self.watched.up()
        self.subscribed = self.connect()
        self.assertEqual(self.subscribed.named(), on(80))

    def test_coming_and_going(self) -> None:
        """Each registration and end is sent once, for any reason; a renewal sends nothing."""
        self.watched.up(port=81)
        self.watched.node.renew(_key(81))
        self.watched.down(port=81)
        self.assertEqual(self.subscribed.named(), [*on(81), *off(81)])
        self.pass_time(12)
        self.assertEqual(self.subscribed.named(), off(80))

    def test_changes(self) -> None:
        """An instance is sent as `online` again with each change of its meta or weight."""
        self.watched.up(meta={"az": "b"})
        self.watched.up(weight=7)
        messages = self.subscribed.messages()
        self.assertEqual(in_words(messages), on(80, 80))
        self.assertEqual(registration_in(messages[0])["meta"]["az"], "b")

    def test_out_of_rotation_and_back(self) -> None:
        self.state("drain")
        self.state("maint")
        self.watched.node.remove_state(_key(80), "somebody")
        self.watched.up(weight=0)
        self.watched.up(weight=1)
        self.assertEqual(self.subscribed.named(), [*off(80, 80), *on(80), *off(80), *on(80)])

    def test_a_lost_node(self) -> None:
        """An instance that is hidden because its node is lost is sent as `offline`."""
        network = Network(self.clock)
        network.first.begin_round()
        self.factory = ThalassaEvents(network.first, self.clock)
        network.second.register(RegistrationRequest("web", "1", "10.0.0.1", 80))
        subscribed = self.connect()
        self.assertEqual(subscribed.named(), on(80))
        network.connected = False
        for _ in range(20):
            self.clock.advance(1)
            for node in (network.first, network.second):
                node.begin_round()
                node.sweep()
            network.second.renew(_key(80))
        self.assertEqual(subscribed.named(), off(80))

    def test_other_events(self) -> None:
        """Events of backends and frontends are not sent."""
        self.watched.configure()
        self.assertEqual(self.subscribed.transport.value(), b"")

    def test_a_frame_is_made_once(self) -> None:
        """All subscribers get the same bytes."""
        other = self.connect()
        other.messages()
        made = self.factory.frame_of.cache_info().misses
        self.watched.up(port=81)
        self.assertEqual(self.subscribed.transport.value(), other.transport.value())
        self.assertEqual(self.factory.frame_of.cache_info().misses, made + 1)

    def test_a_client_that_is_gone(self) -> None:
        """A client that has disconnected has no timers, and is sent nothing."""
        self.subscribed.lose()
        self.watched.up(port=81)
        self.assertEqual(self.subscribed.transport.value(), b"")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.watched.node.status()["limits"]["thalassa_event_connections"]["used"], 0)


class Readiness(SubscriberCase):
    def test_before_the_node_is_ready(self) -> None:
        """Before the node is ready, nothing is sent, because its list is not complete."""
        network = Network(self.clock)
        network.connected = False
        self.factory = ThalassaEvents(network.first, self.clock)
        subscribed = self.connect()
        self.clock.advance(0.5)
        self.assertEqual(subscribed.transport.value(), b"")
        network.second.register(RegistrationRequest("web", "1", "10.0.0.1", 80))
        network.reconnect()
        network.first.begin_round()
        self.clock.advance(0.5)
        self.assertEqual(subscribed.named(), on(80))

    def test_a_pause(self) -> None:
        """After a pause of the node, an instance goes offline only if its ttl is over without the pause."""
        self.watched.up()
        subscribed = self.connect()
        subscribed.messages()
        self.clock.advance(8)
        self.watched.node.sweep()
        self.pass_time(7)
        self.assertEqual(subscribed.named(), [])
        self.pass_time(5)
        self.assertEqual(subscribed.named(), off(80))

    def test_a_node_that_leaves(self) -> None:
        """When the node leaves, its connections are closed, and no instance is sent as `offline`."""
        self.watched.up()
        subscribed = self.connect()
        subscribed.messages()
        self.watched.journal.close()
        self.watched.node.leave()
        self.assertEqual((subscribed.transport.value(), subscribed.closed), (b"", True))


class Limiting(SubscriberCase):
    def limit(self, node: Node) -> None:
        self.factory = ThalassaEvents(node, self.clock)

    def test_one_that_does_not_read(self) -> None:
        """A client that does not read is dropped when too many events wait; other clients are not affected."""
        reading, stalled = self.connect(), self.connect(full_bytes=1000)
        for port in range(1, 20):
            self.watched.up(port=port)
        reading.messages()
        self.clock.advance(STALLED_S)
        with capturedLogs() as logs:
            for port in range(20, 420):
                self.watched.up(port=port, meta={"filling": "x" * 1000})
        self.assertTrue(stalled.closed)
        self.assertIn("10.9.9.9", formatEvent(logs[0]) or "")
        self.assertIn(
            "Closing the connection of 10.9.9.9:40000 to the events of --thalassa: it does not read its events.",
            formatEvent(logs[0]) or "",
        )
        self.assertEqual(len(reading.messages()), 400)

    def test_one_that_reads_nothing_for_too_long(self) -> None:
        """A client that reads nothing for too long is dropped, even if few events wait."""
        stalled = self.connect(full_bytes=0)
        self.watched.up()
        self.clock.advance(59)
        self.assertFalse(stalled.closed)
        self.clock.advance(1)
        self.assertTrue(stalled.closed)

    def test_one_that_sends(self) -> None:
        """A few bytes from a subscriber are ignored; after too many, the connection is closed."""
        subscribed = self.connect()
        subscribed.protocol.dataReceived(b"x" * RECEIVED_BYTES_MAX)
        self.watched.up()
        self.assertEqual((subscribed.named(), subscribed.closed), (on(80), False))
        subscribed.protocol.dataReceived(b"x")
        self.assertTrue(subscribed.closed)

    def test_too_many_connections(self) -> None:
        """A refused connection is closed at once; the client with the most connections loses its newest."""
        self.watched = Watched(self.clock, limits=Limits(connections=2))
        self.factory = ThalassaEvents(self.watched.node, self.clock)
        first, second = self.connect(), self.connect()
        with capturedLogs() as logs:
            self.assertIsNone(self.factory.buildProtocol(IPv4Address("TCP", "10.9.9.9", 1)))
            other = self.connect(client="10.9.9.8")
        self.watched.up()
        self.assertEqual([first.named(), other.named(), second.closed], [on(80), on(80), True])
        self.assertIn("2 connections", formatEvent(logs[0]) or "")
        self.assertIn("(--max-connections): closing the newest of 10.9.9.9", formatEvent(logs[1]) or "")
        use = self.watched.node.status()["limits"]["thalassa_event_connections"]
        self.assertEqual((use["max"], use["used"], use["refused"]), (2, 2, 2))

    def test_too_many_subscribers(self) -> None:
        """Subscribers of all protocols count together."""
        self.watched.node.journal = self.watched.journal = Journal("few", lambda: NOW_MS, never, listeners_max=1)
        first, second = self.connect(), self.connect()
        self.assertEqual((first.closed, second.closed), (False, True))
        second.lose()
        self.watched.up()
        self.assertEqual(first.named(), on(80))
