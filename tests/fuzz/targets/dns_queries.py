"""DNS messages, and the answers to them (`bender.protocols.dns`)."""

from __future__ import annotations

from itertools import count

import dns.exception
import dns.flags
import dns.message
from hypothesis import strategies as st
from twisted.internet.task import Clock

from bender.core.model import RegistrationRequest
from bender.net.fair_turns import Turns
from bender.protocols.dns.members import MemberRecordsCache
from bender.protocols.dns.message import HEADER_BYTES, UDP_BYTES_WITHOUT_EDNS
from bender.protocols.dns.responder import AnswerLimit, Responder
from tests.api.conversation import a_node
from tests.protocols.dns.dns_case import query

BYTES_MAX = 600

NAMES = (
    "web.app.bender.",
    "_web._tcp.app.bender.",
    "shop.backend.bender.",
    "_SHOP._tcp.Backend.BENDER.",
    r"my\032web\.api.app.bender.",
    "0a000005.addr.bender.",
    "20010db8000000000000000000000005.addr.bender.",
    "bender.",
    "ns.bender.",
    "nothing.app.bender.",
    "version.bind.",
    ".",
)
KINDS = ("A", "AAAA", "SRV", "SOA", "NS", "TXT", "ANY", "TYPE252", "TYPE65535")

_PAYLOADS = st.sampled_from([0, 511, 1232, 8192, 65_535])


def _message(name: str, kind: str, payload: int) -> bytes:
    return b"id" + query(name, kind, **({"payload": payload} if payload else {})).to_wire()[2:]


_VALID = st.builds(_message, st.sampled_from(NAMES), st.sampled_from(KINDS), _PAYLOADS)


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """Return a valid message with some bytes changed, removed or inserted."""
    message = bytearray(draw(_VALID))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(message) - 1)) if message else 0
        match draw(st.sampled_from(["set", "cut", "insert", "drop"])):
            case "set" if message:
                message[at] = draw(st.sampled_from([0, 1, 0x29, 63, 64, 0xC0, 0xFF]) | st.integers(0, 255))
            case "cut":
                del message[at:]
            case "insert":
                message[at:at] = draw(st.binary(min_size=1, max_size=20))
            case "drop" if message:
                del message[at]
    return bytes(message)


NEAR = _VALID | _damaged()
WORDS = (
    b"\x03web\x03app",
    b"\x06bender\x00",
    b"\x04_web\x04_tcp",
    b"\x00\x00\x29\x04\xd0",
    b"\xc0\x0c",
    b"\x00\x21\x00\x01",
)
EXAMPLES = (
    b"id" + b"\x01\x00\x00\x01" + bytes(6) + b"\xc0\x0c\x00\x01\x00\x01",
    b"id" + b"\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff",
    b"id" + b"\x01\x00\x00\x01" + bytes(4) + b"\xff\xff" + b"\x00\x00\x01\x00\x01" + bytes(11),
)


def _responders() -> tuple[Responder, Responder]:
    """Return the responders for UDP and TCP of a node with more members than fit into a datagram."""
    clock = Clock()
    node = a_node(clock)
    for number in range(40):
        node.register(RegistrationRequest("web", "1", f"10.0.0.{number}", 8080))
        node.register(RegistrationRequest("my web.api", "1", f"2001:db8::{number:x}", 8080))
    node.configure("backend/shop", b'{"id":"backend/shop","name":"shop","app":"web","version":"1"}', "operator")
    members = MemberRecordsCache(node.replica.view, Turns(clock))
    numbers = count()
    over_udp = AnswerLimit(65_507, client_decides=True), AnswerLimit(65_535, client_decides=False)
    udp, tcp = (Responder(node, members, limit, lambda: next(numbers) % 7 / 7, None) for limit in over_udp)
    return udp, tcp


_OVER_UDP, _OVER_TCP = _responders()


def fuzz(sent: bytes) -> None:
    """The answer to any message is complete, belongs to it, keeps its limit, and is equal when repeated."""
    answers = [_answer(responder, sent) for responder in (_OVER_UDP, _OVER_UDP, _OVER_TCP)]
    if len(sent) < HEADER_BYTES or sent[2] & 0x80:
        assert answers == [None] * 3, "nothing is to be answered"
        return
    for answer in answers:
        assert answer is not None
        _check(sent, answer)
    first, again, whole = (dns.message.from_wire(answer) for answer in answers if answer is not None)
    assert _content(first) == _content(again) or first.flags & dns.flags.TC, "the second answer is another one"
    if not first.flags & dns.flags.TC:
        assert _content(first)[0] == _content(whole)[0], "the answer over TCP has other records"
    limit = max(UDP_BYTES_WITHOUT_EDNS, _payload(sent)) if first.question else len(sent)
    assert all(len(answer) <= limit for answer in answers[:2] if answer is not None), "too long for the client"


def _answer(responder: Responder, sent: bytes) -> bytes | None:
    answers: list[bytes | None] = []
    responder.respond(sent, answers.append)
    (answer,) = answers  # at once, and only one
    return answer


def _check(sent: bytes, answer: bytes) -> None:
    """Check an answer with the strict parser of dnspython."""
    read = dns.message.from_wire(answer)
    assert answer[:2] == sent[:2] and answer[2] & 0x80, "it does not belong to the query"
    if not read.question:
        assert len(answer) == HEADER_BYTES and read.rcode() in (1, 4), "no question is repeated"
        return
    asked = dns.message.from_wire(sent, question_only=True, ignore_trailing=True)
    assert read.question == asked.question, "another question is answered"
    length = len(sent) if read.rcode() in (5, 16) else 65_535
    assert len(answer) <= length, "a refusal is longer than the query"


def _content(message: dns.message.Message) -> tuple[object, ...]:
    records = sorted(f"{rrset.name} {record}" for rrset in message.answer for record in rrset)
    return (message.rcode(), records), len(message.authority), len(message.additional)


def _payload(sent: bytes) -> int:
    """Return the longest answer that a client accepts, according to dnspython; no limit if it cannot parse this."""
    try:
        read = dns.message.from_wire(sent)
    except (dns.exception.DNSException, ValueError):
        return 65_535
    return read.payload if read.edns >= 0 else 0
