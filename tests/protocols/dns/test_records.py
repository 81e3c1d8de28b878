"""Encoded records, and answers with whole records."""

from __future__ import annotations

import dns.message
from twisted.trial.unittest import SynchronousTestCase

from bender.protocols.dns.message import Query, parse
from bender.protocols.dns.records import (
    AAAA,
    SRV,
    A,
    RecordRing,
    Target,
    answer,
    negative_answer,
    record_of_qname,
    srv_record,
    target,
)
from tests.protocols.dns.dns_case import addresses, is_truncated, query, services

HOSTS = [f"10.0.0.{number}" for number in range(1, 61)]


def asked(kind: str = "A", name: str = "web.app.bender.", payload: int = 0) -> Query:
    return parse(query(name, kind, **({"payload": payload} if payload else {})).to_wire())


def of_addresses(hosts: list[str]) -> RecordRing:
    return RecordRing([record_of_qname(A, target(host).packed) for host in hosts])


def of_services(hosts: list[str]) -> RecordRing:
    return RecordRing([srv_record(target(host), 8080, 1) for host in hosts])


class Targets(SynchronousTestCase):
    def test_address(self) -> None:
        self.assertEqual(
            target("10.0.0.5"),
            Target(
                b"\x080a000005\x04addr\x06bender\x00",
                A,
                b"\x0a\x00\x00\x05",
                b"\x080a000005\x04addr",
                b"\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\x0a\x00\x00\x05",
            ),
        )

    def test_address_of_ipv6(self) -> None:
        found = target("2001:db8::5")
        self.assertEqual(found.name, b"\x2020010db8000000000000000000000005\x04addr\x06bender\x00")
        self.assertEqual((found.type_, len(found.packed)), (AAAA, 16))

    def test_name(self) -> None:
        """A target that is a host name has no record of its own, because other servers know its addresses."""
        self.assertEqual(target("app_1.example"), Target(b"\x05app_1\x07example\x00"))


class Weights(SynchronousTestCase):
    def test_times_256(self) -> None:
        """Weights are multiplied by 256, as HAProxy expects; the largest is 65,535, the maximum of the field."""
        for weight, sent in ((1, 256), (2, 512), (255, 65_280), (256, 65_535)):
            record = srv_record(target("10.0.0.5"), 8080, weight)
            self.assertEqual(record[12:18], b"\x00\x00" + sent.to_bytes(2, "big") + (8080).to_bytes(2, "big"))
            self.assertEqual(-(-sent // 256), weight)


class Rings(SynchronousTestCase):
    def test_any_first(self) -> None:
        """Each record may be the first, and the others follow in their order."""
        ring = RecordRing([b"a", b"bb", b"c"])
        self.assertEqual(
            [ring.slice_from(3, place) for place in (0.0, 0.34, 0.67, 0.9999)], [b"abbc", b"bbca", b"cabb", b"cabb"]
        )
        self.assertEqual([ring.slice_from(2, place) for place in (0.0, 0.34, 0.67)], [b"abb", b"bbc", b"ca"])

    def test_fitting(self) -> None:
        """The number of records that `fitting_count` returns fits, whatever the first record is."""
        ring = RecordRing([b"a", b"bbbb", b"cc"])
        self.assertEqual([ring.fitting_count(room) for room in (0, 3, 4, 6, 7, 100)], [0, 0, 1, 1, 3, 3])

    def test_nothing(self) -> None:
        ring = RecordRing(())
        self.assertEqual((ring.fitting_count(0), ring.size, ring.slice_from(0, 0.5)), (0, 0, b""))


class Answers(SynchronousTestCase):
    def test_sizes(self) -> None:
        """An answer within the limit has as many whole records as fit, and is truncated if some do not fit."""
        for bytes_max in range(100, 1100, 7):
            made = answer(asked(), of_addresses(HOSTS), (), bytes_max)
            message = made.message(b"id", 0.5)
            self.assertLessEqual(len(message), bytes_max)
            read = dns.message.from_wire(message)
            self.assertEqual(is_truncated(read), len(addresses(read)) < 60)
            self.assertEqual(made.truncated, is_truncated(read))
            if is_truncated(read):
                self.assertGreater(len(message) + 16, bytes_max)

    def test_extras_first(self) -> None:
        """Additional records are left out first, one by one, without marking the answer as truncated."""
        hosts, name = HOSTS[:8], "_web._tcp.app.bender."
        sizes = []
        for bytes_max in range(700, 360, -10):
            made = answer(asked("SRV", name), of_services(hosts), map(target, hosts), bytes_max)
            read = dns.message.from_wire(made.message(b"id", 0.0))
            self.assertEqual((len(services(read)), is_truncated(read)), (8, False))
            sizes.append(len(read.additional))
        self.assertEqual((sizes[0], sizes[-1], sorted(sizes, reverse=True)), (8, 0, sizes))
        read = dns.message.from_wire(
            answer(asked("SRV", name), of_services(hosts), map(target, hosts), 350).message(b"id", 0.0)
        )
        self.assertEqual((len(services(read)), is_truncated(read), read.additional), (7, True, []))

    def test_extras_that_just_fit(self) -> None:
        """An answer may have exactly the maximum size; with one byte less, it has one additional record less."""
        hosts, name = HOSTS[:3], "_web._tcp.app.bender."

        def made(bytes_max: int) -> bytes:
            query = asked("SRV", name, 1232)
            return answer(query, of_services(hosts), map(target, hosts), bytes_max).message(b"id", 0.0)

        size = len(made(1232))
        self.assertEqual(len(dns.message.from_wire(made(size)).additional), 3)
        self.assertEqual(len(dns.message.from_wire(made(size - 1)).additional), 2)

    def test_extras(self) -> None:
        """Additional records are the addresses of the targets, with the names of the targets."""
        hosts = ["10.0.0.5", "2001:db8::5"]
        made = answer(asked("SRV", "_web._tcp.app.bender.", 1232), of_services(hosts), map(target, hosts), 1232)
        read = dns.message.from_wire(made.message(b"id", 0.0))
        self.assertEqual(
            [rrset.to_text() for rrset in read.additional],
            [
                "0a000005.addr.bender. 3600 IN A 10.0.0.5",
                "20010db8000000000000000000000005.addr.bender. 3600 IN AAAA 2001:db8::5",
            ],
        )

    def test_truncated_answers_differ(self) -> None:
        """Truncated answers have different records each time, so that a client without TCP finds all in time."""
        made = answer(asked("SRV", "_web._tcp.app.bender."), of_services(HOSTS), (), 512)
        found = {
            service
            for number in range(60)
            for service in services(dns.message.from_wire(made.message(b"id", number / 60)))
        }
        self.assertEqual(len(found), 60)

    def test_edns_counts(self) -> None:
        """The record of EDNS counts in the size, and is the last one of the answer."""
        made = answer(asked(payload=512), of_addresses(HOSTS), (), 512)
        message = made.message(b"id", 0.0)
        self.assertLessEqual(len(message), 512)
        self.assertEqual(dns.message.from_wire(message).payload, 1232)

    def test_types(self) -> None:
        """The type of a service is that of its record."""
        self.assertEqual(srv_record(target("10.0.0.5"), 1, 1)[2:4], SRV.to_bytes(2, "big"))


class Absences(SynchronousTestCase):
    def test_soa(self) -> None:
        """The SOA record has the zone's name and the negative TTL."""
        read = dns.message.from_wire(negative_answer(asked(name="nothing.app.bender.")).message(b"id", 0.0))
        self.assertEqual(
            [rrset.to_text() for rrset in read.authority],
            ["bender. 1 IN SOA ns.bender. hostmaster.bender. 1 3600 600 86400 1"],
        )
        self.assertEqual(read.answer, [])
