"""Limits for the consumers of a node, and the consumers that are dropped for others."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from bender.core.replica import Full
from bender.node import consumer_limits
from bender.node.consumer_limits import ConsumerTable, KnownConsumer, Origin, origin_of
from bender.node.event_selection import Selection


class RosterCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.roster = ConsumerTable()
        self.now = 0.0
        for name, value in (("CONSUMERS_MAX", 4), ("CONSUMERS_OF_CLIENT_MAX", 3)):
            self.patch(consumer_limits, name, value)
        for name, value in (("REPORTS_BYTES_MAX", 100), ("REPORTS_OF_CLIENT_BYTES_MAX", 60)):
            self.patch(consumer_limits, name, value)

    def add(self, name: str, host: str, *, streaming: bool = False, until: float = 0.0) -> KnownConsumer:
        """Add a consumer that is seen now, with a stream, or without one and connected until `until`."""
        self.now += 1
        known = KnownConsumer(name, host, False, Origin(host), self.now, 0, present_until=until)
        self.roster.add(known, self.now, streaming=streaming)
        if streaming:
            known.streams.append(Selection())
        return known

    @property
    def names(self) -> list[str]:
        return [known.name for known in self.roster.in_order()]


class Consumers(RosterCase):
    """The number of consumers is limited."""

    def test_one_client(self) -> None:
        """At its limit, a client cannot add a consumer if all of its consumers are connected; nothing changes."""
        for name in ("a", "b", "c"):
            self.add(name, "10.0.0.1", until=100)
        self.assertRaises(Full, self.add, "d", "10.0.0.1")
        self.assertEqual(self.names, ["a", "b", "c"])

    def test_one_client_whose_consumers_ended(self) -> None:
        """The ended consumer that was seen least recently is dropped for another one of the same client."""
        self.add("a", "10.0.0.1", until=100)
        self.add("b", "10.0.0.1")
        self.add("c", "10.0.0.1")
        self.add("d", "10.0.0.1")
        self.assertEqual(self.names, ["a", "c", "d"])

    def test_streams_of_one_client(self) -> None:
        """Streams replace consumers of the same client that have none, and are never dropped themselves."""
        for name in ("a", "b", "c"):
            self.add(name, "10.0.0.1", until=100)
        for name in ("d", "e", "f"):
            self.add(name, "10.0.0.1", streaming=True)
        self.assertRaises(Full, self.add, "g", "10.0.0.1", streaming=True)
        self.assertEqual(self.names, ["d", "e", "f"])

    def test_all(self) -> None:
        """If the table is full, the client with the most consumers loses one, also for a consumer without a stream."""
        self.add("a", "10.0.0.1", until=100)
        for name in ("b", "c", "d"):
            self.add(name, "10.0.0.2", until=100)
        self.add("e", "10.0.0.3", until=100)
        self.assertEqual(self.names, ["a", "c", "d", "e"])
        self.assertRaises(Full, self.add, "f", "10.0.0.3", until=100)
        self.add("f", "10.0.0.3", streaming=True)
        self.assertEqual(self.names, ["a", "d", "e", "f"])

    def test_all_with_streams(self) -> None:
        """If all consumers have streams, no consumer is dropped and no other one is accepted."""
        for name, host in (("a", "10.0.0.1"), ("b", "10.0.0.1"), ("c", "10.0.0.2"), ("d", "10.0.0.3")):
            self.add(name, host, streaming=True)
        for streaming in (False, True):
            self.assertRaises(Full, self.add, "e", "10.0.0.4", streaming=streaming)
        self.assertEqual(self.names, ["a", "b", "c", "d"])

    def test_forgotten_ones_leave_room(self) -> None:
        """Forgotten consumers leave no bytes of reports, and free their places."""
        for name in ("a", "b", "c"):
            self.roster.keep_report(self.add(name, "10.0.0.1"), b"x")
        self.roster.forget(self.now + 1)
        self.assertEqual((self.names, self.roster.report_bytes), ([], 0))
        for name in ("a", "b", "c"):
            self.add(name, "10.0.0.1", streaming=True)


class Reports(RosterCase):
    """The bytes of reports are limited."""

    def keep(self, known: KnownConsumer, size: int) -> None:
        self.roster.require_room(known, b"x" * size, self.now)
        self.roster.keep_report(known, b"x" * size, self.now)

    def sizes(self) -> dict[str, int]:
        return {known.name: len(known.report) for known in self.roster}

    def test_one_client(self) -> None:
        """A report above the limit of its client is refused, and nothing changes; a smaller one is accepted."""
        a, b = (self.add(name, "10.0.0.1", streaming=True) for name in ("a", "b"))
        self.keep(a, 40)
        self.assertRaises(Full, self.keep, b, 21)
        self.assertEqual(self.sizes(), {"a": 40, "b": 0})
        self.keep(b, 20)
        self.keep(a, 40)
        self.assertRaises(Full, self.keep, a, 41)
        self.assertEqual(self.sizes(), {"a": 40, "b": 20})

    def test_one_client_whose_consumers_ended(self) -> None:
        """Reports of ended consumers are dropped first, beginning with the one seen least recently."""
        ended = [self.add(name, "10.0.0.1") for name in ("a", "b")]
        for known in ended:
            self.keep(known, 30)
        self.keep(self.add("c", "10.0.0.1", streaming=True), 25)
        self.assertEqual(self.sizes(), {"a": 0, "b": 30, "c": 25})

    def test_all(self) -> None:
        """Reports of consumers without a stream are dropped first, then those of the client with the most bytes."""
        a = self.add("a", "10.0.0.1", streaming=True)
        b = self.add("b", "10.0.0.2", until=100)
        c = self.add("c", "10.0.0.3", streaming=True)
        self.keep(a, 50)
        self.keep(b, 10)
        self.keep(c, 40)
        d = self.add("d", "10.0.0.4", streaming=True)
        self.keep(d, 10)
        self.assertEqual(self.sizes(), {"a": 50, "b": 0, "c": 40, "d": 10})
        self.keep(d, 11)
        self.assertEqual(self.sizes(), {"a": 0, "b": 0, "c": 40, "d": 11})
        self.assertEqual(self.roster.report_bytes, 51)


class Origins(SynchronousTestCase):
    """Addresses of consumers."""

    def test_of_connections(self) -> None:
        """An origin is an address and a port; a socket in the file system has neither."""
        self.assertEqual(str(origin_of(IPv4Address("TCP", "10.0.0.1", 80))), "10.0.0.1:80")
        self.assertEqual(str(origin_of(IPv6Address("TCP", "fd00::1", 80))), "[fd00::1]:80")
        self.assertEqual(str(origin_of(UNIXAddress(b"/run/x"))), "unix")
        self.assertEqual(str(Origin("fd00::1")), "fd00::1")

    def test_what_is_one_client(self) -> None:
        """A client is an IPv4 address, in any form, or an IPv6 network."""
        for host, client in (
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("fd00:0:0:1::1", "fd00:0:0:1::/64"),
            ("fd00:0:0:1:ffff::1", "fd00:0:0:1::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("unix", "unix"),
        ):
            self.assertEqual(Origin(host, 80).client, client)

    def test_labels(self) -> None:
        """Instances of one name get different labels."""
        consumer_limits = ConsumerTable()
        for label in ("10.0.0.1", "10.0.0.1#2"):
            self.assertEqual(consumer_limits.new_instance("edge", Origin("10.0.0.1")), label)
            consumer_limits.add(KnownConsumer("edge", label, False, Origin("10.0.0.1"), 0.0, 0), 0.0, streaming=True)
        self.assertEqual(consumer_limits.new_instance("rim", Origin("10.0.0.1")), "10.0.0.1")
