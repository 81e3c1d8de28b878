"""The messages between nodes: one kind of message, whose parts are optional.

A round begins with a request that has heads and counters. Its answer has the deltas that the asking node lacks. A
second request has the deltas that the answering node lacks. A push is a request with only a delta and settings; its
answer has the resulting heads. `bender.exchange.wire` handles bytes, wire versions and the cluster's name.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from bender.core.ledger import Delta, Head


@frozen
class Sender:
    """The sender of a message: an incarnation, its name for people, and the `host:port` at which peers reach it.

    `api_port` is the port for clients at the same host, 0 if clients on other machines cannot reach the node.
    """

    incarnation: int
    name: str
    address: str
    api_port: int = 0


@frozen
class Counter:
    """The heartbeat counter of one incarnation: `beats` heartbeats, the last of them `age_s` seconds ago.

    `left` is True if the incarnation left the cluster with its last heartbeat. `ttl_max_s` is the longest ttl of its
    claims if it is silent, and 0 while it is heard.
    """

    incarnation: int
    name: str
    address: str
    beats: int
    age_s: float
    left: bool = False
    ttl_max_s: float = 0.0
    api_port: int = 0


#: The largest age that nodes exchange, in seconds. Larger ages are sent as this one.
AGE_S_MAX = 1e9

#: A range of digests of settings: the first and the last digest, both included.
Window = tuple[int, int]

#: The range of all digests.
ALL_DIGESTS: Window = (0, 2**64 - 1)

#: The rev, incarnation, time, author, body and duration of a setting. A missing body is empty, a missing duration 0.
SettingRank = tuple[int, int, int, str, bytes, float]


@frozen
class ConfigSetting:
    """One setting of a configuration key (`backend/NAME`, `frontend/NAME`, `state/…`); `body` is None if removed.

    `at_ms` (milliseconds since the epoch) is shown to people, and so is `author`. They decide only between settings
    with the same rev and incarnation. A setting that ends after `lasts_s` is sent with its age, the time since it was
    made. Each node continues this age by its own clock.
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
        """The rank of a setting: of the settings of a key, the one with the largest rank wins.

        Different settings have different ranks. An incarnation uses each rev of a key only once, unless its machine
        is cloned or set back to a snapshot.
        """
        return (self.rev, self.incarnation, self.at_ms, self.author, self.body or b"", float(self.lasts_s or 0))


@frozen
class Message:
    """A message from one node to another.

    `ask` is a time on the sender's clock. The other node returns it as `echo`, together with everything that it had
    received by then.

    `digest` is that of the whole configuration, and `bucket_digests` are those of its buckets. `buckets` are the
    numbers of the buckets whose settings the sender requests as far as it lacks them. The sender already has the
    settings in `settings`, and those whose digests are in `known`. If `known` is not empty, it has the digests of all
    settings of the first bucket within `window`. A `partial` answer lacks some of the requested settings.
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
    window: Window = ALL_DIGESTS
    partial: bool = False

    @property
    def is_same_for_all(self) -> bool:
        """Whether one message may go to all peers that have the same version. It has neither copies nor settings."""
        return not self.settings and not any(delta.has_copies for delta in self.deltas)


@frozen(eq=False)
class OutgoingMessage:
    """A message to be sent to `address`.

    Its sender reports exactly once: either the answer, or that no answer came in time. `limit_s` is how long the
    sender waits for the answer. If `message` requests the settings in which two configurations differ,
    `comparison_ask` is the ask of the round that found the difference.
    """

    address: str
    message: Message
    limit_s: float
    push: bool = False
    comparison_ask: float | None = None
