"""A terminal with a shell or Python, in which the blocks of a page are typed as a reader would."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf
from pathlib import Path

import pexpect
from attrs import define, field

#: The time limit for output that a page shows.
PATIENCE_S = 60.0

#: The wait for output of background processes after a command has ended.
LATE_S = 1.0

#: How long Ctrl-C has no effect until it is pressed again. Programs of the pages end faster.
AGAIN_S = 10.0

LOOK_S = 0.05

#: Pieces of 4 KiB to read at a time from a terminal for which no test waits.
PIECES_MAX = 100

#: A mark that no page or program prints: it encloses messages of the terminal to its test, which are a failed command
#: or, for the prompt, empty.
MARK = "\x1e"
SAID = re.compile(f"{MARK}([^{MARK}]*){MARK}")

#: The shell reads a block as one file, so that only one prompt follows it. The block continues after a failed command,
#: as in an interactive shell.
SHELL = ["bash", "--noprofile", "--norc", "--noediting"]
SHELL_BEGINS = f"""trap 'printf "{MARK}%s: status %s{MARK}" "$BASH_COMMAND" "$?" >/dev/tty' ERR\n"""

#: Python reads the names of such files, because its own prompts would appear between the lines of a block.
PYTHON = [
    sys.executable,
    "-c",
    f"""
import traceback
names = {{"__name__": "__main__"}}
while True:
    path = input("{MARK}{MARK}")
    try:
        exec(compile(open(path).read(), path, "exec"), names)
    except BaseException as error:
        traceback.print_exc()
        print("{MARK}" + repr(error) + "{MARK}")
""",
]


class NotSo(Exception):
    """Output differs from the page."""


@define(eq=False)
class Terminal:
    """A terminal with a folder and an environment, where the test can press Ctrl-C."""

    language: str
    folder: Path
    variables: dict[str, str]
    scratch: Path
    meanwhile: Callable[[], None] = lambda: None  # called repeatedly during waits for this terminal
    _child: pexpect.spawn[str] = field(init=False)
    _screen: str = ""
    _shown: int = 0
    _failed: list[str] = field(factory=list)
    is_idle: bool = False  # the last input has ended

    def __attrs_post_init__(self) -> None:
        command, *arguments = SHELL if self.language == "sh" else PYTHON
        self._child = pexpect.spawn(
            command,
            arguments,
            cwd=self.folder,
            env={**self.variables, "PS1": MARK + MARK},
            encoding="utf-8",
            echo=False,
            dimensions=(50, 200),
        )
        self._wait(lambda: self.is_idle, "no prompt")

    def type(self, text: str, until: str | None = None, *, may_fail: bool = False) -> None:
        """Type this text, after Ctrl-C if a block still runs; return when it has ended, or has printed `until`.

        Raises `NotSo` unless the text ends with status 0.
        """
        if not self.is_idle:
            self._press_ctrl_c()
        self._enter(text)
        if until is None:
            self._wait(lambda: self.is_idle, "it does not end")
        else:
            self._wait(lambda: until in self._screen or self.is_idle, f"it does not print {until!r}")
            if until not in self._screen:
                raise NotSo(f"it ended, and did not print {until!r}. It printed:\n{self._screen}")
        if bool(self._failed) != may_fail:
            raise NotSo(f"{'; '.join(self._failed) or 'nothing failed'}. It printed:\n{self._screen}")

    def _press_ctrl_c(self) -> None:
        """Press Ctrl-C, and again as a reader does if nothing happens.

        If a command of a loop ends by itself in that moment, bash takes it that the command has handled the Ctrl-C, and
        goes on with the loop.
        """
        pressed_at = -inf

        def is_idle() -> bool:
            nonlocal pressed_at
            if not self.is_idle and time.monotonic() > pressed_at + AGAIN_S:
                pressed_at = time.monotonic()
                self._child.sendintr()
            return self.is_idle

        self._wait(is_idle, "it goes on after Ctrl-C")

    def look(self) -> None:
        """Read the present output, because a program blocks if nothing reads its terminal."""
        with suppress(pexpect.TIMEOUT, pexpect.EOF):  # a closed terminal is reported at its next use
            for _ in range(PIECES_MAX):
                self._read(self._child.read_nonblocking(65_536, 0))

    def _enter(self, text: str) -> None:
        self._screen, self._shown, self._failed, self.is_idle = "", 0, [], False
        self.scratch.write_text(SHELL_BEGINS + text if self.language == "sh" else text, "utf-8")
        self._child.sendline(f". {self.scratch}" if self.language == "sh" else str(self.scratch))

    def show(self, wanted: re.Pattern[str]) -> None:
        """Wait until the terminal shows this, below earlier matches; after the end of its input, as all its output."""

        def shown() -> re.Match[str] | None:
            return (wanted.fullmatch if self.is_idle else wanted.search)(self._screen, self._shown)

        self._wait(
            lambda: shown() is not None, "it does not print what the page shows", LATE_S if self.is_idle else PATIENCE_S
        )
        self._shown = shown().end()  # type: ignore[union-attr] # the wait has found it

    def _wait(self, true: Callable[[], bool], otherwise: str, within_s: float = PATIENCE_S) -> None:
        ends_at = time.monotonic() + within_s
        while not true():
            if time.monotonic() > ends_at:
                raise NotSo(f"{otherwise} within {within_s} s. It printed:\n{self._screen[self._shown :]}")
            self.meanwhile()
            try:
                self._read(self._child.read_nonblocking(65_536, LOOK_S))
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                raise NotSo(f"the terminal was closed. It printed:\n{self._screen}") from None

    def _read(self, text: str) -> None:
        """Remove messages to the test from the output. A message can arrive in two pieces."""
        self._screen = (self._screen + text).replace("\r\n", "\n")
        for said in SAID.findall(self._screen):
            if said:
                self._failed.append(said)
            else:
                self.is_idle = True
        self._screen = SAID.sub("", self._screen)
