"""The fast lane: plain requests for the hot routes, read by httptools and answered past Twisted's web and Klein.

A registry lives from renewals: nearly all that it is asked are a few requests of the same kind, for ever. Those need
nothing of what makes a web server general, and take a fifth of the time here (docs/performance.md).

The lane takes what was read from a connection whole or not at all. Where everything in it is plain (HTTP/1.1 that is
kept alive, a body with a length, a hot route, nothing encoded in its path), the requests are answered in their order,
by the same commands from the same table as everywhere. All else is left to Twisted, unchanged, and gets the same answer
a little later. So the lane must not take what Twisted would refuse, nor do anything before it has taken it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol

import msgspec
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from twisted.logger import Logger
from twisted.web.http import datetimeToString
from twisted.web.server import version as server

from bender.api.answers import JSON_ALONE, Answer, Asked, refusal
from bender.api.commands import Route, answer, find_hot
from bender.node import Node

#: Up to this size a request is waited for of which only a part has come, for many clients send the head on its own. It
#: is read again from its beginning with each part, so it must be small; the largest entry and its head fit.
PART_BYTES_MAX = 8 * 1024

#: Of a head, counted where more than a part was read. Twisted refuses some that are longer.
HEAD_BYTES_MAX = 4 * 1024

#: Instances send the same bytes for ever, so what was made of those that came last is remembered: so many, of up to so
#: many bytes. With its key one takes about 1 KB, and saves a quarter of the time that a renewal takes.
REMEMBERED_MAX = 4096
REMEMBERED_BYTES_MAX = 512

_METHODS = {b"GET": "GET", b"POST": "POST", b"PUT": "PUT", b"DELETE": "DELETE"}

# Of these the parser takes more than Twisted does, wherever they are found: spaces, and empty lines before a request.
_SPACES = b"  /"
_EMPTY_LINES = b"\r\n\r\n\r\n\r\n"

# Whoever sends one of these has more to say about how the request is to be read or answered.
_NOT_PLAIN = frozenset({b"expect", b"te", b"trailer", b"transfer-encoding", b"upgrade"})


class Taken(msgspec.Struct, frozen=True, gc=False):
    """A request that the lane has taken; `target` is as it was sent."""

    route: Route
    asked: Asked
    target: str

    def written(self) -> bytes:
        """As it could have been read, for Twisted to go on with."""
        asked = self.asked
        lines = [f"{asked.method} {self.target} HTTP/1.1", f"Content-Length: {len(asked.body)}"]
        lines += [f"If-None-Match: {asked.etags}"] if asked.etags is not None else []
        lines += [f"Accept-Encoding: {asked.encodings}"] if asked.encodings is not None else []
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + asked.body


class Takes(Protocol):
    """What a connection wants of a lane."""

    def take(self, read: bytes) -> tuple[Taken, ...] | None: ...

    def answer(self, taken: Taken) -> bytes | None: ...


class Lane:
    """Takes plain requests for a node and answers them; one for all connections, for it keeps nothing between two."""

    _log = Logger()

    def __init__(self, node: Node, seconds: Callable[[], float]) -> None:
        self._node = node
        self._read = _Reader().read
        self._remembered = lru_cache(REMEMBERED_MAX)(self._read)
        self._heads = _Heads(seconds)

    def take(self, read: bytes) -> tuple[Taken, ...] | None:
        """The requests in what a client sent, in order; none if the last of them has not come to its end.

        None in place of a tuple where any of it is for Twisted.
        """
        return self._remembered(read) if len(read) <= REMEMBERED_BYTES_MAX else self._read(read)

    def answer(self, taken: Taken) -> bytes | None:
        """The response to a request; None where it is for Twisted to wait, or to send it piece by piece."""
        if not (taken.route.at_once or self._node.ready):
            return None
        try:
            answered = answer(self._node, taken.route, taken.asked)
        except Exception as error:
            self._log.failure("A request for {path} failed.", path=taken.target)
            answered = refusal(error)
        if isinstance(answered, Answer):
            return self._heads.response(answered)
        if isinstance(answered, Coroutine):
            answered.close()  # it has not begun
        return None


def reason(status: int) -> bytes:
    """What a status line says to people."""
    return HTTPStatus(status).phrase.encode()


class _Reader:
    """Reads requests. While the parser is fed, this is what it reports to."""

    def __init__(self) -> None:
        self._begin()

    def read(self, data: bytes) -> tuple[Taken, ...] | None:
        """The requests in it; none if the last of them has not come to its end, None if one is not for the lane."""
        self._taken: list[Taken] = []
        self._plain = True
        self._counting = len(data) > PART_BYTES_MAX
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._begin()
            return None
        if _SPACES in data or _EMPTY_LINES in data:
            self._begin()
            return None
        if self._within:
            length = int(self._headers.get(b"content-length", 0))
            self._begin()
            return () if self._plain and not self._counting and length <= PART_BYTES_MAX else None
        return tuple(self._taken) if self._plain else None

    def _begin(self) -> None:
        self._parser = HttpRequestParser(self)
        self._within = False

    def on_message_begin(self) -> None:
        # Not with the target only: what was read may end within a method.
        self._within = True
        self._headers: dict[bytes, bytes] = {}

    def on_url(self, url: bytes) -> None:
        self._target = url.decode("ascii")
        self._body = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        before = self._headers.get(name)
        self._headers[name] = value if before is None else b"%b,%b" % (before, value)

    def on_headers_complete(self) -> None:
        headers = self._headers
        plain = self._parser.should_keep_alive() and _NOT_PLAIN.isdisjoint(headers)
        if plain and b"connection" in headers:  # only then may it be an older HTTP that is kept alive
            plain = headers[b"connection"].lower() == b"keep-alive" and self._parser.get_http_version() == "1.1"
        if plain and self._counting:
            plain = len(self._target) + sum(map(len, (*headers, *headers.values()))) <= HEAD_BYTES_MAX
        self._plain = self._plain and plain

    def on_body(self, body: bytes) -> None:
        self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        self._within = False
        method = _METHODS.get(self._parser.get_method())
        path, _, query = self._target.partition("?")
        found = None if method is None or "%" in path or "#" in self._target else find_hot(path)
        if method is None or found is None or len(self._body) > found[0].body_bytes_max:
            self._plain = False
            return
        route, names = found
        etags, encodings = self._headers.get(b"if-none-match"), self._headers.get(b"accept-encoding")
        asked = Asked(method, names, query, self._body, _text(etags), _text(encodings))
        self._taken.append(Taken(route, asked, self._target))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


class _Heads:
    """The beginnings of responses, which are the same for a second."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._second = -1
        self._heads: dict[int, bytes] = {}

    def response(self, answer: Answer) -> bytes:
        second = int(self._seconds())
        if second != self._second:
            self._second = second
            self._heads.clear()
        head = self._heads.get(answer.status) or self._head(answer.status)
        body = answer.body
        if answer.headers is JSON_ALONE:
            return b"%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        lines = b"".join([b"%b: %b\r\n" % header for header in answer.headers])
        if body:
            return b"%b%bContent-Length: %d\r\n\r\n%b" % (head, lines, len(body), body)
        return b"%b%b\r\n" % (head, lines)

    def _head(self, status: int) -> bytes:
        parts = (status, reason(status), server, datetimeToString())
        head = self._heads[status] = b"HTTP/1.1 %d %b\r\nServer: %b\r\nDate: %b\r\n" % parts
        return head
