"""Messages of clients, valid and malformed."""

from __future__ import annotations

from struct import pack

import dns.message
import dns.rcode
from twisted.trial.unittest import SynchronousTestCase

from bender.protocols.dns.message import HEADER_BYTES, Edns, MalformedQuery, Query, Rcode, parse
from tests.protocols.dns.dns_case import query

QUESTION = b"\x03web\x03app\x06bender\x00\x00\x01\x00\x01"
OPT = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00"


def head(flags: int = 0x0100, questions: int = 1, answers: int = 0, authorities: int = 0, additional: int = 0) -> bytes:
    return b"id" + pack("!HHHHH", flags, questions, answers, authorities, additional)


class Queries(SynchronousTestCase):
    def test_name_type_and_class(self) -> None:
        """Labels become lower-case, and the question is kept unchanged."""
        sent = query(r"WEB\.Api.app.bender.", "SRV")
        parsed = parse(sent.to_wire())
        self.assertEqual((parsed.labels, parsed.type_, parsed.class_), ((b"web.api", b"app", b"bender"), 33, 1))
        self.assertEqual(parsed.question, sent.to_wire()[HEADER_BYTES:])
        self.assertIsNone(parsed.edns)

    def test_edns(self) -> None:
        """A client cannot set a limit below 512 bytes."""
        self.assertEqual(parse(query("bender.", payload=4096).to_wire()).edns, Edns(4096, 0, False, False))
        self.assertEqual(parse(query("bender.", payload=100).to_wire()).edns, Edns(512, 0, False, False))
        self.assertEqual(parse(query("bender.", want_dnssec=True).to_wire()).edns, Edns(1232, 0, True, False))

    def test_options(self) -> None:
        cookie = OPT[:-2] + b"\x00\x0c\x00\x0a\x00\x08cookie12"
        parsed = parse(head(additional=1) + QUESTION + cookie)
        self.assertEqual(parsed.edns, Edns(1232, 0, True, True))

    def test_other_records(self) -> None:
        """Other records in a query are ignored, also with names that end in a pointer."""
        pointed = b"\x01x\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x7f\x00\x00\x01"
        parsed = parse(head(answers=1, authorities=1, additional=2) + QUESTION + 3 * pointed + OPT)
        self.assertEqual(parsed.edns, Edns(1232, 0, True, False))

    def test_the_longest_name(self) -> None:
        """A name may have 255 bytes including its lengths, and not more."""
        labels = 3 * (b"\x3f" + 63 * b"x")
        for last, accepted in ((61, True), (62, False)):
            sent = head() + labels + bytes((last,)) + last * b"x" + b"\x00\x00\x01\x00\x01"
            if accepted:
                self.assertEqual(len(parse(sent).question), 255 + 4)
            else:
                self.assertRaises(MalformedQuery, parse, sent)


class MalformedMessages(SynchronousTestCase):
    def refused(self, message: bytes) -> bytes | None:
        """Check that a message is malformed, and return the answer to it."""
        error: MalformedQuery = self.assertRaises(MalformedQuery, parse, message)
        answer = error.answer
        if answer is not None:
            self.assertLessEqual(len(answer), len(message))
        return answer

    def rcode(self, message: bytes) -> int:
        answer = self.refused(message)
        assert answer is not None
        parsed = dns.message.from_wire(answer, ignore_trailing=False)
        self.assertEqual(answer[:2], message[:2])
        return parsed.rcode()

    def test_no_answer(self) -> None:
        """A message without a complete header gets no answer, and neither does an answer."""
        for message in (b"", b"id", head()[:11], head(0x8180) + QUESTION, head(0x8000)):
            self.assertIsNone(self.refused(message), message)

    def test_other_operations(self) -> None:
        """Other operations, such as NOTIFY and UPDATE, are not implemented, whatever follows the header."""
        for opcode in (1, 2, 4, 5, 6, 15):
            answer = self.refused(head(opcode << 11) + b"anything")
            assert answer is not None
            self.assertEqual(answer, b"id" + pack("!H", 0x8000 | opcode << 11 | Rcode.NOTIMP) + bytes(8))

    def test_questions(self) -> None:
        """A query must have one question."""
        self.assertEqual(self.rcode(head(questions=0)), dns.rcode.FORMERR)
        self.assertEqual(self.rcode(head(questions=2) + QUESTION + QUESTION), dns.rcode.FORMERR)

    def test_bad_names(self) -> None:
        """A name in a question must be complete, and must not have pointers."""
        for name in (b"", b"\x03web", b"\x3fweb\x00", b"\x40" + 64 * b"x" + b"\x00", b"\xc0\x0c", b"\x03web\xc0\x0c"):
            self.assertEqual(self.rcode(head() + name + b"\x00\x01\x00\x01"), dns.rcode.FORMERR, name)

    def test_pieces(self) -> None:
        """A message is malformed if it is cut off at any byte, or if bytes follow it."""
        whole = head(additional=1) + QUESTION + OPT
        parse(whole)
        for length in range(HEADER_BYTES, len(whole)):
            self.assertEqual(self.rcode(whole[:length]), dns.rcode.FORMERR, length)
        self.assertEqual(self.rcode(whole + b"\x00"), dns.rcode.FORMERR)

    def test_bad_edns(self) -> None:
        """A query has at most one EDNS record, whose name is the root."""
        self.assertEqual(self.rcode(head(additional=2) + QUESTION + OPT + OPT), dns.rcode.FORMERR)
        self.assertEqual(self.rcode(head(additional=1) + QUESTION + b"\x01x" + OPT), dns.rcode.FORMERR)
        self.assertEqual(self.rcode(head(additional=1) + QUESTION + b"\x50" + OPT[1:]), dns.rcode.FORMERR)


class Heads(SynchronousTestCase):
    def test_what_an_answer_repeats(self) -> None:
        """An answer repeats three flags: recursion desired, checking disabled, and DNSSEC OK."""
        sent = query("bender.", want_dnssec=True)
        sent.flags = 0x07BF & ~0x000F
        parsed: Query = parse(sent.to_wire())
        answer = dns.message.from_wire(b"id" + parsed.head(Rcode.NXDOMAIN, 0x0400) + parsed.opt())
        self.assertEqual(answer.flags & ~0x000F, 0x8000 | 0x0400 | 0x0110)
        self.assertEqual((answer.rcode(), answer.payload, answer.ednsflags), (3, 1232, 0x8000))

    def test_pointer_to_the_zone(self) -> None:
        parsed = parse(query("web.app.bender.").to_wire())
        self.assertEqual(parsed.zone_pointer, b"\xc0\x14")
        self.assertEqual(query("web.app.bender.").to_wire()[0x14:0x1C], b"\x06bender\x00")
