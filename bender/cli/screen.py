"""What a command says: tables and colours on a terminal, plain columns elsewhere, JSON if that was asked for.

What was asked for goes to stdout; what is said about it, progress and errors, to stderr. Everything passes through
here, so that nothing can disturb a terminal: control characters and the like are shown as escapes.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence
from io import StringIO, TextIOWrapper
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.status import Status
from rich.table import Table
from rich.text import Text

from bender.core.timing import in_a_word
from bender.escaping import escaped, escaped_json

#: What takes longer shows that it is not over.
PATIENCE_S = 1.0

#: Where there is no terminal nothing is cut, however long it is.
PLAIN_WIDTH = 10_000

#: Where the last column of a table would be narrower, lines go beyond the terminal's edge instead.
FOLDED_MIN = 20

COLOURS = {
    "online": "green",
    "created": "green",
    "offline": "red",
    "removed": "red",
    "changed": "yellow",
    "heard": "green",
    "ready": "green",
    "silent": "red",
    "not ready": "red",
    "away": "red",
    "left": "dim",
    "connected": "green",
    "gone": "red",
    "up": "green",
    "drain": "yellow",
    "maint": "yellow",
    "suspect": "yellow",
}


def use_streams_safely() -> None:
    """Have characters that stdout or stderr cannot encode written as escapes, instead of not at all."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # it is None where it was closed
            stream.reconfigure(errors="backslashreplace")


class Screen:
    """Where one command says what it has to say."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        terminal = sys.stdout.isatty()
        self._out = Console(width=None if terminal else PLAIN_WIDTH, highlight=False, soft_wrap=True)
        self._plain = Console(file=StringIO(), width=PLAIN_WIDTH, highlight=False)
        self._aside = Console(stderr=True, highlight=False, soft_wrap=True)
        self._late: Any = None
        self._status: Status | None = None
        self.is_terminal = terminal

    def json(self, body: bytes) -> None:
        """What the API has answered."""
        self.end()
        click.echo(json_for(sys.stdout, body.decode()).encode())

    def say(self, text: str) -> None:
        """Something in words."""
        self.end()
        self._out.print(_text(text))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]], *, caption: str = "") -> None:
        """One row to a line; nothing where there is none, but for what is said about it on a terminal."""
        table = Table(box=None, pad_edge=False, header_style="bold", show_header=True)
        for name in columns:
            table.add_column(_text(name), overflow="fold", no_wrap=True)
        for row in rows:
            table.add_row(*map(_text, row))
        self.end()
        if rows and self.is_terminal:
            self._fit(table, escaped(columns[-1]))
            self._out.print(table, crop=False, no_wrap=True)
        elif rows:  # columns alone, without what fills the last one up
            with self._plain.capture() as capture:
                self._plain.print(table)
            lines = (line.rstrip() for line in capture.get().splitlines())
            sys.stdout.write("".join(f"{line}\n" for line in lines))  # click would write UTF-8 where that is not taken
            sys.stdout.flush()
        if caption:
            self.aside(caption)

    def _fit(self, table: Table, last: str) -> None:
        """On a narrow terminal the last column is folded, if there is room; what is wider than that is not cut."""
        unlimited = self._out.options.update(width=PLAIN_WIDTH)
        folded = table.columns[-1]
        folded.no_wrap = False
        folded.min_width = len(last)
        wide = Measurement.get(self._out, unlimited, table).maximum
        longest = max(Measurement.get(self._out, unlimited, cell).maximum for cell in folded.cells)
        others = wide - max(longest, len(last))
        if wide > self._out.width > others + FOLDED_MIN:
            table.width = self._out.width
            folded.width = self._out.width - others
        else:
            table.width = wide

    def coloured(self, word: str) -> Text:
        """A word in its colour."""
        return _text(word, COLOURS.get(word, ""))

    def line(self, *parts: str | Text) -> None:
        """A line of several parts."""
        self.end()
        self._out.print(Text(" ").join(map(_text, parts)))

    def dim(self, text: str) -> Text:
        return _text(text, "dim")

    def aside(self, text: str) -> None:
        """Something about what is said, for people alone: where a program reads the rest, nobody misses it."""
        if self.is_terminal:
            self.note(text)

    def note(self, text: str) -> None:
        """Something that people may want to know anyway."""
        if self._aside.is_terminal:
            self.end()
            self._aside.print(_text(text, "dim"))

    def error(self, text: str) -> None:
        """Why it was not done, in a sentence whose point may be missing."""
        self._tell(text, "red")

    def warn(self, text: str) -> None:
        """What is done may not be what was meant; a sentence whose point may be missing."""
        self._tell(text, "yellow")

    def _tell(self, text: str, colour: str) -> None:
        self.end()
        self._aside.print(Text(" ").join([Text("bender:", colour), _text(f"{without_point(text)}.")]))

    def begin(self, reactor: Any) -> None:
        """Show on a terminal that something is going on, if that takes long and nothing is said meanwhile."""
        if self._aside.is_terminal:
            self._status = self._aside.status("waiting for an answer")
            self._late = reactor.callLater(PATIENCE_S, self._status.start)

    def bar(self) -> Progress | None:
        """For who sits before a terminal, a bar that is drawn anew in its place; it goes when it is stopped."""
        if not self._out.is_terminal:
            return None
        self.end()
        fields = (
            _Said("bold", lambda task: task.description),
            BarColumn(24),
            _Said("", lambda task: task.fields["said"]),
        )
        return Progress(*fields, console=self._out, transient=True, auto_refresh=False)

    def end(self) -> None:
        """It is over."""
        if self._late is not None and self._late.active():
            self._late.cancel()
        if self._status is not None:
            self._status.stop()


class _Said(ProgressColumn):
    """A column of a bar with text in it."""

    def __init__(self, style: str, text_of: Callable[[Task], str]) -> None:
        super().__init__()
        self._style = style
        self._text_of = text_of

    def render(self, task: Task) -> Text:
        return _text(self._text_of(task), self._style)


def _text(text: object, style: str = "") -> Text:
    """Something to be printed, with what could disturb a terminal escaped."""
    if not isinstance(text, Text):
        return Text(escaped(str(text)), style)
    fit = escaped(text.plain)
    return text if fit == text.plain else Text(fit, text.style)


def json_for(stream: Any, text: str) -> str:
    """JSON as it can be written to a stream: what is not UTF-8 gets ASCII alone, which everything can show."""
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("_", "-")
    return escaped_json(text, ascii_only=encoding not in ("utf-8", "utf8"))


def without_point(text: str) -> str:
    """A sentence, to be gone on with; dots that are no full stop stay."""
    return re.sub(r"(?<=[\w)'\]])\.$", "", text)


def ago(at_ms: int) -> str:
    """How long ago something was, by this machine's clock, in a word."""
    return lasted(max(0.0, time.time() - at_ms / 1000))


def lasted(duration_s: float | None) -> str:
    """A duration in a word."""
    return "never" if duration_s is None else in_a_word(duration_s)


def clock(at_ms: int) -> str:
    """A time of day, by this machine's clock."""
    return time.strftime("%H:%M:%S", time.localtime(at_ms / 1000)) + f".{at_ms % 1000:03}"


def day_and_clock(at_ms: int) -> str:
    """A time, by this machine's clock."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1000))


def compact(value: Any) -> str:
    """A value in JSON, or nothing for what is empty."""
    return msgspec.json.encode(value).decode() if value not in (None, {}, []) else ""
