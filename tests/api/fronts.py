"""A node with or without the fast path before it: both give the same answers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast

from twisted.internet.task import Clock

from bender.access.host_check import HostCheck
from bender.access.tokens import Tokens
from bender.api import site
from bender.api.fast_path import FastPath, ParsedRequest
from bender.api.route import RouteTable
from bender.api.routes import ROUTES
from tests.api.conversation import Connection, a_node

_DATE = re.compile(rb"\r\nDate: [^\r]*")


class Counted:
    """The fast path, which counts the requests that it took."""

    largest_body = 0

    def __init__(self, fast_path: FastPath) -> None:
        self._fast_path = fast_path
        self.routes = fast_path.routes
        self.asked = self.taken = 0

    def parse_whole(self, read: bytes) -> ParsedRequest | None:
        taken = self._fast_path.parse_whole(read)
        self.taken += taken is not None
        return taken

    def parse(self, read: bytes, at: int) -> tuple[ParsedRequest | None, int]:
        self.asked += 1
        taken = self._fast_path.parse(read, at)
        self.taken += taken[0] is not None
        return taken

    def answer(self, taken: ParsedRequest, waited_s: float) -> bytes | None:
        return self._fast_path.answer(taken, waited_s)

    @property
    def answered_at(self) -> float:
        return self._fast_path.answered_at


class LongWay:
    """A stand-in for the fast path that takes no request."""

    largest_body = 0
    routes = RouteTable(ROUTES)

    def parse_whole(self, read: bytes) -> None:
        """Take no request."""

    def parse(self, read: bytes, at: int) -> tuple[None, int]:
        """Take no request."""
        del read, at
        return None, -1

    def answer(self, taken: ParsedRequest) -> None:
        raise AssertionError("nothing was taken")


class Front:
    """A node with either of them before it; with `host_names`, the node checks the host names of requests."""

    def __init__(self, *, fast: bool, tokens: Tokens | None = None, host_names: Iterable[str] | None = None) -> None:
        self.clock = Clock()
        self.node = a_node(self.clock)
        self.tokens = tokens or Tokens()
        hosts = None if host_names is None else HostCheck(host_names, self.tokens)
        self.site = site(self.node, self.clock, tokens=self.tokens, hosts=hosts)
        self.fast_path = Counted(self.site.fast_path)
        self.site.fast_path = cast(Any, self.fast_path if fast else LongWay())

    def ask(self, pieces: list[bytes]) -> tuple[bytes, bool]:
        """Return the received bytes without the date, and whether the connection was closed."""
        connection = Connection(self.site)
        for piece in pieces:
            if not connection.closed:
                connection.send(piece)
        self.clock.advance(0)
        closed = connection.closed
        received = _DATE.sub(b"", connection.received())
        if not closed:
            connection.lose()
        return received, closed
