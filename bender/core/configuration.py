"""Configuration: for every key the set of its latest settings, the largest of which speaks.

Joining is the union of two sets, without what is older than the largest removal, cut to the largest 20: commutative,
associative and idempotent again. So a deploy that lost against another made at the same moment elsewhere is not lost
but stands in the history.

Some settings last for a while only, such as what an operator says of an instance. No two clocks are compared: they
travel with their age, and each node counts that on. When their time is over they are as good as removed, and once no
node can have any that speaks they are forgotten.

The digests let two nodes find out cheaply what they disagree on: one over everything, and one for each of 256 buckets
of keys. They are combined by exclusive or, so a change costs the same however many keys there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from math import inf
from zlib import crc32

from attrs import evolve

from bender.core.messages import Setting, SettingRank

#: Settings kept of each key; the history that people can go back in.
SETTINGS_PER_KEY_MAX = 20

#: Keys, those that were removed included: they must be kept, or whoever was away would bring the setting back.
KEYS_MAX = 100_000

#: The longest that a setting can last that does not last for ever.
LASTING_S_MAX = 30 * 24 * 3600.0

#: One that lasts for a while is kept for so long, whatever it says: until then an older one may still be on a node that
#: was cut off. Ten minutes more than the longest, for words that take long.
FORGOTTEN_AFTER_S = LASTING_S_MAX + 600.0

BUCKETS = 256


class Configuration:
    """All settings of all keys."""

    def __init__(self, keys_max: int = KEYS_MAX) -> None:
        #: Keys that may be set here, removed ones included.
        self.keys_max = keys_max
        self._settings: dict[str, tuple[Setting, ...]] = {}
        self._keys_of_bucket: list[set[str]] = [set() for _ in range(BUCKETS)]
        self._digests = [0] * BUCKETS
        # When those were made that do not last for ever, on this node's clock; when to look at their keys again, and
        # the first of these times.
        self._made_at: dict[tuple[str, SettingRank], float] = {}
        self._due_at: dict[str, float] = {}
        self._first_due_at = inf
        #: Equal, for all practical purposes, only where all settings are.
        self.digest = 0

    def __len__(self) -> int:
        """How many keys there are, removed ones included."""
        return len(self._settings)

    def __contains__(self, key: str) -> bool:
        return key in self._settings

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings)

    def has_room_for(self, key: str) -> bool:
        """Whether a key may be set here. What peers bring is taken always."""
        return key in self._settings or len(self._settings) < self.keys_max

    def settings(self, key: str) -> tuple[Setting, ...]:
        """The settings of a key, the largest first."""
        return self._settings.get(key, ())

    def current(self, key: str, now: float) -> Setting | None:
        """The setting that speaks; None where there is none, the key was removed, or its time is over."""
        latest = self._settings.get(key)
        if not latest or latest[0].body is None:
            return None
        over = latest[0].lasts_s is not None and self.age_s(latest[0], now) >= latest[0].lasts_s
        return None if over else latest[0]

    def age_s(self, setting: Setting, now: float) -> float:
        """How long ago a setting was made; 0 of one that lasts for ever."""
        return now - self._made_at.get((setting.key, setting.rank), now)

    def told(self, settings: Iterable[Setting], now: float) -> tuple[Setting, ...]:
        """Settings as they are told to another node at this moment."""
        return tuple(each if each.lasts_s is None else evolve(each, age_s=self.age_s(each, now)) for each in settings)

    def due(self, now: float) -> list[str]:
        """The keys for which a setting's time is over since this was called last. What nobody needs is forgotten."""
        if now < self._first_due_at:
            return []
        keys = [key for key, at in self._due_at.items() if at <= now]
        for key in keys:
            self._schedule(key, now)
        self._first_due_at = min(self._due_at.values(), default=inf)
        return keys

    def rev_next(self, key: str) -> int:
        latest = self._settings.get(key)
        return latest[0].rev + 1 if latest else 1

    def join(self, setting: Setting, now: float) -> bool:
        """Take in a setting; whether that changed anything."""
        before = self._settings.get(setting.key, ())
        after = _joined(before, setting)
        if after == before or (setting.lasts_s is not None and setting.age_s >= FORGOTTEN_AFTER_S):
            return False
        if setting.lasts_s is not None:
            self._made_at[setting.key, setting.rank] = now - setting.age_s
        self._replace(setting.key, before, after)
        self._keys_of_bucket[bucket(setting.key)].add(setting.key)
        if setting.lasts_s is not None:
            self._schedule(setting.key, now)
        return True

    def _replace(self, key: str, before: tuple[Setting, ...], after: tuple[Setting, ...]) -> None:
        number = bucket(key)
        for changed in {*before} ^ {*after}:
            self._digests[number] ^= _digest(changed)
            self.digest ^= _digest(changed)
        for gone in {*before} - {*after}:
            self._made_at.pop((key, gone.rank), None)
        self._settings[key] = after

    def _schedule(self, key: str, now: float) -> None:
        """Note when the setting that speaks is over; after that, when nobody can have one any more, and forget it then.

        All settings of such a key last for a while only.
        """
        settings = self._settings[key]
        left_s = FORGOTTEN_AFTER_S - min(self.age_s(each, now) for each in settings)
        if left_s <= 0:
            self._replace(key, settings, ())
            del self._settings[key], self._due_at[key]
            self._keys_of_bucket[bucket(key)].discard(key)
            return
        current = self.current(key, now)
        if current is not None and current.lasts_s is not None:
            left_s = min(left_s, current.lasts_s - self.age_s(current, now))
        self._due_at[key] = now + left_s
        self._first_due_at = min(self._first_due_at, now + left_s)

    @property
    def bucket_digests(self) -> tuple[int, ...]:
        return tuple(self._digests)

    def differing(self, digests: Iterable[int]) -> list[int]:
        """The buckets whose digests are not those given."""
        return [
            number for number, (mine, other) in enumerate(zip(self._digests, digests, strict=True)) if mine != other
        ]

    def bucket(self, number: int) -> list[Setting]:
        """All settings of the keys in a bucket."""
        return [setting for key in sorted(self._keys_of_bucket[number]) for setting in self._settings[key]]


def bucket(key: str) -> int:
    return crc32(key.encode()) % BUCKETS


def _joined(settings: tuple[Setting, ...], new: Setting) -> tuple[Setting, ...]:
    if any(setting.rank == new.rank for setting in settings):
        return settings
    ordered = sorted((*settings, new), key=lambda setting: setting.rank, reverse=True)[:SETTINGS_PER_KEY_MAX]
    for i, setting in enumerate(ordered):
        if setting.body is None:
            return tuple(ordered[: i + 1])
    return tuple(ordered)


def _digest(setting: Setting) -> int:
    named = repr((setting.key, setting.rank)).encode()
    return int.from_bytes(blake2b(named, digest_size=8).digest(), "big")
