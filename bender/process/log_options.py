"""The log options of all services: the format, and the lowest level that is logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from bender.process.options import OptionError, RawOption, text_of

FORMATS = ("text", "json")

#: From the least severe to the most; a level includes all that follow it.
LEVELS = ("debug", "info", "warn", "error")


@frozen
class LogSettings:
    """The values of the options."""

    format: str = "text"
    level: str = "info"


#: The option names, with their defaults and texts in `--help`.
LOG_OPTIONS: Mapping[str, tuple[str, str]] = {
    "log-format": (LogSettings().format, "FORMAT of the log: text, or json for one JSON object per line"),
    "log-level": (LogSettings().level, "LEVEL from which lines are logged: debug, info, warn or error"),
}


def parse_log_settings(raw: Mapping[str, RawOption]) -> LogSettings:
    """Return the log settings, with defaults for missing options. Raises `OptionError`."""
    raw = {option: raw.get(option, RawOption(f"--{option}", default)) for option, (default, _) in LOG_OPTIONS.items()}
    return LogSettings(_one_of(raw["log-format"], FORMATS), _one_of(raw["log-level"], LEVELS))


def log_changes(before: LogSettings, after: LogSettings) -> list[str]:
    """Return a clause for each option that differs between two settings."""
    pairs = {"log-format": (before.format, after.format), "log-level": (before.level, after.level)}
    return [f"--{option}: {new} instead of {old}" for option, (old, new) in pairs.items() if new != old]


def _one_of(raw: RawOption, words: Sequence[str]) -> str:
    word = text_of(raw)
    if word not in words:
        raise OptionError(f"{raw.source} must be {', '.join(words[:-1])} or {words[-1]}, not {word!r}.")
    return word
