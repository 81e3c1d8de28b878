"""Frames of axon 1.0, by which Thalassa publishes: a message of several parts in one frame, and nothing else.

A frame is a zero byte, the length of what follows in three bytes, most significant first, and the parts. Each part is a
byte of the value 1, which stands for binary data, its length in three bytes, and its bytes.
"""

from __future__ import annotations

#: The first byte of a frame of several parts, and of a part of plain bytes, above the three bytes of the length.
_FRAME = 0
_PART = 1 << 24


def frame(*parts: bytes) -> bytes:
    """Return the frame of a message. An entry has at most 12 KiB, so no frame is near axon's limit of 16 MiB."""
    body = b"".join([b"%b%b" % (_head(_PART, part), part) for part in parts])
    return _head(_FRAME, body) + body


def _head(kind: int, content: bytes) -> bytes:
    return (kind | len(content)).to_bytes(4, "big")
