"""Messages as bytes: a message that one node encodes is decoded by another."""

from __future__ import annotations

from random import Random

import msgspec
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.core.consumers import ConsumerState, Report
from bender.core.entries import Entries
from bender.core.ledger import Claim, Copy, Delta, End, Entry
from bender.core.messages import ALL_DIGESTS, ConfigSetting, Message
from bender.core.reasons import CHECK_FAILED
from bender.exchange import wire_schema
from bender.exchange.wire import Received, Wire
from bender.exchange.wire_errors import Malformed, Unsendable
from tests.exchange.bytes_of_messages import (
    BODY,
    CHECKSUMS,
    FULL,
    KEY,
    KNOWN,
    N1,
    PAYLOAD,
    claim,
    encoded,
    messages,
    opened,
    spoken,
)


def push(*entries: Entry | Copy, live: dict[int, int] | None = None, base: int = 0) -> Message:
    reach = max([base, *(entry.n for entry in entries)])
    node = entries[0].node if entries else 7
    return Message(N1, deltas=(Delta(node, base, base, reach, reach, entries, (), live),))


class RoundTrip(SynchronousTestCase):
    @given(messages, st.floats(0.05, 900))
    @example(FULL, 1.0)
    def test_what_is_written_is_read(self, message: Message, interval_s: float) -> None:
        """A message arrives as it was sent, with the sender's interval."""
        body = Wire("bender", interval_s).encode(message)
        self.assertEqual(spoken().decode(body), Received(message, interval_s))

    def test_a_large_message_is_deflated(self) -> None:
        """A large message is compressed to less than a tenth, and arrives as it was."""
        message = push(*(claim(n) for n in range(1, 1001)))
        body = spoken().encode(message)
        self.assertLess(len(body), 10_000)
        self.assertEqual(spoken().decode(body).message, message)

    def test_what_lives_of_a_large_ledger_is_a_short_list(self) -> None:
        """The list of a hundred thousand live entries takes less than a kilobyte if few entries between them ended."""
        entries: Entries[Claim] = Entries()
        for n in range(1, 100_001):
            if n % 1000:
                entries[n] = claim(n)
        live = entries.masks(100_000)
        message = push(live=live, base=100_000)
        body = spoken().encode(message)
        self.assertLess(len(body), 1024)
        self.assertEqual(spoken().decode(body).message, message)

    def test_little_is_added_to_a_registration(self) -> None:
        """A push has the key and the body of a registration, and less than a hundred other bytes."""
        self.assertLess(len(spoken().encode(push(claim(1, node=2**63)))), len(KEY) + len(BODY) + 100)

    def test_equal_numbers_are_one_object(self) -> None:
        """Claims of one node share the objects of its incarnation and their ttl; the root of a first claim shares n."""
        wire = spoken()
        first, second = (wire.decode(wire.encode(push(claim(n, node=2**63)))).message.deltas[0] for n in (1000, 2000))
        one, two = first.added[0], second.added[0]
        assert isinstance(one, Claim)
        assert isinstance(two, Claim)
        self.assertTrue(one.node is two.node is one.root_node is first.incarnation)
        self.assertIs(one.ttl_s, two.ttl_s)
        self.assertIs(one.n, one.root_n)

    def test_checksums(self) -> None:
        """Each head has its checksum; a head of an earlier release has none."""
        older = opened(FULL)
        del older[PAYLOAD[0]][CHECKSUMS[1] :]
        for body, expected in ((spoken().encode(FULL), 2**64 - 1), (encoded(older), None)):
            heads = spoken().decode(body).message.heads or {}
            self.assertEqual({node: head.checksum for node, head in heads.items()}, {7: expected, 8: None})

    def test_of_the_release_before(self) -> None:
        """A message of an earlier release has no windows of crowded buckets, so it asks for all settings."""
        older = opened(FULL)
        del older[PAYLOAD[0]][KNOWN[1] :]
        message = spoken().decode(encoded(older)).message
        self.assertEqual(message, evolve(FULL, known=(), window=ALL_DIGESTS, partial=False))

    def test_nothing_of_windows(self) -> None:
        """The fields of windows are sent only if one of them has a value."""
        plain = evolve(FULL, known=(), window=ALL_DIGESTS, partial=False)
        self.assertEqual(len(opened(plain)[4]), KNOWN[1])
        for message in (
            evolve(plain, known=(1,)),
            evolve(plain, window=(1, 2)),
            evolve(plain, partial=True),
        ):
            self.assertEqual(len(opened(message)[4]), 14)
            self.assertEqual(spoken().decode(spoken().encode(message)).message, message)

    def test_more_known_than_a_peer_takes(self) -> None:
        """At most the allowed number of known digests is sent; the settings of the others are sent again."""
        message = evolve(FULL, known=tuple(range(wire_schema.ITEMS_MAX + 1)))
        self.assertEqual(spoken().decode(spoken().encode(message)).message.known, message.known[:-1])

    def test_reasons_of_ends(self) -> None:
        """The reason of an end is the last field, which an earlier release ignores and does not send."""
        end = End(7, 1, KEY, 10.0, 1, ((7, 5),))
        failed = msgspec.structs.replace(end, reason=CHECK_FAILED)
        entry = msgspec.msgpack.decode(spoken().encode(push(failed)))[4][3][0][5][0]
        self.assertEqual(entry, [1, KEY, 10.0, 1, None, [7, 5], "check-failed"])
        earlier = msgspec.msgpack.decode(spoken().encode(push(end)))[4][3][0][5][0]
        self.assertEqual(earlier, entry[:6])
        one, two = (spoken().decode(spoken().encode(push(failed))).message.deltas[0].added[0] for _ in range(2))
        assert isinstance(one, End)
        assert isinstance(two, End)
        self.assertEqual((one, one.reason is two.reason), (failed, True))
        self.assertRaises(
            Malformed, spoken().decode, spoken().encode(push(msgspec.structs.replace(end, reason="x" * 33)))
        )

    def test_numbers_kept_are_bounded(self) -> None:
        """The number of shared incarnations is limited."""
        wire = spoken()
        roots = tuple((node, 1) for node in range(1000, 7000))
        for i in range(5):
            wire.decode(wire.encode(push(End(7, 1, KEY, 10.0, 1, tuple((node + 10_000 * i, n) for node, n in roots)))))
        self.assertLess(len(wire._incarnations), 20_000)


class Consumers(SynchronousTestCase):
    def test_more_reports_than_a_peer_takes(self) -> None:
        """Reports beyond the limit are left out, but their consumers are sent."""
        report = Report(("a" * 60_000,))
        many = tuple(ConsumerState(f"c{i}", "n2", True, True, None, 0, 0, report) for i in range(300))
        told = Wire.decode_consumers(Wire.encode_consumers(many))
        self.assertEqual(told, tuple(msgspec.structs.replace(each, report=None) for each in many))
        self.assertEqual(Wire.decode_consumers(Wire.encode_consumers(many[:2])), many[:2])

    def test_nodes_of_the_version_before(self) -> None:
        """A node of an earlier release sends no instances, and ignores the fields that it does not know."""
        before = {"name": "c", "node": "n2", "connected": True, "applied": True, "cursor": None, "behind": 0, "at": 0}
        (told,) = Wire.decode_consumers(msgspec.msgpack.encode([{**before, "report": None, "anything": 1}]))
        self.assertEqual(told, ConsumerState("c", "n2", True, True, None, 0, 0))
        self.assertEqual((told.instance, told.age_s, told.idle_s), ("", 0.0, 0.0))
        (sent,) = msgspec.msgpack.decode(Wire.encode_consumers([told]))
        self.assertLessEqual(before.items(), sent.items())

    def test_an_instance_that_is_none(self) -> None:
        """An invalid instance is refused, because it would get into log lines."""
        for instance in ("a\nb", "a b", "x" * 256):
            bad = ConsumerState("c", "n2", True, True, None, 0, 0, None, instance)
            self.assertRaises(Malformed, Wire.decode_consumers, Wire.encode_consumers([bad]))


class Unsendables(SynchronousTestCase):
    """A message that no peer would accept is an error of this node, and is not sent."""

    def test_more_than_others_inflate(self) -> None:
        """A message is too large by its size before compression."""
        settings = tuple(ConfigSetting(f"backend/{i}", 1, 7, 0, "", b"x" * 16_000) for i in range(10))
        self.assertRaises(
            Unsendable, Wire("bender", 1.0, payload_bytes_max=160_000).encode, Message(N1, settings=settings)
        )

    def test_more_than_others_receive(self) -> None:
        """A message is too large by its size after compression."""
        noise = Random(1)
        settings = tuple(ConfigSetting(f"backend/{i}", 1, 7, 0, "", noise.randbytes(16_000)) for i in range(10))
        self.assertRaises(
            Unsendable, Wire("bender", 1.0, body_bytes_max=160_000).encode, Message(N1, settings=settings)
        )
