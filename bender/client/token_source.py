"""The token that a client sends. Its file may change while the client runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

#: A token, or a function that returns the token, such as one that reads a file; None if no token is sent.
TokenSource = str | Callable[[], str | None] | None


def is_token(text: str) -> bool:
    """Return True if a text can be a token: printable ASCII, because it is sent in a header."""
    return bool(text) and text.isascii() and text.isprintable()


def token_in_file(path: Path) -> str | None:
    """Return the token in a file, or None if the file cannot be read or does not have a token."""
    try:
        text = path.read_bytes().decode("ascii", "replace").strip()
    except OSError:
        return None
    return text if is_token(text) else None


class CurrentToken:
    """The token that a client sends now. `text` is the token, or None."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self.text = source() if callable(source) else source

    def read_again(self) -> bool:
        """Read the token again from its source. Return True if it has changed. A token that is gone is kept."""
        token = self._source() if callable(self._source) else self.text
        changed = token is not None and token != self.text
        if changed:
            self.text = token
        return changed
