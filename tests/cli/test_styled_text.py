"""Styled text and tables without a terminal."""

from __future__ import annotations

import os
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from bender.cli.styled_text import Styled, cell_width, join_parts, plain_table, styled, styles_of


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


class Styles(SynchronousTestCase):
    def for_terminal(self, text: Styled, stream: StringIO, **variables: str) -> str:
        for name in ("NO_COLOR", "FORCE_COLOR"):
            self.patch_environment(name, variables.get(name))
        self.patch_environment("TERM", variables.get("TERM", "xterm"))
        return text.for_terminal(styles_of(stream))

    def patch_environment(self, name: str, value: str | None) -> None:
        before = os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
        self.addCleanup(lambda: os.environ.pop(name, None) if before is None else os.environ.update({name: before}))

    def test_they_are_for_terminals(self) -> None:
        """Styles are written to a terminal, or with FORCE_COLOR; NO_COLOR leaves only dim and bold."""
        text = join_parts([styled("up", "green"), styled("x", "dim"), "plain"])
        both = "\x1b[32mup\x1b[0m \x1b[2mx\x1b[0m plain"
        self.assertEqual(self.for_terminal(text, Terminal()), both)
        self.assertEqual(self.for_terminal(text, StringIO()), "up x plain")
        self.assertEqual(self.for_terminal(text, StringIO(), FORCE_COLOR="1"), both)
        self.assertEqual(self.for_terminal(text, Terminal(), TERM="dumb"), "up x plain")
        self.assertEqual(self.for_terminal(text, Terminal(), NO_COLOR="1"), "up \x1b[2mx\x1b[0m plain")

    def test_nothing_disturbs_a_terminal(self) -> None:
        """Control characters in a text never reach the terminal."""
        text = styled("a\x1b[31m\u202e", "red")
        self.assertEqual(text.plain, "a\\x1b[31m\\u202e")
        self.assertEqual(text.padded(20).plain, "a\\x1b[31m\\u202e".ljust(20))


class Tables(SynchronousTestCase):
    def test_columns_are_as_wide_as_what_is_in_them(self) -> None:
        """There are no spaces after the last column."""
        rows = [["web", styled("up", "green"), ""], ["a", 1, '{"n":1}']]
        self.assertEqual(
            plain_table(["APP", "STATE", "META"], rows), ["APP  STATE  META", "web  up", 'a    1      {"n":1}']
        )

    def test_wide_characters(self) -> None:
        """Wide characters take two columns, and combining characters take none."""
        self.assertEqual([cell_width(text) for text in ("ab", "é", "日本", "e\u0301")], [2, 1, 4, 1])
        self.assertEqual(plain_table(["A", "B"], [["日本", 1], ["é", 2]]), ["A     B", "日本  1", "é     2"])

    def test_lines_stay_lines(self) -> None:
        """A row is one line, even if a cell has line breaks or is long."""
        (_, line) = plain_table(["A"], [["x\ny" + "z" * 20_000]])
        self.assertEqual(line, "x\\ny" + "z" * 20_000)
