"""HTTP answers of nodes to commands, whole and in pieces (`bender.client.asyncio_http`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import h11
from hypothesis import strategies as st

from bender.client.asyncio_http import _failure_clause, read_reply
from bender.client.transport import TooLong
from bender.client.types import Reply
from tests.fuzz.documents import damaged
from tests.fuzz.target import in_pieces

#: What is read of an answer here.
_BYTES_MAX = 2000

WORDS = (
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n"),
    *(
        b"ETag: ",
        b'X-Bender-Warnings: ["a"]\r\n',
        b"Connection: close\r\n",
        b"0\r\n\r\n",
        b"\xff",
        b"HTTP/1.0 404 No\r\n",
    ),
)

_heads = st.sampled_from(
    [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 404 Not Found\r\n", b"HTTP/1.1 101 Up\r\n", b"HTTP/1.1 204 No\r\n"]
)
_headers = st.lists(
    st.sampled_from(
        [
            b"Content-Length: 5\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b'ETag: "a"\r\n',
            b"ETag: \xe9\r\n",
            b"A: b\n",
            b'X-Bender-Warnings: ["a"]\r\n',
        ]
    ),
    max_size=3,
).map(b"".join)
_bodies = st.sampled_from([b"hello", b"", b"5\r\nhello\r\n0\r\n\r\n", b"x" * 3000, b"hello and more"])
NEAR = damaged(
    st.tuples(
        st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n"]), _heads, _headers, st.just(b"\r\n"), _bodies
    ).map(b"".join)
)

# h11 reports the position of an error in the stream, which depends on the pieces.
_PLAIN = re.compile(r"[0-9]+")


class _Reader:
    """Returns the bytes of an answer in pieces, and then the end of the connection."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    async def read(self, bytes_max: int) -> bytes:
        piece = next(self._pieces, b"")
        assert len(piece) <= bytes_max
        return piece


def fuzz(sent: bytes) -> None:
    """Any pieces of an answer give the same result: the answer, or one of the errors that `ask` declares."""
    whole, cut = _read(iter([sent] if sent else [])), _read(in_pieces(sent))
    assert whole == cut, (whole, cut)


def _read(pieces: Iterator[bytes]) -> Reply | str:
    """Return the answer, or its error."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a"), ("Connection", "close")]))
    connection.send(h11.EndOfMessage())
    reader: Any = _Reader(pieces)
    reading = read_reply("n1:1729", connection, reader, _BYTES_MAX)
    try:
        reading.send(None)
    except StopIteration as stopped:
        reply: Reply = stopped.value
        assert len(reply.body) <= _BYTES_MAX
        assert reply.etag is None or reply.etag.isascii()
        return reply
    except (OSError, h11.RemoteProtocolError, TooLong) as error:
        return _PLAIN.sub("", _failure_clause(error))
    finally:
        reading.close()
    raise AssertionError("it waits for something else")
