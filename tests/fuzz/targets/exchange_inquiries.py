"""Inquiries among peers, and the answers to them (`bender.exchange.wire`)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import strategies as st

from bender.core.claim_leases import ClaimLease
from bender.core.consumers import AwaitedChange, ConsumerState
from bender.core.diagnosis import Heard, HeldClaim, NodeDiagnosis, SeenClaim
from bender.core.node_report import HeardPeer, NodeReport
from bender.exchange.wire import Wire
from bender.exchange.wire_errors import MessageRefused
from tests.fuzz.documents import damaged

_WIRE = Wire("bender", 1.0)

_keys = st.text(max_size=12) | st.just("registration/web/1.2.0/10.0.0.5/8080")
_consumers = st.builds(
    ConsumerState,
    name=st.text(max_size=5),
    node=st.text(max_size=5),
    connected=st.booleans(),
    applied=st.booleans(),
    cursor=st.none() | st.text(max_size=5),
    behind=st.integers(0, 9),
    at_ms=st.integers(0, 2**53),
)
_accounts = st.builds(
    NodeDiagnosis,
    node=st.text(max_size=5),
    address=st.just("10.0.0.2:1730"),
    ready=st.booleans(),
    listed=st.booleans(),
    hidden=st.booleans(),
    claim=st.none() | st.builds(HeldClaim, *[st.floats(0, 99)] * 4, st.integers(0, 9), st.booleans()),
    sees=st.lists(
        st.builds(SeenClaim, st.text(max_size=3), st.booleans(), st.just(1), st.booleans(), st.none(), st.none()),
        max_size=2,
    ).map(tuple),
    ended=st.lists(st.text(max_size=3), max_size=2).map(tuple),
    hears=st.lists(st.builds(Heard, st.text(max_size=3), st.floats(0, 9), st.booleans()), max_size=2).map(tuple),
)
_leases = st.builds(ClaimLease, st.floats(0, 99), st.floats(0, 99), st.booleans())
_addresses = st.just("10.0.0.2:1730")
_heard = st.builds(
    HeardPeer,
    st.text(max_size=3),
    _addresses,
    st.sampled_from(("heard", "silent", "left")),
    st.none() | st.floats(0, 99),
)
_statuses = st.builds(
    NodeReport,
    incarnation=st.integers(0, 2**64 - 1),
    name=st.text(max_size=5),
    address=_addresses,
    api_port=st.integers(0, 65535),
    version=st.text(max_size=5),
    ready=st.booleans(),
    uptime_s=st.floats(0, 99),
    digest=st.integers(0, 2**64 - 1),
    registrations=st.integers(0, 9),
    hears=st.lists(_heard, max_size=2).map(tuple),
)
NEAR = damaged(
    _keys.map(_WIRE.encode_inquiry)
    | st.builds(AwaitedChange, _keys, st.integers(0, 2**63), st.integers(0, 2**63), st.floats(0, 60)).map(
        _WIRE.encode_inquiry
    )
    | st.lists(_consumers, max_size=3).map(Wire.encode_consumers)
    | _accounts.map(Wire.encode_diagnosis)
    | st.lists(_keys, max_size=3).map(_WIRE.encode_inquiry)
    | st.lists(st.none() | _leases, max_size=3).map(Wire.encode_leases)
    | st.just(_WIRE.encode_question())
    | _statuses.map(Wire.encode_report)
)


def fuzz(sent: bytes) -> None:
    """Bytes are refused as `MessageRefused`, or are equal after they are decoded, encoded and decoded again."""
    _check(sent, _WIRE.decode_key_inquiry, _WIRE.encode_inquiry)
    _check(sent, _WIRE.decode_consumers_inquiry, _WIRE.encode_inquiry)
    _check(sent, Wire.decode_consumers, Wire.encode_consumers)
    _check(sent, Wire.decode_diagnosis, Wire.encode_diagnosis)
    _check(sent, _WIRE.decode_claims_inquiry, _WIRE.encode_inquiry)
    _check(sent, lambda body: Wire.decode_leases(body, 1), Wire.encode_leases)
    _check(sent, _WIRE.check_question, lambda _: _WIRE.encode_question())
    _check(sent, Wire.decode_report, Wire.encode_report)


def _check(sent: bytes, decode: Callable[[bytes], Any], encode: Callable[[Any], bytes]) -> None:
    with suppress(MessageRefused):
        # Compared as bytes, because NaN does not equal itself.
        once = encode(decode(sent))
        assert encode(decode(once)) == once
