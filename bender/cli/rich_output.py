"""Draw on a terminal with rich: folded tables, progress bars, and a sign that a command waits.

This module is imported on demand, because importing rich takes longer than most commands.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.status import Status
from rich.table import Table
from rich.text import Text

from bender.cli.styled_text import styled

#: A width that no table exceeds.
UNLIMITED_WIDTH = 10_000

#: The smallest width of a folded last column. If it would be narrower, lines exceed the width of the terminal instead.
FOLDED_MIN = 20


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on stdout, which is a terminal, one row on a line."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=True)
    for name in columns:
        table.add_column(_text(name), overflow="fold", no_wrap=True)
    for row in rows:
        table.add_row(*map(_text, row))
    _fit(console, table, _text(columns[-1]).plain)
    console.print(table, crop=False, no_wrap=True)


def _fit(console: Console, table: Table, last: str) -> None:
    """Fold the last column if the terminal is narrow and has room for the other columns, which are never cut."""
    unlimited = console.options.update(width=UNLIMITED_WIDTH)
    folded = table.columns[-1]
    folded.no_wrap = False
    folded.min_width = len(last)
    wide = Measurement.get(console, unlimited, table).maximum
    longest = max(Measurement.get(console, unlimited, cell).maximum for cell in folded.cells)
    others = wide - max(longest, len(last))
    if wide > console.width > others + FOLDED_MIN:
        table.width = console.width
        folded.width = console.width - others
    else:
        table.width = wide


def waiting_sign(text: str) -> Status:
    """Return a sign that the command waits. Its `start` shows it on stderr, and its `stop` removes it."""
    return Console(stderr=True, highlight=False, soft_wrap=True).status(text)


def progress_bar() -> Progress:
    """Return a bar on stdout that is redrawn in place, and removed when it is stopped."""
    fields = (
        _TextColumn("bold", lambda task: task.description),
        BarColumn(24),
        _TextColumn("", lambda task: task.fields["note"]),
    )
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    return Progress(*fields, console=console, transient=True, auto_refresh=False)


class _TextColumn(ProgressColumn):
    """A column of a progress bar that has text."""

    def __init__(self, style: str, text_of: Callable[[Task], str]) -> None:
        super().__init__()
        self._style = style
        self._text_of = text_of

    def render(self, task: Task) -> Text:
        return Text(_text(self._text_of(task)).plain, self._style)


def _text(text: object) -> Text:
    """Return styled text as a text of rich."""
    parts = styled(text).parts
    return Text.assemble(*parts)
