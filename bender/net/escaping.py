"""Escape text from other programs for a terminal or a log.

Names, settings and messages of nodes may have any character in them. A control character moves the cursor, clears the
screen or sets its title; one of C1 does the same as an escape sequence; a bidirectional control shows text in another
order than it has; an invisible one makes two names look the same. Each is shown as an escape of Python's or JSON's.
"""

from __future__ import annotations

import re

# Control characters (C0, DEL, C1), line and paragraph separators, bidirectional controls, and what has no width;
# surrogates, which come of arguments that are not UTF-8 and cannot be written; and tags, which are invisible letters.
_UNFIT = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_NOT_ASCII = re.compile("[^\x00-\x7f]")


def escaped(text: str) -> str:
    """Return text on one line, with each character that could disturb a terminal as Python escapes it."""
    return _UNFIT.sub(_as_python, text)


def escaped_lines(text: str) -> str:
    """Return the same for several lines, which stay lines."""
    return "\n".join(map(escaped, text.split("\n")))


def escaped_json(text: str, *, ascii_only: bool = False) -> str:
    """Return equal JSON in which each such character in a string is written by its number.

    It must be well-formed. With `ascii_only` that is so for all that is not ASCII, for whatever cannot show it.
    """
    # Outside of strings these are white space alone: lines stay, and a carriage return would hide what stands before.
    text = _UNFIT.sub(lambda found: found[0] if found[0] in "\n\t" else _as_json(found), text.replace("\r", " "))
    return _NOT_ASCII.sub(_as_json, text) if ascii_only else text


def _as_python(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _as_json(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
