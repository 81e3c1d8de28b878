"""Durations as people write them (`bender.core.durations`)."""

from __future__ import annotations

from math import isclose, isfinite

from hypothesis import strategies as st

from bender.core.durations import parse_duration

BYTES_MAX = 64
WORDS = (b"d", b"h", b"m", b"min", b"s", b"ms", b".", b" ", b"0", b"999999999")

_NUMBERS = st.from_regex(r"\A[0-9]{1,13}(\.[0-9]{0,10})?\Z")
_PARTS = st.tuples(_NUMBERS, st.sampled_from(["d", "h", "m", "min", "s", "ms", "", " ", "S", "\u0661"])).map("".join)
NEAR = st.lists(_PARTS, max_size=6).map(lambda parts: "".join(parts).encode())


def fuzz(sent: bytes) -> None:
    """A text is a finite duration of 0 or more, or raises `ValueError`."""
    try:
        text = sent.decode()
        seconds = parse_duration(text)
    except ValueError:
        return
    assert isfinite(seconds) and seconds >= 0, seconds
    # Spaces around the text, and zeros before it, change nothing.
    assert parse_duration(f" {text}\n") == seconds
    if seconds < 1e12:
        assert isclose(parse_duration(f"{seconds:.9f}s" if seconds < 1e9 else f"{seconds:.9f}"), seconds, abs_tol=1e-9)
