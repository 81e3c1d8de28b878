"""Escape text from other programs for a terminal or a log.

Names, settings and messages of nodes may contain any character. A control character moves the cursor, clears the screen
or sets its title. A C1 control character does the same as an escape sequence. A bidirectional control character changes
the order in which text is displayed, and an invisible character makes two names look the same. All of them are escaped
as in Python or JSON.
"""

from __future__ import annotations

import re

# Control characters (C0, DEL, C1), line and paragraph separators, bidirectional controls, characters without a width,
# surrogates (from arguments that are not UTF-8; they cannot be encoded), and tags, which are invisible letters.
_UNFIT = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_NOT_ASCII = re.compile("[^\x00-\x7f]")


def escaped(text: str) -> str:
    """Return `text` on one line, with each character that could disturb a terminal escaped as in Python."""
    return _UNFIT.sub(_as_python, text)


def escaped_lines(text: str) -> str:
    """Return `text` with such characters escaped, but with its line breaks."""
    return "\n".join(map(escaped, text.split("\n")))


def escaped_json(text: str, *, ascii_only: bool = False) -> str:
    """Return equal JSON in which each such character in a string is escaped. `text` must be well-formed JSON.

    With `ascii_only`, all characters that are not ASCII are escaped, for outputs that cannot show them.
    """
    # Outside of strings, only white space can match: line breaks and tabs stay, and a carriage return, which would hide
    # the text before it on a terminal, becomes a space.
    text = _UNFIT.sub(lambda found: found[0] if found[0] in "\n\t" else _as_json(found), text.replace("\r", " "))
    return _NOT_ASCII.sub(_as_json, text) if ascii_only else text


def _as_python(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _as_json(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
