"""Encode records, and answers with whole records (RFC 1035, RFC 2181, RFC 2782).

Each answer begins at a random record and wraps around, because many clients use the first record: so they are
distributed among all. The records are stored twice in a row, and each rotation is a slice of them. So even a cached
answer varies.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from socket import AF_INET, AF_INET6, inet_pton
from struct import Struct

import msgspec

from bender.protocols.dns.message import AUTHORITATIVE, HEADER_BYTES, IN, TRUNCATED, Query, Rcode

A, NS, SOA, HINFO, AAAA, SRV, ANY = 1, 2, 6, 13, 28, 33, 255

#: Types that transfer a zone, or are not for queries (RFC 6895, 3.1): TKEY, TSIG, IXFR, AXFR, MAILB, MAILA.
REFUSED_TYPES = frozenset(range(249, 255))

#: Seconds for which resolvers may cache a record: 0, because a change of the registry takes effect at once.
TTL_S = 0
#: Seconds for which resolvers may cache that a record does not exist, so that a storm of queries stays at the resolver.
NEGATIVE_TTL_S = 1
#: Seconds for which resolvers may cache records that never change: the address that a name consists of, and the name of
#: the zone's server.
FIXED_TTL_S = 3600

#: Hosts whose records are cached: to make a record takes 2 µs.
_HOSTS_CACHED = 8192

WEIGHT_MAX = 65_535

_fixed = Struct("!HHIH")
_srv = Struct("!HHH")
_soa = Struct("!IIIII")

#: A pointer to the name in the question.
_QNAME_POINTER = b"\xc0\x0c"

_ADDRESS_LABEL = b"\x04addr"
_ZONE = b"\x06bender\x00"

#: The data of the record with which `ANY` is answered (RFC 8482).
ANY_HINFO = b"\x07RFC8482\x00"


class Target(msgspec.Struct, frozen=True, gc=False):
    """A host as the target of SRV records. `name` is its encoded name.

    For a host that is an address, `type_` and `packed` are the type and the data of its address record, `label` is the
    encoded name of this record up to the zone, and `record` is the record after its name. They are empty for any other
    host.
    """

    name: bytes
    type_: int = 0
    packed: bytes = b""
    label: bytes = b""
    record: bytes = b""


@lru_cache(_HOSTS_CACHED)
def target(host: str) -> Target:
    """Return a host, which is an address or a DNS name in canonical form, as a target."""
    family, type_ = (AF_INET6, AAAA) if ":" in host else (AF_INET, A)
    try:
        packed = inet_pton(family, host)
    except OSError:
        return Target(_wire_name(host.encode().split(b".")))
    digits = packed.hex().encode()
    label = bytes((len(digits),)) + digits + _ADDRESS_LABEL
    return Target(label + _ZONE, type_, packed, label, record(type_, FIXED_TTL_S, packed))


def _wire_name(labels: Iterable[bytes]) -> bytes:
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\x00"


def record(type_: int, ttl_s: int, rdata: bytes) -> bytes:
    """Return a record without its name."""
    return _fixed.pack(type_, IN, ttl_s, len(rdata)) + rdata


def record_of_qname(type_: int, rdata: bytes, ttl_s: int = TTL_S) -> bytes:
    """Return a record whose name is the name in the question."""
    return _QNAME_POINTER + record(type_, ttl_s, rdata)


def srv_record(to: Target, port: int, weight: int) -> bytes:
    """Return an SRV record; `weight` is from 0 to 256. The name in it is not compressed (RFC 2782)."""
    return record_of_qname(SRV, _srv.pack(0, min(weight * 256, WEIGHT_MAX), port) + to.name)


class RecordRing:
    """Records of one name and type, which can be returned in an order that begins at any record."""

    __slots__ = ("_longest", "_records", "_starts", "count")

    def __init__(self, records: Sequence[bytes]) -> None:
        self.count = len(records)
        self._longest = max(map(len, records), default=0)
        self._records = b"".join(records) * 2
        self._starts = array("I", accumulate(map(len, [*records, *records]), initial=0))

    @property
    def size(self) -> int:
        """The bytes of all records."""
        return len(self._records) // 2

    @property
    def memory_bytes(self) -> int:
        """The bytes of memory that the ring takes."""
        return len(self._records) + self._starts.itemsize * len(self._starts)

    def fitting_count(self, room: int) -> int:
        """Return the number of records that fit into `room` bytes, whatever the first record is."""
        if self.size <= room:
            return self.count
        return min(self.count - 1, max(0, room) // self._longest)

    def slice_from(self, number: int, place: float) -> bytes:
        """Return `number` consecutive records. `place` (0 ≤ place < 1) selects the first record."""
        first = int(place * self.count)
        return self._records[self._starts[first] : self._starts[first + number]]


EMPTY = RecordRing(())


class Answer:
    """An answer without its id. It can be sent any number of times."""

    __slots__ = ("_head", "_number", "_ring", "_tail", "truncated")

    def __init__(self, head: bytes, ring: RecordRing = EMPTY, number: int = 0, tail: bytes = b"") -> None:
        self._head = head
        self._ring = ring
        self._number = number
        self._tail = tail
        self.truncated = number < ring.count

    @property
    def size(self) -> int:
        """The bytes of memory that the answer takes, including records that it shares with other answers.

        Otherwise, records that are not current any more would not be counted at all.
        """
        return len(self._head) + len(self._tail) + self._ring.memory_bytes

    def message(self, id_: bytes, place: float) -> bytes:
        """Return the message that answers a query with this id; `place` is as for `RecordRing.slice_from`."""
        if not self._number:
            return id_ + self._head + self._tail
        return id_ + self._head + self._ring.slice_from(self._number, place) + self._tail


def answer(query: Query, ring: RecordRing, additional: Iterable[Target], bytes_max: int) -> Answer:
    """Return an answer with the whole records that fit. Additional records are left out first."""
    opt = query.opt()
    room = bytes_max - HEADER_BYTES - len(query.question) - len(opt)
    number = ring.fitting_count(room)
    if number < ring.count:
        flags = AUTHORITATIVE | TRUNCATED
        return Answer(query.head(Rcode.NOERROR, flags, (number, 0, 0)), ring, number, opt)
    room -= ring.size
    added = []
    zone = query.zone_pointer
    for each in additional:
        encoded = each.label + zone + each.record
        room -= len(encoded)
        if room < 0:
            break
        added.append(encoded)
    head = query.head(Rcode.NOERROR, AUTHORITATIVE, (number, 0, len(added)))
    return Answer(head, ring, number, b"".join(added) + opt)


def negative_answer(query: Query, rcode: Rcode = Rcode.NOERROR) -> Answer:
    """Return the answer that a name has no such record, or (NXDOMAIN) that the name does not exist (RFC 2308)."""
    zone = query.zone_pointer
    head = query.head(rcode, AUTHORITATIVE, (0, 1, 0))
    return Answer(head, tail=zone + record(SOA, NEGATIVE_TTL_S, soa(zone)) + query.opt())


def answer_without_records(query: Query, rcode: Rcode, flags: int = 0, options: bytes = b"") -> Answer:
    """Return an answer with a response code and no records."""
    return Answer(query.head(rcode, flags), tail=query.opt(rcode, options))


def soa(zone: bytes) -> bytes:
    """Return the data of the zone's SOA record. No server copies the zone, so the serial number never changes."""
    numbers = _soa.pack(1, 3600, 600, 86_400, NEGATIVE_TTL_S)
    return server_name(zone) + b"\x0ahostmaster" + zone + numbers


def server_name(zone: bytes) -> bytes:
    """Return the encoded name of the zone's server; `zone` is a pointer to the name of the zone."""
    return b"\x02ns" + zone
