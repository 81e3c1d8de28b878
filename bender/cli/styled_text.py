"""Coloured text and tables without rich, which most commands do not need."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from bender.net.escaping import escaped

#: The terminal sequences of styles by name. `NO_COLOR` switches off the styles in `_COLOURS`.
_SEQUENCES = {"bold": "1", "dim": "2", "reverse": "7", "red": "31", "green": "32", "yellow": "33"}
_COLOURS = {"red", "green", "yellow"}

#: The text between two columns of a table.
GAP = "  "


class Styled:
    """Text of several parts, each with the names of its styles. Control characters are escaped."""

    __slots__ = ("parts",)

    def __init__(self, *parts: tuple[str, str]) -> None:
        self.parts = tuple((escaped(text), style) for text, style in parts)

    @property
    def plain(self) -> str:
        """The text without its styles."""
        return "".join(text for text, _ in self.parts)

    def padded(self, width: int) -> Styled:
        """Return the text with spaces at its end, up to this width."""
        return Styled(*self.parts, (" " * (width - cell_width(self.plain)), ""))

    def for_terminal(self, styles: frozenset[str]) -> str:
        """Return the text for a terminal that shows these styles."""
        pieces = ""
        for text, names in self.parts:
            codes = ";".join(_SEQUENCES[name] for name in names.split() if name in styles)
            pieces += f"\x1b[{codes}m{text}\x1b[0m" if codes and text else text
        return pieces


def styled(text: object, style: str = "") -> Styled:
    """Return a value as styled text; styled text is returned unchanged."""
    return text if isinstance(text, Styled) else Styled((str(text), style))


def join_parts(parts: Iterable[object], between: str = " ") -> Styled:
    """Return several parts as one styled text, with the text `between` them."""
    pieces: list[tuple[str, str]] = []
    for part in parts:
        pieces += [(between, "")] if pieces else []
        pieces += styled(part).parts
    return Styled(*pieces)


def styles_of(stream: Any) -> frozenset[str]:
    """Return the styles that a stream shows: none unless it is a terminal, or FORCE_COLOR is set."""
    forced = os.environ.get("FORCE_COLOR", "") != ""
    if not forced and (not stream.isatty() or os.environ.get("TERM", "") in ("dumb", "unknown")):
        return frozenset()
    return frozenset(_SEQUENCES.keys() - (_COLOURS if os.environ.get("NO_COLOR") else set()))


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return the lines of a table. Columns are as wide as their contents, without spaces after the last column."""
    cells = [[styled(cell).plain for cell in row] for row in (columns, *rows)]
    widths = [max(map(cell_width, column)) for column in zip(*cells, strict=True)]
    return [
        GAP.join(text + " " * (width - cell_width(text)) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def cell_width(text: str) -> int:
    """Return the number of terminal columns that a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - its tables are large, and names are mostly ASCII

    return cell_len(text)
