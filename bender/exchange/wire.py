"""Messages as bytes: MessagePack in an envelope with the wire version, the cluster and the sender.

Bytes from the network are checked here: their size, the number of elements and the range of each value. They become a
typed message or are refused completely, so other modules never get a value that no node could have sent. For bytes
from the network, this module must raise only `MessageRefused`. It never decides what a message means.

    envelope  [version, cluster, interval_s, [incarnation, name, address, api_port], payload]
    payload   the message's parts as an array, or the same deflated in a binary string
    entry     [step, key, ttl_s, rev, body, roots, reason]
    copy      [step, node, n, checksum]
    inquiry   [version, cluster, key], answered by an account, whose fields have names; or
              [version, cluster, [key, incarnation, version, within_s]], answered by a list of consumers, likewise; or
              [version, cluster, [key, …]], answered by a list of [ttl_s, left_s, speaks] or nil, one for each key
    question  [version, cluster], answered by [incarnation, name, address, api_port, version of bender, ready, uptime_s,
              digest, registrations, [[name, address, state, lag_s], …]]

New versions add elements only at the end of arrays. A node ignores unknown elements there and uses defaults for missing
ones, so two consecutive wire versions understand each other; any other two refuse each other. Ascending numbers are
sent as steps, which are the differences to the number before, so that their order need not be checked.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import accumulate, chain, pairwise
from operator import attrgetter
from typing import Any, TypeVar

import msgspec
from attrs import field, frozen

from bender.core.claim_leases import ClaimLease
from bender.core.consumers import AwaitedChange, ConsumerState
from bender.core.diagnosis import NodeDiagnosis
from bender.core.entries import ROW
from bender.core.last_writer_wins import BUCKETS
from bender.core.ledger import Claim, Copy, Delta, End, Entry, Head
from bender.core.messages import ALL_DIGESTS, ConfigSetting, Counter, Message, Sender
from bender.core.node_report import HeardPeer, NodeReport
from bender.core.reasons import CHECK_FAILED
from bender.exchange.wire_errors import (
    Malformed,
    MessageRefused,
    MessageTooLarge,
    OtherCluster,
    OtherVersion,
    Unsendable,
)
from bender.exchange.wire_schema import (
    ITEMS_MAX,
    Key,
    Keys,
    WireDelta,
    WireEntry,
    WireEnvelope,
    WireInquiry,
    WireLeases,
    WireLive,
    WireMessage,
    WireNode,
    WireQuestion,
    WireVersion,
)

#: The wire version of this node. It also understands the version before and the version after.
WIRE_VERSION = 1

#: The most bytes of a message on the network. The core divides what it sends into pages of about 1 MiB. It cannot
#: divide one bucket of configuration, whose bodies are text and compress to a fifth or less.
BODY_BYTES_MAX = 16 * 1024 * 1024

#: The most bytes of a decompressed payload. An attacker can make a node allocate this much at once.
PAYLOAD_BYTES_MAX = 64 * 1024 * 1024

#: Smaller payloads are not compressed: a push should not wait for compression, which saves a local network a few
#: packets. Measured at this size: 10 µs to compress it to a fifth.
DEFLATE_OVER_BYTES = 4 * 1024

#: The fastest. On a page of registrations: a tenth of its size in 0.3 ms, where the default takes 1 ms for 13 % less.
DEFLATE_LEVEL = 1

#: The most incarnations, and the most ttls, that are kept as shared objects. There are few; more come from a defect.
SHARED_MAX = 10_000

_Numbered = TypeVar("_Numbered", Entry, Copy)
_Decoded = TypeVar("_Decoded")


@frozen
class Received:
    """A decoded message. `interval_s` is the sender's time between rounds."""

    message: Message
    interval_s: float


_encoded = msgspec.msgpack.Encoder().encode
_envelopes = msgspec.msgpack.Decoder(WireEnvelope)
_versions = msgspec.msgpack.Decoder(WireVersion)
_messages = msgspec.msgpack.Decoder(WireMessage)
_key_inquiries = msgspec.msgpack.Decoder(WireInquiry[Key])
_accounts = msgspec.msgpack.Decoder(NodeDiagnosis)
_claim_inquiries = msgspec.msgpack.Decoder(WireInquiry[Keys])
_leases = msgspec.msgpack.Decoder(WireLeases)
_questions = msgspec.msgpack.Decoder(WireQuestion)
_nodes = msgspec.msgpack.Decoder(WireNode)
_consumer_inquiries = msgspec.msgpack.Decoder(WireInquiry[AwaitedChange])
_consumers = msgspec.msgpack.Decoder(tuple[ConsumerState, ...])
_binaries = msgspec.msgpack.Decoder(bytes)

# One shared object for each known reason, because there are many ends.
_REASONS: dict[str | None, str] = {CHECK_FAILED: CHECK_FAILED}

#: A MessagePack value that begins with one of these is a binary string.
_BINARY = (0xC4, 0xC5, 0xC6)


@frozen
class Wire:
    """The codec of one cluster: `decode` reads what `encode` wrote at another node of the cluster.

    It shares one object for each incarnation and ttl that it has read. A node keeps hundreds of thousands of claims,
    and this saves 56 bytes for each.
    """

    cluster: str
    interval_s: float
    body_bytes_max: int = BODY_BYTES_MAX
    payload_bytes_max: int = PAYLOAD_BYTES_MAX
    _incarnations: dict[int, int] = field(factory=dict, init=False, eq=False, repr=False)
    _ttls: dict[float, float] = field(factory=dict, init=False, eq=False, repr=False)

    def encode(self, message: Message) -> bytes:
        """Return a message as bytes. Raises `Unsendable` if every peer would refuse it."""
        payload = _encoded(_message_out(message))
        if len(payload) > self.payload_bytes_max:
            raise Unsendable(f"a message of {len(payload)} bytes, which is more than {self.payload_bytes_max}")
        if len(payload) > DEFLATE_OVER_BYTES:
            payload = _encoded(zlib.compress(payload, DEFLATE_LEVEL))
        sent_by = message.sender
        sender = (sent_by.incarnation, sent_by.name, sent_by.address, sent_by.api_port)
        body = _encoded((WIRE_VERSION, self.cluster, self.interval_s, sender, msgspec.Raw(payload)))
        if len(body) > self.body_bytes_max:
            raise Unsendable(f"a message of {len(body)} bytes deflated, which is more than {self.body_bytes_max}")
        return body

    def decode(self, body: bytes) -> Received:
        """Decode a message. Raises only `MessageRefused` and its subclasses."""
        if len(body) > self.body_bytes_max:
            raise MessageTooLarge(f"sends {len(body)} bytes, which is more than {self.body_bytes_max}")
        envelope = _envelope(body)
        sent_by = envelope.sender
        sender = Sender(sent_by.incarnation, sent_by.name, sent_by.address, sent_by.api_port)
        try:
            self.check(envelope.version, envelope.cluster)
            message = self._message_in(sender, _messages.decode(_inflated(envelope.payload, self.payload_bytes_max)))
        except MessageRefused as refused:
            refused.sender = sender
            raise
        except (ValueError, RecursionError) as error:
            raise Malformed(f"sends an invalid message ({error})", sender) from error
        return Received(message, envelope.interval_s)

    def encode_inquiry(self, subject: str | Sequence[str] | AwaitedChange) -> bytes:
        """Encode a question for the diagnosis of an id, the claims of keys, or consumers that have applied a change."""
        return _encoded((WIRE_VERSION, self.cluster, subject))

    def decode_key_inquiry(self, body: bytes) -> str:
        """Return the id of a question for its diagnosis. Raises `MessageRefused`."""
        return self._subject(_key_inquiries, body)

    def decode_claims_inquiry(self, body: bytes) -> list[str]:
        """Return the keys of a question for this node's claims. Raises `MessageRefused`."""
        return self._subject(_claim_inquiries, body)

    def decode_consumers_inquiry(self, body: bytes) -> AwaitedChange:
        """Return the change that a question for this node's consumers waits for. Raises `MessageRefused`."""
        return self._subject(_consumer_inquiries, body)

    def _subject(self, decoder: msgspec.msgpack.Decoder[WireInquiry[_Decoded]], body: bytes) -> _Decoded:
        inquiry = _decoded(decoder, body, "sends an invalid request")
        self.check(inquiry.version, inquiry.cluster)
        return inquiry.subject

    def encode_question(self) -> bytes:
        """Encode a question for a node's report about itself."""
        return _encoded((WIRE_VERSION, self.cluster))

    def check_question(self, body: bytes) -> None:
        """Raise `MessageRefused` if a body is not a question for this node's report, or is from another cluster."""
        question = _decoded(_questions, body, "sends an invalid request")
        self.check(question.version, question.cluster)

    @staticmethod
    def encode_report(report: NodeReport) -> bytes:
        """Encode the answer with this node's report."""
        hears = [(heard.node, heard.address, heard.state, heard.lag_s) for heard in report.hears]
        return _encoded((*msgspec.structs.astuple(report)[:-1], hears))

    @staticmethod
    def decode_report(body: bytes) -> NodeReport:
        """Return the report in an answer. Raises `Malformed`."""
        received = _decoded(_nodes, body, "sends an invalid report")
        hears = tuple(HeardPeer(peer.node, peer.address, peer.state, peer.lag_s) for peer in received.hears)
        return NodeReport(**msgspec.structs.asdict(received) | {"hears": hears})

    @staticmethod
    def encode_consumers(consumers: Iterable[ConsumerState]) -> bytes:
        """Encode the answer with consumers, without their reports if it would be too large for a peer."""
        listed = [*consumers]
        encoded = _encoded(listed)
        if len(encoded) <= BODY_BYTES_MAX:
            return encoded
        return _encoded([msgspec.structs.replace(consumer, report=None) for consumer in listed])

    @staticmethod
    def decode_consumers(body: bytes) -> tuple[ConsumerState, ...]:
        """Return the consumers in an answer. Raises `Malformed`."""
        return _decoded(_consumers, body, "sends an invalid list of consumers")

    @staticmethod
    def encode_leases(leases: Iterable[ClaimLease | None]) -> bytes:
        """Encode the answer with the claims of this node, None for a key without one."""
        return _encoded([None if each is None else (each.ttl_s, each.left_s, each.speaks) for each in leases])

    @staticmethod
    def decode_leases(body: bytes, count: int) -> list[ClaimLease | None]:
        """Return the claims in the answer to a question about `count` keys. Raises `Malformed`."""
        leases = _decoded(_leases, body, "sends an invalid list of claims")
        if len(leases) != count:
            raise Malformed(f"sends {len(leases)} claims for {count} ids")
        return [None if each is None else ClaimLease(each.ttl_s, each.left_s, each.speaks) for each in leases]

    @staticmethod
    def encode_diagnosis(account: NodeDiagnosis) -> bytes:
        """Encode the answer with a diagnosis."""
        return _encoded(account)

    @staticmethod
    def decode_diagnosis(body: bytes) -> NodeDiagnosis:
        """Return the diagnosis in an answer. Raises `Malformed`."""
        return _decoded(_accounts, body, "sends an invalid diagnosis")

    def check(self, version: int, cluster: str) -> None:
        """Raise `MessageRefused` if this node does not talk to nodes of this wire version and cluster."""
        _check_version(version)
        if cluster != self.cluster:
            raise OtherCluster(f"belongs to cluster {cluster!a}, but this node belongs to {self.cluster!r}")

    def _message_in(self, sender: Sender, message: WireMessage) -> Message:
        if len(message.bucket_digests) not in {0, BUCKETS}:
            raise Malformed(f"sends the digests of {len(message.bucket_digests)} buckets instead of {BUCKETS}")
        for kept in (self._incarnations, self._ttls):
            if len(kept) > SHARED_MAX:
                kept.clear()
        return Message(
            sender,
            heads=_heads_in(message),
            counters=tuple(
                Counter(c.incarnation, c.name, c.address, c.beats, c.age_s, c.left, c.ttl_max_s, c.api_port)
                for c in message.counters
            ),
            deltas=tuple(self._delta_in(delta) for delta in message.deltas),
            ask=message.ask,
            echo=message.echo,
            digest=message.digest,
            bucket_digests=tuple(message.bucket_digests),
            buckets=tuple(message.buckets),
            settings=tuple(
                ConfigSetting(s.key, s.rev, s.incarnation, s.at_ms, s.author, s.body, s.lasts_s, s.age_s)
                for s in message.settings
            ),
            known=tuple(message.known),
            window=message.window,
            partial=message.partial,
        )

    def _delta_in(self, delta: WireDelta) -> Delta:
        incarnation = self._shared_incarnation(delta.incarnation)
        added: list[Entry | Copy] = []
        n = delta.base
        for entry in delta.added:
            n += entry.step
            added.append(self._entry_in(incarnation, n, entry))
        if delta.copies:
            n = max(n, self._copies_in(incarnation, delta, added))
        removed = tuple(accumulate(delta.removed))
        live = None if delta.live is None else _live_in(delta.live)
        if n > delta.reach or delta.since > delta.version:
            raise Malformed("sends a delta that ends before it begins")
        if (removed and removed[-1] > delta.version) or (live and max(live) > delta.base // ROW):
            raise Malformed("sends a delta that names entries outside its range")
        return Delta(incarnation, delta.since, delta.base, delta.version, delta.reach, tuple(added), removed, live)

    def _copies_in(self, node: int, delta: WireDelta, added: list[Entry | Copy]) -> int:
        """Insert the copies of a delta into `added`, sorted by n. Return the n of the last copy."""
        n = delta.base
        for copy in delta.copies:
            n += copy.step
            added.append(Copy(node, n, self._shared_incarnation(copy.of_node), copy.of_n, copy.checksum))
        added.sort(key=attrgetter("n"))
        if any(one.n == other.n for one, other in pairwise(added)):
            raise Malformed("sends two entries with the same position")
        return n

    def _entry_in(self, node: int, n: int, entry: WireEntry) -> Entry:
        ttl_s = self._ttls.setdefault(entry.ttl_s, entry.ttl_s)
        roots = entry.roots
        if entry.body is None:
            nodes = [self._shared_incarnation(root_node) for root_node in roots[::2]]
            pairs = tuple(zip(nodes, roots[1::2], strict=True))
            return End(node, n, entry.key, ttl_s, entry.rev, pairs, _REASONS.get(entry.reason, entry.reason))
        if not roots:
            # The same two objects in both places, not equal ones.
            return Claim(node, n, entry.key, entry.body, ttl_s, entry.rev, node, n)
        root_node, root_n = roots
        return Claim(node, n, entry.key, entry.body, ttl_s, entry.rev, self._shared_incarnation(root_node), root_n)

    def _shared_incarnation(self, incarnation: int) -> int:
        return self._incarnations.setdefault(incarnation, incarnation)


def _decoded(decoder: msgspec.msgpack.Decoder[_Decoded], body: bytes, otherwise: str) -> _Decoded:
    """Decode a body. Raises `Malformed`, whose reason begins with `otherwise`."""
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{otherwise} ({error})") from error


def _envelope(body: bytes) -> WireEnvelope:
    try:
        return _envelopes.decode(body)
    except (ValueError, RecursionError) as error:
        _check_version_alone(body)
        raise Malformed(f"sends an invalid message ({error})") from error


def _check_version_alone(body: bytes) -> None:
    """Check the version of an envelope that cannot be read: the version comes first in every release."""
    with suppress(ValueError, RecursionError):
        _check_version(_versions.decode(body).version)


def _check_version(version: int) -> None:
    if abs(version - WIRE_VERSION) > 1:
        raise OtherVersion(f"speaks wire version {version}, but this node speaks {WIRE_VERSION}")


def _inflated(payload: msgspec.Raw, bytes_max: int) -> bytes | msgspec.Raw:
    if memoryview(payload)[0] not in _BINARY:
        return payload
    inflating = zlib.decompressobj()
    try:
        inflated = inflating.decompress(_binaries.decode(payload), bytes_max + 1)
    except zlib.error as error:
        raise Malformed(f"sends an invalid message ({error})") from error
    if len(inflated) > bytes_max:
        raise MessageTooLarge(f"sends a message that inflates to more than {bytes_max} bytes")
    if not inflating.eof or inflating.unused_data:
        raise Malformed("sends an invalid message (its deflated data are incomplete, or other data follow them)")
    return inflated


def _live_in(live: WireLive) -> dict[int, int]:
    try:
        return dict(zip(accumulate(live.rows), live.masks, strict=True))
    except ValueError:
        raise Malformed("sends an invalid message (rows and masks of entries differ in number)") from None


def _heads_in(message: WireMessage) -> dict[int, Head] | None:
    if message.heads is None:
        return None
    reaches, checksums = message.reaches, message.checksums
    return {
        node: Head(version, reaches.get(node, version), checksums.get(node)) for node, version in message.heads.items()
    }


# Tuples and not the structs of `wire_schema`: they are made in a third of the time, and may be shorter.


def _message_out(message: Message) -> tuple[Any, ...]:
    heads = message.heads or {}
    return (
        None if message.heads is None else {node: head.version for node, head in heads.items()},
        {node: head.reach for node, head in heads.items() if head.reach != head.version},
        [
            (c.incarnation, c.name, c.address, c.beats, c.age_s, c.left, c.ttl_max_s, c.api_port)
            for c in message.counters
        ],
        [_delta_out(delta) for delta in message.deltas],
        message.ask,
        message.echo,
        message.digest,
        message.bucket_digests,
        message.buckets,
        [(s.key, s.rev, s.incarnation, s.at_ms, s.author, s.body, s.lasts_s, s.age_s) for s in message.settings],
        {node: head.checksum for node, head in heads.items() if head.checksum is not None},
        # Only for a part of a large bucket of configuration.
        *((message.known[:ITEMS_MAX], message.window, message.partial) if _is_of_a_part(message) else ()),
    )


def _is_of_a_part(message: Message) -> bool:
    """Return True if a message is about a part of a bucket of configuration."""
    return bool(message.known) or message.window != ALL_DIGESTS or message.partial


def _delta_out(delta: Delta) -> tuple[Any, ...]:
    entries = [entry for entry in delta.added if not isinstance(entry, Copy)]
    copies = [entry for entry in delta.added if isinstance(entry, Copy)]
    return (
        *(delta.incarnation, delta.since, delta.base, delta.version, delta.reach),
        [_entry_out(entry, before) for before, entry in _with_previous_n(delta.base, entries)],
        _steps(delta.removed),
        None if delta.live is None else (_steps([*delta.live]), [*delta.live.values()]),
        [
            (copy.n - before, copy.of_node, copy.of_n, copy.checksum)
            for before, copy in _with_previous_n(delta.base, copies)
        ],
    )


def _with_previous_n(base: int, entries: Sequence[_Numbered]) -> Iterable[tuple[int, _Numbered]]:
    """Return the entries, each after the n of the one before, from which its step is counted."""
    return zip(chain((base,), (entry.n for entry in entries)), entries, strict=False)


def _entry_out(entry: Entry, before: int) -> tuple[Any, ...]:
    if isinstance(entry, End):
        reason = () if entry.reason is None else (entry.reason,)
        return (entry.n - before, entry.key, entry.ttl_s, entry.rev, None, [*chain.from_iterable(entry.roots)], *reason)
    if entry.root_n == entry.n and entry.root_node == entry.node:
        return (entry.n - before, entry.key, entry.ttl_s, entry.rev, entry.body)
    root = (entry.root_node, entry.root_n)
    return (entry.n - before, entry.key, entry.ttl_s, entry.rev, entry.body, root)


def _steps(numbers: Sequence[int]) -> list[int]:
    return [n - before for before, n in pairwise(chain((0,), numbers))]
