"""A command on a real terminal, and the picture that a user would see there."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Self

import pexpect
import pyte

from tests.e2e.nodes import until

#: The sequences that switch between the two screens of a terminal.
_ALTERNATE = re.compile(r"(\x1b\[\?1049[hl])")

#: Bytes to read at a time.
PIECE_BYTES = 65_536


class Picture:
    """The screen of a command in pyte, a terminal in memory; the alternate screen is a second one."""

    def __init__(self, command: pexpect.spawn[str]) -> None:
        self.command = command
        lines, columns = command.getwinsize()
        self._main = pyte.Screen(columns, lines)
        self._show(self._main)
        self._written = ""
        self._unfed = ""

    def _show(self, screen: pyte.Screen) -> None:
        self._screen = screen
        self._stream = pyte.Stream(screen)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.command.close(force=True)

    def look(self) -> None:
        """Read everything that was written since the last call."""
        with suppress(pexpect.TIMEOUT, pexpect.EOF):
            while True:
                piece = self.command.read_nonblocking(PIECE_BYTES, 0)
                self._written += piece
                self._feed(piece)

    def _feed(self, piece: str) -> None:
        *parts, self._unfed = _ALTERNATE.split(self._unfed + piece)
        for part in parts:
            if _ALTERNATE.fullmatch(part) is None:
                self._stream.feed(part)
            else:
                size = self._screen.columns, self._screen.lines
                self._show(pyte.Screen(*size) if part.endswith("h") else self._main)
        whole = re.sub(r"\x1b[^A-Za-z]*\Z", "", self._unfed)
        self._stream.feed(whole)
        self._unfed = self._unfed[len(whole) :]

    @property
    def written(self) -> str:
        """Return everything that the command wrote."""
        self.look()
        return self._written

    @property
    def lines(self) -> list[str]:
        """Return the present lines, without the spaces at their ends."""
        self.look()
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def colour(self, text: str) -> str:
        """Return the colour of the first character of a text on the screen."""
        at = next(at for at, line in enumerate(self.lines) if text in line)
        return str(self._screen.buffer[at][self.lines[at].index(text)].fg)

    def is_reversed(self, text: str) -> bool:
        """Return True if a text on the screen is shown in reverse."""
        at = next(at for at, line in enumerate(self.lines) if text in line)
        return bool(self._screen.buffer[at][self.lines[at].index(text)].reverse)

    def resize(self, columns: int, lines: int) -> None:
        self.command.setwinsize(lines, columns)
        self._screen.resize(lines, columns)

    def type(self, keys: str) -> None:
        self.command.send(keys)

    async def shows(self, pattern: str) -> re.Match[str]:
        """Wait until the screen shows this."""
        found: list[re.Match[str]] = []

        def looks_so() -> bool:
            found[:] = [*filter(None, [re.search(pattern, self.text, re.MULTILINE)])]
            return bool(found)

        await until(f"the screen shows {pattern!r}", looks_so, details=lambda: f"but:\n{self.text}")
        return found[0]

    async def lacks(self, pattern: str) -> None:
        """Wait until the screen does not show this."""
        missing = lambda: re.search(pattern, self.text, re.MULTILINE) is None  # noqa: E731
        await until(f"the screen lacks {pattern!r}", missing, details=lambda: f"it shows:\n{self.text}")

    async def ended(self) -> int:
        """Wait until the command has ended, and return its exit status, negative if a signal ended it."""

        def has_ended() -> bool:
            self.look()
            return not self.command.isalive()

        await until("the command ends", has_ended, details=lambda: self.text)
        self.look()
        status, number = self.command.exitstatus, self.command.signalstatus
        return -(number or 0) if status is None else status
