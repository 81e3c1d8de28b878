"""Checks all text that is written to HAProxy: every value of a configuration, and every command.

Values are also checked where they are received, so no unsafe value should come here. This module is the second line of
defence. It does not know the origin of a value, and refuses the value if HAProxy could read it as more than one value.

HAProxy has two languages: that of its configuration and that of its Runtime API. In both, the end of a line begins a
new statement; in the Runtime API, `;` does too. Spaces, quotes, backslashes, `#`, `$` and `%` end a word, or have a
meaning inside a word.
"""

from __future__ import annotations

import re
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup

#: C0, DEL, C1, both separators of lines that are not ASCII, surrogates (which UTF-8 cannot encode), and `;`.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff;]")

#: Characters that end a word of HAProxy's configuration or have a meaning inside one.
_NO_WORD = re.compile(r"""[\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff;'"\\#%$]""")

#: The characters of the driver's commands. HAProxy's own names have no other characters either.
_COMMAND = re.compile(r"[A-Za-z0-9_./:\[\] -]+", re.ASCII)

#: The mark of an escape in a readable name.
_MARK = "="

#: The largest number of characters of a foreign text in the log or the status.
SHOWN_CHARACTERS_MAX = 300


class Unsafe(ValueError):
    """A value could be read as more than one; the message has the value and the reason."""


class Fragment(str):
    """A part of a configuration line, made of checked values. It may have several words."""

    __slots__ = ()


def word(value: Any) -> str:
    """Return a value as one word of HAProxy's configuration. Raises `Unsafe`."""
    text = str(value)
    if _NO_WORD.search(text):
        raise Unsafe(f'{printable(text)!r} is not one word: use the template filter "quoted"')
    return text


def quoted(value: Any) -> Fragment:
    """Return a value, which may have any printable characters, as one quoted word of HAProxy's configuration.

    Raises `Unsafe`. Between single quotes only the quote has a meaning. `;` becomes an escape sequence, because no
    rendered value may contain it. `%` is unchanged, so this is not for a log-format: see `formatted`.
    """
    text = str(value)
    inside = text.replace("'", "'\\''").replace(";", "'\\x3b'")
    if _UNSAFE.search(inside):
        raise Unsafe(f"{printable(text)!r} has a control character")
    return Fragment(f"'{inside}'")


def formatted(value: Any) -> Fragment:
    """Return a value as one word that HAProxy reads as a log-format, such as that of a header. Raises `Unsafe`."""
    return quoted(str(value).replace("%", "%%"))


def readable(name: str) -> str:
    """Return a name as one word for people: other characters become `=` and their bytes in hexadecimal."""
    if _is_plain(name):  # almost all are
        return name
    return "".join(each if _is_plain(each) else _escaped(each) for each in name)


@pass_context
def checked_output(_context: Context, value: Any) -> Markup:
    """Return the text that a template prints for a value: one word, or a fragment. Raises `Unsafe`.

    Jinja2 calls this function for each `{{ … }}`. Text that the template itself has composed of such values, such as in
    a macro, is `Markup` and already checked. The result is `Markup` too, so that Jinja2 does not escape it.
    """
    if isinstance(value, Markup):
        return value
    if isinstance(value, Fragment):
        if _UNSAFE.search(value):
            raise Unsafe(f"{printable(value)!r} has a control character or a semicolon")
    else:
        word(str(value).strip(" "))  # spaces around a word neither end nor begin another statement
    return Markup(value)  # noqa: S704 - nothing here is HTML


def is_command(text: str) -> bool:
    """Return True if a text is one command of the Runtime API, and no more than one."""
    return _COMMAND.fullmatch(text) is not None


def printable(text: str) -> str:
    """Return a foreign text for a log or a status: bounded, with unprintable characters escaped."""
    if len(text) <= SHOWN_CHARACTERS_MAX and text.isprintable():
        return text
    cut = text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[: SHOWN_CHARACTERS_MAX - 1]}…"
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in cut)


def _is_plain(text: str) -> bool:
    return text.isprintable() and _MARK not in text and _NO_WORD.search(text) is None


def _escaped(character: str) -> str:
    return "".join(f"{_MARK}{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
