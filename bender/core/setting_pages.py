"""The choice of settings for one message when two configurations differ. All differences get their turn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bender.core.gossip_targets import Link
from bender.core.last_writer_wins import BUCKETS, Configuration, size_of
from bender.core.messages import ALL_DIGESTS, ConfigSetting, Window

#: The largest number of settings in one message, and about their largest size.
SETTINGS_PER_MESSAGE_MAX = 256
SETTINGS_BYTES_MAX = 1024 * 1024


class SettingPages:
    """Chooses the settings of each message, at most `settings_max` of them."""

    def __init__(self, configuration: Configuration, settings_max: int) -> None:
        self._configuration = configuration
        self._settings_max = settings_max

    def buckets_in_turn(
        self, link: Link, differing: Iterable[int]
    ) -> tuple[tuple[int, ...], tuple[ConfigSetting, ...]]:
        """Return as many of the differing buckets as fit into a message, and all settings in them here.

        The link's buckets take turns, so a bucket that continues to differ does not delay the others. A bucket with too
        many settings for a message is returned alone and without its settings.
        """
        buckets: list[int] = []
        settings: list[ConfigSetting] = []
        size = 0
        for number in sorted(differing, key=lambda number: (number - link.next_bucket) % BUCKETS):
            few = len(settings) + self._configuration.count_in_bucket(number) <= self._settings_max
            mine = self._configuration.settings_in_bucket(number) if few else []  # do not collect very many
            size += sum(map(size_of, mine))
            fits = few and size <= SETTINGS_BYTES_MAX
            if fits or not buckets:
                buckets.append(number)
                link.next_bucket = number + 1
            if not fits:
                break
            settings += mine
        return tuple(buckets), tuple(settings)

    def window_in_turn(self, link: Link, buckets: Sequence[int]) -> tuple[Window, tuple[int, ...]]:
        """Return the next window of a bucket with too many settings for a message, and the digests here within it.

        If the bucket has no settings here, or there is no bucket, the window has all digests.
        """
        if not buckets or not self._configuration.count_in_bucket(buckets[0]):
            return ALL_DIGESTS, ()
        number = buckets[0]
        window = self._configuration.window_from(number, link.next_digests.pop(number, 0))
        if window[1] < ALL_DIGESTS[1]:
            link.next_digests[number] = window[1] + 1
        return window, tuple(self._configuration.digests_in_bucket(number, window))

    def fitting(self, settings: Sequence[ConfigSetting]) -> Sequence[ConfigSetting]:
        """Return as many of the first settings as fit into a message, but at least one if there is one."""
        size = 0
        for i, setting in enumerate(settings):
            size += size_of(setting)
            if i and (size > SETTINGS_BYTES_MAX or i >= self._settings_max):
                return settings[:i]
        return settings
