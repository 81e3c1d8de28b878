"""The output to a terminal. Its modes, signals and keys are tested with a real terminal in `tests/e2e/test_top.py`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.cli.top.terminal import ESCAPE_S, ScreenTerminal, open_terminal
from bender.client import BenderError

READ_BYTES = 1 << 20


class FakeReactor(Clock):
    """A reactor whose descriptors the test itself reads and writes."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []
        self.writers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers = [reader]

    def removeReader(self, reader: Any) -> None:
        self.readers = []

    def addWriter(self, writer: Any) -> None:
        self.writers = [writer]

    def removeWriter(self, writer: Any) -> None:
        self.writers = []


class TerminalCase(SynchronousTestCase):
    """The terminal is a pipe, which accepts a limited number of bytes, as a terminal does."""

    def setUp(self) -> None:
        self.path = self.mktemp()
        os.mkfifo(self.path)
        self.reactor = FakeReactor()
        self.keys: list[str] = []
        self.lost = 0
        self.terminal = self.made("utf-8")
        self.other_end = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        self.addCleanup(os.close, self.other_end)

    def made(self, encoding: str) -> ScreenTerminal:
        def lose() -> None:
            self.lost += 1

        terminal = ScreenTerminal(
            self.reactor,  # type: ignore[arg-type] # it has what a terminal needs
            open_terminal([self.path]),
            encoding,
        )
        terminal._on_key, terminal._on_size, terminal._on_lost = self.keys.append, lambda: None, lose
        self.addCleanup(os.close, terminal.fileno())
        return terminal

    def sent(self) -> str:
        try:
            return os.read(self.other_end, READ_BYTES).decode()
        except BlockingIOError:
            return ""


class Opening(TerminalCase):
    def test_the_first_that_can_be_opened_is_used(self) -> None:
        opened = open_terminal([f"{self.path}.none", self.path])
        self.addCleanup(os.close, opened)
        self.assertTrue(os.path.samestat(os.fstat(opened), Path(self.path).stat()))

    def test_without_any_there_is_a_sentence(self) -> None:
        error = self.assertRaises(BenderError, open_terminal, ["/none/a", "/none/b"])
        self.assertEqual(
            str(error),
            "the terminal cannot be opened (/none/a: No such file or directory; /none/b: No such file or directory): "
            "use --once",
        )


class Drawing(TerminalCase):
    def test_only_lines_that_differ_are_sent(self) -> None:
        self.terminal.draw(["one", "two", "three"])
        self.assertEqual(self.sent(), "\x1b[1;1H\x1b[2Kone\x1b[2;1H\x1b[2Ktwo\x1b[3;1H\x1b[2Kthree")
        self.terminal.draw(["one", "2", "three"])
        self.assertEqual(self.sent(), "\x1b[2;1H\x1b[2K2")
        self.terminal.draw(["one", "2", "three"])
        self.assertEqual(self.sent(), "")
        self.assertEqual(self.reactor.writers, [])

    def test_a_cleared_screen_is_drawn_as_a_whole(self) -> None:
        """After `clear`, the next picture is drawn completely, and the one after it is not."""
        self.terminal.draw(["one", "two"])
        self.sent()
        self.terminal.clear()
        self.terminal.draw(["one", "two"])
        self.assertEqual(self.sent(), "\x1b[0m\x1b[2J\x1b[1;1H\x1b[2Kone\x1b[2;1H\x1b[2Ktwo")
        self.terminal.draw(["one", "two"])
        self.assertEqual(self.sent(), "")

    def test_another_encoding_gets_what_it_can_show(self) -> None:
        self.made("ascii").draw(["cut…", "é"])
        self.assertEqual(self.sent(), "\x1b[1;1H\x1b[2Kcut~\x1b[2;1H\x1b[2K\\xe9")

    def test_a_terminal_that_takes_nothing_gets_the_last_picture_alone(self) -> None:
        """A terminal that accepts nothing gets only the last picture later; the waiting data do not grow meanwhile."""
        first = ["x" * 100_000]
        self.terminal.draw(first)
        self.assertEqual(self.reactor.writers, [self.terminal])
        waiting = len(self.terminal._unsent)
        for number in range(1000):
            self.terminal.draw([f"{number}" * 1000])
        self.assertEqual(len(self.terminal._unsent), waiting)
        received = ""
        while self.reactor.writers:
            received += self.sent()
            self.terminal.doWrite()
        received += self.sent()
        self.assertEqual(received, f"\x1b[1;1H\x1b[2K{first[0]}\x1b[1;1H\x1b[2K{'999' * 1000}")

    def test_without_a_size_it_is_that_of_a_vt100(self) -> None:
        self.assertEqual(self.terminal.size, (80, 24))


class Keys(TerminalCase):
    def type(self, keys: bytes) -> None:
        os.write(self.other_end, keys)
        self.terminal.doRead()

    def test_keys_are_passed_on(self) -> None:
        self.type(b"q\x1b[A")
        self.assertEqual(self.keys, ["q", "up"])

    def test_escape_alone_is_one_after_a_moment(self) -> None:
        self.type(b"\x1b")
        self.reactor.advance(ESCAPE_S * 0.9)
        self.assertEqual(self.keys, [])
        self.reactor.advance(ESCAPE_S * 0.2)
        self.assertEqual(self.keys, ["escape"])
        self.type(b"\x1b")
        self.type(b"[A")
        self.reactor.advance(1.0)
        self.assertEqual(self.keys, ["escape", "up"])

    def test_nothing_to_read_is_no_key(self) -> None:
        self.terminal.doRead()
        self.assertEqual((self.keys, self.lost), ([], 0))

    def test_a_lost_terminal_is_reported_once(self) -> None:
        self.reactor.addReader(self.terminal)
        reason: Any = None
        self.terminal.readConnectionLost(reason)
        self.terminal.writeConnectionLost(reason)
        self.assertEqual((self.lost, self.reactor.readers), (1, []))
