"""The token that a client sends, which may be changed in its file while the client runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

#: A token, or a function that returns it, such as one that reads a file; None if no token is sent.
TokenSource = str | Callable[[], str | None] | None


def is_token(text: str) -> bool:
    """Return True if a text can be a token: it is sent in a header, so it is printable ASCII."""
    return bool(text) and text.isascii() and text.isprintable()


def token_in_file(path: Path) -> str | None:
    """Return the token in a file as it is now; None where it cannot be read, or has none."""
    try:
        text = path.read_bytes().decode("ascii", "replace").strip()
    except OSError:
        return None
    return text if is_token(text) else None


class CurrentToken:
    """The token that is sent at present."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self.text = source() if callable(source) else source

    def read_again(self) -> bool:
        """Read the token again where it comes from. Return True if it is another one; one that is gone is kept."""
        token = self._source() if callable(self._source) else self.text
        changed = token is not None and token != self.text
        if changed:
            self.text = token
        return changed
