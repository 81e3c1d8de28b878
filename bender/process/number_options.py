"""Options of a service under `twistd` that are numbers or durations."""

from __future__ import annotations

from contextlib import suppress
from math import inf, isfinite

from bender.core.durations import FORM, parse_duration
from bender.process.options import OptionError, RawOption

#: TOML has integers of any size.
_INTEGER_MAX = 2**63


def seconds_of(raw: RawOption, at_least: float, at_most: float = inf) -> float:
    """Return the seconds in an option that is a duration, from `at_least` to `at_most`. Raises `OptionError`."""
    value = raw.value
    if isinstance(value, str):
        with suppress(ValueError):
            value = parse_duration(value)
    return _within(raw, value, FORM, at_least, at_most, " seconds")


def number_of(raw: RawOption, at_least: float, at_most: float) -> float:
    """Return the value of an option that is a number, from `at_least` to `at_most`. Raises `OptionError`."""
    return _within(raw, raw.value, "a number", at_least, at_most)


def integer_of(raw: RawOption, at_least: int, at_most: int) -> int:
    """Return the value of an option that is an integer, from `at_least` to `at_most`. Raises `OptionError`."""
    value = raw.value
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a number on the command line was converted from text to a float
    if not isinstance(value, int) or isinstance(value, bool):
        raise OptionError(f"{raw.source} must be an integer, not {value!r}.")
    return int(_within(raw, value, "an integer", at_least, at_most))


def _within(raw: RawOption, value: object, form: str, at_least: float, at_most: float, unit: str = "") -> float:
    if isinstance(value, int) and abs(value) > _INTEGER_MAX:
        value = inf  # no float is that large, and Python might refuse to print it
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise OptionError(f"{raw.source} must be {form}, not {raw.value!r}.")
    if not at_least <= value <= at_most:
        limit = f"at least {_shown(at_least)}" if value < at_least else f"at most {_shown(at_most)}"
        raise OptionError(f"{raw.source} must be {limit}{unit}, not {_shown(value)}.")
    return float(value)


def _shown(value: float) -> str:
    """Return a number as text, without an exponent if it is an integer of a usual size."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:g}"
