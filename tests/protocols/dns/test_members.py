"""Records of many members are made in slices, between which other work has its turn."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import dns.message
import dns.rcode

from bender.core.admin_state import Override
from bender.node.listings import AT_ONCE_MAX
from bender.protocols.dns import members, responder
from bender.protocols.dns.members import MemberRecords
from tests.protocols.dns.dns_case import DnsCase, addresses, is_truncated, query, services


class ManyMembers(DnsCase):
    def many(self, number: int, app: str = "web") -> None:
        for each in range(number):
            self.up(f"10.{each >> 16}.{each >> 8 & 255}.{each & 255}", app=app)

    def later(self, name: str, kind: str = "A") -> list[dns.message.Message]:
        """Send a query over TCP, and return the list to which the answer will be appended."""
        answers: list[dns.message.Message] = []

        def respond(answer: bytes | None) -> None:
            assert answer is not None
            answers.append(dns.message.from_wire(answer))

        self.over_tcp.respond(query(name, kind).to_wire(), respond)
        return answers

    def test_few_at_once(self) -> None:
        self.many(AT_ONCE_MAX)
        self.assertEqual(len(self.addresses_over_tcp()), AT_ONCE_MAX)

    def addresses_over_tcp(self) -> list[str]:
        return addresses(self.ask("web.app.bender.", tcp=True))

    def test_many_in_slices(self) -> None:
        """The records are made step by step. Queries meanwhile get the same records, which are then cached."""
        self.many(1000)
        steps = [*self.members.construction_steps(self.members.source("app/web"), [])]
        self.assertGreaterEqual(len(steps), 4)
        self.members = self.members.__class__(self.node.replica.view, self.turns)
        self.over_tcp = self.responder(self.over_tcp._limit)
        self.turns.is_overloaded = True
        first, second = self.later("web.app.bender."), self.later("web.app.bender.", "AAAA")
        self.assertEqual((first, second), ([], []))
        self.clock.pump([0.0] * 3)
        self.assertEqual(len(addresses(first[0])), 1000)
        self.assertEqual((second[0].rcode(), second[0].answer), (dns.rcode.NOERROR, []))
        self.assertEqual(len(self.addresses_over_tcp()), 1000)

    def test_a_change_meanwhile(self) -> None:
        """Records whose members change meanwhile are sent, but not cached."""
        self.many(300)
        made: list[MemberRecords] = []
        steps: Iterator[None] = self.members.construction_steps(self.members.source("app/web"), made)
        self.assertEqual(len([*islice(steps, 1)]), 1)
        self.up("10.9.9.9")
        self.assertEqual(len([*steps]), 3)
        self.assertEqual(made[0].addresses[1].count, 300)
        self.assertEqual((self.members._cached, self.members._cached_bytes), ({}, 0))

    def test_a_query_after_a_change_meanwhile(self) -> None:
        """A query after a change does not get the records from before it."""
        self.many(300)
        self.turns.is_overloaded = True
        before = self.later("web.app.bender.")
        self.node.deregister("registration/web/1/10.0.0.5/8080")
        after = self.later("web.app.bender.")
        self.clock.pump([0.0] * 9)
        self.assertEqual(len(addresses(before[0])), 299)
        self.assertEqual(len(addresses(after[0])), 299)
        self.assertNotIn("10.0.0.5", addresses(after[0]))
        self.assertEqual((self.members._running, self.members._waiting), ({}, 0))
        self.assertEqual(len(self.members._cached), 1)

    def test_a_backend_that_is_removed_meanwhile(self) -> None:
        """A query from before the removal of a backend gets its members."""
        self.many(300)
        self.backend()
        self.turns.is_overloaded = True
        answers = self.later("shop.backend.bender.")
        self.node.configure("backend/shop", None, "operator")
        self.clock.pump([0.0] * 9)
        self.assertEqual(len(addresses(answers[0])), 300)
        self.assertEqual(self.ask("shop.backend.bender.").rcode(), dns.rcode.NXDOMAIN)

    def test_backend(self) -> None:
        """Records of backends are made in slices, too, with their weights."""
        self.many(300)
        self.up("10.9.9.9", version="2")
        self.backend(canary={"version": "2", "percent": 50})
        self.turns.is_overloaded = True
        answers = self.later("_shop._tcp.backend.bender.", "SRV")
        self.clock.pump([0.0] * 3)
        self.assertEqual(sorted(services(answers[0]).values()), [*(256 * [256]), 65_535])

    def test_more_than_a_message_holds(self) -> None:
        """A truncated answer has as many whole records as possible."""
        self.many(5000)
        answers = self.later("web.app.bender.")
        for _ in range(100):
            self.clock.advance(0.0)
        self.assertTrue(is_truncated(answers[0]))
        self.assertEqual(len(addresses(answers[0])), (65_535 - 12 - 21) // 16)

    def test_not_ready_any_more(self) -> None:
        """A node that has become unready after a pause does not answer with the records."""
        self.many(300)
        self.turns.is_overloaded = True
        answers = self.later("web.app.bender.")
        self.node.replica.readiness.wait_again(self.clock.seconds(), 60.0)
        self.clock.pump([0.0] * 3)
        self.assertEqual(answers[0].rcode(), dns.rcode.SERVFAIL)

    def test_failure(self) -> None:
        """A defect is logged, and the client gets an answer."""
        self.many(300)
        self.turns.is_overloaded = True
        answers = self.later("web.app.bender.")
        self.members.construction_steps = lambda *_: iter([])  # type: ignore[method-assign]
        self.members._view.status = lambda _: 1 / 0  # type: ignore[assignment, return-value, method-assign]
        self.clock.pump([0.0] * 3)
        self.assertEqual(answers[0].rcode(), dns.rcode.SERVFAIL)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_too_many_wait(self) -> None:
        """Waiting queries are limited, and further queries get no answer."""
        self.many(300)
        self.turns.is_overloaded = True
        answers: list[bytes | None] = []
        sent = query("web.app.bender.").to_wire()
        for _ in range(members.WAITING_MAX):
            self.over_udp.respond(sent, answers.append)
        refused: list[bytes | None] = []
        self.over_udp.respond(sent, refused.append)
        self.assertEqual(refused, [None])
        self.clock.pump([0.0] * 3)
        self.assertEqual((len(answers), None in answers), (members.WAITING_MAX, False))
        self.assertEqual(self.members._waiting, 0)


class CachedRecords(DnsCase):
    def test_bounds(self) -> None:
        """The least recently used records are removed first."""
        for number in range(members.CACHED_MAX + 1):
            self.up(app=f"app{number}")
            self.members.provide(f"app/app{number}", lambda _: None)
            self.members.cached("app/app0")
        self.assertIsNone(self.members.cached("app/app1"))
        self.assertIsNotNone(self.members.cached("app/app0"))
        self.assertEqual(len(self.members._cached), members.CACHED_MAX)

    def test_answers_of_earlier_records(self) -> None:
        """Old records that cached answers still refer to are counted, and limited."""
        id_ = self.up(app="registrar")
        for number in range(200):
            self.up(f"10.0.1.{number}", app="registrar")
        for number in range(300):
            self.node.set_state(id_, Override("drain" if number % 2 else "up", 60.0), "operator")
            name = "".join(c.upper() if number >> at & 1 else c for at, c in enumerate("registrar.app.bender."))
            self.ask(name, tcp=True)
        kept = self.over_tcp._cached
        self.assertEqual(len({id(each.records) for each in kept.values()}), 300)
        self.assertGreater(self.over_tcp._cached_bytes, 300 * 200 * len("cTTLLaddr"))
        self.patch(responder, "CACHED_BYTES_MAX", self.over_tcp._cached_bytes)
        self.ask("registrar.app.BENDER.", tcp=True)
        self.assertLessEqual(len(kept), 300)

    def test_bytes(self) -> None:
        """The bytes of cached records are counted, and records that are not current are removed."""
        id_ = self.up()
        self.ask("web.app.bender.")
        self.assertGreater(self.members._cached_bytes, 0)
        self.node.set_state(id_, Override("drain", 60.0), "operator")
        self.assertIsNone(self.members.cached("app/web"))
        self.assertEqual((self.members._cached, self.members._cached_bytes), ({}, 0))
