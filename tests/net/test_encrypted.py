"""Listening with TLS: clients that do not use TLS, do not complete the handshake, or do not close."""

from __future__ import annotations

from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.net.encrypted import CLOSING_S_MAX, HANDSHAKE_S_MAX, ListeningTls, RecordBounds
from bender.tls.connections import ClientsTls, NodeTls, PeersTls
from tests.tls.in_memory import PLAIN_ANSWER, Joined, an_authority, an_identity, as_trusted, for_clients


class ListeningCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        authority = an_authority()
        self.peers = PeersTls(an_identity(authority))
        self.node = ClientsTls(for_clients(an_identity(authority)))
        self.client = NodeTls("localhost", as_trusted(authority))

    def silent(self) -> Joined:
        """Return a connected client that has sent nothing."""
        return Joined(self.node, None, self.clock)

    def connected(self) -> Joined:
        joined = Joined(self.node, self.client, self.clock)
        self.assertTrue(joined.works)
        return joined


class Records(SynchronousTestCase):
    """The ends of records in the data of a connection."""

    def completes_one_record(self, *pieces: bytes) -> list[bool]:
        bounds = RecordBounds()
        return [bounds.completes_one_record(piece) for piece in pieces]

    def record(self, length: int) -> bytes:
        return b"\x17\x03\x03" + length.to_bytes(2) + b"x" * length

    def test_one(self) -> None:
        """A whole record, or the rest of a record, is found; also an empty record."""
        self.assertEqual(
            self.completes_one_record(self.record(300), self.record(0), self.record(7)), [True, True, True]
        )
        one = self.record(300)
        self.assertEqual(self.completes_one_record(one[:5], one[5:200], one[200:], one), [False, False, True, True])

    def test_several(self) -> None:
        """Data with more than one record are recognized, also if the last record is not complete."""
        one = self.record(300)
        self.assertEqual(
            self.completes_one_record(one + one, one + one[:100], one[100:], one), [False, False, True, True]
        )
        self.assertEqual(self.completes_one_record(one[:100], one[100:] + one, one), [False, False, True])

    def test_a_head_in_two_parts(self) -> None:
        """After a header in two parts, the bounds are unknown, and Twisted reads as usual."""
        one = self.record(300)
        self.assertEqual(self.completes_one_record(one + one[:3], one[3:], one), [False, False, False])


class Reading(ListeningCase):
    """The received data do not depend on how the network cuts or joins them."""

    def test_messages(self) -> None:
        for cut in (1, 3, 5, 21, 22, 23, 1000):
            joined = self.connected()
            before = joined.server.received
            joined.cut(cut)
            sent = [b"a", b"b" * 200, b"c" * 40_000, b"d"]
            for message in sent:
                joined.client.transport.write(message)
                joined.flush()
            self.assertEqual(joined.server.received, before + b"".join(sent))
            self.assertIsNone(joined.server.reason)

    def test_the_end(self) -> None:
        """The end of a client is noticed, although it arrives as one whole record."""
        joined = self.connected()
        joined.client.transport.loseConnection()
        joined.flush()
        self.assertIsNotNone(joined.server.reason)


class PlainClients(ListeningCase):
    """Clients without TLS at a port with TLS."""

    def test_the_answer(self) -> None:
        """A client that does not begin with TLS gets the plain answer, and the connection is closed."""
        for first in (b"GET / HTTP/1.1\r\n\r\n", b'{"token": "x"}\n', b"\n", b"\x15\x03\x01", b"\x00"):
            for server in (self.node, self.peers):
                joined = Joined(server, None, self.clock, first)
                self.assertEqual(joined.client.received, PLAIN_ANSWER)
                self.assertIsNotNone(joined.client.reason)
                self.assertEqual(joined.server.received, b"")
                self.assertIsNotNone(joined.server.reason)

    def test_nothing_is_sent_to_a_client_that_sends_nothing(self) -> None:
        """Data that the protocol has already written wait for the handshake."""
        joined = self.silent()
        joined.server.transport.write(b"a greeting")
        joined.flush()
        self.assertEqual(joined.client.received, b"")

    def test_what_begins_as_tls_does(self) -> None:
        """Data that begin as TLS does are passed to OpenSSL."""
        joined = Joined(self.node, None, self.clock, b"\x16 and so on, and so on")
        self.assertNotIn(PLAIN_ANSWER, joined.client.received)
        self.assertEqual(joined.server.clause, "it does not use TLS")

    def test_a_client_with_tls_at_a_plain_port(self) -> None:
        """A client with TLS at a plain port gets a clause about TLS, whatever the server answers."""
        for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b'{"event":"hello"}\n'):
            joined = Joined(None, self.client, self.clock)
            joined.server.transport.write(answer)
            joined.flush()
            self.assertEqual((joined.client.clause, joined.client.received), ("it does not use TLS", b""))


class PlainAllowed(ListeningCase):
    """Peers without TLS at a port that serves them as well."""

    def joined(self, client: NodeTls | None, first: bytes = b"") -> tuple[Joined, list[bool]]:
        """Return a connection, and a list with the use of TLS for each piece of received data."""
        encrypted: list[bool] = []

        def server(factory: IProtocolFactory) -> ListeningTls:
            return ListeningTls(
                self.node, factory, self.clock, PLAIN_ANSWER, note_encryption=lambda _host, each: encrypted.append(each)
            )

        return Joined(server, client, self.clock, first), encrypted

    def test_without_tls(self) -> None:
        """Both sides can send data without TLS, and each end is reported with its reason."""
        joined, encrypted = self.joined(None, b"asked")
        self.assertEqual(encrypted, [False])
        joined.server.transport.write(b"answ")
        joined.server.transport.writeSequence([b"er", b"ed"])
        joined.flush()
        self.assertEqual((joined.server.received, joined.client.received), (b"asked", b"answered"))
        joined.server.transport.loseConnection()
        joined.flush()
        self.assertIsNotNone(joined.client.reason)
        self.assertIsNone(joined.server.clause)

    def test_an_aborted_connection(self) -> None:
        joined, _ = self.joined(None, b"asked")
        joined.server.transport.abortConnection()
        joined.flush()
        self.assertIsNotNone(joined.client.reason)
        self.assertIsNotNone(joined.server.reason)

    def test_what_was_written_before(self) -> None:
        """Data that were written before the first byte of the client are sent after it."""
        joined, _ = self.joined(None)
        joined.server.transport.write(b"a greeting")
        joined.flush()
        self.assertEqual(joined.client.received, b"")
        joined.client.transport.write(b"asked")
        joined.flush()
        self.assertEqual(joined.client.received, b"a greeting")

    def test_no_time_limit_is_left(self) -> None:
        """The time limit of the handshake ends with the first byte of a client without TLS."""
        joined, _ = self.joined(None, b"asked")
        self.clock.advance(HANDSHAKE_S_MAX + 1)
        joined.flush()
        self.assertIsNone(joined.client.reason)

    def test_with_tls(self) -> None:
        joined, encrypted = self.joined(self.client)
        self.assertTrue(joined.works)
        self.assertEqual({*encrypted}, {True})

    def test_a_client_that_sends_nothing(self) -> None:
        joined, _ = self.joined(None)
        self.clock.advance(HANDSHAKE_S_MAX)
        joined.flush()
        self.assertIsNotNone(joined.client.reason)


class Handshakes(ListeningCase):
    """The time limit of the handshake."""

    def test_a_client_that_sends_nothing(self) -> None:
        """A client that sends nothing is disconnected after ten seconds, also if data wait to be sent to it."""
        for written in (b"", b"a greeting"):
            joined = self.silent()
            joined.server.transport.write(written)
            self.clock.advance(HANDSHAKE_S_MAX - 1)
            joined.flush()
            self.assertIsNone(joined.client.reason)
            self.clock.advance(1)
            joined.flush()
            self.assertIsNotNone(joined.client.reason)
            self.assertIsNotNone(joined.server.reason)

    def test_a_client_that_is_to_be_disconnected(self) -> None:
        """The handshake has no more time when the protocol has already closed the connection."""
        joined = self.silent()
        joined.server.transport.write(b"a reason")
        joined.server.transport.loseConnection()
        self.clock.advance(HANDSHAKE_S_MAX)
        joined.flush()
        self.assertIsNotNone(joined.client.reason)

    def test_a_client_in_the_middle(self) -> None:
        """Single bytes do not extend the time limit of the handshake."""
        joined = Joined(self.node, None, self.clock, b"\x16\x03\x01")
        self.clock.advance(HANDSHAKE_S_MAX - 1)
        joined.client.transport.write(b"\x00")
        joined.flush()
        self.assertIsNone(joined.client.reason)
        self.clock.advance(1)
        joined.flush()
        self.assertIsNotNone(joined.client.reason)

    def test_a_client_that_is_done(self) -> None:
        """After the handshake, a client may be silent without a limit, and no timer is left."""
        joined = self.connected()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(HANDSHAKE_S_MAX)
        self.assertTrue(joined.client.reason is joined.server.reason is None)

    def test_a_client_that_goes_away(self) -> None:
        """When a client disconnects, its timer ends."""
        joined = self.silent()
        joined.client.transport.loseConnection()
        joined.flush()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Closing(ListeningCase):
    """Connections that the server closes. TLS needs both sides for that, so a client could keep one open."""

    def test_a_client_that_agrees(self) -> None:
        """If the client closes its side, too, the connection ends at once after the written data."""
        joined = self.connected()
        joined.server.transport.write(b" twice")
        joined.server.transport.loseConnection()
        joined.flush()
        self.assertEqual(joined.client.received, b"answered twice")
        self.assertIsNotNone(joined.server.reason)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_client_that_does_not(self) -> None:
        """A client that does not close its side is disconnected after a minute."""
        joined = self.connected()
        joined.hold_client()
        joined.server.transport.loseConnection()
        self.clock.advance(CLOSING_S_MAX - 1)
        joined.flush()
        self.assertIsNone(joined.server.reason)
        self.clock.advance(1)
        joined.flush()
        self.assertIsNotNone(joined.server.reason)
        self.assertEqual(self.clock.getDelayedCalls(), [])
