"""Records on the wire, and answers made of them that never cut one (RFC 1035, RFC 2181, RFC 2782).

The order of records begins with another one in each answer, so that clients which take the first share the load. All
orders are slices of the same bytes, the records twice in a row, so that an answer can be kept and still vary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from socket import AF_INET, AF_INET6, inet_pton
from struct import Struct

import msgspec

from bender.protocols.dns.message import AUTHORITATIVE, HEAD_BYTES, IN, TRUNCATED, Query, Rcode

A, NS, SOA, HINFO, AAAA, SRV, ANY = 1, 2, 6, 13, 28, 33, 255

#: Types that ask for a zone, or that are not for questions (RFC 6895, 3.1): TKEY, TSIG, IXFR, AXFR, MAILB, MAILA.
REFUSED_KINDS = frozenset(range(249, 255))

#: Seconds for which others may keep a record. None, because a change of the registry counts at once.
TTL_S = 0
#: The same for the absence of a record: a storm of queries for it ends at the next resolver.
NEGATIVE_TTL_S = 1
#: The same for the address that a name consists of, which never changes.
ADDRESS_TTL_S = 3600

#: Hosts whose records are remembered: to make one takes 2 µs.
_HOSTS_REMEMBERED = 8192

WEIGHT_MAX = 65_535

_fixed = Struct("!HHIH")
_srv = Struct("!HHH")
_soa = Struct("!IIIII")

#: A pointer to the name in the question.
_ASKED_NAME = b"\xc0\x0c"

_ADDRESS_LABEL = b"\x04addr"
_ZONE = b"\x06bender\x00"

#: The content of the record with which `ANY` is answered (RFC 8482).
ANY_HINFO = b"\x07RFC8482\x00"


class Target(msgspec.Struct, frozen=True, gc=False):
    """A host in records. `name` is its name in SRV, on the wire.

    `kind` and `packed` are those of its address record, `label` is the name of that up to the zone, and `record` all
    after the name. They are empty for a host that is a name.
    """

    name: bytes
    kind: int = 0
    packed: bytes = b""
    label: bytes = b""
    record: bytes = b""


@lru_cache(_HOSTS_REMEMBERED)
def target(host: str) -> Target:
    """Return a host, which is an address or a DNS name in canonical form, as a target."""
    family, kind = (AF_INET6, AAAA) if ":" in host else (AF_INET, A)
    try:
        packed = inet_pton(family, host)
    except OSError:
        return Target(_wire_name(host.encode().split(b".")))
    digits = packed.hex().encode()
    label = bytes((len(digits),)) + digits + _ADDRESS_LABEL
    return Target(label + _ZONE, kind, packed, label, record(kind, ADDRESS_TTL_S, packed))


def _wire_name(labels: Iterable[bytes]) -> bytes:
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\x00"


def record(kind: int, ttl_s: int, content: bytes) -> bytes:
    """Return a record without its name."""
    return _fixed.pack(kind, IN, ttl_s, len(content)) + content


def asked_record(kind: int, content: bytes, ttl_s: int = TTL_S) -> bytes:
    """Return a record of the name in the question."""
    return _ASKED_NAME + record(kind, ttl_s, content)


def srv_record(to: Target, port: int, weight: int) -> bytes:
    """Return a record of a service; `weight` is from 0 to 256. The name in it is not compressed (RFC 2782)."""
    return asked_record(SRV, _srv.pack(0, min(weight * 256, WEIGHT_MAX), port) + to.name)


class RecordRing:
    """Records of one name and type, in an order that may begin with any of them."""

    __slots__ = ("_longest", "_records", "_starts", "count")

    def __init__(self, records: Sequence[bytes]) -> None:
        self.count = len(records)
        self._longest = max(map(len, records), default=0)
        self._records = b"".join(records) * 2
        self._starts = [0, *accumulate(map(len, [*records, *records]))]

    @property
    def size(self) -> int:
        """Return the bytes of all records."""
        return len(self._records) // 2

    def fitting(self, room: int) -> int:
        """Return the number of records that fit into some bytes, whatever the first of them is."""
        if self.size <= room:
            return self.count
        return min(self.count - 1, max(0, room) // self._longest)

    def some(self, number: int, place: float) -> bytes:
        """Return a number of records that follow each other. `place` (0 ≤ place < 1) selects the first."""
        first = int(place * self.count)
        return self._records[self._starts[first] : self._starts[first + number]]


EMPTY = RecordRing(())


class Answer:
    """An answer without its id, to be sent any number of times."""

    __slots__ = ("_head", "_number", "_ring", "_tail", "truncated")

    def __init__(self, head: bytes, ring: RecordRing = EMPTY, number: int = 0, tail: bytes = b"") -> None:
        self._head = head
        self._ring = ring
        self._number = number
        self._tail = tail
        self.truncated = number < ring.count

    @property
    def size(self) -> int:
        """Return the bytes that it keeps, without the records, which it shares with others."""
        return len(self._head) + len(self._tail)

    def message(self, id_: bytes, place: float) -> bytes:
        """Return it as the answer to a query with an id; `place` is as for `RecordRing.some`."""
        if not self._number:
            return id_ + self._head + self._tail
        return id_ + self._head + self._ring.some(self._number, place) + self._tail


def answer(query: Query, ring: RecordRing, extras: Iterable[Target], bytes_max: int) -> Answer:
    """Return an answer with whole records, as many as fit. The extras are left out first."""
    opt = query.opt()
    room = bytes_max - HEAD_BYTES - len(query.question) - len(opt)
    number = ring.fitting(room)
    if number < ring.count:
        flags = AUTHORITATIVE | TRUNCATED
        return Answer(query.head(Rcode.NOERROR, flags, (number, 0, 0)), ring, number, opt)
    room -= ring.size
    added = []
    zone = query.zone_pointer
    for each in extras:
        extra = each.label + zone + each.record
        room -= len(extra)
        if room < 0:
            break
        added.append(extra)
    head = query.head(Rcode.NOERROR, AUTHORITATIVE, (number, 0, len(added)))
    return Answer(head, ring, number, b"".join(added) + opt)


def absence(query: Query, rcode: Rcode = Rcode.NOERROR) -> Answer:
    """Return the answer that a record of a name does not exist, or the name itself (NXDOMAIN)."""
    zone = query.zone_pointer
    head = query.head(rcode, AUTHORITATIVE, (0, 1, 0))
    return Answer(head, tail=zone + record(SOA, NEGATIVE_TTL_S, soa(zone)) + query.opt())


def refusal(query: Query, rcode: Rcode, flags: int = 0, options: bytes = b"") -> Answer:
    """Return an answer without records."""
    return Answer(query.head(rcode, flags), tail=query.opt(rcode, options))


def soa(zone: bytes) -> bytes:
    """Return the content of the zone's SOA. No server copies the zone, so its number stays the same."""
    numbers = _soa.pack(1, 3600, 600, 86_400, NEGATIVE_TTL_S)
    return server_name(zone) + b"\x0ahostmaster" + zone + numbers


def server_name(zone: bytes) -> bytes:
    """Return the name of the zone's server; `zone` is a pointer to the zone's own."""
    return b"\x02ns" + zone
