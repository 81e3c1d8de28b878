"""Configuration: the latest settings of each key. The setting of the largest rank is in force.

The join of two sets of settings is their union, without settings older than the largest removal, cut to the 20 largest.
It is commutative, associative and idempotent. If two nodes change a key at the same moment, the setting that loses
stays in the history.

Some settings have a duration, such as an operator's state of an instance. Clocks of nodes are never compared: such a
setting is sent with its age, and each node continues to count the age. After its duration the setting counts as
removed. When no node can have a setting of the key in force any more, the key is forgotten.

Digests let two nodes find their differences cheaply. There is one digest of all settings, and one for each of 256
buckets of keys. A digest combines those of its settings by exclusive or, so a change costs the same for any number of
keys. If a bucket has too many settings for one message, the digests of its settings are compared: a client can choose
names that all belong to one bucket.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from hashlib import blake2b
from math import inf
from typing import TypeVar
from zlib import crc32

from attrs import evolve

from bender.core.authors import client_of
from bender.core.ledger import NUMBER_MAX
from bender.core.messages import AGE_S_MAX, ALL_DIGESTS, ConfigSetting, SettingRank, Window

#: The largest number of settings that are kept of a key: the one in force and its history.
SETTINGS_PER_KEY_MAX = 20

#: The largest number of names of backends and frontends that clients can use, and, separately, of states. Removed names
#: count: they are kept, because a node that was cut off would otherwise bring their settings back.
KEYS_MAX = 100_000

#: The largest size of all settings of backends and frontends with their histories, and, separately, of states. It is
#: enough for 100,000 names with five settings of 500 bytes each.
BYTES_MAX = 256 * 1024 * 1024

#: The part of each of these limits that one client may use, so that it cannot take the room of all others.
CLIENT_SHARE_MAX = 1 / 5

#: New keys are accepted from peers up to this multiple of the names and bytes that clients may set at one node.
PEERS_FACTOR = 2

#: The longest duration of a setting, in seconds, if it has one.
LASTING_S_MAX = 30 * 24 * 3600.0

#: A setting with a duration is kept for this many seconds after the last moment at which it, or a setting that it
#: replaced, can be in force at a node that was cut off.
KEPT_LONGER_S = 600.0

#: The age in seconds at which a setting with a duration is forgotten at the latest.
FORGOTTEN_AFTER_S = LASTING_S_MAX + KEPT_LONGER_S

BUCKETS = 256

#: The largest number of digests of single settings in one message. They take 64 KiB.
DIGESTS_MAX = 8192

_T = TypeVar("_T")


class Configuration:
    """All settings of all keys."""

    def __init__(self, keys_max: int = KEYS_MAX, bytes_max: int = BYTES_MAX) -> None:
        #: The largest number of keys without a duration, removed keys included, and, separately, of keys with one.
        self.keys_max = keys_max
        #: The largest size of all settings without a duration, and, separately, of those with one.
        self.bytes_max = bytes_max
        self._settings: dict[str, tuple[ConfigSetting, ...]] = {}
        # Keys and bytes are counted in two groups: True for settings without a duration, False for those with one. A
        # key belongs to the group and the client of its latest setting; the bytes of each setting to its own client.
        self._keys_of_group: Counter[bool] = Counter()
        self._keys_of_client: Counter[tuple[bool, str]] = Counter()
        self._bytes_of_group: Counter[bool] = Counter()
        self._bytes_of_client: Counter[tuple[bool, str]] = Counter()
        # All settings by their digests.
        self._buckets: list[dict[int, ConfigSetting]] = [{} for _ in range(BUCKETS)]
        self._digests = [0] * BUCKETS
        # When each setting with a duration was made, on this node's clock; when each key with such settings is due (see
        # `take_due_keys`); and the earliest of these times.
        self._made_at: dict[tuple[str, SettingRank], float] = {}
        self._due_at: dict[str, float] = {}
        self._first_due_at = inf
        #: The digest of all settings. Two nodes have the same one, for all practical purposes, only if all their
        #: settings are equal.
        self.digest = 0

    def __len__(self) -> int:
        """Return the number of keys, removed ones included."""
        return len(self._settings)

    def __contains__(self, key: str) -> bool:
        return key in self._settings

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings)

    def refusal_reason(self, setting: ConfigSetting) -> str | None:
        """Return why a client may not make a setting here: a limit for all clients or for one. None if it may."""
        lasting, client = setting.lasts_s is None, client_of(setting.author)
        if setting.rev > NUMBER_MAX:  # only a peer that makes numbers up can cause this
            return f"{setting.key} has reached the maximum number of changes: use another name"
        if setting.body is not None:
            what, used = "backends and frontends" if lasting else "states", self._bytes_of_client[lasting, client]
            if self._bytes_of_group[lasting] >= self.bytes_max:
                size = f"{self.bytes_max} bytes, the maximum"
                return f"the {what} of this cluster and their histories take {size}: remove some of them"
            if used >= self.bytes_max * CLIENT_SHARE_MAX:
                size = f"{used} bytes, the maximum for one client"
                return f"{client} has set {what} of {size}: remove some of them"
        if setting.key in self._settings:
            return None
        what = "names of backends and frontends (removed ones count, too)" if lasting else "states of instances"
        then = "use one of these names" if lasting else "try again when some of them have ended"
        if self._keys_of_group[lasting] >= self.keys_max:
            return f"this cluster already has the maximum of {self.keys_max} {what}: {then}"
        if self._keys_of_client[lasting, client] >= max(1, int(self.keys_max * CLIENT_SHARE_MAX)):
            number = self._keys_of_client[lasting, client]
            has_made = "has used" if lasting else "has set"
            return f"{client} {has_made} {number} {what}, the maximum for one client: {then}"
        return None

    def settings(self, key: str) -> tuple[ConfigSetting, ...]:
        """Return the settings of a key, the largest first."""
        return self._settings.get(key, ())

    def current(self, key: str, now: float) -> ConfigSetting | None:
        """Return the setting of a key that is in force. None if the key is unknown or removed, or its duration over."""
        latest = self._settings.get(key)
        if not latest or latest[0].body is None:
            return None
        over = latest[0].lasts_s is not None and self.age_s(latest[0], now) >= latest[0].lasts_s
        return None if over else latest[0]

    def expiring(self, key: str, now: float) -> tuple[ConfigSetting, float] | None:
        """Return the setting in force and the seconds left of it; None unless a setting with a duration is in force."""
        setting = self.current(key, now)
        if setting is None or setting.lasts_s is None:
            return None
        return setting, setting.lasts_s - self.age_s(setting, now)

    def age_s(self, setting: ConfigSetting, now: float) -> float:
        """Return the age of a setting in seconds; 0 if it has no duration."""
        return now - self._made_at.get((setting.key, setting.rank), now)

    def with_ages(self, settings: Iterable[ConfigSetting], now: float) -> tuple[ConfigSetting, ...]:
        """Return the settings with their present ages, to be sent to another node at this moment."""
        return tuple(
            each if each.lasts_s is None else evolve(each, age_s=min(self.age_s(each, now), AGE_S_MAX))
            for each in settings
        )

    def take_due_keys(self, now: float) -> list[str]:
        """Return the keys that are due: their setting has ended since the last call, or no node needs the key any more.

        A key that no node needs is forgotten in this call.
        """
        if now < self._first_due_at:
            return []
        keys = [key for key, at in self._due_at.items() if at <= now]
        for key in keys:
            self._schedule(key, now)
        self._first_due_at = min(self._due_at.values(), default=inf)
        return keys

    def next_rev(self, key: str) -> int:
        latest = self._settings.get(key)
        return latest[0].rev + 1 if latest else 1

    def removal_lasts_s(self, key: str, now: float) -> float:
        """Return the duration in seconds that a removal of a key must have. All settings of the key must have one.

        The removal is remembered for as long as any node may keep one of these settings. If it were forgotten sooner, a
        node that was cut off would bring such a setting back, which would win over a later setting with a smaller rev.
        """
        left = (kept_s(each) - KEPT_LONGER_S - self.age_s(each, now) for each in self.settings(key))
        return max(left, default=0.0)

    def join(self, setting: ConfigSetting, now: float) -> bool:
        """Add a setting; return True if this changed the settings of its key."""
        before = self._settings.get(setting.key, ())
        after = _joined(before, setting)
        if after == before or (not before and self._is_refused(setting)):
            return False
        if setting.lasts_s is not None:
            self._made_at[setting.key, setting.rank] = now - setting.age_s
        self._replace(setting.key, before, after)
        if setting.lasts_s is not None:
            self._schedule(setting.key, now)
        return True

    def _is_refused(self, setting: ConfigSetting) -> bool:
        """Whether a setting of an unknown key is not accepted: it would be forgotten at once, or a limit is reached."""
        forgotten = setting.lasts_s is not None and setting.age_s >= kept_s(setting)
        lasting = setting.lasts_s is None
        too_many = self._keys_of_group[lasting] >= PEERS_FACTOR * self.keys_max
        return forgotten or too_many or self._bytes_of_group[lasting] >= PEERS_FACTOR * self.bytes_max

    def _replace(self, key: str, before: tuple[ConfigSetting, ...], after: tuple[ConfigSetting, ...]) -> None:
        for gone in {*before} - {*after}:
            number, digest = self._count_setting(gone, -1)
            self._buckets[number].pop(digest, None)  # a peer may have made up two settings with one digest
            self._made_at.pop((key, gone.rank), None)
        for added in {*after} - {*before}:
            number, digest = self._count_setting(added, 1)
            self._buckets[number][digest] = added
        for latest, by in ((before[:1], -1), (after[:1], 1)):
            for setting in latest:
                lasting = setting.lasts_s is None
                self._keys_of_group[lasting] += by
                _count(self._keys_of_client, (lasting, client_of(setting.author)), by)
        if after:
            self._settings[key] = after
        else:
            del self._settings[key]

    def _count_setting(self, setting: ConfigSetting, by: int) -> tuple[int, int]:
        """Add a setting to the digests and counts (`by` is 1), or subtract it (-1). Return its bucket and digest."""
        lasting, size = setting.lasts_s is None, size_of(setting)
        self._bytes_of_group[lasting] += by * size
        _count(self._bytes_of_client, (lasting, client_of(setting.author)), by * size)
        digest = digest_of(setting)
        number = bucket_of(setting.key)
        self._digests[number] ^= digest
        self.digest ^= digest
        return number, digest

    def _schedule(self, key: str, now: float) -> None:
        """Set when a key is due next: when its setting in force ends, or else when no node needs the key any more.

        If no node needs the key now, forget it. All settings of such a key have a duration, unless a peer sent a kind
        of setting that this release does not know.
        """
        settings = self._settings[key]
        left_s = max(kept_s(each) - self.age_s(each, now) for each in settings)
        if left_s <= 0:
            self._replace(key, settings, ())
            self._due_at.pop(key, None)
            return
        current = self.current(key, now)
        if current is not None and current.lasts_s is not None:
            left_s = min(left_s, current.lasts_s - self.age_s(current, now))
        self._due_at[key] = now + left_s
        self._first_due_at = min(self._first_due_at, now + left_s)

    @property
    def bucket_digests(self) -> tuple[int, ...]:
        return tuple(self._digests)

    def differing_buckets(self, digests: Iterable[int]) -> list[int]:
        """Return the numbers of the buckets whose digests here differ from `digests`, those of another node."""
        return [
            number for number, (mine, other) in enumerate(zip(self._digests, digests, strict=True)) if mine != other
        ]

    def settings_in_bucket(
        self, number: int, known: Collection[int] = (), within: Window = ALL_DIGESTS
    ) -> list[ConfigSetting]:
        """Return the settings in a bucket whose digests are within a window and are not among `known`."""
        first, last = within
        return [
            setting
            for digest, setting in self._buckets[number].items()
            if first <= digest <= last and digest not in known
        ]

    def count_in_bucket(self, number: int) -> int:
        """Return the number of settings in a bucket."""
        return len(self._buckets[number])

    def digests_in_bucket(self, number: int, within: Window = ALL_DIGESTS) -> list[int]:
        """Return the digests of the settings in a bucket, within a window, in order."""
        first, last = within
        return sorted(digest for digest in self._buckets[number] if first <= digest <= last)

    def window_from(self, number: int, first: int) -> Window:
        """Return the window that begins at the digest `first` and has at most `DIGESTS_MAX` settings of a bucket."""
        digests = self.digests_in_bucket(number, (first, ALL_DIGESTS[1]))
        return (first, digests[DIGESTS_MAX - 1] if len(digests) > DIGESTS_MAX else ALL_DIGESTS[1])


def bucket_of(key: str) -> int:
    """Return the number of the bucket that holds the settings of a key."""
    return crc32(key.encode()) % BUCKETS


def size_of(setting: ConfigSetting) -> int:
    """Return about how many bytes a setting takes in a message."""
    return len(setting.body or b"") + len(setting.key) + len(setting.author) + 40


def kept_s(setting: ConfigSetting) -> float:
    """Return the age in seconds up to which a setting with a duration keeps its key from being forgotten.

    The first setting of a key has replaced none, and the duration of a removal covers all settings that it removes. Any
    other setting may have replaced one that is in force elsewhere for up to `LASTING_S_MAX`.
    """
    first_or_removal = setting.rev == 1 or setting.body is None
    return float(setting.lasts_s or 0) + KEPT_LONGER_S if first_or_removal else FORGOTTEN_AFTER_S


def _count(counter: Counter[_T], what: _T, by: int) -> None:
    """Add `by` to a count, and drop a count that becomes 0."""
    counter[what] += by
    if not counter[what]:
        del counter[what]


def _joined(settings: tuple[ConfigSetting, ...], new: ConfigSetting) -> tuple[ConfigSetting, ...]:
    """Return the settings of a key after the join with `new`, the largest first."""
    if any(setting.rank == new.rank for setting in settings):
        return settings
    ordered = sorted((*settings, new), key=lambda setting: setting.rank, reverse=True)[:SETTINGS_PER_KEY_MAX]
    for i, setting in enumerate(ordered):
        if setting.body is None:
            return tuple(ordered[: i + 1])
    return tuple(ordered)


def digest_of(setting: ConfigSetting) -> int:
    """Return 64 bits of a hash: two settings have the same, for all practical purposes, only if they are equal."""
    named = repr((setting.key, setting.rank)).encode()
    return int.from_bytes(blake2b(named, digest_size=8).digest(), "big")
