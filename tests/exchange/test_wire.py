"""Messages as bytes: what one node writes another reads, and nothing else gets past."""

from __future__ import annotations

import contextlib
import tracemalloc
import zlib
from math import inf, nan
from random import Random
from typing import Any

import msgspec
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.core.configuration import BUCKETS
from bender.core.consumers import ConsumerState, Report
from bender.core.entries import ROW, Entries
from bender.core.ledger import NUMBER_MAX, Claim, Copy, Delta, End, Entry, Head
from bender.core.messages import WHOLE, ConfigSetting, Counter, Message, Sender
from bender.core.reasons import CHECK_FAILED
from bender.exchange import wire
from bender.exchange.wire import (
    Malformed,
    MessageRefused,
    MessageTooLarge,
    OtherCluster,
    OtherVersion,
    Received,
    Unsendable,
    Wire,
)

N1 = Sender(2**64 - 1, "n1", "10.0.0.1:1730", 1729)
KEY = "registration/web/1.2.0/10.0.0.5/8080"
BODY = b'{"id":"registration/web/1.2.0/10.0.0.5/8080"}'

encoded = msgspec.msgpack.encode
decoded = msgspec.msgpack.decode


def spoken() -> Wire:
    return Wire("bender", 1.0)


def claim(n: int, node: int = 7) -> Claim:
    return Claim(node, n, KEY, BODY, 10.0, 1, node, n)


def push(*entries: Entry | Copy, live: dict[int, int] | None = None, base: int = 0) -> Message:
    reach = max([base, *(entry.n for entry in entries)])
    node = entries[0].node if entries else 7
    return Message(N1, deltas=(Delta(node, base, base, reach, reach, entries, (), live),))


#: Some of everything.
FULL = Message(
    N1,
    heads={7: Head(5, 5, 2**64 - 1), 8: Head(3, 4)},
    counters=(Counter(7, "n2", "host-2:1730", 12, 0.25, left=True, ttl_max_s=30.0, api_port=1739),),
    deltas=(
        Delta(
            7,
            3,
            4,
            9,
            9,
            (claim(5), Copy(7, 6, 8, 7, 2**32 - 1), End(7, 8, KEY, 18.0, 2, ((7, 5), (8, 1)), CHECK_FAILED)),
            (2, 4),
        ),
        Delta(8, 0, 6, 7, 7, (Claim(8, 7, KEY, BODY, 0.5, 3, 7, 5),), (), {0: 0b100010}),
    ),
    ask=12.5,
    echo=-3.25,
    digest=2**64 - 1,
    bucket_digests=tuple(range(BUCKETS)),
    buckets=(0, 255),
    settings=(
        ConfigSetting("backend/web", 2, 7, 1795447942248, "ops", BODY),
        ConfigSetting("state/web/1/h/1", 3, 7, 0, "", None, 3600.0, 2.5),
    ),
    known=(1, 2**64 - 1),
    window=(1, 2**64 - 2),
    partial=True,
)


def opened(message: Message) -> list[Any]:
    """The envelope of a message, with its parts in lists that can be changed."""
    envelope: list[Any] = decoded(spoken().encode(message))
    return envelope


def changed(path: tuple[int, ...], value: Any) -> bytes:
    """`FULL` with something else in one place."""
    envelope = opened(FULL)
    place: Any = envelope
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return encoded(envelope)


# Where the parts of a message are in its envelope.
VERSION, CLUSTER, INTERVAL, SENDER, PAYLOAD = ((i,) for i in range(5))
HEADS, REACHES, COUNTERS, DELTAS, ASK, ECHO, DIGEST, DIGESTS, BUCKET_NUMBERS, SETTINGS = ((4, i) for i in range(10))
CHECKSUMS, KNOWN, WINDOW, PARTIAL = ((4, i) for i in range(10, 14))

numbers = st.integers(0, NUMBER_MAX)
incarnations = st.integers(0, 2**64 - 1)
times = st.floats(-1e12, 1e12)
names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp"]), max_size=30)
addresses = st.builds("{}:{}".format, st.sampled_from(["10.0.0.1", "[::1]", "host.example"]), st.integers(0, 65535))
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
bodies = st.binary(max_size=40)
ttls = st.floats(0, 3600, exclude_min=True)
dots = st.tuples(incarnations, numbers)


@st.composite
def entries(draw: st.DrawFn, node: int, n: int) -> Entry:
    key, ttl_s, rev = draw(keys), draw(ttls), draw(numbers)
    if draw(st.booleans()):
        reason = draw(st.sampled_from([None, "check-failed", "of a later release"]))
        return End(node, n, key, ttl_s, rev, tuple(draw(st.lists(dots, max_size=3))), reason)
    root_node, root_n = draw(st.one_of(st.just((node, n)), st.tuples(st.just(node), numbers), dots))
    return Claim(node, n, key, draw(bodies), ttl_s, rev, root_node, root_n)


@st.composite
def deltas(draw: st.DrawFn) -> Delta:
    node, base, since = draw(incarnations), draw(st.integers(0, 2**40)), draw(st.integers(0, 2**40))
    ns = sorted(base + step for step in draw(st.sets(st.integers(1, 2**40), max_size=4)))
    reach = draw(st.integers(max([base, *ns]), 2**42))
    version = draw(st.integers(since, 2**42))
    removed = draw(st.lists(st.integers(0, version), max_size=4).map(sorted))
    rows = st.dictionaries(st.integers(0, base // ROW), st.integers(1, 2**64 - 1), max_size=4)
    live = draw(st.none() | rows.map(lambda masks: dict(sorted(masks.items()))))
    return Delta(
        node,
        since,
        base,
        version,
        reach,
        tuple(draw(entries(node, n) | st.builds(Copy, st.just(node), st.just(n), incarnations, numbers)) for n in ns),
        tuple(removed),
        live,
    )


messages = st.builds(
    Message,
    st.builds(Sender, incarnations, names, addresses),
    heads=st.none() | st.dictionaries(incarnations, st.builds(Head, numbers, numbers), max_size=4),
    counters=st.lists(
        st.builds(
            Counter, incarnations, names, addresses, numbers, st.floats(0, 1e9), st.booleans(), st.floats(0, 3600)
        ),
        max_size=4,
    ).map(tuple),
    deltas=st.lists(deltas(), max_size=3).map(tuple),
    ask=st.none() | times,
    echo=st.none() | times,
    digest=st.none() | incarnations,
    bucket_digests=st.just(()) | st.lists(incarnations, min_size=BUCKETS, max_size=BUCKETS).map(tuple),
    buckets=st.lists(st.integers(0, BUCKETS - 1), max_size=4).map(tuple),
    settings=st.lists(
        st.builds(ConfigSetting, keys, numbers, incarnations, numbers, names, st.none() | bodies), max_size=4
    ).map(tuple),
    known=st.lists(incarnations, max_size=4).map(tuple),
    window=st.just(WHOLE) | st.tuples(incarnations, incarnations),
    partial=st.booleans(),
)


class RoundTrip(SynchronousTestCase):
    @given(messages, st.floats(0.05, 900))
    @example(FULL, 1.0)
    def test_what_is_written_is_read(self, message: Message, interval_s: float) -> None:
        """A message arrives as it was sent, with the sender's interval."""
        body = Wire("bender", interval_s).encode(message)
        self.assertEqual(spoken().decode(body), Received(message, interval_s))

    def test_a_large_message_is_deflated(self) -> None:
        """A page of a thousand registrations takes a tenth of its size, and arrives as it was."""
        message = push(*(claim(n) for n in range(1, 1001)))
        body = spoken().encode(message)
        self.assertLess(len(body), 10_000)
        self.assertEqual(spoken().decode(body).message, message)

    def test_what_lives_of_a_large_ledger_is_a_short_list(self) -> None:
        """A hundred thousand entries that live are named in less than a kilobyte where few between them went."""
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
        """A push carries a registration's key and body, and less than a hundred bytes besides."""
        self.assertLess(len(spoken().encode(push(claim(1, node=2**63)))), len(KEY) + len(BODY) + 100)

    def test_equal_numbers_are_one_object(self) -> None:
        """Claims of one node share its incarnation and their ttl, also across messages; a root of its own shares n."""
        wire = spoken()
        first, second = (wire.decode(wire.encode(push(claim(n, node=2**63)))).message.deltas[0] for n in (1000, 2000))
        one, two = first.added[0], second.added[0]
        assert isinstance(one, Claim)
        assert isinstance(two, Claim)
        self.assertTrue(one.node is two.node is one.root_node is first.incarnation)
        self.assertIs(one.ttl_s, two.ttl_s)
        self.assertIs(one.n, one.root_n)

    def test_checksums(self) -> None:
        """Each head has its own; none has where a release before sent it."""
        older = opened(FULL)
        del older[PAYLOAD[0]][CHECKSUMS[1] :]
        for body, expected in ((spoken().encode(FULL), 2**64 - 1), (encoded(older), None)):
            heads = spoken().decode(body).message.heads or {}
            self.assertEqual({node: head.checksum for node, head in heads.items()}, {7: expected, 8: None})

    def test_of_the_release_before(self) -> None:
        """It named no windows of crowded buckets, so what it wants is all that there is."""
        older = opened(FULL)
        del older[PAYLOAD[0]][KNOWN[1] :]
        message = spoken().decode(encoded(older)).message
        self.assertEqual(message, evolve(FULL, known=(), window=WHOLE, partial=False))

    def test_nothing_of_windows(self) -> None:
        """They are named where there is something to name alone."""
        plain = evolve(FULL, known=(), window=WHOLE, partial=False)
        self.assertEqual(len(opened(plain)[4]), KNOWN[1])
        for message in (
            evolve(plain, known=(1,)),
            evolve(plain, window=(1, 2)),
            evolve(plain, partial=True),
        ):
            self.assertEqual(len(opened(message)[4]), 14)
            self.assertEqual(spoken().decode(spoken().encode(message)).message, message)

    def test_more_known_than_a_peer_takes(self) -> None:
        """The first of them are named, and what else there is goes over once more."""
        message = evolve(FULL, known=tuple(range(wire.ITEMS_MAX + 1)))
        self.assertEqual(spoken().decode(spoken().encode(message)).message.known, message.known[:-1])

    def test_reasons_of_ends(self) -> None:
        """They stand where the release before ended an entry, so it passes over them, and sends none."""
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
        """Incarnations made up without end are not kept without end."""
        wire = spoken()
        roots = tuple((node, 1) for node in range(1000, 7000))
        for i in range(5):
            wire.decode(wire.encode(push(End(7, 1, KEY, 10.0, 1, tuple((node + 10_000 * i, n) for node, n in roots)))))
        self.assertLess(len(wire._incarnations), 20_000)


class Consumers(SynchronousTestCase):
    def test_more_reports_than_a_peer_takes(self) -> None:
        """They are left out, and who has made them is told."""
        report = Report(("a" * 60_000,))
        many = tuple(ConsumerState(f"c{i}", "n2", True, True, None, 0, 0, report) for i in range(300))
        told = Wire.consumers_in(Wire.consumers_out(many))
        self.assertEqual(told, tuple(msgspec.structs.replace(each, report=None) for each in many))
        self.assertEqual(Wire.consumers_in(Wire.consumers_out(many[:2])), many[:2])

    def test_nodes_of_the_version_before(self) -> None:
        """They say nothing of instances, and pass over what they do not know."""
        before = {"name": "c", "node": "n2", "connected": True, "applied": True, "cursor": None, "behind": 0, "at": 0}
        (told,) = Wire.consumers_in(msgspec.msgpack.encode([{**before, "report": None, "anything": 1}]))
        self.assertEqual(told, ConsumerState("c", "n2", True, True, None, 0, 0))
        self.assertEqual((told.instance, told.age_s, told.idle_s), ("", 0.0, 0.0))
        (sent,) = msgspec.msgpack.decode(Wire.consumers_out([told]))
        self.assertLessEqual(before.items(), sent.items())

    def test_an_instance_that_is_none(self) -> None:
        """It would end up in log lines, so it is refused with the rest."""
        for instance in ("a\nb", "a b", "x" * 256):
            bad = ConsumerState("c", "n2", True, True, None, 0, 0, None, instance)
            self.assertRaises(Malformed, Wire.consumers_in, Wire.consumers_out([bad]))


class Unsendables(SynchronousTestCase):
    """What nobody would take is an error of this node's own, and not sent."""

    def test_more_than_others_inflate(self) -> None:
        """Bodies that deflate to next to nothing count in full."""
        settings = tuple(ConfigSetting(f"backend/{i}", 1, 7, 0, "", b"x" * 16_000) for i in range(10))
        self.assertRaises(
            Unsendable, Wire("bender", 1.0, payload_bytes_max=160_000).encode, Message(N1, settings=settings)
        )

    def test_more_than_others_receive(self) -> None:
        """Bodies that do not deflate are too many much sooner."""
        noise = Random(1)
        settings = tuple(ConfigSetting(f"backend/{i}", 1, 7, 0, "", noise.randbytes(16_000)) for i in range(10))
        self.assertRaises(
            Unsendable, Wire("bender", 1.0, body_bytes_max=160_000).encode, Message(N1, settings=settings)
        )


class OtherNodes(SynchronousTestCase):
    def test_another_cluster_is_refused_by_name(self) -> None:
        """The refusal names both clusters, and the sender is known."""
        refused = self.assertRaises(OtherCluster, spoken().decode, Wire("green", 1.0).encode(FULL))
        self.assertEqual(refused.reason, "belongs to cluster 'green', but this node to 'bender'")
        self.assertEqual(refused.sender, N1)

    def test_the_next_wire_version_is_understood(self) -> None:
        """What it adds at the end of anything is passed over."""
        envelope = opened(FULL)
        envelope[0] = wire.WIRE_VERSION + 1
        payload = envelope[4]
        payload[3][1][5][0].append(None)  # a claim has no reason, and has to say so before it could say more
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
        """Two versions newer is too much, and the sender is known."""
        refused = self.assertRaises(OtherVersion, spoken().decode, changed(VERSION, wire.WIRE_VERSION + 2))
        self.assertEqual(
            refused.reason, f"speaks wire version {wire.WIRE_VERSION + 2}, but this node speaks {wire.WIRE_VERSION}"
        )
        self.assertEqual(refused.sender, N1)

    def test_a_version_from_a_distant_future_is_told_from_rubbish(self) -> None:
        """Whatever else an envelope will be one day, its version comes first."""
        self.assertRaises(OtherVersion, spoken().decode, encoded([9, {"cluster": "bender"}]))


class Rubbish(SynchronousTestCase):
    def refused(self, body: bytes, as_what: type[MessageRefused] = Malformed) -> MessageRefused:
        """It is, with a reason that can be shown."""
        refused: MessageRefused = self.assertRaises(as_what, spoken().decode, body)
        self.assertLess(len(refused.reason), 300)
        self.assertTrue(refused.reason.startswith("sends "))
        return refused

    @given(st.binary(max_size=200))
    def test_no_bytes_raise_anything_else(self, body: bytes) -> None:
        """Whatever comes is read or refused."""
        with contextlib.suppress(MessageRefused):
            spoken().decode(body)

    @given(messages, st.data())
    def test_no_damage_raises_anything_else(self, message: Message, drawn: st.DataObject) -> None:
        """Nor does a message in which bytes were changed, lost or put in."""
        body = bytearray(spoken().encode(message))
        start = drawn.draw(st.integers(0, len(body)))
        stop = drawn.draw(st.integers(start, min(len(body), start + 4)))
        body[start:stop] = drawn.draw(st.binary(max_size=4))
        with contextlib.suppress(MessageRefused):
            spoken().decode(bytes(body))

    def test_half_a_message_is_refused_wherever_it_ends(self) -> None:
        """Every beginning of a message that is not all of it."""
        body = spoken().encode(FULL)
        for length in range(len(body)):
            self.refused(body[:length])

    def test_more_than_a_message_is_refused(self) -> None:
        """One byte after it."""
        self.refused(spoken().encode(FULL) + b"\0")

    def test_other_formats_are_refused(self) -> None:
        """A page of HTML, JSON, nothing."""
        for body in (b"<!DOCTYPE html><html><body>404</body></html>", b'{"version": 1}', b""):
            self.refused(body)

    def test_deep_nesting_is_refused(self) -> None:
        """A million lists inside each other, where a field is expected and where none is any more."""
        deep = b"\x91" * 1_000_000
        envelope = encoded(opened(FULL))
        self.refused(deep)
        self.refused(b"\x96" + envelope[1:] + deep)

    def test_great_counts_cost_nothing(self) -> None:
        """A list that says it has four milliards of items, and ends there."""
        for path in (HEADS, COUNTERS, DELTAS, SETTINGS, CHECKSUMS, (*DELTAS, 0, 5), (*DELTAS, 0, 6), (*DELTAS, 0, 7)):
            marked = changed(path, "HERE")
            for count in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"):
                self.refused(marked.replace(encoded("HERE"), count))

    def test_a_message_over_the_limit_is_not_looked_at(self) -> None:
        """Not even at its first byte."""
        self.refused(b"\0" * (wire.BODY_BYTES_MAX + 1), MessageTooLarge)

    def test_what_inflates_beyond_the_limit_is_refused(self) -> None:
        """A few kilobytes are not inflated any further than a message can be."""
        bomb = changed(PAYLOAD, zlib.compress(b"\0" * 20_000_000))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.assertRaises(MessageTooLarge, Wire("bender", 1.0, payload_bytes_max=100_000).decode, bomb)
        self.assertLess(tracemalloc.get_traced_memory()[1], 1_000_000)

    def test_deflated_rubbish_is_refused(self) -> None:
        """What does not inflate, does not end, goes on after its end, or is deflated twice."""
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
        """So that it can be named."""
        self.assertEqual(self.refused(changed(PAYLOAD, [])).sender, N1)


class Ranges(SynchronousTestCase):
    """No node sends these, so no node need cope with them."""

    def refused(self, path: tuple[int, ...], *values: Any) -> None:
        for value in values:
            self.assertRaises(Malformed, spoken().decode, changed(path, value))

    def test_of_ages(self) -> None:
        """An age is a finite number of seconds, and not negative: news from the future would keep the dead alive."""
        self.refused((*COUNTERS, 0, 4), -0.001, nan, inf, 1e10, None, "1", True)

    def test_of_times(self) -> None:
        """An echo is compared with times here, so it must be one."""
        for path in (ASK, ECHO):
            self.refused(path, nan, inf, -inf, 1e13, "1")

    def test_of_intervals(self) -> None:
        """They are positive, and shorter than the longest ttl."""
        self.refused(INTERVAL, 0, -1.0, nan, inf, 3601)

    def test_of_ttls(self) -> None:
        """They are positive; those of ends, somewhat longer than the longest ttl."""
        self.refused((*DELTAS, 0, 5, 0, 2), 0, -1.0, nan, inf, 10_801)

    def test_of_counts(self) -> None:
        """Versions and counters are natural numbers up to 2**53, incarnations have 64 bits."""
        for path in ((*COUNTERS, 0, 3), (*DELTAS, 0, 1), (*DELTAS, 0, 3), (*DELTAS, 0, 5, 0, 3), (*SETTINGS, 0, 1)):
            self.refused(path, -1, 2**63, 1.5, "1", True)
        self.refused((*COUNTERS, 0, 0), -1, 2.0**64)

    def test_of_large_counts(self) -> None:
        """The largest can be read by everything that reads JSON, the next one not."""
        for path in ((*COUNTERS, 0, 3), (*DELTAS, 0, 4), (*DELTAS, 0, 5, 0, 3), (*SETTINGS, 0, 1), (*SETTINGS, 0, 3)):
            spoken().decode(changed(path, NUMBER_MAX))
            self.refused(path, NUMBER_MAX + 1)
        self.refused((*DELTAS, 0, 5, 0, 0), NUMBER_MAX + 1)
        self.refused((*DELTAS, 0, 8, 0, 0), NUMBER_MAX + 1)
        self.refused(HEADS, {7: NUMBER_MAX + 1})

    def test_of_windows(self) -> None:
        """A window is two digests, and what is known a list of them, of which there is an end."""
        self.refused(KNOWN, [-1], [1.5], 1, None, [0] * (wire.ITEMS_MAX + 1))
        self.refused(WINDOW, [1], [1, 2, 3], [-1, 2], [1, "2"], None, 1)
        self.refused(PARTIAL, 1, None, "yes")

    def test_of_names(self) -> None:
        """They go into log lines, so they have no control characters, and an end."""
        for path in ((*SENDER, 1), (*COUNTERS, 0, 1), CLUSTER):
            self.refused(path, "n\n1", "n1\n", "\x1b[2J", "x" * 256, b"n1", 1)

    def test_of_names_on_terminals(self) -> None:
        """Nor do they end a line there in other ways, begin a sequence, or turn the direction of writing."""
        for path in ((*SENDER, 1), (*COUNTERS, 0, 1), CLUSTER):
            for odd in "\x7f\x80\x85\x9b\x9f\u061c\u200b\u200f\u2028\u2029\u202a\u202e\u2060\u2066\u2069\ufeff":
                self.refused(path, f"n{odd}1")
        for name in ("K\u00f6ln 1", "\u6771\u4eac", "\U0001f600", "n\u00a01", ""):
            spoken().decode(changed((*SENDER, 1), name))

    def test_of_addresses(self) -> None:
        """They go into URLs: a host, a colon and a port."""
        for path in ((*SENDER, 2), (*COUNTERS, 0, 2)):
            self.refused(
                path, "", "h", "h:", ":1", "h:123456", "h/x:1", "a@h:1", "h ost:1", "h:1\n", "h?:1", "x" * 300 + ":1"
            )
            self.refused(path, "h\u00f6:1", "h\u202e:1", "h\x85:1", "h\x7f:1", "h#:1", "h\\:1", "h:1\u0661")
            for address in ("n_1:1730", "[2001:db8::1]:1730", "10.0.0.1:1", "host-2.example:65535"):
                spoken().decode(changed(path, address))

    def test_of_keys_and_bodies(self) -> None:
        """They are not empty, not endless, and no other kind of thing."""
        self.refused((*DELTAS, 0, 5, 0, 1), "", "k" * 1025, b"k", 1)
        self.refused((*DELTAS, 0, 5, 0, 4), b"x" * (wire.ENTRY_BODY_BYTES_MAX + 1), "text", [])

    def test_of_buckets(self) -> None:
        """There is a fixed number of them, so digests come for all or for none."""
        self.refused(BUCKET_NUMBERS, [BUCKETS], [-1], [0] * (BUCKETS + 1))
        self.refused(DIGESTS, [1], [1] * (BUCKETS - 1), [1] * (BUCKETS + 1))

    def test_of_roots(self) -> None:
        """A claim has one or is its own, an end has pairs."""
        self.refused((*DELTAS, 1, 5, 0, 5), [7], [7, 5, 7, 5])
        self.refused((*DELTAS, 0, 5, 1, 5), [7], [7, 5, 8])

    def test_of_entries(self) -> None:
        """They come in order, after the base and up to the reach of their delta."""
        self.refused((*DELTAS, 0, 5, 0, 0), 0, -1)
        self.refused((*DELTAS, 0, 5, 1, 0), 0, -3, 5)

    def test_of_deltas(self) -> None:
        """They go forward, and name no entries beyond themselves."""
        self.refused((*DELTAS, 0, 2), 10)  # base after reach
        self.refused((*DELTAS, 0, 1), 10)  # since after version
        self.refused((*DELTAS, 0, 6), [1, 9], [-1], [2**63])
        self.refused((*DELTAS, 1, 7), [1, 6], [-1], "1")
