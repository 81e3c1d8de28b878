"""The output of commands."""

from __future__ import annotations

import time
from contextlib import redirect_stderr
from io import StringIO

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from bender.cli.output import Output, compact_json, duration_text, time_text, with_full_stop, without_full_stop
from bender.core.force_option import FORCE_IN_API


class Durations(SynchronousTestCase):
    def test_they_are_a_word(self) -> None:
        """Durations are rounded to a number with a unit."""
        for seconds, word in (
            (None, "never"),
            (0.0, "0.0 s"),
            (119.94, "119.9 s"),
            (120, "2 min"),
            (7199, "120 min"),
            (7200, "2 h"),
            (172_800, "2 d"),
        ):
            self.assertEqual(duration_text(seconds), word)

    def test_a_time_of_day_has_milliseconds(self) -> None:
        """Times of events have milliseconds."""
        now_ms = 1_795_652_595_056
        self.assertEqual(time_text(now_ms), time.strftime("%H:%M:%S", time.localtime(now_ms // 1000)) + ".056")


class Values(SynchronousTestCase):
    def test_what_is_empty_is_nothing(self) -> None:
        """Empty values are empty texts, and other values are JSON."""
        for value, text in ((None, ""), ({}, ""), ([], ""), (0, "0"), ("", '""'), ({"a": [1]}, '{"a":[1]}')):
            self.assertEqual(compact_json(value), text)


class Sentences(SynchronousTestCase):
    def test_a_full_stop_is_taken_off(self) -> None:
        """A full stop is removed, so that there are never two; other dots stay."""
        for text, without in (
            ("It is so.", "It is so"),
            ("see 'x'.", "see 'x'"),
            ("what?", "what?"),
            ("not . or ..", "not . or .."),
            ("", ""),
        ):
            self.assertEqual(without_full_stop(text), without)

    def test_how_to_force_is_said_for_a_shell(self) -> None:
        """Errors name the option --force, and not the parameter of the API."""
        with redirect_stderr(StringIO()) as said:
            Output(as_json=False).error(f"Nothing was changed; {FORCE_IN_API}")
        self.assertEqual(said.getvalue(), "bender: Nothing was changed; add --force to do it anyway.\n")

    def test_one_mark_ends_a_sentence(self) -> None:
        """A sentence gets one full stop, and a question keeps its question mark."""
        for text, sentence in (("It is so", "It is so."), ("so.", "so."), ("did you mean shop?", "did you mean shop?")):
            self.assertEqual(with_full_stop(text), sentence)


class Json(SynchronousTestCase):
    def test_it_ends_with_one_newline(self) -> None:
        """A JSON answer ends with one newline, so that the next output begins on a new line."""
        for body in (b"[]", b"[]\n"):
            with CliRunner().isolation() as (out, *_):
                Output(as_json=True).json(body)
                self.assertEqual(out.getvalue(), b"[]\n")
