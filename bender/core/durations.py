"""Durations as people write them: `90`, `90s`, `10m` or `10min`, `1h30m`, `2d`, `250ms`.

A number without a unit is seconds. Units go from the largest to the smallest, each at most once, so `30m1h` is an
error and not a guess.
"""

from __future__ import annotations

import re

#: The form of a duration, for messages.
FORM = "a number of seconds, or a duration such as 90s, 10m, 1h30m or 2d"

_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", re.ASCII)
_PART = r"(?:([0-9]{{1,9}}(?:\.[0-9]{{1,9}})?){unit})?"
_UNITS_S = {"d": 86_400.0, "h": 3600.0, "m(?:in)?": 60.0, "s": 1.0, "ms": 0.001}
_UNITS = re.compile("".join(_PART.format(unit=unit) for unit in _UNITS_S), re.ASCII)


def parse_duration(text: str) -> float:
    """Return the seconds of a duration. Raises `ValueError`, whose message describes the form of a duration."""
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    match = _UNITS.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"must be {FORM}, not {text!r}")
    parts = zip(match.groups(), _UNITS_S.values(), strict=True)
    return float(sum(float(number) * unit_s for number, unit_s in parts if number is not None))
