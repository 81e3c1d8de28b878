"""Make the lines of one screen from the state of the registry and the view, and the size of the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

from bender.cli.styled_text import GAP, Styled, styled
from bender.cli.top.controls import TopControls
from bender.cli.top.fitting import fitted, width_of
from bender.cli.top.header import all_problems, cut, footer, header, help_lines
from bender.cli.top.live_registry import SeenChange, is_recent
from bender.cli.top.views import NODES, Field, Moment, TopState, TopView

#: The signs and styles of a recent change.
_SIGNS = {
    "online": ("+", "green"),
    "created": ("+", "green"),
    "offline": ("-", "red"),
    "removed": ("-", "red"),
    "changed": ("~", "yellow"),
}
_NO_SIGN = (" ", "")

#: The number of lines above the names of the columns, and below the rows.
HEADER_LINES = 4
FOOTER_LINES = 1

#: The smallest screen that has room for a table.
COLUMNS_MIN, LINES_MIN = 20, 8


class Size(NamedTuple):
    """The size of a terminal, in characters."""

    columns: int
    lines: int

    @property
    def rows(self) -> int:
        """The number of lines for the rows of a table."""
        return max(1, self.lines - HEADER_LINES - FOOTER_LINES - 1)


def frame(
    live: TopState,
    table: TopState,
    controls: TopControls,
    size: Size,
    rows: Sequence[Any],
) -> list[Styled]:
    """Return the lines of a screen.

    `table` is the state that the table shows, which is an earlier one during a pause; the header shows the state
    `live`. `rows` are the rows of the table, as `TopControls.rows` returns them for `table`, or the lines of the
    explanation of an instance.
    """
    if size.columns < COLUMNS_MIN or size.lines < LINES_MIN:
        return [styled(fitted("bender top: enlarge the terminal", size.columns))]
    paused: Moment | None = table.moment if controls.is_paused else None
    lines = header(live, paused, controls, size.columns)
    height = size.rows
    if controls.is_help:
        back = cut([("q: quit  any other key: back", "dim")], size.columns)
        return _filled([*lines, styled(""), *help_lines(size.columns)], size, back)
    if controls.place.explained is not None:
        shown = rows[controls.index :][: height + 1]
        lines += [cut([*line.parts], size.columns) for line in shown]
        return _filled(lines, size, footer(controls, controls.index, height + 1, len(rows), size.columns))
    first = controls.find(rows, height)
    below = footer(controls, first, height, len(rows), size.columns)
    lines += table_lines(table, controls, rows[first : first + height], size.columns, controls.index - first)
    if controls.place.view == NODES:
        lines += [styled(""), *all_problems(live.link, size.columns)]
    return _filled(lines, size, below)


def wrapped(lines: Sequence[Styled], width: int) -> list[Styled]:
    """Return lines of text, with those wrapped that are longer than the screen."""
    found = []
    for line in lines:
        if width_of(line.plain) <= width or len(line.parts) != 1:
            found.append(line)
        else:
            ((text, style),) = line.parts
            found += [styled(piece, style) for piece in textwrap.wrap(text, max(1, width))]
    return found


def _filled(lines: list[Styled], size: Size, last: Styled) -> list[Styled]:
    """Return the lines of a whole screen, with `last` as the last line."""
    lines = lines[: size.lines - 1]
    return [*lines, *[styled("")] * (size.lines - 1 - len(lines)), last]


def table_lines(
    shown: TopState, controls: TopControls, rows: Sequence[Any], width: int, selected: int | None
) -> list[Styled]:
    """Return the line with the names of the columns, and the lines of the rows, of which one may be selected."""
    view = controls.view
    cells = [[field.text(shown, row) for row in rows] for field in view.fields]
    preferred = [_width(field, column) for field, column in zip(view.fields, cells, strict=True)]
    minimum = [max(len(field.name), field.width_min) for field in view.fields]
    widths = widths_in(preferred, minimum, [field.rank for field in view.fields], width - 2)
    names = _names(view, widths, controls.order.column)
    dim = shown.link.is_stale
    return [
        cut(names, width),
        *(
            _row(view, shown, row, [column[at] for column in cells], widths, selected=at == selected, dim=dim)
            for at, row in enumerate(rows)
        ),
    ]


def _width(field: Field[Any], column: Sequence[str]) -> int:
    longest = max(map(width_of, column), default=0)
    return max(len(field.name), field.width_min, min(longest, field.width_max))


def _names(view: TopView[Any], widths: Sequence[int], sorted_by: int) -> list[tuple[str, str]]:
    names: list[tuple[str, str]] = [("  ", "")]
    for at, (field, width) in enumerate(zip(view.fields, widths, strict=True)):
        if width:
            name = fitted(field.name, width, right=field.is_right_aligned)
            names += [(name, "reverse" if at == sorted_by else "bold"), (GAP, "")]
    return names[:-1]


def _row(
    view: TopView[Any],
    shown: TopState,
    row: object,
    cells: Sequence[str],
    widths: Sequence[int],
    *,
    selected: bool,
    dim: bool,
) -> Styled:
    change: SeenChange | None = view.change(row)
    recent = change is not None and is_recent(change, shown.moment.now)
    sign, style = _SIGNS.get(change.event, _NO_SIGN) if recent and change is not None else _NO_SIGN
    parts: list[tuple[str, str]] = [(f"{sign} ", style)]
    for field, cell, width in zip(view.fields, cells, widths, strict=True):
        if width:
            text = fitted(cell, width, right=field.is_right_aligned)
            parts += [(text, style or field.styles(cell)), (GAP, "")]
    parts.pop()
    if dim:
        parts = [("".join(text for text, _ in parts), "dim")]
    if selected:
        parts = [(text, f"{style} reverse") for text, style in parts]
    return Styled(*parts)


def widths_in(preferred: Sequence[int], minimum: Sequence[int], ranks: Sequence[int], width: int) -> list[int]:
    """Return the widths of columns that fit into a line; 0 for columns that are left out.

    Columns with the highest ranks are narrowed first, down to their minimum width, or left out. If the columns of rank
    0 still do not fit, the widest of them are narrowed.
    """
    widths = [*preferred]
    for at in sorted((at for at, rank in enumerate(ranks) if rank), key=lambda at: (-ranks[at], -at)):
        over = _total(widths) - width
        if over > 0:
            widths[at] = widths[at] - over if widths[at] - over >= minimum[at] else 0
    while _total(widths) > width:
        widest = max(range(len(widths)), key=widths.__getitem__)
        if widths[widest] <= 1:
            return [*_first_that_fit(widths, width)]
        widths[widest] -= 1
    return widths


def _total(widths: Sequence[int]) -> int:
    shown = [width for width in widths if width]
    return sum(shown) + len(GAP) * max(0, len(shown) - 1)


def _first_that_fit(widths: Sequence[int], width: int) -> list[int]:
    """Return the widths of the first columns that fit, and 0 for the others."""
    kept: list[int] = []
    for each in widths:
        kept.append(each if _total([*kept, each]) <= width else 0)
    return kept
