"""The parts of messages in MessagePack, each with its limits.

A part is an array of its fields in this order. New fields are added only at the end of arrays, and have a default,
because earlier releases do not send them.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from bender.core.claim_leases import KEYS_ASKED_MAX
from bender.core.hosts import PORT_MAX
from bender.core.last_writer_wins import BUCKETS, LASTING_S_MAX
from bender.core.ledger import NUMBER_MAX
from bender.core.messages import AGE_S_MAX, ALL_DIGESTS
from bender.core.peers import PEERS_MAX
from bender.core.ttl_limits import TTL_S_MAX

#: The most live entries of a node: twice its registrations, because ends are entries too.
LIVE_MAX = 2_000_000

#: The most entries, removals, roots or settings in one message. The core sends about a thousand.
ITEMS_MAX = 65_536

#: The most incarnations in one message. Nodes keep each for ten minutes after its end.
NODES_MAX = 10_000

#: The most bytes of an entry's body. The API accepts 4 KiB; the rest is for what a node adds.
ENTRY_BODY_BYTES_MAX = 16 * 1024

#: `registration/APP/VERSION/HOST/PORT` has up to 800 characters.
KEY_CHARACTERS_MAX = 1024

NAME_CHARACTERS_MAX = 255

#: The most characters of an end's reason. A reason that a later release adds is passed on, but has no effect here.
REASON_CHARACTERS_MAX = 32

#: The version of bender at a node, such as `1.12.0.dev3`.
RELEASE_CHARACTERS_MAX = 64

_Subject = TypeVar("_Subject")

_Incarnation = Annotated[int, Meta(ge=0)]  # 64 random bits; MessagePack has no more
_Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
_Age = Annotated[float, Meta(ge=0, le=AGE_S_MAX)]
_Interval = Annotated[float, Meta(gt=0, le=TTL_S_MAX)]
_Time = Annotated[float, Meta(ge=-1e12, le=1e12)]  # on the clock of the sender
# An end is kept eight intervals longer than the ttl of what it ends, and four intervals are a ttl at the most.
_Ttl = Annotated[float, Meta(gt=0, le=3 * TTL_S_MAX)]
Key = Annotated[str, Meta(min_length=1, max_length=KEY_CHARACTERS_MAX)]
Keys = Annotated[list[Key], Meta(max_length=KEYS_ASKED_MAX)]
# Names end up in log lines and on terminals, so they have no control characters, line separators or marks that turn the
# direction of writing; addresses end up in URLs as well.
CONTROLS = r"\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
_Name = Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX, pattern=rf"\A[^{CONTROLS}]*\Z")]
_Release = Annotated[str, Meta(max_length=RELEASE_CHARACTERS_MAX, pattern=rf"\A[^{CONTROLS}]*\Z")]
_Address = Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX + 10, pattern=r"\A[!\"$-.0->A-\[\]-~]+:[0-9]{1,5}\Z")]
_Port = Annotated[int, Meta(ge=0, le=PORT_MAX)]
_Body = Annotated[bytes, Meta(max_length=ENTRY_BODY_BYTES_MAX)]
_Roots = Annotated[tuple[_Incarnation, ...], Meta(max_length=2 * ITEMS_MAX)]
_Heads = Annotated[dict[_Incarnation, _Number], Meta(max_length=NODES_MAX)]
_Steps = Annotated[list[_Number], Meta(max_length=ITEMS_MAX)]
_Masks = Annotated[list[_Incarnation], Meta(max_length=LIVE_MAX)]
_RowSteps = Annotated[list[_Number], Meta(max_length=LIVE_MAX)]


class WireSender(msgspec.Struct, array_like=True, frozen=True):
    """The node that sends a message."""

    incarnation: _Incarnation
    name: _Name
    address: _Address
    api_port: _Port = 0


class WireEnvelope(msgspec.Struct, array_like=True, frozen=True):
    """A message with the fields that show whether it is for this node."""

    version: int
    cluster: _Name
    interval_s: _Interval
    sender: WireSender
    payload: msgspec.Raw


class WireInquiry(msgspec.Struct, Generic[_Subject], array_like=True, frozen=True):
    """A question to one node, about a subject."""

    version: int
    cluster: _Name
    subject: _Subject


class WireQuestion(msgspec.Struct, array_like=True, frozen=True):
    """A question to one node about itself."""

    version: int
    cluster: _Name


class WireHeard(msgspec.Struct, array_like=True, frozen=True):
    """A peer in the report of a node, as that node sees it."""

    node: _Name
    address: _Address
    state: Literal["heard", "silent", "left"]
    lag_s: _Age | None


class WireNode(msgspec.Struct, array_like=True, frozen=True):
    """A node's report about itself."""

    incarnation: _Incarnation
    name: _Name
    address: _Address
    api_port: _Port
    version: _Release
    ready: bool
    uptime_s: _Age
    digest: _Incarnation
    registrations: _Number
    hears: Annotated[list[WireHeard], Meta(max_length=PEERS_MAX)]


class WireLease(msgspec.Struct, array_like=True, frozen=True):
    """A claim's ttl and the time left of it, and whether the claim has the rank that is listed."""

    ttl_s: _Ttl
    left_s: Annotated[float, Meta(ge=0, le=3 * TTL_S_MAX)]
    speaks: bool


#: A lease for each key of a question; None for a key without a claim at the node.
WireLeases = Annotated[list[WireLease | None], Meta(max_length=KEYS_ASKED_MAX)]


class WireVersion(msgspec.Struct, array_like=True, frozen=True):
    """The part of an envelope that any release can read."""

    version: int


class WireEntry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A claim; or, if it has no body, an end, which may have a reason.

    A claim that is its own root has no `roots` here; any other claim has one.
    """

    step: Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
    key: Key
    ttl_s: _Ttl
    rev: _Number
    body: _Body | None
    roots: _Roots = ()
    reason: Annotated[str, Meta(max_length=REASON_CHARACTERS_MAX)] | None = None


class WireCopy(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A claim with the same content as the claim `of_n` of the node `of_node`."""

    step: Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
    of_node: _Incarnation
    of_n: _Number
    checksum: Annotated[int, Meta(ge=0, lt=2**32)] | None = None


class WireLive(msgspec.Struct, array_like=True, frozen=True):
    """Rows of entries, and the mask of each."""

    rows: _RowSteps
    masks: _Masks


class WireDelta(msgspec.Struct, array_like=True, frozen=True):
    """Changes of one ledger."""

    incarnation: _Incarnation
    since: _Number
    base: _Number
    version: _Number
    reach: _Number
    added: Annotated[list[WireEntry], Meta(max_length=ITEMS_MAX)]
    removed: _Steps
    live: WireLive | None
    copies: Annotated[list[WireCopy], Meta(max_length=ITEMS_MAX)] = []


class WireCounter(msgspec.Struct, array_like=True, frozen=True):
    """Heartbeats of one node."""

    incarnation: _Incarnation
    name: _Name
    address: _Address
    beats: _Number
    age_s: _Age
    left: bool
    ttl_max_s: Annotated[float, Meta(ge=0, le=TTL_S_MAX)]
    api_port: _Port = 0


class WireSetting(msgspec.Struct, array_like=True, frozen=True):
    """One setting of one configuration key."""

    key: Key
    rev: _Number
    incarnation: _Incarnation
    at_ms: _Number
    author: Annotated[str, Meta(max_length=KEY_CHARACTERS_MAX)]
    body: _Body | None
    lasts_s: Annotated[float, Meta(gt=0, le=LASTING_S_MAX)] | None = None
    age_s: _Age = 0.0


class WireMessage(msgspec.Struct, array_like=True, frozen=True):
    """A message. `heads` are versions, `reaches` those ahead of their version, `checksums` those of complete copies."""

    heads: _Heads | None
    reaches: _Heads
    counters: Annotated[list[WireCounter], Meta(max_length=NODES_MAX)]
    deltas: Annotated[list[WireDelta], Meta(max_length=NODES_MAX)]
    ask: _Time | None
    echo: _Time | None
    digest: _Incarnation | None
    bucket_digests: Annotated[list[_Incarnation], Meta(max_length=BUCKETS)]
    buckets: Annotated[list[Annotated[int, Meta(ge=0, lt=BUCKETS)]], Meta(max_length=BUCKETS)]
    settings: Annotated[list[WireSetting], Meta(max_length=ITEMS_MAX)]
    checksums: Annotated[dict[_Incarnation, _Incarnation], Meta(max_length=NODES_MAX)] = {}
    known: Annotated[list[_Incarnation], Meta(max_length=ITEMS_MAX)] = []
    window: tuple[_Incarnation, _Incarnation] = ALL_DIGESTS
    partial: bool = False
