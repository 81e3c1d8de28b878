"""Decode the bytes that a terminal sends for keys. A key is a character, or a name such as `up` or `page-down`.

The known sequences are those of xterm and the VT220, which all common terminals send. Other sequences are dropped as a
whole, so that no part of them counts as a key.
"""

from __future__ import annotations

import codecs
import re

_ESCAPE = 0x1B

#: Limit for the bytes of a sequence. No key of any terminal has a longer one.
SEQUENCE_BYTES_MAX = 32

#: Whole CSI (ECMA-48, 5.4) and SS3 sequences, and beginnings of such sequences.
_SEQUENCE = re.compile(rb"\x1b(?:\[[\x30-\x3f]*[\x20-\x2f]*[\x40-\x7e]|O[\x20-\x7e])")
_BEGINNING = re.compile(rb"\x1b(?:\[[\x20-\x3f]*|O)?")

_SEQUENCES = {
    **{b"\x1b%b%b" % (begin, end): name for begin in (b"[", b"O") for end, name in (
        (b"A", "up"), (b"B", "down"), (b"C", "right"), (b"D", "left"), (b"H", "home"), (b"F", "end"),
    )},
    **{b"\x1b[%d~" % number: name for number, name in (
        (1, "home"), (3, "delete"), (4, "end"), (5, "page-up"), (6, "page-down"), (7, "home"), (8, "end"),
    )},
    b"\x1b[Z": "back-tab",
}  # fmt: skip

_CONTROLS = {
    "\r": "enter",
    "\n": "enter",
    "\t": "tab",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x02": "page-up",
    "\x06": "page-down",
    "\x0c": "ctrl-l",
    "\x15": "ctrl-u",
    "\x1b": "escape",
}


class KeyDecoder:
    """Decode keys from pieces of input. A sequence may come in several pieces."""

    def __init__(self) -> None:
        self._unread = b""
        self._characters = codecs.getincrementaldecoder("utf-8")("ignore")

    @property
    def is_waiting(self) -> bool:
        """Whether a sequence is incomplete. If its rest does not come, the key was Escape: see `flush`."""
        return bool(self._unread)

    def feed(self, piece: bytes) -> list[str]:
        """Return the keys that are complete after this piece of input."""
        piece = self._unread + piece
        self._unread = b""
        keys: list[str] = []
        at = 0
        while at < len(piece):
            if piece[at] != _ESCAPE:
                end = piece.find(b"\x1b", at)
                end = len(piece) if end < 0 else end
                keys += map(_named, self._characters.decode(piece[at:end]))
                at = end
                continue
            sequence = _SEQUENCE.match(piece, at)
            if sequence is not None:
                keys += [_SEQUENCES[sequence[0]]] if sequence[0] in _SEQUENCES else []
                at = sequence.end()
            elif (beginning := _BEGINNING.match(piece, at)) is not None and beginning.end() == len(piece):
                self._unread = piece[at:] if len(piece) - at <= SEQUENCE_BYTES_MAX else b""
                break
            else:
                keys.append("escape")
                at += 1
        return [key for key in keys if key]

    def flush(self) -> list[str]:
        """Return the keys in an incomplete sequence: Escape, and the characters after it."""
        rest, self._unread = self._unread, b""
        return ["escape", *map(_named, rest[1:].decode("ascii", "ignore"))] if rest else []


def _named(character: str) -> str:
    """Return the name of a key, or an empty text for a control character without a use."""
    return _CONTROLS.get(character, character if character.isprintable() else "")
