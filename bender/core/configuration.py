"""Configuration: for every key the set of its latest settings, the largest of which speaks.

Joining is the union of two sets, without what is older than the largest removal, cut to the largest 20: commutative,
associative and idempotent again. So a deploy that lost against another made at the same moment elsewhere is not lost
but stands in the history.

The digests let two nodes find out cheaply what they disagree on: one over everything, and one for each of 256 buckets
of keys. They are combined by exclusive or, so a change costs the same however many keys there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from zlib import crc32

from bender.core.messages import Setting

#: Settings kept of each key; the history that people can go back in.
SETTINGS_PER_KEY_MAX = 20

#: Keys, those that were removed included: they must be kept, or whoever was away would bring the setting back.
KEYS_MAX = 100_000

BUCKETS = 256


class Configuration:
    """All settings of all keys."""

    def __init__(self, keys_max: int = KEYS_MAX) -> None:
        #: Keys that may be set here, removed ones included.
        self.keys_max = keys_max
        self._settings: dict[str, tuple[Setting, ...]] = {}
        self._keys_of_bucket: list[set[str]] = [set() for _ in range(BUCKETS)]
        self._digests = [0] * BUCKETS
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

    def current(self, key: str) -> Setting | None:
        """The setting that speaks; None where there is none, or the key was removed."""
        latest = self._settings.get(key)
        return latest[0] if latest and latest[0].body is not None else None

    def rev_next(self, key: str) -> int:
        latest = self._settings.get(key)
        return latest[0].rev + 1 if latest else 1

    def join(self, setting: Setting) -> bool:
        """Take in a setting; whether that changed anything."""
        before = self._settings.get(setting.key, ())
        after = _joined(before, setting)
        if after == before:
            return False
        number = bucket(setting.key)
        for changed in {*before} ^ {*after}:
            self._digests[number] ^= _digest(changed)
            self.digest ^= _digest(changed)
        self._settings[setting.key] = after
        self._keys_of_bucket[number].add(setting.key)
        return True

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
    named = f"{setting.key} {setting.rev} {setting.incarnation}".encode()
    return int.from_bytes(blake2b(named, digest_size=8).digest(), "big")
