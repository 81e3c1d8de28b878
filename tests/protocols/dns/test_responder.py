"""Answers to queries: the records of each name, and the validity of cached answers."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from bender.protocols.dns.message import Rcode
from bender.protocols.dns.responder import CACHED_MAX, AnswerLimit
from tests.protocols.dns.dns_case import DnsCase, addresses, is_truncated, query, services

SOA = "bender. 1 IN SOA ns.bender. hostmaster.bender. 1 3600 600 86400 1"


class Apps(DnsCase):
    def test_addresses(self) -> None:
        """An app has the addresses of its instances of all versions, each once."""
        self.up("10.0.0.5", 8080)
        self.up("10.0.0.5", 8081)
        self.up("10.0.0.6", 8080, version="2")
        self.up("2001:db8::5", 8080)
        answer = self.ask("web.app.bender.")
        self.assertEqual(addresses(answer), ["10.0.0.5", "10.0.0.6"])
        self.assertEqual((answer.answer[0].ttl, answer.flags & dns.flags.AA), (0, dns.flags.AA))
        self.assertEqual(self.addresses(kind="AAAA"), ["2001:db8::5"])

    def test_services(self) -> None:
        """A service has a record for each port, with its weight, and the addresses of its targets."""
        self.up("10.0.0.5", 8080)
        self.up("10.0.0.5", 8081, weight=3)
        self.up("2001:db8::5", 80, weight=256)
        answer = self.ask("_web._tcp.app.bender.", "SRV", payload=1232)
        self.assertEqual(
            services(answer),
            {
                "0a000005.addr.bender.:8080": 256,
                "0a000005.addr.bender.:8081": 768,
                "20010db8000000000000000000000005.addr.bender.:80": 65_535,
            },
        )
        self.assertEqual(
            [rrset.to_text() for rrset in answer.additional],
            [
                "0a000005.addr.bender. 3600 IN A 10.0.0.5",
                "20010db8000000000000000000000005.addr.bender. 3600 IN AAAA 2001:db8::5",
            ],
        )

    def test_host_that_is_a_name(self) -> None:
        """A host that is a name is only a target of services, and adds no address to the app."""
        self.up("app-1.example")
        self.assertEqual(self.services(), {"app-1.example.:8080": 256})
        answer = self.ask("web.app.bender.")
        self.assertEqual((answer.rcode(), addresses(answer)), (dns.rcode.NOERROR, []))
        self.assertEqual([rrset.to_text() for rrset in answer.authority], [SOA])

    def test_members_without_traffic(self) -> None:
        """Instances with weight 0, in drain or in maintenance have no records."""
        self.up("10.0.0.5", weight=0)
        drained, maintained = self.up("10.0.0.6"), self.up("10.0.0.7")
        self.up("10.0.0.8")
        self.state(drained, "drain")
        self.state(maintained, "maint")
        self.assertEqual(self.addresses(), ["10.0.0.8"])
        self.assertEqual([*self.services()], ["0a000008.addr.bender.:8080"])
        self.state(drained, "up")
        self.assertEqual(self.addresses(), ["10.0.0.6", "10.0.0.8"])

    def test_no_member_with_traffic(self) -> None:
        """A name without members that take traffic still exists."""
        self.up(weight=0)
        answer = self.ask("web.app.bender.")
        self.assertEqual((answer.rcode(), [rrset.to_text() for rrset in answer.authority]), (dns.rcode.NOERROR, [SOA]))

    def test_versions_at_one_address(self) -> None:
        """Two versions at one address and port have one record."""
        self.up(version="1")
        self.up(version="2")
        self.assertEqual(self.services(), {"0a000005.addr.bender.:8080": 256})


class Backends(DnsCase):
    def test_version(self) -> None:
        """A backend has the members of its version."""
        self.up("10.0.0.5", version="1")
        self.up("10.0.0.6", version="2", weight=2)
        self.backend(version="2")
        self.assertEqual(self.addresses("shop.backend.bender."), ["10.0.0.6"])
        self.assertEqual(self.services("_shop._tcp.backend.bender."), {"0a000006.addr.bender.:8080": 512})

    def test_effective_weights(self) -> None:
        """Weights are those of `/members`, with the share of a canary and without drained members."""
        self.up("10.0.0.5", version="1")
        self.up("10.0.0.6", version="1")
        canary = self.up("10.0.0.7", version="2")
        self.backend(canary={"version": "2", "percent": 20})
        weights = self.services("_shop._tcp.backend.bender.")
        self.assertEqual([*weights.values()], [65_535, 65_535, 128 * 256])
        self.state(canary, "drain")
        self.assertEqual([*self.services("_shop._tcp.backend.bender.").values()], [256, 256])

    def test_fixed_servers(self) -> None:
        self.backend(servers=["db.example:5432", "10.0.0.9:80"])
        self.assertEqual(
            self.services("_shop._tcp.backend.bender."),
            {"0a000009.addr.bender.:80": 256, "db.example.:5432": 256},
        )
        self.assertEqual(self.addresses("shop.backend.bender."), ["10.0.0.9"])

    def test_without_members(self) -> None:
        self.backend()
        self.assertEqual(self.ask("shop.backend.bender.").rcode(), dns.rcode.NOERROR)
        self.assertEqual(self.ask("other.backend.bender.").rcode(), dns.rcode.NXDOMAIN)


class OtherNames(DnsCase):
    def test_absent(self) -> None:
        for name in ("nothing.app.bender.", "_nothing._tcp.app.bender.", "nothing.bender.", "x.web.app.bender."):
            answer = self.ask(name)
            self.assertEqual(
                (answer.rcode(), [rrset.to_text() for rrset in answer.authority]), (dns.rcode.NXDOMAIN, [SOA]), name
            )

    def test_addresses(self) -> None:
        """The name of an address always has that address, even if no instance is registered there."""
        answer = self.ask("0a000005.addr.bender.")
        self.assertEqual((addresses(answer), answer.answer[0].ttl), (["10.0.0.5"], 3600))
        self.assertEqual(self.ask("0a000005.addr.bender.", "AAAA").rcode(), dns.rcode.NOERROR)
        self.assertEqual(self.addresses("20010db8000000000000000000000005.addr.bender.", "AAAA"), ["2001:db8::5"])
        self.assertEqual(self.ask("0a0000.addr.bender.").rcode(), dns.rcode.NXDOMAIN)

    def test_zone(self) -> None:
        self.assertEqual([rrset.to_text() for rrset in self.ask("bender.", "SOA").answer], [SOA])
        self.assertEqual(self.addresses("bender.", "NS"), ["ns.bender."])
        self.assertEqual(self.addresses("ns.bender."), ["192.0.2.53"])
        self.assertEqual((self.addresses("ns.bender.", "AAAA"), self.addresses("bender.", "A")), ([], []))

    def test_names_above_others(self) -> None:
        """Names above existing names exist (RFC 8020)."""
        self.up(app="web.api")
        for name in ("app.bender.", "_tcp.app.bender.", "backend.bender.", "api.app.bender.", "api._tcp.app.bender."):
            self.assertEqual(self.ask(name).rcode(), dns.rcode.NOERROR, name)
        self.assertEqual(self.ask("web.app.bender.").rcode(), dns.rcode.NXDOMAIN)

    def test_other_types(self) -> None:
        """A name that exists has no records of other types."""
        self.up()
        for kind in ("TXT", "MX", "HTTPS", "SRV", "TYPE0", "TYPE65535"):
            answer = self.ask("web.app.bender.", kind)
            self.assertEqual((answer.rcode(), answer.answer), (dns.rcode.NOERROR, []), kind)
        self.assertEqual(self.ask("_web._tcp.app.bender.", "A").rcode(), dns.rcode.NOERROR)

    def test_any(self) -> None:
        """A query of type ANY gets one record instead of all records (RFC 8482)."""
        self.up()
        answer = self.ask("web.app.bender.", "ANY")
        self.assertEqual([rrset.to_text() for rrset in answer.answer], ['web.app.bender. 1 IN HINFO "RFC8482" ""'])
        self.assertEqual(self.ask("nothing.app.bender.", "ANY").rcode(), dns.rcode.NXDOMAIN)


class Spellings(DnsCase):
    def test_case(self) -> None:
        """Case does not matter, and the answer repeats the case of the question, which a client may have randomized."""
        self.up("10.0.0.5", app="WebShop")
        for name in ("webshop.app.bender.", "wEBSHop.aPP.BENDer."):
            answer = self.ask(name)
            self.assertEqual((addresses(answer), answer.question[0].name.to_text()), (["10.0.0.5"], name))
        self.assertEqual(self.services("_WEBSHOP._TCP.APP.bender."), {"0a000005.addr.bender.:8080": 256})
        self.assertEqual(self.addresses("0A00000B.ADDR.BENDER."), ["10.0.0.11"])

    def test_other_characters(self) -> None:
        """Spaces and bytes of UTF-8 are written with escapes, and dots with or without."""
        self.up("10.0.0.5", app="my web")
        self.up("10.0.0.6", app="v1.web")
        self.up("10.0.0.7", app="größe")
        for name, host in (
            (r"my\032web.app.bender.", "10.0.0.5"),
            (r"v1\.web.app.bender.", "10.0.0.6"),
            (r"V1.WEB.app.bender.", "10.0.0.6"),
            (r"gr\195\182\195\159e.app.bender.", "10.0.0.7"),
        ):
            self.assertEqual(self.addresses(name), [host], name)
        self.assertEqual(self.services(r"_v1.web._tcp.app.bender."), {"0a000006.addr.bender.:8080": 256})
        self.assertEqual(self.ask(r"\255.app.bender.").rcode(), dns.rcode.NXDOMAIN)

    def test_long_names(self) -> None:
        """A name with more than 63 bytes is found if its dots divide it into valid labels."""
        parted = f"{60 * 'x'}.{60 * 'y'}"
        self.up("10.0.0.5", app=parted)
        self.up("10.0.0.6", app=64 * "z")
        self.assertEqual(self.addresses(f"{parted}.app.bender."), ["10.0.0.5"])

    def test_names_that_differ_in_case(self) -> None:
        """Of two names that differ only in case, the lower-case one is found, and the two are never mixed."""
        self.up("10.0.0.5", app="Web")
        self.assertEqual(self.addresses("WEB.app.bender."), ["10.0.0.5"])
        self.up("10.0.0.6", app="web")
        self.assertEqual(self.addresses("WEB.app.bender."), ["10.0.0.6"])


class Refusals(DnsCase):
    def test_other_zones(self) -> None:
        for name in ("example.", ".", "web.app.benderx.", "version.bind."):
            answer = self.ask(name)
            self.assertEqual((answer.rcode(), answer.authority), (dns.rcode.REFUSED, []), name)

    def test_other_classes(self) -> None:
        """Other classes are refused, such as `version.bind` of class CHAOS, which would help attackers."""
        for class_ in ("CH", "HS", "ANY"):
            for name in ("version.bind.", "bender."):
                sent = dns.message.make_query(name, "TXT", class_)
                self.assertEqual(self.answer(sent).rcode(), dns.rcode.REFUSED)

    def test_transfers(self) -> None:
        for kind in ("AXFR", "IXFR", "MAILA", "MAILB", "TKEY", "TSIG"):
            for tcp in (False, True):
                self.assertEqual(self.ask("bender.", f"TYPE{dns.rdatatype.from_text(kind)}", tcp=tcp).rcode(), 5, kind)

    def test_version_of_edns(self) -> None:
        answer = self.ask("bender.", "SOA", use_edns=1)
        self.assertEqual((answer.rcode(), answer.edns, answer.answer), (dns.rcode.BADVERS, 0, []))

    def test_sizes(self) -> None:
        """No refusal is longer than its query."""
        self.up()
        for sent in (query("example."), query("example.", payload=4096), query("bender.", use_edns=1)):
            answer = self.sent(sent.to_wire())
            assert answer is not None
            self.assertLessEqual(len(answer), len(sent.to_wire()))
            for rcode in (Rcode.NOERROR, Rcode.REFUSED):
                short = self.over_udp.over_rate_answer(sent.to_wire(), rcode)
                assert short is not None
                self.assertLessEqual(len(short), len(sent.to_wire()))

    def test_malformed(self) -> None:
        self.assertIsNone(self.sent(b"id"))
        self.assertEqual(self.sent(b"id\x01\x00" + bytes(8)), b"id\x81\x01" + bytes(8))
        self.assertIsNone(self.over_udp.over_rate_answer(b"id"))


class NotReady(DnsCase):
    def test_servfail(self) -> None:
        """A node that is not ready answers with SERVFAIL, never with NXDOMAIN."""
        self.start(seeds=("other:1730",))
        for name in ("web.app.bender.", "bender.", "0a000005.addr.bender."):
            answer = self.ask(name, payload=1232)
            self.assertEqual((answer.rcode(), answer.answer), (dns.rcode.SERVFAIL, []), name)
            (option,) = answer.options
            assert isinstance(option, dns.edns.EDEOption)
            self.assertEqual(option.code, dns.edns.EDECode.NOT_READY)
        self.assertEqual(self.ask("web.app.bender.").rcode(), dns.rcode.SERVFAIL)
        self.assertEqual(self.ask("example.").rcode(), dns.rcode.REFUSED)

    def test_after_a_pause(self) -> None:
        """Cached answers are not used before the node is ready again."""
        self.start(seeds=("other:1730",))
        self.node.set_seed_addresses("other:1730", [])
        for _ in range(30):
            self.clock.advance(0.25)
            self.node.sweep()
        self.up()
        self.assertEqual(self.addresses(), ["10.0.0.5"])
        self.clock.advance(5)
        self.assertEqual(self.ask("web.app.bender.").rcode(), dns.rcode.SERVFAIL)
        for _ in range(30):
            self.clock.advance(0.25)
            self.node.sweep()
        self.assertEqual(self.addresses(), ["10.0.0.5"])


class Sizes(DnsCase):
    def setUp(self) -> None:
        super().setUp()
        for number in range(1, 61):
            self.up(f"10.0.0.{number}")

    def test_without_edns(self) -> None:
        """Without EDNS, an answer has at most 512 bytes, and the client can repeat the query over TCP."""
        sent = query("web.app.bender.").to_wire()
        answer = self.sent(sent)
        assert answer is not None
        self.assertLessEqual(len(answer), 512)
        self.assertTrue(is_truncated(dns.message.from_wire(answer)))
        self.assertEqual(len(addresses(self.ask("web.app.bender.", tcp=True))), 60)

    def test_with_edns(self) -> None:
        """An answer is never longer than the client's limit."""
        for payload, whole in ((512, False), (1000, False), (1100, True), (8192, True)):
            answer = self.ask("web.app.bender.", payload=payload)
            self.assertEqual(is_truncated(answer), not whole, payload)
            self.assertLessEqual(len(answer.to_wire()), payload)
        self.assertEqual(len(services(self.ask("_web._tcp.app.bender.", "SRV", payload=8192))), 60)

    def test_limit_of_the_transport(self) -> None:
        """To other machines, no datagram is longer than the size that is never fragmented."""
        self.over_udp = self.responder(AnswerLimit(1232, client_decides=True))
        answer = self.sent(query("_web._tcp.app.bender.", "SRV", payload=8192).to_wire())
        assert answer is not None
        self.assertLessEqual(len(answer), 1232)
        self.assertTrue(is_truncated(dns.message.from_wire(answer)))

    def test_order(self) -> None:
        """Each answer begins with another record, so that clients are distributed."""
        firsts = []
        for number in range(60):
            self.place = number / 60
            firsts += self.addresses()[:1] if number == 0 else addresses(self.ask("web.app.bender.", tcp=True))[:1]
        self.assertEqual(len({*firsts}), 60)

    def test_counts(self) -> None:
        """Truncated answers are counted, including cached ones, and except for answers above the rate."""
        before = self.node.counters.dns_truncated
        for _ in range(3):
            self.ask("web.app.bender.")
            self.ask("web.app.bender.", tcp=True)
            self.over_udp.over_rate_answer(query("web.app.bender.").to_wire())
        self.assertEqual(self.node.counters.dns_truncated - before, 3)


class CachedAnswers(DnsCase):
    """A cached answer is never used after a change that makes it invalid."""

    def is_cached(self, name: str, kind: str = "A") -> bool:
        """Return True if the answer to a query is cached."""
        return self.over_udp.cached_answer(query(name, kind).to_wire()) is not None

    def test_kept(self) -> None:
        self.up()
        self.assertFalse(self.is_cached("web.app.bender."))
        for name in ("web.app.bender.", "0a000005.addr.bender.", "bender.", "app.bender."):
            self.ask(name)
            self.assertTrue(self.is_cached(name), name)

    def test_not_cached(self) -> None:
        """Answers to random names and options are not cached, because they would replace useful answers."""
        self.up()
        for name in ("nothing.app.bender.", "example."):
            self.ask(name)
            self.assertFalse(self.is_cached(name), name)
        sent = query("web.app.bender.", options=[dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")])
        self.answer(sent)
        self.assertIsNone(self.over_udp.cached_answer(sent.to_wire()))

    def test_every_change(self) -> None:
        """Each change of an instance, a state or a backend is in the next answer."""
        self.up("10.0.0.1")
        self.backend()
        names = ("web.app.bender.", "shop.backend.bender.")

        def shown() -> list[list[str]]:
            found = [self.addresses(name) for name in names]
            self.assertEqual(found, [self.addresses(name) for name in names])
            return found

        first = "registration/web/1/10.0.0.1/8080"
        both = [["10.0.0.1", "10.0.0.2"]] * 2
        self.assertEqual(shown(), [["10.0.0.1"]] * 2)
        second = self.up("10.0.0.2")
        self.assertEqual(shown(), both)
        self.state(second, "drain")
        self.assertEqual(shown(), [["10.0.0.1"]] * 2)
        self.node.remove_state(second, "operator")
        self.assertEqual(shown(), both)
        self.up("10.0.0.2", weight=0)
        self.assertEqual(shown(), [["10.0.0.1"]] * 2)
        self.up("10.0.0.2", weight=1)
        self.node.deregister(first)
        self.assertEqual(shown(), [["10.0.0.2"]] * 2)
        self.up("10.0.0.3", version="2")
        self.assertEqual(shown(), [["10.0.0.2", "10.0.0.3"], ["10.0.0.2"]])
        self.backend(version="2")
        self.assertEqual(shown(), [["10.0.0.2", "10.0.0.3"], ["10.0.0.3"]])
        self.node.configure("backend/shop", None, "operator")
        self.assertEqual(self.ask("shop.backend.bender.").rcode(), dns.rcode.NXDOMAIN)
        self.node.deregister(second)
        self.node.deregister("registration/web/2/10.0.0.3/8080")
        self.assertEqual(self.ask("web.app.bender.").rcode(), dns.rcode.NXDOMAIN)

    def test_expiry(self) -> None:
        """After an expiry, the next answer has neither the expired instance nor the expired state."""
        drained = self.up("10.0.0.1", ttl_s=3600.0)
        self.up("10.0.0.2")
        self.state(drained, "drain")
        self.assertEqual(self.addresses(), ["10.0.0.2"])
        for _ in range(70 * 4):
            self.clock.advance(0.25)
            self.node.sweep()
        self.assertEqual(self.addresses(), ["10.0.0.1"])

    def test_names_of_others(self) -> None:
        """A new name makes the names above it exist, and cached answers for them are not used any more."""
        self.assertEqual(self.ask("api.app.bender.").rcode(), dns.rcode.NXDOMAIN)
        self.up(app="web.api")
        self.assertEqual(self.ask("api.app.bender.").rcode(), dns.rcode.NOERROR)
        self.node.deregister("registration/web.api/1/10.0.0.5/8080")
        self.assertEqual(self.ask("api.app.bender.").rcode(), dns.rcode.NXDOMAIN)

    def test_bounds(self) -> None:
        """The oldest answers are removed first."""
        sent = query("00000000.addr.bender.").to_wire()
        for number in range(CACHED_MAX + 10):
            self.over_udp.respond(sent.replace(b"00000000", b"%08x" % number), lambda _: None)
        self.assertFalse(self.is_cached("00000000.addr.bender."))
        self.assertTrue(self.is_cached(f"{CACHED_MAX + 9:08x}.addr.bender."))
        self.assertEqual(len(self.over_udp._cached), CACHED_MAX)
