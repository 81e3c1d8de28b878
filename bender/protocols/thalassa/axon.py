"""Frames of axon 1.0, the protocol with which Thalassa publishes events. Each frame is a message of several parts.

A frame has a zero byte, the length of the rest in three bytes, most significant first, and the parts. Each part has a
byte with the value 1, which means binary data, its length in three bytes, and its bytes.
"""

from __future__ import annotations

#: The first byte of a frame, and of a part; in a part it is shifted above the three bytes of the length.
_FRAME = 0
_PART = 1 << 24


def frame(*parts: bytes) -> bytes:
    """Return the frame of a message. An entry has at most 12 KiB, so no frame is near axon's limit of 16 MiB."""
    body = b"".join([b"%b%b" % (_head(_PART, part), part) for part in parts])
    return _head(_FRAME, body) + body


def _head(kind: int, content: bytes) -> bytes:
    return (kind | len(content)).to_bytes(4, "big")
