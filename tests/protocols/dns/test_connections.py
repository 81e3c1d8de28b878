"""DNS over TCP, without a socket."""

from __future__ import annotations

from typing import Any

import dns.message
import dns.rcode
from attrs import evolve
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from bender.protocols.dns.connections import HELD_BYTES_MAX, QUERY_BYTES_MAX, DnsConnections
from tests.line_protocol import connected
from tests.protocols.dns.dns_case import DnsCase, addresses, query


class Transport(connected.Transport):
    """A transport that records whether it was aborted."""

    aborted = False

    @property
    def _appSendBuffer(self) -> list[bytes]:
        """The data that were written and not read; a transport with TLS has this name, too."""
        return [self.value()]

    def abortConnection(self) -> None:
        self.aborted = True
        self.loseConnection()


class Connection:
    """A client with one connection."""

    def __init__(self, factory: DnsConnections, client: str = "10.9.9.9") -> None:
        address = IPv4Address("TCP", client, 40_000)
        self.transport = Transport(peerAddress=address)
        self.protocol: Any = factory.buildProtocol(address)
        if self.protocol is not None:
            self.protocol.makeConnection(self.transport)

    def send(self, sent: bytes) -> None:
        self.protocol.dataReceived(sent)

    def ask(self, name: str, kind: str = "A") -> None:
        self.send(framed(query(name, kind).to_wire()))

    def received(self) -> list[dns.message.Message]:
        """Return all answers since the last call; the transport then has room for more."""
        received, answers = self.transport.value(), []
        self.transport.clear()
        while received:
            length = int.from_bytes(received[:2], "big")
            answers.append(dns.message.from_wire(received[2 : 2 + length]))
            received = received[2 + length :]
        if self.transport.producer is not None and self.protocol._is_write_blocked:
            self.transport.producer.resumeProducing()
        return answers

    def lose(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))

    @property
    def aborted(self) -> bool:
        return self.transport.aborted

    @property
    def closed(self) -> bool:
        return self.transport.disconnecting

    @property
    def reading(self) -> bool:
        return self.transport.producerState == "producing"


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message


class ConnectionsCase(DnsCase):
    def setUp(self) -> None:
        super().setUp()
        self.factory = DnsConnections(self.node, self.over_tcp, self.turns, self.clock)
        self.up()

    def connect(self, client: str = "10.9.9.9") -> Connection:
        return Connection(self.factory, client)

    def many(self) -> None:
        """Register so many members of an app that its records are made in slices."""
        for number in range(300):
            self.up(f"10.1.{number >> 8}.{number & 255}", app="many")


class Conversations(ConnectionsCase):
    def test_queries(self) -> None:
        """Any number of queries are answered on one connection, however they are cut."""
        connection = self.connect()
        sent = b"".join(framed(query(name).to_wire()) for name in ("web.app.bender.", "0a000006.addr.bender."))
        for byte in sent:
            connection.send(bytes((byte,)))
        connection.send(3 * sent)
        self.clock.advance(0)
        self.assertEqual([addresses(answer) for answer in connection.received()], 4 * [["10.0.0.5"], ["10.0.0.6"]])
        self.assertFalse(connection.closed)

    def test_order(self) -> None:
        """A slow answer delays later answers on its connection, but on no other connection."""
        self.many()
        self.turns.is_overloaded = True
        connection, other = self.connect(), self.connect()
        connection.ask("many.app.bender.")
        connection.ask("web.app.bender.")
        other.ask("web.app.bender.")
        self.clock.advance(0)
        self.assertEqual([len(addresses(answer)) for answer in other.received()], [1])
        self.clock.pump([0.0] * 5)
        self.assertEqual([len(addresses(answer)) for answer in connection.received()], [300, 1])

    def test_the_client_sends_no_more(self) -> None:
        """A client that has closed its side for sending gets all answers before the connection is closed."""
        self.many()
        self.turns.is_overloaded = True
        connection = self.connect()
        connection.ask("many.app.bender.")
        connection.protocol.readConnectionLost()
        self.clock.pump([0.0] * 5)
        self.assertEqual(len(connection.received()), 1)
        self.assertTrue(connection.closed)

    def test_malformed(self) -> None:
        """A message without a question is refused; after invalid bytes, the connection is closed."""
        connection = self.connect()
        connection.send(framed(b"id\x01\x00" + bytes(8)))
        self.assertEqual([answer.rcode() for answer in connection.received()], [dns.rcode.FORMERR])
        connection.send(framed(b"id"))
        self.assertTrue(connection.aborted)
        self.assertEqual(self.node.counters.dns_dropped, 1)

    def test_too_long(self) -> None:
        connection = self.connect()
        connection.send((QUERY_BYTES_MAX + 1).to_bytes(2, "big"))
        self.assertTrue(connection.aborted)

    def test_rate(self) -> None:
        """Queries above the rate are refused."""
        self.node.limits.change(evolve(self.node.limits.values, rate=2.0))
        connection = self.connect()
        for _ in range(4):
            connection.ask("web.app.bender.")
        self.assertEqual([answer.rcode() for answer in connection.received()], [0, 0, 5, 5])

    def test_not_for_long(self) -> None:
        """After the loss of a connection, an unfinished answer is not sent on it."""
        self.many()
        self.turns.is_overloaded = True
        connection = self.connect()
        connection.ask("many.app.bender.")
        connection.lose()
        self.clock.pump([0.0] * 5)
        self.assertEqual(connection.received(), [])


class SlowClients(ConnectionsCase):
    def test_idle(self) -> None:
        """A client that sends no query for the time of --client-timeout is disconnected."""
        connection = self.connect()
        self.clock.advance(59)
        self.assertFalse(connection.aborted)
        connection.ask("web.app.bender.")
        self.clock.advance(59)
        self.assertFalse(connection.aborted)
        self.clock.advance(1)
        self.assertTrue(connection.aborted)

    def test_a_query_in_pieces(self) -> None:
        """Single bytes do not extend the time limit."""
        connection = self.connect()
        for byte in framed(query("web.app.bender.").to_wire())[:20]:
            connection.send(bytes((byte,)))
            self.clock.advance(4)
        self.assertTrue(connection.aborted)

    def test_a_client_that_does_not_read(self) -> None:
        """A client that does not read gets no more answers, is not read from, and is then disconnected."""
        connection = self.connect()
        connection.transport.full_bytes = 200
        for _ in range(20):
            connection.ask("web.app.bender.")
        self.assertLess(len(connection.transport.value()), 300)
        self.assertFalse(connection.reading)
        answered = len(connection.received())
        for _ in range(20):
            answered += len(connection.received())
        self.assertEqual((answered, connection.reading), (20, True))

    def test_much_at_once(self) -> None:
        """While queries wait, at most a limited number of bytes is read."""
        self.turns.is_overloaded = True
        connection = self.connect()
        sent = framed(query("web.app.bender.").to_wire())
        connection.send(sent * (HELD_BYTES_MAX // len(sent) + 1))
        self.assertFalse(connection.reading)
        for _ in range(200):
            self.clock.advance(0)
        self.assertTrue(connection.reading)
        self.assertEqual(len(connection.received()), HELD_BYTES_MAX // len(sent) + 1)


class UnreadAnswers(ConnectionsCase):
    def filled(self, client: str = "10.9.9.9") -> Connection:
        """Return a connection whose client has not read seven answers of 50 bytes each."""
        connection = self.connect(client)
        connection.transport.full_bytes = 300
        for _ in range(8):
            connection.ask("web.app.bender.")
        return connection

    def test_all_together(self) -> None:
        """The client with the most unread bytes loses its largest connection; read bytes do not count."""
        self.factory._unread.maximum = 1200
        slow, other = [self.filled() for _ in range(2)], self.filled("10.8.8.8")
        self.assertEqual(self.use(), (1050, 0))
        other.received()
        self.assertEqual(self.use(), (700, 0))
        other = self.filled("10.7.7.7")
        self.assertEqual([connection.aborted for connection in (*slow, other)], [False, False, False])
        slow.append(self.filled())
        self.assertEqual([connection.aborted for connection in (*slow, other)], [False, False, True, False])
        self.assertEqual(self.use(), (1050, 1))
        for connection in (*slow, other):
            connection.lose()
        self.assertEqual(self.use(), (0, 1))

    def use(self) -> tuple[float, int]:
        """Return the bytes that are held, and how often a connection had to be ended for them."""
        use = self.node.limits.uses["dns_answer_bytes"]()
        return use.used, use.refused


class Places(ConnectionsCase):
    def setUp(self) -> None:
        super().setUp()
        self.node.limits.change(evolve(self.node.limits.values, connections=3))

    def test_shared(self) -> None:
        """The client with the most connections loses its newest; without such a client, a new one is refused."""
        greedy = [self.connect() for _ in range(3)]
        other = self.connect("10.8.8.8")
        self.assertEqual([connection.aborted for connection in greedy], [False, False, True])
        greedy[2].lose()
        other.ask("web.app.bender.")
        self.assertEqual(len(other.received()), 1)
        self.assertIsNone(self.connect().protocol)
        use = self.node.limits.uses["dns_connections"]()
        self.assertEqual((use.maximum, use.used, use.refused), (3, 3, 2))
        other.lose()
        self.assertEqual(self.node.limits.uses["dns_connections"]().used, 2)

    def test_the_end(self) -> None:
        """All connections are closed after what was sent on them."""
        connections = [self.connect() for _ in range(2)]
        self.factory.end()
        self.assertTrue(all(connection.closed and not connection.aborted for connection in connections))
        for connection in connections:
            connection.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])
