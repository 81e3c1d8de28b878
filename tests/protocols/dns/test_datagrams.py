"""DNS over UDP, without a socket."""

from __future__ import annotations

import dns.flags
import dns.message
from attrs import evolve

from bender.protocols.dns.datagrams import WAITING_MAX, DatagramQueries
from tests.protocols.dns.dns_case import DnsCase, addresses, is_truncated, query

CLIENT = ("127.0.0.1", 40_000)


class Port:
    """A transport that keeps what is sent, or fails."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        self.failure: Exception | None = None

    def write(self, datagram: bytes, address: tuple[str, int]) -> None:
        if self.failure is not None:
            raise self.failure
        self.sent.append((datagram, address))


class Datagrams(DnsCase):
    def setUp(self) -> None:
        super().setUp()
        self.port = Port()
        self.protocol = DatagramQueries(self.node, self.over_udp, self.turns, self.clock)
        self.protocol.makeConnection(self.port)  # type: ignore[arg-type]
        self.protocol.startProtocol()
        self.up()

    def send(self, message: bytes, client: tuple[str, int] = CLIENT) -> None:
        self.protocol.datagramReceived(message, client)

    def received(self) -> list[dns.message.Message]:
        sent, self.port.sent = self.port.sent, []
        return [dns.message.from_wire(datagram) for datagram, _ in sent]

    @property
    def dropped(self) -> int:
        return self.node.counters.dns_dropped

    def test_answers(self) -> None:
        """Each query is answered at once, to the address that it came from."""
        for port in (1, 2, 3):
            self.send(query("web.app.bender.").to_wire(), ("10.9.9.9", port))
        self.assertEqual([address for _, address in self.port.sent], [("10.9.9.9", port) for port in (1, 2, 3)])
        self.assertEqual([addresses(answer) for answer in self.received()], [["10.0.0.5"]] * 3)
        self.assertEqual((self.node.counters.dns_queries, self.dropped), (3, 0))

    def test_nothing_to_answer(self) -> None:
        """Answers from other servers, and messages without a complete header, are dropped."""
        self.send(b"")
        self.send(b"id\x81\x80" + bytes(8))
        self.assertEqual((self.port.sent, self.node.counters.dns_queries, self.dropped), ([], 2, 2))

    def test_addresses_that_take_nothing(self) -> None:
        """An answer that the system cannot send is dropped without an error: a forged port may be 0."""
        for failure in (BlockingIOError(), OSError(22, "Invalid argument"), OverflowError()):
            self.port.failure = failure
            self.send(query("web.app.bender.").to_wire())
        self.assertEqual((self.dropped, self.flushLoggedErrors()), (3, []))

    def test_overloaded(self) -> None:
        """At an overloaded node, a query waits for its turn, unless its answer is cached."""
        self.send(query("web.app.bender.").to_wire())
        self.assertEqual(len(self.received()), 1)
        self.turns.is_overloaded = True
        self.send(query("web.app.bender.").to_wire())
        self.send(query("web.app.bender.", "AAAA").to_wire())
        self.assertEqual(len(self.received()), 1)
        self.clock.advance(0)
        self.assertEqual(len(self.received()), 1)

    def test_too_late(self) -> None:
        """A query that has waited for more than a second is dropped."""
        self.turns.is_overloaded = True
        for name in ("web.app.bender.", "api.app.bender."):
            self.send(query(name).to_wire())
        self.clock.advance(1.5)
        self.assertEqual((self.received(), self.dropped), ([], 2))

    def test_too_many(self) -> None:
        """The number of waiting queries is limited."""
        self.turns.is_overloaded = True
        for number in range(WAITING_MAX + 5):
            self.send(query(f"{number:08x}.addr.bender.").to_wire())
        self.assertEqual(self.dropped, 5)
        for _ in range(100):
            self.clock.advance(0)
        self.assertEqual(len(self.received()), WAITING_MAX)

    def test_rate(self) -> None:
        """A client above its rate gets a truncated answer that is not longer than the query; other clients do not."""
        self.node.limits.change(evolve(self.node.limits.values, rate=2.0))
        sent = query("web.app.bender.", payload=1232).to_wire()
        for _ in range(4):
            self.send(sent, ("10.9.9.9", 1))
        self.send(sent, ("10.9.9.10", 1))
        answers = self.received()
        self.assertEqual([is_truncated(answer) for answer in answers], [False, False, True, True, False])
        self.assertLessEqual(len(answers[2].to_wire()), len(sent))
        self.send(b"id", ("10.9.9.9", 1))
        self.assertEqual((self.received(), self.dropped), ([], 1))
        use = self.node.limits.uses["dns_rate"]()
        self.assertEqual((use.maximum, use.peak, use.refused), (2.0, 5, 3))

    def test_rate_of_others(self) -> None:
        """Queries with a forged address do not count for the other requests of that client."""
        self.node.limits.change(evolve(self.node.limits.values, rate=2.0))
        for _ in range(10):
            self.send(query("web.app.bender.").to_wire(), ("10.9.9.9", 1))
        self.assertEqual(self.node.limits.rate.take("10.9.9.9"), 0.0)

    def test_the_end(self) -> None:
        """After the end, waiting queries are dropped, and late answers are not sent."""
        self.turns.is_overloaded = True
        self.send(query("web.app.bender.").to_wire())
        self.protocol.transport = None
        self.protocol.stopProtocol()
        self.clock.advance(0)
        self.protocol._answer(CLIENT, b"late")
        self.assertEqual((self.port.sent, self.dropped), ([], 1))
