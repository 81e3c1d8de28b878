"""The messages between nodes: one kind of message, all of its parts optional.

A round is a request with heads and counters; its answer has what the asking node lacks, and a second request what the
answering node lacks. A push is a request with a delta and settings alone, answered by the heads that result. Bytes,
wire versions and the cluster's name are handled by `bender.exchange.wire`.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from bender.core.ledger import Delta, Head


@frozen
class Sender:
    """The sender of a message: an incarnation, its name for people, and `host:port` where others reach its exchange.

    `api_port` is where clients reach it at the same host, 0 if they cannot from elsewhere.
    """

    incarnation: int
    name: str
    address: str
    api_port: int = 0


@frozen
class Counter:
    """News of one incarnation: it has counted `beats` heartbeats, the last of them `age_s` seconds ago.

    `left` says that it left the cluster with the last one, `ttl_max_s` is the longest ttl of its claims (0 as long as
    it is heard).
    """

    incarnation: int
    name: str
    address: str
    beats: int
    age_s: float
    left: bool = False
    ttl_max_s: float = 0.0
    api_port: int = 0


#: The largest age of anything that nodes exchange, in seconds. A greater age from a peer is sent as this one.
AGE_S_MAX = 1e9

#: Digests of settings from the first up to and including the last.
Window = tuple[int, int]

#: All digests.
WHOLE: Window = (0, 2**64 - 1)

#: The rev, incarnation, time, author, body and duration of a setting; the last two are empty or 0 if it has none.
SettingRank = tuple[int, int, int, str, bytes, float]


@frozen
class ConfigSetting:
    """One setting of a configuration key (`backend/NAME`, `frontend/NAME`, `state/…`); `body` is None if removed.

    `at_ms` (milliseconds since the epoch) and `author` are for people, nothing is decided by them. A setting that lasts
    for `lasts_s` only is sent with its age, the time since it was made: each node counts that on by its own clock.
    """

    key: str
    rev: int
    incarnation: int
    at_ms: int
    author: str
    body: bytes | None
    lasts_s: float | None = None
    age_s: float = field(default=0.0, eq=False)

    @property
    def rank(self) -> SettingRank:
        """The setting of a key with the largest rank speaks; no two settings that differ have the same rank.

        An incarnation uses each rev of a key once, unless its machine is cloned or set back to a snapshot.
        """
        return (self.rev, self.incarnation, self.at_ms, self.author, self.body or b"", float(self.lasts_s or 0))


@frozen
class Message:
    """A message from one node to another.

    `ask` is a time on the sender's own clock, which comes back as `echo` with everything that the other node had
    received by then. `digest` is that of the whole configuration, `bucket_digests` those of its parts, and `buckets`
    lists the parts of which the sender wants everything else: it has the settings in `settings`, and those with a
    digest in `known`, which lists all that it has within a `window`. An answer that is `partial` lacks some of the
    settings that are wanted.
    """

    sender: Sender
    heads: Mapping[int, Head] | None = None
    counters: tuple[Counter, ...] = ()
    deltas: tuple[Delta, ...] = ()
    ask: float | None = None
    echo: float | None = None
    digest: int | None = None
    bucket_digests: tuple[int, ...] = ()
    buckets: tuple[int, ...] = ()
    settings: tuple[ConfigSetting, ...] = ()
    known: tuple[int, ...] = ()
    window: Window = WHOLE
    partial: bool = False

    @property
    def for_all(self) -> bool:
        """Whether it means the same to all nodes that have shown to have the same; copies and some settings do not."""
        return not self.settings and not any(delta.has_copies for delta in self.deltas)


@frozen(eq=False)
class OutgoingMessage:
    """A message to be sent to `address`. Its sender reports exactly once: the answer, or that none came in time.

    `limit_s` is how long the sender waits for the answer. `compares` is the ask of the round in which configurations
    were found to differ, if `message` asks for all that the other node has in the parts that do.
    """

    address: str
    message: Message
    limit_s: float
    push: bool = False
    compares: float | None = None
