"""Frames of axon 1.0, by which Thalassa publishes: a message of several parts in one frame, and nothing else.

A frame is a zero byte, the length of what follows in three bytes, most significant first, and the parts. Each part is a
one byte, which says that it is neither JSON nor text to be decoded, its length in three bytes, and its bytes.
"""

from __future__ import annotations

_BYTES_MAX = (1 << 24) - 1

#: The first byte of a frame of several parts, and of a part of plain bytes, above the three bytes of the length.
_FRAME = 0
_PART = 1 << 24


def frame(*parts: bytes) -> bytes:
    """Return the frame of a message. Raises `ValueError` if it is longer than 16 MiB, which no frame can be."""
    body = b"".join([b"%b%b" % (_head(_PART, part), part) for part in parts])
    return _head(_FRAME, body) + body


def _head(kind: int, content: bytes) -> bytes:
    if len(content) > _BYTES_MAX:
        raise ValueError(f"a frame of axon has at most {_BYTES_MAX} bytes, not {len(content)}")
    return (kind | len(content)).to_bytes(4, "big")
