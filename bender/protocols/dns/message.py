"""Parse queries, and encode the beginnings of answers (RFC 1035, RFC 6891).

A query is parsed completely before it is processed. Whatever its bytes are, the only exception is `MalformedQuery`. An
answer repeats the question as it was received, because clients check the case of its letters.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from struct import error as struct_error

import msgspec

#: Bytes of a message over UDP that every client accepts; also the least limit that a client can set with EDNS.
UDP_BYTES_WITHOUT_EDNS = 512

#: Bytes of the longest datagram that the node announces to clients, and sends to other machines: usual networks do not
#: fragment it.
PAYLOAD_BYTES = 1232

#: Bytes of a name on the wire, with the lengths of its labels.
NAME_BYTES_MAX = 255

HEADER_BYTES = 12

IN = 1
QUERY = 0

RESPONSE, AUTHORITATIVE, TRUNCATED = 0x8000, 0x0400, 0x0200

#: The EDNS option with the error "Not Ready" (RFC 8914).
NOT_READY = b"\x00\x0f\x00\x02\x00\x0e"

#: "Recursion desired" and "checking disabled", which an answer repeats.
_REPEATED = 0x0110
_OPCODE = 0x7800
_DNSSEC_OK = 0x8000

_OPT = 41

_head = Struct("!2sHHHHH")
_question = Struct("!HH")
_record = Struct("!HHHHH")
_opt = Struct("!BHHBBHH")
_four = Struct("!HHHH")
_flags = Struct("!H")


class Rcode(IntEnum):
    """Response codes."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


class MalformedQuery(Exception):
    """A message is not a valid query.

    `answer` is the answer to send, which is never longer than the message; None if the message gets no answer.
    """

    def __init__(self, answer: bytes | None) -> None:
        super().__init__("malformed")
        self.answer = answer


class Edns(msgspec.Struct, frozen=True, gc=False):
    """The EDNS record of a query. `payload_bytes` is the longest message over UDP that the client accepts."""

    payload_bytes: int
    version: int
    dnssec_ok: bool
    has_options: bool


class Query(msgspec.Struct, frozen=True):
    """A query. `labels` are the labels of its name in lower case, from left to right.

    `question` has the bytes of the question as they were received.
    """

    flags: int
    question: bytes
    labels: tuple[bytes, ...]
    type_: int
    class_: int
    edns: Edns | None

    @property
    def zone_pointer(self) -> bytes:
        """A pointer to the last label of the name (RFC 1035, 4.1.4), which is the name of the zone."""
        return (0xC000 | HEADER_BYTES + len(self.question) - 4 - 2 - len(self.labels[-1])).to_bytes(2, "big")

    def head(self, rcode: Rcode, flags: int = 0, counts: tuple[int, int, int] = (0, 0, 0)) -> bytes:
        """Return the part of an answer between its id and its records.

        `counts` are the numbers of records in the three sections, without the record that `opt` returns.
        """
        answers, authorities, additional = counts
        own = RESPONSE | flags | self.flags & _REPEATED | rcode & 15
        return (
            _flags.pack(own) + _four.pack(1, answers, authorities, additional + (self.edns is not None)) + self.question
        )

    def opt(self, rcode: Rcode = Rcode.NOERROR, options: bytes = b"") -> bytes:
        """Return the EDNS record that ends an answer; nothing for a client without EDNS."""
        if self.edns is None:
            return b""
        flags = _DNSSEC_OK if self.edns.dnssec_ok else 0
        return _opt.pack(0, _OPT, PAYLOAD_BYTES, rcode >> 4, 0, flags, len(options)) + options


def parse(message: bytes) -> Query:
    """Parse a message of a client. Raises `MalformedQuery`."""
    if len(message) < HEADER_BYTES:
        raise MalformedQuery(None)
    id_, flags, questions, answers, authorities, additional = _head.unpack_from(message)
    if flags & RESPONSE:  # two servers that answer answers would send messages without an end
        raise MalformedQuery(None)
    if flags & _OPCODE != QUERY:
        raise MalformedQuery(_bare(id_, flags, Rcode.NOTIMP))
    try:
        return _query(message, flags, questions, answers + authorities, additional)
    except (_Unreadable, struct_error):
        raise MalformedQuery(_bare(id_, flags, Rcode.FORMERR)) from None


class _Unreadable(Exception):
    """A part of a message is malformed."""


def _query(message: bytes, flags: int, questions: int, others: int, additional: int) -> Query:
    if questions != 1:
        raise _Unreadable
    labels, at = _name(message, HEADER_BYTES)
    type_, class_ = _question.unpack_from(message, at)
    at += _question.size
    question = message[HEADER_BYTES:at]
    edns, at = _records(message, at, others, additional)
    if at != len(message):
        raise _Unreadable
    return Query(flags, question, labels, type_, class_, edns)


def _bare(id_: bytes, flags: int, rcode: Rcode) -> bytes:
    """Return an answer without a question."""
    return id_ + _flags.pack(RESPONSE | flags & (_OPCODE | _REPEATED) | rcode) + bytes(8)


def _name(message: bytes, at: int) -> tuple[tuple[bytes, ...], int]:
    """Return the labels of the name at `at`, in lower case, and the position after it. Pointers are not accepted."""
    labels: list[bytes] = []
    begin, end = at, len(message)
    while at < end:
        length = message[at]
        at += 1
        if not length:
            if at - begin > NAME_BYTES_MAX:
                raise _Unreadable
            return (*labels,), at
        if length > 63:
            raise _Unreadable
        labels.append(message[at : at + length].lower())
        at += length
    raise _Unreadable


def _records(message: bytes, at: int, others: int, additional: int) -> tuple[Edns | None, int]:
    """Return the EDNS record in the additional section, and the position after all records. Ignore other records."""
    edns = None
    for number in range(others + additional):
        owner = at
        at = _after_name(message, at)
        type_, payload_bytes, version, flags, length = _record.unpack_from(message, at)
        at += _record.size + length
        if type_ == _OPT and number >= others:
            if edns is not None or message[owner]:
                raise _Unreadable
            edns = Edns(max(payload_bytes, UDP_BYTES_WITHOUT_EDNS), version & 255, bool(flags & _DNSSEC_OK), length > 0)
    return edns, at


def _after_name(message: bytes, at: int) -> int:
    """Return the position after the name at `at`, which may end with a pointer."""
    end = len(message)
    while at < end:
        length = message[at]
        if not length:
            return at + 1
        if length >= 0xC0:
            return at + 2
        if length > 63:
            raise _Unreadable
        at += 1 + length
    raise _Unreadable
