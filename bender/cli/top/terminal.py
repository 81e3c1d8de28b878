"""Control the terminal while `bender top` runs: keys without echo, an alternate screen, and the size.

The terminal is opened a second time, so that it can be read and written without blocking: the shell shares the
descriptors of this process. If the terminal is slow, at most one picture waits for it. The terminal is restored when
the program ends, also by a signal, and at Ctrl-Z.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import termios
import tty
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IDelayedCall, IReadDescriptor, IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from bender.cli.top.frame import Size
from bender.cli.top.keys import KeyDecoder
from bender.client import BenderError

# Sequences of the DEC VT series and xterm, which all common terminals understand.
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"  # the alternate screen, no cursor, no wrapping of long lines
_LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_CLEAR = "\x1b[0m\x1b[2J"

#: Seconds after which an incomplete sequence counts as the key Escape. The bytes of a sequence arrive together.
ESCAPE_S = 0.05

#: Time limit for a stopped terminal to accept the sequences that restore it.
RESTORE_S_MAX = 1.0

#: The largest number of bytes that are read at a time.
READ_BYTES = 4096

#: The signals that end the program, in addition to SIGTERM, which the reactor handles.
_ENDING = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


_Call = Callable[..., Any]


class TerminalReactor(Protocol):
    """The methods of a reactor that a terminal uses, from `IReactorTime`, `IReactorFDSet` and others."""

    def callLater(self, delay: float, callable: _Call, *args: object, **kwargs: object) -> IDelayedCall: ...  # noqa: A002
    def addReader(self, reader: IReadDescriptor) -> None: ...
    def removeReader(self, reader: IReadDescriptor) -> None: ...
    def addWriter(self, writer: Any) -> None: ...
    def removeWriter(self, writer: Any) -> None: ...
    def callFromThread(self, callable: _Call, *args: object, **kwargs: object) -> None: ...  # noqa: A002
    def stop(self) -> None: ...


def open_terminal(paths: Iterable[str]) -> int:
    """Open the first of these terminals that can be opened, and return its descriptor.

    Raises `BenderError` if none can be opened. After `su`, a terminal often belongs to another user, but this process
    can still open it as /dev/tty.
    """
    problems = []
    for path in paths:
        try:
            return os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
    raise BenderError(f"the terminal cannot be opened ({'; '.join(problems)}): use --once")


@implementer(IReadWriteDescriptor)
class ScreenTerminal:
    """A terminal that reports keys and shows lines.

    `descriptor` is the result of `open_terminal`. `stop` closes it.
    """

    _on_key: Callable[[str], None]
    _on_size: Callable[[], None]
    _on_lost: Callable[[], None]

    def __init__(self, reactor: TerminalReactor, descriptor: int, encoding: str = "utf-8") -> None:
        self._reactor = reactor
        self._encoding = encoding
        self._fd = descriptor
        self._modes: list[Any] = []
        self._handlers: dict[int, Any] = {}
        self._keys = KeyDecoder()
        self._escape: IDelayedCall | None = None
        self._unsent = b""
        self._sent: list[str] = []
        # The text to send before the next picture, which is then sent as a whole.
        self._prefix = ""
        # The picture to draw when all unsent bytes were sent.
        self._next: list[str] | None = None
        self._is_lost = False

    # From `start` to `stop`.

    def start(self, on_key: Callable[[str], None], on_size: Callable[[], None], on_lost: Callable[[], None]) -> None:
        """Take control of the terminal.

        `on_key` is called with each key. `on_size` is called when the whole screen must be drawn again, because its
        size has changed or it was lost. `on_lost` is called when the terminal is closed.
        """
        self._on_key, self._on_size, self._on_lost = on_key, on_size, on_lost
        self._modes = termios.tcgetattr(self._fd)
        handlers = {signal.SIGWINCH: self._resized, signal.SIGTSTP: self._suspend, signal.SIGCONT: self._take_over}
        for number in (*handlers, *_ENDING):
            # A signal that is ignored stays ignored: without job control, nothing would continue this process. But
            # Ctrl-C must also work in a script in the background of its shell, where SIGINT is ignored.
            if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._through_reactor(handlers.get(number, self._end)))
        self._reactor.addReader(self)
        self._take_over()

    def stop(self) -> None:
        """Restore the terminal, and close it."""
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        if self._escape is not None and self._escape.active():
            self._escape.cancel()
        self._give_back()
        # Only now, because the former handlers may stop or end this process.
        for number, handler in self._handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)
        os.close(self._fd)

    def _through_reactor(self, call: Callable[[], None]) -> Callable[..., None]:
        """Return a signal handler that lets the reactor call `call`, so that it interrupts nothing."""
        return lambda _number, _frame: self._reactor.callFromThread(call)

    def _end(self) -> None:
        with suppress(ReactorNotRunning):  # such a signal often comes twice
            self._reactor.stop()

    def _take_over(self) -> None:
        with suppress(termios.error):
            tty.setcbreak(self._fd, termios.TCSANOW)
            modes = termios.tcgetattr(self._fd)
            modes[6][termios.VQUIT] = b"\0"  # no key ends the program with a core dump
            termios.tcsetattr(self._fd, termios.TCSANOW, modes)
        self._prefix = _ENTER
        self._on_size()

    def _give_back(self) -> None:
        """Restore the screen and the modes. Wait for a stopped terminal for at most `RESTORE_S_MAX`."""
        rest = self._unsent + _LEAVE.encode()
        self._unsent, self._next = b"", None
        with suppress(OSError):
            while rest and select.select([], [self._fd], [], RESTORE_S_MAX)[1]:
                rest = rest[os.write(self._fd, rest) :]
        with suppress(termios.error):
            termios.tcsetattr(self._fd, termios.TCSANOW, self._modes)

    def _suspend(self) -> None:
        """Stop this process, as Ctrl-Z does, until the shell continues it."""
        ours = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        self._give_back()
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, ours)
        self._take_over()

    # The screen.

    @property
    def size(self) -> Size:
        try:
            found = os.get_terminal_size(self._fd)
        except OSError:
            return Size(80, 24)
        return Size(found.columns or 80, found.lines or 24)

    def _resized(self) -> None:
        self.clear()
        self._on_size()

    def clear(self) -> None:
        """Draw the next picture as a whole."""
        self._prefix = self._prefix or _CLEAR

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines. Only lines that differ from the last picture are sent."""
        if self._unsent:
            self._next = [*lines]
            return
        shown = [] if self._prefix else self._sent
        changed = [
            f"\x1b[{at + 1};1H\x1b[2K{line}" for at, line in enumerate(lines) if at >= len(shown) or shown[at] != line
        ]
        text = self._prefix + "".join(changed)
        self._prefix, self._sent = "", [*lines]
        if text:
            text = text if self._encoding == "utf-8" else text.replace("…", "~")
            self._unsent = text.encode(self._encoding, "backslashreplace")
            self.doWrite()

    # For the reactor.

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "terminal"

    def doWrite(self) -> None:
        try:
            sent = os.write(self._fd, self._unsent)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                self._lose()
                return
            sent = 0
        self._unsent = self._unsent[sent:]
        if self._unsent:
            self._reactor.addWriter(self)
            return
        self._reactor.removeWriter(self)
        following, self._next = self._next, None
        if following is not None:
            self.draw(following)

    def doRead(self) -> None:
        try:
            piece = os.read(self._fd, READ_BYTES)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                self._lose()
            return
        if not piece:
            self._lose()
            return
        if self._escape is not None and self._escape.active():
            self._escape.cancel()
        for key in self._keys.feed(piece):
            self._on_key(key)
        if self._keys.is_waiting:
            self._escape = self._reactor.callLater(ESCAPE_S, self._flush)

    def _flush(self) -> None:
        for key in self._keys.flush():
            self._on_key(key)

    def connectionLost(self, reason: Failure) -> None:
        del reason
        self._lose()

    def readConnectionLost(self, reason: Failure) -> None:
        self.connectionLost(reason)

    def writeConnectionLost(self, reason: Failure) -> None:
        self.connectionLost(reason)

    def _lose(self) -> None:
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        if not self._is_lost:
            self._is_lost = True
            self._on_lost()
