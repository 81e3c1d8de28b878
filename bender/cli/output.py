"""Print the output of a command: tables and colours on a terminal, plain columns elsewhere, JSON with --json.

Results go to stdout; remarks, progress and errors go to stderr. All output passes through this module, which escapes
control characters so that no text can disturb a terminal.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

import click

from bender.cli.styled_text import Styled, join_parts, plain_table, styled, styles_of
from bender.core.force_option import FORCE_HERE, FORCE_IN_API
from bender.net.escaping import escaped_json

if TYPE_CHECKING:
    from rich.progress import Progress

#: Seconds after which a command shows a sign that it is waiting.
WAITING_SIGN_AFTER_S = 1.0

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
    "left": "dim",
    "connected": "green",
    "gone": "red",
    "refused": "red",
    "held": "yellow",
    "unwritable": "red",
    "unreachable": "red",
    "left-out": "yellow",
    "up": "green",
    "drain": "yellow",
    "maint": "yellow",
    "suspect": "yellow",
    "+": "green",
    "~": "yellow",
    "-": "red",
}


def use_streams_safely() -> None:
    """Make stdout and stderr write escapes for characters that they cannot encode, instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # it is None where it was closed
            stream.reconfigure(errors="backslashreplace")


class Output:
    """The output of one command."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.is_terminal = sys.stdout.isatty()
        self._stderr_is_terminal = sys.stderr.isatty()
        #: Cancels the sign that `begin_waiting` has scheduled.
        self._cancel_sign: Callable[[], object] | None = None
        self._sign: Any = None

    def json(self, body: bytes) -> None:
        """Print an answer of the API on separate lines."""
        self.end_waiting()
        click.echo(json_for(sys.stdout, body.decode().removesuffix("\n")).encode())

    def say(self, text: str) -> None:
        """Print a sentence."""
        self.line(text)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]], *, caption: str = "") -> None:
        """Print a table, one row on a line; nothing if there are no rows. On a terminal, also print the caption."""
        self.end_waiting()
        if rows and self.is_terminal:
            from bender.cli.rich_output import print_table  # noqa: PLC0415 - see there

            print_table(columns, rows)
        elif rows:
            sys.stdout.write("".join(f"{line}\n" for line in plain_table(columns, rows)))
            sys.stdout.flush()
        if caption:
            self.aside(caption)

    def coloured(self, word: str) -> Styled:
        """Return a word in the colour of its meaning, if it has one."""
        return styled(word, COLOURS.get(word, ""))

    def line(self, *parts: object) -> None:
        """Print a line of several parts, with spaces between them."""
        self.end_waiting()
        self._print(sys.stdout, join_parts(parts))

    def dim(self, text: str) -> Styled:
        return styled(text, "dim")

    def aside(self, text: str) -> None:
        """Print a remark on stderr for people, if both stdout and stderr are terminals."""
        if self.is_terminal:
            self.note(text)

    def note(self, text: str) -> None:
        """Print a remark on stderr if it is a terminal."""
        if self._stderr_is_terminal:
            self.end_waiting()
            self._print(sys.stderr, styled(text, "dim"))

    def error(self, text: str) -> None:
        """Print the reason why the command failed: a sentence with or without its full stop."""
        self._print_message(text.replace(FORCE_IN_API, FORCE_HERE), "red")

    def warn(self, text: str) -> None:
        """Print a warning: a sentence with or without its full stop."""
        self._print_message(text, "yellow")

    def _print_message(self, text: str, colour: str) -> None:
        self.end_waiting()
        self._print(sys.stderr, join_parts([styled("bender:", colour), with_full_stop(text)]))

    def _print(self, stream: Any, text: Styled) -> None:
        if stream is not None:  # it is None where it was closed
            stream.write(text.for_terminal(styles_of(stream)) + "\n")
            stream.flush()

    def begin_waiting(self, later: Callable[[float, Callable[[], object]], Callable[[], object]]) -> None:
        """Show on a terminal that the command is waiting, if it prints nothing for some time.

        `later` schedules a function after a number of seconds, and returns a function that cancels it.
        """
        if self._stderr_is_terminal:
            self._cancel_sign = later(WAITING_SIGN_AFTER_S, self._show_sign)

    def _show_sign(self) -> None:
        from bender.cli.rich_output import waiting_sign  # noqa: PLC0415 - see there

        self._cancel_sign = None
        self._sign = waiting_sign("waiting for an answer")
        self._sign.start()

    def bar(self) -> Progress | None:
        """Return a progress bar that is redrawn in place and removed when it is stopped; None without a terminal."""
        if not self.is_terminal:
            return None
        from bender.cli.rich_output import progress_bar  # noqa: PLC0415 - see there

        self.end_waiting()
        return progress_bar()

    def end_waiting(self) -> None:
        """Remove the sign that the command is waiting, or cancel it."""
        if self._cancel_sign is not None:
            self._cancel_sign()
            self._cancel_sign = None
        if self._sign is not None:
            self._sign.stop()
            self._sign = None


def json_for(stream: Any, text: str) -> str:
    """Return JSON for a stream: in ASCII if its encoding is not UTF-8."""
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("_", "-")
    return escaped_json(text, ascii_only=encoding not in ("utf-8", "utf8"))


def without_full_stop(text: str) -> str:
    """Return a sentence without its full stop. Other dots at its end stay."""
    return re.sub(r"(?<=[\w)'\]])\.$", "", text)


def with_full_stop(text: str) -> str:
    """Return a sentence with one full stop, or with its question mark."""
    return text if text.endswith("?") else f"{without_full_stop(text)}."


def age_text(at_ms: int) -> str:
    """Return the age of a time, by this machine's clock, as a number with a unit."""
    return duration_text(max(0.0, time.time() - at_ms / 1000))


def duration_text(duration_s: float | None) -> str:
    """Return a duration as a number with a unit, or `never` for None."""
    from bender.core.timing import format_duration  # noqa: PLC0415 - what prints no durations does without attrs

    return "never" if duration_s is None else format_duration(duration_s)


def time_text(at_ms: int) -> str:
    """Return the time of day of a time, in the time zone of this machine."""
    return time.strftime("%H:%M:%S", time.localtime(at_ms / 1000)) + f".{at_ms % 1000:03}"


def date_and_time_text(at_ms: int) -> str:
    """Return the date and time of day of a time, in the time zone of this machine."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1000))


def compact_json(value: Any) -> str:
    """Return a value as JSON, or an empty text for an empty value."""
    import msgspec  # noqa: PLC0415 - not every command needs it

    return msgspec.json.encode(value).decode() if value not in (None, {}, []) else ""
