"""Settings, and a configuration with them."""

from __future__ import annotations

from bender.core.last_writer_wins import KEPT_LONGER_S, LASTING_S_MAX, Configuration
from bender.core.messages import ConfigSetting

NOW = 1000.0
DAY_S = 24 * 3600.0

#: The time for which a setting with a duration is kept if it has replaced another setting.
REPLACED_KEPT_S = LASTING_S_MAX + KEPT_LONGER_S


def setting(rev: int, body: bytes | None = b"{}", key: str = "backend/web", incarnation: int = 1) -> ConfigSetting:
    return ConfigSetting(key, rev, incarnation, 1795447942248, "ops", body)


def configured(*settings: ConfigSetting) -> Configuration:
    configuration = Configuration()
    for each in settings:
        configuration.join(each, NOW)
    return configuration


def state(configuration: Configuration) -> object:
    everything = {key: configuration.settings(key) for key in configuration}
    return (everything, configuration.digest, configuration.bucket_digests)
