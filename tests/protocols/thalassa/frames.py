"""The receiving side of axon 1.0: parse the frames that a subscriber receives."""

from __future__ import annotations

from typing import Any

import msgspec


class FrameReader:
    """Reads messages from a stream, and keeps an incomplete frame until its rest arrives."""

    def __init__(self) -> None:
        self._held = b""

    def read(self, received: bytes) -> list[tuple[bytes, ...]]:
        """Return the complete messages, each as its parts."""
        self._held += received
        messages = []
        while len(self._held) >= 4 and len(self._held) >= 4 + _length(self._held):
            assert self._held[0] == 0, "a frame does not begin with its kind"
            end = 4 + _length(self._held)
            messages.append(_parts(self._held[4:end]))
            self._held = self._held[end:]
        return messages

    @property
    def unfinished(self) -> int:
        """Return the number of bytes of an incomplete frame."""
        return len(self._held)


def _parts(body: bytes) -> tuple[bytes, ...]:
    parts = []
    while body:
        assert body[0] == 1, "a part is not plain bytes"
        end = 4 + _length(body)
        assert len(body) >= end, "a part is longer than its frame"
        parts.append(body[4:end])
        body = body[end:]
    return tuple(parts)


def _length(head: bytes) -> int:
    return int.from_bytes(head[1:4], "big")


def in_words(messages: list[tuple[bytes, ...]]) -> list[str]:
    """Return each message as the event and the id: `online /web/1/10.0.0.1/80`."""
    return [f"{state.decode()} {id_.decode()}" for id_, state, *_ in messages]


def registration_in(message: tuple[bytes, ...]) -> dict[str, Any]:
    """Return the registration in an `online` message."""
    id_, state, document = message
    assert state == b"online"
    registration: dict[str, Any] = msgspec.json.decode(document)
    assert registration["id"] == id_.decode()
    return registration
