"""What of the configuration goes into one message, so that all of it goes in turn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bender.core.gossip_targets import Link
from bender.core.last_writer_wins import BUCKETS, Configuration, size_of
from bender.core.messages import ALL_DIGESTS, ConfigSetting, Window

#: Settings in one message, and their bytes.
SETTINGS_PER_MESSAGE_MAX = 256
SETTINGS_BYTES_MAX = 1024 * 1024


class SettingPages:
    """Fills messages with at most `settings_max` settings."""

    def __init__(self, configuration: Configuration, settings_max: int) -> None:
        self._configuration = configuration
        self._settings_max = settings_max

    def buckets_in_turn(
        self, link: Link, differing: Iterable[int]
    ) -> tuple[tuple[int, ...], tuple[ConfigSetting, ...]]:
        """As many of the buckets that differ as fit into a message, and all that is in them here.

        They are taken in turn, so that one that goes on differing does not hold up others. One that has too much for a
        message comes alone, and without its settings.
        """
        buckets: list[int] = []
        settings: list[ConfigSetting] = []
        size = 0
        for number in sorted(differing, key=lambda number: (number - link.next_bucket) % BUCKETS):
            few = len(settings) + self._configuration.count_in_bucket(number) <= self._settings_max
            mine = self._configuration.settings_in_bucket(number) if few else []  # there may be very many
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
        """The next window of a bucket that has too much for a message, and the digests of what is in it here.

        Where nothing is in any of these buckets, that is everything.
        """
        if not buckets or not self._configuration.count_in_bucket(buckets[0]):
            return ALL_DIGESTS, ()
        number = buckets[0]
        window = self._configuration.window_from(number, link.next_digests.pop(number, 0))
        if window[1] < ALL_DIGESTS[1]:
            link.next_digests[number] = window[1] + 1
        return window, tuple(self._configuration.digests_in_bucket(number, window))

    def fitting(self, settings: Sequence[ConfigSetting]) -> Sequence[ConfigSetting]:
        """As many of these as fit into a message, from the first on; one at least."""
        size = 0
        for i, setting in enumerate(settings):
            size += size_of(setting)
            if i and (size > SETTINGS_BYTES_MAX or i >= self._settings_max):
                return settings[:i]
        return settings
