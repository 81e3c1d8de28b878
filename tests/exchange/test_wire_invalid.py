"""Bytes that are not a message of this cluster are refused whole."""

from __future__ import annotations

import contextlib
import tracemalloc
import zlib
from math import inf, nan
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.core.last_writer_wins import BUCKETS
from bender.core.ledger import NUMBER_MAX
from bender.core.messages import Message
from bender.exchange import wire, wire_schema
from bender.exchange.wire import Wire
from bender.exchange.wire_errors import Malformed, MessageRefused, MessageTooLarge, OtherCluster, OtherVersion
from tests.exchange.bytes_of_messages import (
    ASK,
    BUCKET_NUMBERS,
    CHECKSUMS,
    CLUSTER,
    COUNTERS,
    DELTAS,
    DIGESTS,
    ECHO,
    FULL,
    HEADS,
    INTERVAL,
    KNOWN,
    N1,
    PARTIAL,
    PAYLOAD,
    SENDER,
    SETTINGS,
    VERSION,
    WINDOW,
    changed,
    encoded,
    messages,
    opened,
    spoken,
)


class OtherNodes(SynchronousTestCase):
    def test_another_cluster_is_refused_by_name(self) -> None:
        """The refusal names both clusters, and the sender is known."""
        refused = self.assertRaises(OtherCluster, spoken().decode, Wire("green", 1.0).encode(FULL))
        self.assertEqual(refused.reason, "belongs to cluster 'green', but this node belongs to 'bender'")
        self.assertEqual(refused.sender, N1)

    def test_the_next_wire_version_is_understood(self) -> None:
        """Fields that the next wire version adds at the end of any part are ignored."""
        envelope = opened(FULL)
        envelope[0] = wire.WIRE_VERSION + 1
        payload = envelope[4]
        payload[3][1][5][0].append(None)  # a claim has no reason, and needs a null before any later field
        for grown in (
            *payload[2],  # counters
            *payload[3],  # deltas
            payload[3][0][5][1],  # an end
            payload[3][1][5][0],
            *payload[9],  # settings
            payload,
            envelope[3],
            envelope,
        ):
            grown.append(["what", {"nobody": "knows yet"}])
        message = spoken().decode(encoded(envelope)).message
        self.assertEqual(message, FULL)
        self.assertEqual([setting.age_s for setting in message.settings], [0.0, 2.5])

    def test_a_version_further_away_is_refused(self) -> None:
        """A wire version that is newer by two is refused, and the sender is known."""
        refused = self.assertRaises(OtherVersion, spoken().decode, changed(VERSION, wire.WIRE_VERSION + 2))
        self.assertEqual(
            refused.reason, f"speaks wire version {wire.WIRE_VERSION + 2}, but this node speaks {wire.WIRE_VERSION}"
        )
        self.assertEqual(refused.sender, N1)

    def test_a_version_from_a_distant_future_is_told_from_rubbish(self) -> None:
        """An envelope of an unknown form is refused by its version, which always comes first."""
        self.assertRaises(OtherVersion, spoken().decode, encoded([9, {"cluster": "bender"}]))


class Rubbish(SynchronousTestCase):
    def refused(self, body: bytes, as_what: type[MessageRefused] = Malformed) -> MessageRefused:
        """Expect a refusal with a reason that can be shown."""
        refused: MessageRefused = self.assertRaises(as_what, spoken().decode, body)
        self.assertLess(len(refused.reason), 300)
        self.assertTrue(refused.reason.startswith("sends "))
        return refused

    @given(st.binary(max_size=200))
    def test_no_bytes_raise_anything_else(self, body: bytes) -> None:
        """Any bytes are decoded or refused."""
        with contextlib.suppress(MessageRefused):
            spoken().decode(body)

    @given(messages, st.data())
    def test_no_damage_raises_anything_else(self, message: Message, drawn: st.DataObject) -> None:
        """A message with changed, lost or inserted bytes is decoded or refused."""
        body = bytearray(spoken().encode(message))
        start = drawn.draw(st.integers(0, len(body)))
        stop = drawn.draw(st.integers(start, min(len(body), start + 4)))
        body[start:stop] = drawn.draw(st.binary(max_size=4))
        with contextlib.suppress(MessageRefused):
            spoken().decode(bytes(body))

    def test_half_a_message_is_refused_wherever_it_ends(self) -> None:
        """Every incomplete beginning of a message is refused."""
        body = spoken().encode(FULL)
        for length in range(len(body)):
            self.refused(body[:length])

    def test_more_than_a_message_is_refused(self) -> None:
        """A message with one byte after it is refused."""
        self.refused(spoken().encode(FULL) + b"\0")

    def test_other_formats_are_refused(self) -> None:
        """HTML, JSON and an empty body are refused."""
        for body in (b"<!DOCTYPE html><html><body>404</body></html>", b'{"version": 1}', b""):
            self.refused(body)

    def test_deep_nesting_is_refused(self) -> None:
        """A million nested lists are refused, both in place of a field and after the last field."""
        deep = b"\x91" * 1_000_000
        envelope = encoded(opened(FULL))
        self.refused(deep)
        self.refused(b"\x96" + envelope[1:] + deep)

    def test_great_counts_cost_nothing(self) -> None:
        """A list that announces four billion items and has none is refused."""
        for path in (HEADS, COUNTERS, DELTAS, SETTINGS, CHECKSUMS, (*DELTAS, 0, 5), (*DELTAS, 0, 6), (*DELTAS, 0, 7)):
            marked = changed(path, "HERE")
            for count in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"):
                self.refused(marked.replace(encoded("HERE"), count))

    def test_a_message_over_the_limit_is_not_looked_at(self) -> None:
        """A body over the limit is refused before it is read."""
        self.refused(b"\0" * (wire.BODY_BYTES_MAX + 1), MessageTooLarge)

    def test_what_inflates_beyond_the_limit_is_refused(self) -> None:
        """A few kilobytes are not decompressed beyond the limit of a message."""
        bomb = changed(PAYLOAD, zlib.compress(b"\0" * 20_000_000))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.assertRaises(MessageTooLarge, Wire("bender", 1.0, payload_bytes_max=100_000).decode, bomb)
        self.assertLess(tracemalloc.get_traced_memory()[1], 1_000_000)

    def test_deflated_rubbish_is_refused(self) -> None:
        """A payload is refused if it is invalid, incomplete, too long, or compressed twice."""
        inner = encoded(opened(FULL)[4])
        whole = zlib.compress(inner)
        for payload in (
            b"no",
            b"",
            whole[:-1],
            whole + b"\0",
            zlib.compress(encoded(whole)),
            zlib.compress(inner[:-1]),
        ):
            self.refused(changed(PAYLOAD, payload))
        self.assertEqual(spoken().decode(changed(PAYLOAD, whole)).message, FULL)

    def test_the_sender_of_rubbish_in_a_good_envelope_is_known(self) -> None:
        """The sender is known from a valid envelope with an invalid payload."""
        self.assertEqual(self.refused(changed(PAYLOAD, [])).sender, N1)


class Ranges(SynchronousTestCase):
    """Values that no node sends are refused."""

    def refused(self, path: tuple[int, ...], *values: Any) -> None:
        for value in values:
            self.assertRaises(Malformed, spoken().decode, changed(path, value))

    def test_of_ages(self) -> None:
        """An age is a finite number of seconds, and not negative, because it could keep dead instances listed."""
        self.refused((*COUNTERS, 0, 4), -0.001, nan, inf, 1e10, None, "1", True)

    def test_of_times(self) -> None:
        """An echo must be a finite time, because it is compared with times of this node."""
        for path in (ASK, ECHO):
            self.refused(path, nan, inf, -inf, 1e13, "1")

    def test_of_intervals(self) -> None:
        """An interval is positive, and shorter than the longest ttl."""
        self.refused(INTERVAL, 0, -1.0, nan, inf, 3601)

    def test_of_ttls(self) -> None:
        """A ttl is positive and limited; that of an end may be somewhat longer."""
        self.refused((*DELTAS, 0, 5, 0, 2), 0, -1.0, nan, inf, 10_801)

    def test_of_counts(self) -> None:
        """Versions and counters are natural numbers up to 2**53; incarnations have 64 bits."""
        for path in ((*COUNTERS, 0, 3), (*DELTAS, 0, 1), (*DELTAS, 0, 3), (*DELTAS, 0, 5, 0, 3), (*SETTINGS, 0, 1)):
            self.refused(path, -1, 2**63, 1.5, "1", True)
        self.refused((*COUNTERS, 0, 0), -1, 2.0**64)

    def test_of_large_counts(self) -> None:
        """The largest number is one that every JSON reader can read; the next one is refused."""
        for path in ((*COUNTERS, 0, 3), (*DELTAS, 0, 4), (*DELTAS, 0, 5, 0, 3), (*SETTINGS, 0, 1), (*SETTINGS, 0, 3)):
            spoken().decode(changed(path, NUMBER_MAX))
            self.refused(path, NUMBER_MAX + 1)
        self.refused((*DELTAS, 0, 5, 0, 0), NUMBER_MAX + 1)
        self.refused((*DELTAS, 0, 8, 0, 0), NUMBER_MAX + 1)
        self.refused(HEADS, {7: NUMBER_MAX + 1})

    def test_of_windows(self) -> None:
        """A window has two digests; the list of known digests is limited."""
        self.refused(KNOWN, [-1], [1.5], 1, None, [0] * (wire_schema.ITEMS_MAX + 1))
        self.refused(WINDOW, [1], [1, 2, 3], [-1, 2], [1, "2"], None, 1)
        self.refused(PARTIAL, 1, None, "yes")

    def test_of_names(self) -> None:
        """Names are limited and have no control characters, because they go into log lines."""
        for path in ((*SENDER, 1), (*COUNTERS, 0, 1), CLUSTER):
            self.refused(path, "n\n1", "n1\n", "\x1b[2J", "x" * 256, b"n1", 1)

    def test_of_names_on_terminals(self) -> None:
        """Names have no other characters that end a line, begin a sequence or turn the direction of writing."""
        for path in ((*SENDER, 1), (*COUNTERS, 0, 1), CLUSTER):
            for odd in "\x7f\x80\x85\x9b\x9f\u061c\u200b\u200f\u2028\u2029\u202a\u202e\u2060\u2066\u2069\ufeff":
                self.refused(path, f"n{odd}1")
        for name in ("K\u00f6ln 1", "\u6771\u4eac", "\U0001f600", "n\u00a01", ""):
            spoken().decode(changed((*SENDER, 1), name))

    def test_of_addresses(self) -> None:
        """Addresses have a host, a colon and a port, because they go into URLs."""
        for path in ((*SENDER, 2), (*COUNTERS, 0, 2)):
            self.refused(
                path, "", "h", "h:", ":1", "h:123456", "h/x:1", "a@h:1", "h ost:1", "h:1\n", "h?:1", "x" * 300 + ":1"
            )
            self.refused(path, "h\u00f6:1", "h\u202e:1", "h\x85:1", "h\x7f:1", "h#:1", "h\\:1", "h:1\u0661")
            for address in ("n_1:1730", "[2001:db8::1]:1730", "10.0.0.1:1", "host-2.example:65535"):
                spoken().decode(changed(path, address))

    def test_of_keys_and_bodies(self) -> None:
        """Keys and bodies have the right type, are not empty and are limited."""
        self.refused((*DELTAS, 0, 5, 0, 1), "", "k" * 1025, b"k", 1)
        self.refused((*DELTAS, 0, 5, 0, 4), b"x" * (wire_schema.ENTRY_BODY_BYTES_MAX + 1), "text", [])

    def test_of_buckets(self) -> None:
        """The number of buckets is fixed, so digests are sent for all buckets or for none."""
        self.refused(BUCKET_NUMBERS, [BUCKETS], [-1], [0] * (BUCKETS + 1))
        self.refused(DIGESTS, [1], [1] * (BUCKETS - 1), [1] * (BUCKETS + 1))

    def test_of_roots(self) -> None:
        """A claim has one root or is its own; an end has pairs of numbers."""
        self.refused((*DELTAS, 1, 5, 0, 5), [7], [7, 5, 7, 5])
        self.refused((*DELTAS, 0, 5, 1, 5), [7], [7, 5, 8])

    def test_of_entries(self) -> None:
        """Entries are in order, after the base and up to the reach of their delta."""
        self.refused((*DELTAS, 0, 5, 0, 0), 0, -1)
        self.refused((*DELTAS, 0, 5, 1, 0), 0, -3, 5)

    def test_of_deltas(self) -> None:
        """A delta goes forward, and names no entries beyond its reach."""
        self.refused((*DELTAS, 0, 2), 10)  # base after reach
        self.refused((*DELTAS, 0, 1), 10)  # since after version
        self.refused((*DELTAS, 0, 6), [1, 9], [-1], [2**63])
        self.refused((*DELTAS, 1, 7), [1, 6], [-1], "1")
