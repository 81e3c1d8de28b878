"""Encoded messages, random messages, and messages with one changed field."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from bender.core.entries import ROW
from bender.core.last_writer_wins import BUCKETS
from bender.core.ledger import NUMBER_MAX, Claim, Copy, Delta, End, Entry, Head
from bender.core.messages import ALL_DIGESTS, ConfigSetting, Counter, Message, Sender
from bender.core.reasons import CHECK_FAILED
from bender.exchange.wire import Wire

N1 = Sender(2**64 - 1, "n1", "10.0.0.1:1730", 1729)
KEY = "registration/web/1.2.0/10.0.0.5/8080"
BODY = b'{"id":"registration/web/1.2.0/10.0.0.5/8080"}'

encoded = msgspec.msgpack.encode
decoded = msgspec.msgpack.decode


def spoken() -> Wire:
    return Wire("bender", 1.0)


def claim(n: int, node: int = 7) -> Claim:
    return Claim(node, n, KEY, BODY, 10.0, 1, node, n)


#: A message with every kind of part.
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
    """Return the envelope of a message, with its parts in lists that can be changed."""
    envelope: list[Any] = decoded(spoken().encode(message))
    return envelope


def changed(path: tuple[int, ...], value: Any) -> bytes:
    """Return `FULL` with another value at this place."""
    envelope = opened(FULL)
    place: Any = envelope
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return encoded(envelope)


# The places of the parts of a message in its envelope.
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
    window=st.just(ALL_DIGESTS) | st.tuples(incarnations, incarnations),
    partial=st.booleans(),
)
