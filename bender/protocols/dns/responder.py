"""Answer queries. Answers are cached until a change makes them invalid.

The cache finds an answer by the bytes of its query after the id, so that a repeated query costs three comparisons.
Records are cached separately, so that queries with another case or other EDNS options share them.
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

#: Cached answers of one transport, and the bytes that all of them take. The oldest answers are removed first.
CACHED_MAX = 10_000
CACHED_BYTES_MAX = 16 * 1024 * 1024

Respond = Callable[[bytes | None], None]


@frozen
class AnswerLimit:
    """The bytes of the longest answer, and whether the client limits them further, as over UDP."""

    bytes_max: int
    client_decides: bool

    def bytes_for(self, query: Query) -> int:
        """Return the largest number of bytes of the answer to a query."""
        if not self.client_decides:
            return self.bytes_max
        return min(self.bytes_max, UDP_BYTES_WITHOUT_EDNS if query.edns is None else query.edns.payload_bytes)


class _CachedAnswer:
    """An answer, with the records and the version of the names from which it was made."""

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
        self._cached: dict[bytes, _CachedAnswer] = {}
        self._cached_bytes = 0

    def cached_answer(self, message: bytes) -> bytes | None:
        """Return the cached answer to a query, if it is still valid; else None."""
        cached = self._cached.get(message[2:])
        if cached is None:
            return None
        records = cached.records
        if cached.names_version != self._names_version or not (
            records is None or records.source.is_current(self._view)
        ):
            self._forget(message[2:])
            return None
        if not self._node.ready:
            return None
        self._node.counters.dns_truncated += cached.answer.truncated
        return cached.answer.message(message[:2], self._random())

    def respond(self, message: bytes, respond: Respond) -> None:
        """Call `respond` with the answer to a message, at once or later; with None if the message gets no answer."""
        cached_answer = self.cached_answer(message)
        if cached_answer is not None:
            respond(cached_answer)
            return
        try:
            query = parse(message)
        except MalformedQuery as error:
            respond(error.answer)
            return
        found = self._find(message, query)
        if isinstance(found, Answer):
            self._send(message, found, respond)
        elif not self._members.provide(found, partial(self._answer_from_records, message, query, respond)):
            respond(None)

    def over_rate_answer(self, message: bytes, rcode: Rcode = Rcode.NOERROR) -> bytes | None:
        """Return the answer to a client above its rate; None if the message gets no answer.

        The answer is never longer than the query. It has `rcode` if this is an error; otherwise it is empty and
        truncated, which makes the client use TCP.
        """
        try:
            query = parse(message)
        except MalformedQuery as error:
            return error.answer
        return answer_without_records(query, rcode, 0 if rcode else TRUNCATED).message(message[:2], 0.0)

    @property
    def _names_version(self) -> int:
        """A number that differs after each change of the existing names."""
        return self._app_names.version + self._backend_names.version

    def _find(self, message: bytes, query: Query) -> Answer | str:
        """Return the answer to a query, or the key of the app or backend whose records the answer needs."""
        if query.edns is not None and query.edns.version:
            return answer_without_records(query, Rcode.BADVERS)
        owner = owner_of(query.labels)
        if owner is None or query.class_ != IN or query.type_ in REFUSED_TYPES:
            return answer_without_records(query, Rcode.REFUSED)
        if not self._node.ready:
            return answer_without_records(query, Rcode.SERVFAIL, options=NOT_READY)
        addresses, services = self._existing_key(owner.addresses), self._existing_key(owner.services)
        if addresses is not None and query.type_ in (A, AAAA):
            return addresses
        if services is not None and query.type_ == SRV:
            return services
        if not (owner.exists or addresses or services or self._is_above(owner.above)):
            return negative_answer(query, Rcode.NXDOMAIN)
        fixed = self._answer_without_members(query, owner)
        self._cache(message, query, fixed, None)
        return fixed

    def _answer_without_members(self, query: Query, owner: NameOwner) -> Answer:
        """Return the answer about an existing name to a query for other records than those of members."""
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

    def _answer_from_records(
        self, message: bytes, query: Query, respond: Respond, records: MemberRecords | None
    ) -> None:
        """Answer a query with the records of members."""
        if records is None or not self._node.ready:
            self._send(message, answer_without_records(query, Rcode.SERVFAIL, options=NOT_READY), respond)
            return
        if query.type_ == SRV:
            ring, additional = records.services, records.targets
        else:
            ring, additional = records.of_type(query.type_), ()
        reply = answer(query, ring, additional, self._limit.bytes_for(query)) if ring.count else negative_answer(query)
        self._cache(message, query, reply, records)
        self._send(message, reply, respond)

    def _send(self, message: bytes, reply: Answer, respond: Respond) -> None:
        self._node.counters.dns_truncated += reply.truncated
        respond(reply.message(message[:2], self._random()))

    def _existing_key(self, members: NamedMembers | None) -> str | None:
        """Return the key of an app or a backend if it exists; else None."""
        if members is None:
            return None
        name = self._names(members).find(members.name)
        return None if name is None else f"{members.kind}/{name}"

    def _is_above(self, members: NamedMembers | None) -> bool:
        return members is not None and self._names(members).is_ending(members.name)

    def _names(self, members: NamedMembers) -> NameLookup:
        return self._app_names if members.kind == "app" else self._backend_names

    def _cache(self, message: bytes, query: Query, reply: Answer, records: MemberRecords | None) -> None:
        if query.edns is not None and query.edns.has_options:  # usually a cookie, which differs in each query
            return
        key = message[2:]
        self._forget(key)
        self._cached[key] = _CachedAnswer(reply, records, self._names_version)
        self._cached_bytes += len(key) + reply.size
        while len(self._cached) > CACHED_MAX or self._cached_bytes > CACHED_BYTES_MAX:
            self._forget(next(iter(self._cached)))

    def _forget(self, key: bytes) -> None:
        cached = self._cached.pop(key, None)
        if cached is not None:
            self._cached_bytes -= len(key) + cached.answer.size
