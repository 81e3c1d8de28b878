"""Keys, parsed from the bytes of a terminal."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.cli.top.keys import SEQUENCE_BYTES_MAX, KeyDecoder


class Keys(SynchronousTestCase):
    def keys(self, *pieces: bytes) -> list[str]:
        decoder = KeyDecoder()
        return [key for piece in pieces for key in decoder.feed(piece)]

    def test_characters_are_themselves(self) -> None:
        self.assertEqual(self.keys(b"q/a ?"), ["q", "/", "a", " ", "?"])
        self.assertEqual(self.keys("é…".encode()), ["é", "…"])

    def test_named_keys(self) -> None:
        self.assertEqual(
            self.keys(b"\r\n\x7f\x08\t\x0c\x15"),
            ["enter", "enter", "backspace", "backspace", "tab", "ctrl-l", "ctrl-u"],
        )
        self.assertEqual(self.keys(b"\x1b[A\x1b[B\x1bOC\x1bOD"), ["up", "down", "right", "left"])
        self.assertEqual(
            self.keys(b"\x1b[5~\x1b[6~\x1b[H\x1bOF\x1b[1~\x1b[4~"),
            ["page-up", "page-down", "home", "end", "home", "end"],
        )

    def test_a_key_may_come_in_pieces(self) -> None:
        """A key or character may arrive in pieces, cut at any byte."""
        self.assertEqual(self.keys(b"\x1b", b"[", b"5", b"~", b"q"), ["page-up", "q"])
        self.assertEqual(self.keys("é".encode()[:1], "é".encode()[1:]), ["é"])

    def test_unknown_keys_are_dropped_as_a_whole(self) -> None:
        """An unknown sequence is dropped as a whole, so none of its characters counts as a key."""
        self.assertEqual(self.keys(b"\x1b[1;5A\x1b[24~\x1b[200~\x1b[<0;3;4M\x1bOQ\x00\x01x"), ["x"])
        self.assertEqual(self.keys(b"\xff\xfex"), ["x"])

    def test_escape_is_a_key_of_its_own(self) -> None:
        """Escape is a key if no sequence follows in time."""
        decoder = KeyDecoder()
        self.assertEqual(decoder.feed(b"\x1b"), [])
        self.assertTrue(decoder.is_waiting)
        self.assertEqual(decoder.flush(), ["escape"])
        self.assertFalse(decoder.is_waiting)
        self.assertEqual(decoder.flush(), [])
        self.assertEqual(self.keys(b"\x1bq"), ["escape", "q"])
        self.assertEqual(self.keys(b"\x1b\x1b[A"), ["escape", "up"])

    def test_what_followed_escape_too_late_counts(self) -> None:
        decoder = KeyDecoder()
        decoder.feed(b"\x1b[")
        self.assertEqual(decoder.flush(), ["escape", "["])

    def test_a_sequence_without_end_is_not_kept(self) -> None:
        decoder = KeyDecoder()
        for _ in range(SEQUENCE_BYTES_MAX + 2):
            decoder.feed(b"\x1b[" if not decoder.is_waiting else b"1")
        self.assertLess(len(decoder._unread), SEQUENCE_BYTES_MAX + 1)
