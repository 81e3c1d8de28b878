"""Text from other programs, for a terminal or a log."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from bender.net.escaping import escaped, escaped_json, escaped_lines


class Texts(SynchronousTestCase):
    def test_what_disturbs_a_terminal_is_an_escape(self) -> None:
        """Characters that disturb a terminal are escaped as in Python."""
        for text, shown in (
            ("\x1b[2Jweb", "\\x1b[2Jweb"),
            ("a\x00b\x7f", "a\\x00b\\x7f"),
            ("\x9b2J\x85", "\\x9b2J\\x85"),
            ("1\n2\r3\t4", "1\\n2\\r3\\t4"),
            ("\u202eb\u202c\u2066a\u2069\u200f\u061c", "\\u202eb\\u202c\\u2066a\\u2069\\u200f\\u061c"),
            ("a\u200bb\u2028\ufeff", "a\\u200bb\\u2028\\ufeff"),
            ("\udcff", "\\udcff"),
            ("\U000e0041", "\\U000e0041"),
        ):
            self.assertEqual(escaped(text), shown)

    def test_all_else_stays(self) -> None:
        """All other characters stay, including those that few terminals can show, and earlier escapes."""
        for text in ("café", "日本語", "🦊", "a b", "\\x1b", "x\u00a0y", ""):
            self.assertEqual(escaped(text), text)

    def test_several_lines(self) -> None:
        """The line breaks of a text stay."""
        self.assertEqual(escaped_lines("a\n\x1bb\n"), "a\n\\x1bb\n")


class Documents(SynchronousTestCase):
    def test_they_say_the_same(self) -> None:
        """Escaped JSON has the same value, and no character that a terminal interprets."""
        value = {"a\x9b\u202e": ["\x7f\U000e0041", "\u2028", "café 🦊", "\x1b\x00\n"]}
        sent = json.dumps(value, ensure_ascii=False)
        shown = escaped_json(sent)
        self.assertEqual(json.loads(shown), value)
        self.assertEqual(escaped(shown), shown)
        self.assertIn("café 🦊", shown)

    def test_space_between_values(self) -> None:
        """Line breaks between values stay, and no line can be overwritten."""
        self.assertEqual(escaped_json('{"a":\r\n\t1}'), '{"a": \n\t1}')

    def test_where_there_is_ascii_alone(self) -> None:
        """With ASCII only, the JSON has the same value."""
        shown = escaped_json('["café 🦊"]', ascii_only=True)
        self.assertEqual(shown, '["caf\\u00e9 \\ud83e\\udd8a"]')
        self.assertEqual(json.loads(shown), ["café 🦊"])
