"""Answers queries, with answers that were given before as long as they are right.

An answer is kept under the bytes of its query after the id, so that a repeated query costs three comparisons. Records
are cached separately, so that queries that differ in case or EDNS options share them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import frozen

from bender.core.name_lookup import NameLookup
from bender.node.node import Node
from bender.protocols.dns.members import MemberRecords, MemberRecordsCache
from bender.protocols.dns.message import (
    IN,
    NOT_READY,
    TRUNCATED,
    UDP_BYTES_WITHOUT_EDNS,
    MalformedQuery,
    Query,
    Rcode,
    parse,
)
from bender.protocols.dns.names import NamedMembers, NameOwner, owner_of
from bender.protocols.dns.records import (
    AAAA,
    ANY,
    ANY_HINFO,
    FIXED_TTL_S,
    HINFO,
    NEGATIVE_TTL_S,
    NS,
    REFUSED_TYPES,
    SOA,
    SRV,
    A,
    Answer,
    RecordRing,
    answer,
    answer_without_records,
    negative_answer,
    record_of_qname,
    server_name,
    soa,
)

#: Answers that are kept for one transport, and the bytes that each of them takes, summed up: the oldest go first.
KEPT_MAX = 10_000
KEPT_BYTES_MAX = 16 * 1024 * 1024

Respond = Callable[[bytes | None], None]


@frozen
class AnswerLimit:
    """The bytes of the longest answer, and whether a client can ask for shorter ones, as over UDP."""

    bytes_max: int
    client_decides: bool

    def bytes_for(self, query: Query) -> int:
        """Return the bytes that the answer to a query may have."""
        if not self.client_decides:
            return self.bytes_max
        return min(self.bytes_max, UDP_BYTES_WITHOUT_EDNS if query.edns is None else query.edns.payload_bytes)


class _Kept:
    """An answer, and what it was made of."""

    __slots__ = ("answer", "names_version", "records")

    def __init__(self, answer: Answer, records: MemberRecords | None, names_version: int) -> None:
        self.answer = answer
        self.records = records
        self.names_version = names_version


class Responder:
    """Answers the queries that come over one transport."""

    def __init__(
        self,
        node: Node,
        members: MemberRecordsCache,
        limit: AnswerLimit,
        random: Callable[[], float],
        server_address: bytes | None = None,
    ) -> None:
        """`random` returns numbers from 0 to below 1. `server_address` is that of the zone's server, if it is known."""
        self._node = node
        self._view = node.replica.view
        self._members = members
        self._limit = limit
        self._random = random
        self._server_address = server_address
        self._app_names, self._backend_names = self._view.app_names, self._view.backend_names
        self._kept: dict[bytes, _Kept] = {}
        self._kept_bytes = 0

    def known(self, message: bytes) -> bytes | None:
        """Return the answer to a query that was answered before, if that is right; else None."""
        kept = self._kept.get(message[2:])
        if kept is None:
            return None
        records = kept.records
        if kept.names_version != self._names_version or not (records is None or records.source.is_current(self._view)):
            self._forget(message[2:])
            return None
        if not self._node.ready:
            return None
        self._node.counters.dns_truncated += kept.answer.truncated
        return kept.answer.message(message[:2], self._random())

    def respond(self, message: bytes, respond: Respond) -> None:
        """Call `respond` with the answer to a message, or with None if there is none: at once, or later."""
        known = self.known(message)
        if known is not None:
            respond(known)
            return
        try:
            query = parse(message)
        except MalformedQuery as error:
            respond(error.answer)
            return
        found = self._find(message, query)
        if isinstance(found, Answer):
            self._send(message, found, respond)
        elif not self._members.take(found, partial(self._answer, message, query, respond)):
            respond(None)

    def over_rate_answer(self, message: bytes, rcode: Rcode = Rcode.NOERROR) -> bytes | None:
        """Return the answer to a client over its rate, never longer than the query; None if the message gets no answer.

        It has an error code, or else is empty and truncated, which makes the client use TCP.
        """
        try:
            query = parse(message)
        except MalformedQuery as error:
            return error.answer
        return answer_without_records(query, rcode, 0 if rcode else TRUNCATED).message(message[:2], 0.0)

    @property
    def _names_version(self) -> int:
        """A number that differs after each change of the names that exist."""
        return self._app_names.version + self._backend_names.version

    def _find(self, message: bytes, query: Query) -> Answer | str:
        """Return the answer to a query, or the key of the members whose records it is made of."""
        if query.edns is not None and query.edns.version:
            return answer_without_records(query, Rcode.BADVERS)
        owner = owner_of(query.labels)
        if owner is None or query.class_ != IN or query.type_ in REFUSED_TYPES:
            return answer_without_records(query, Rcode.REFUSED)
        if not self._node.ready:
            return answer_without_records(query, Rcode.SERVFAIL, options=NOT_READY)
        addresses, services = self._key(owner.addresses), self._key(owner.services)
        if addresses is not None and query.type_ in (A, AAAA):
            return addresses
        if services is not None and query.type_ == SRV:
            return services
        if not (owner.exists or addresses or services or self._is_above(owner.above)):
            return negative_answer(query, Rcode.NXDOMAIN)
        fixed = self._fixed(query, owner)
        self._keep(message, query, fixed, None)
        return fixed

    def _fixed(self, query: Query, owner: NameOwner) -> Answer:
        """Return the answer about a name that exists, and has no members, or is not asked for their records."""
        record = None
        zone = query.zone_pointer
        if query.type_ == ANY:
            record = record_of_qname(HINFO, ANY_HINFO, NEGATIVE_TTL_S)
        elif owner.is_zone and query.type_ == SOA:
            record = record_of_qname(SOA, soa(zone), NEGATIVE_TTL_S)
        elif owner.is_zone and query.type_ == NS:
            record = record_of_qname(NS, server_name(zone), FIXED_TTL_S)
        else:
            address = self._server_address if owner.is_server else owner.address
            if address is not None and query.type_ == (A if len(address) == 4 else AAAA):
                record = record_of_qname(query.type_, address, FIXED_TTL_S)
        if record is None:
            return negative_answer(query)
        return answer(query, RecordRing((record,)), (), self._limit.bytes_for(query))

    def _answer(self, message: bytes, query: Query, respond: Respond, records: MemberRecords | None) -> None:
        """Answer a query with the records of members."""
        if records is None or not self._node.ready:
            self._send(message, answer_without_records(query, Rcode.SERVFAIL, options=NOT_READY), respond)
            return
        if query.type_ == SRV:
            ring, additional = records.services, records.targets
        else:
            ring, additional = records.of_type(query.type_), ()
        made = answer(query, ring, additional, self._limit.bytes_for(query)) if ring.count else negative_answer(query)
        self._keep(message, query, made, records)
        self._send(message, made, respond)

    def _send(self, message: bytes, made: Answer, respond: Respond) -> None:
        self._node.counters.dns_truncated += made.truncated
        respond(made.message(message[:2], self._random()))

    def _key(self, members: NamedMembers | None) -> str | None:
        """Return the key of members that exist; else None."""
        if members is None:
            return None
        name = self._names(members).find(members.name)
        return None if name is None else f"{members.kind}/{name}"

    def _is_above(self, members: NamedMembers | None) -> bool:
        return members is not None and self._names(members).is_ending(members.name)

    def _names(self, members: NamedMembers) -> NameLookup:
        return self._app_names if members.kind == "app" else self._backend_names

    def _keep(self, message: bytes, query: Query, made: Answer, records: MemberRecords | None) -> None:
        if query.edns is not None and query.edns.has_options:  # mostly a cookie, which differs each time
            return
        key = message[2:]
        self._forget(key)
        self._kept[key] = _Kept(made, records, self._names_version)
        self._kept_bytes += len(key) + made.size
        while len(self._kept) > KEPT_MAX or self._kept_bytes > KEPT_BYTES_MAX:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: bytes) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._kept_bytes -= len(key) + kept.answer.size
