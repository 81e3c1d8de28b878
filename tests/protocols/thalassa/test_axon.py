"""Frames, byte for byte as the real Thalassa 0.4.1 sends them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.protocols.thalassa.axon import frame
from tests.protocols.thalassa.frames import FrameReader


class Frames(SynchronousTestCase):
    def test_offline(self) -> None:
        """An `offline` frame has an id and a word, as in the recording."""
        recorded = (
            "00 00 00 2a 01 00 00 1b 2f 73 68 6f 70 2f 31 2e 30 2e 30 2f 31 32 37 2e 30 2e 30 2e 31 2f 32 34 30 30 31 "
            "01 00 00 07 6f 66 66 6c 69 6e 65"
        )
        self.assertEqual(frame(b"/shop/1.0.0/127.0.0.1/24001", b"offline"), bytes.fromhex(recorded))

    def test_online(self) -> None:
        """An `online` frame has an id, a word and JSON, with the lengths of the recording."""
        document = (
            b'{"name":"shop","version":"9","host":"10.0.0.7","port":80,"lastKnown":1795912692385,'
            b'"meta":{"secondsToExpire":2,"hostname":"10.0.0.7"},"id":"/shop/9/10.0.0.7/80"}'
        )
        whole = frame(b"/shop/9/10.0.0.7/80", b"online", document)
        self.assertEqual((len(whole), whole[:4]), (202, bytes.fromhex("000000c6")))
        begins = bytes.fromhex("01 00 00 13 2f 73 68 6f 70 2f 39 2f 31 30 2e 30 2e 30 2e 37 2f 38 30 01 00 00 06")
        self.assertEqual(whole[4:].partition(b"online")[0], begins)
        self.assertEqual(whole.partition(b"online")[2], bytes.fromhex("010000a1") + document)

    def test_lengths_have_three_bytes(self) -> None:
        """A length has three bytes, as a part of 66,051 bytes shows."""
        self.assertEqual(frame(b"x" * 0x1_0203)[:8], bytes.fromhex("00010207 01010203"))

    def test_they_are_read_as_they_were_written(self) -> None:
        """Frames are parsed back from any pieces, also with empty parts."""
        messages = [(b"a", b"offline"), (b"", b"online", b"{}"), (b"\x00\x01", b"")]
        whole = b"".join(frame(*message) for message in messages)
        reader = FrameReader()
        read = [message for at in range(len(whole)) for message in reader.read(whole[at : at + 1])]
        self.assertEqual((read, reader.unfinished), (messages, 0))
