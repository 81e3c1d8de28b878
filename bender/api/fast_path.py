"""The fast path: plain requests for the hot routes, answered without Twisted's web and Klein.

Nearly all requests of a registry are renewals and a few others of always the same form. They do not need a general web
server, and take a fifth of the time here (docs/performance.md).

The fast path takes a request only if its meaning is beyond doubt: HTTP/1.1 with a persistent connection, a body with a
length, a hot route, nothing encoded in the path, and every line as RFC 9112 demands. All other requests are left to
Twisted, unchanged. The fast path must not accept a request that Twisted would refuse, and must give the same answer as
Twisted, byte for byte. So it accepts the forms that are known to be safe, instead of refusing those known to be unsafe.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from functools import lru_cache
from http import HTTPStatus
from math import inf

import msgspec
from twisted.logger import Logger
from twisted.web.http import datetimeToString
from twisted.web.server import version as server

from bender.access.credentials import AUTHORIZATION, CONSUL_TOKEN, token_in
from bender.access.host_check import HostCheck
from bender.access.tokens import Tokens
from bender.api.responses import BODY_BYTES_MAX, JSON_ALONE, ApiRequest, ApiResponse, error_response
from bender.api.route import Route, RouteTable
from bender.api.routes import answer
from bender.net.http_server import BROWSER_HEADERS
from bender.node.node import Node
from bender.node.request_counts import RouteCounts

#: The fast path waits for the rest of an incomplete request up to this size: many clients send the head on its own.
PART_BYTES_MAX = 8 * 1024

#: The most bytes of a head. Twisted refuses some longer heads.
HEAD_BYTES_MAX = 4 * 1024

#: Instances send the same bytes again and again, so the last parsed requests are remembered: their number, and the most
#: bytes of one. An entry takes about 1 KB with its key, and saves a quarter of the time of a renewal.
REMEMBERED_MAX = 4096
REMEMBERED_BYTES_MAX = 512

# A request line and headers, all of them or the first few. The path has no fragment and nothing to decode.
_REQUEST_LINE = rb'(?P<method>GET|POST|PUT|DELETE) (?P<path>/[!"$&->@-~]*)(?:\?(?P<query>[!"$-~]*))? HTTP/1\.1\r\n'
_HEADERS = rb"(?P<headers>(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n)*)"
_HEAD = re.compile(_REQUEST_LINE + _HEADERS + rb"\r\n")
_BEGINNING = re.compile(rb"(?:" + _REQUEST_LINE + _HEADERS + rb")?[^\r\n]*\r?")

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)
_DIGITS = re.compile(rb"[0-9]{1,9}")

# Headers that change how the request is to be read or answered.
_NOT_PLAIN = frozenset({b"expect", b"te", b"trailer", b"transfer-encoding", b"upgrade"}) | BROWSER_HEADERS


class ParsedRequest(msgspec.Struct, frozen=True, gc=False):
    """A request for a hot route, with the counts to which its answer is added."""

    route: Route
    api_request: ApiRequest
    path: str
    counts: RouteCounts


class FastPath:
    """Parses and answers plain requests for a node. All connections share it: it has no state of a connection."""

    _log = Logger()

    def __init__(
        self,
        node: Node,
        seconds: Callable[[], float],
        tokens: Tokens,
        routes: RouteTable,
        hosts: HostCheck | None = None,
    ) -> None:
        self._node = node
        self._tokens = tokens
        self._hosts = hosts
        self.routes = routes
        #: Parse bytes of up to `REMEMBERED_BYTES_MAX` that are exactly one request, as nearly all reads are; return
        #: None for other bytes, and for requests for Twisted. Cached.
        self.parse_whole = lru_cache(REMEMBERED_MAX)(self._parse_whole)
        tokens.add_listener(self.parse_whole.cache_clear)  # a cached request contains the access of its client
        self._seconds = seconds
        self._heads = _Heads()
        #: When the last answer was made.
        self.answered_at = -inf
        #: The most bytes of a body, unless its route accepts more, and the bytes of the largest so far.
        self.body_bytes_max = BODY_BYTES_MAX
        self.largest_body = 0

    def parse(self, read: bytes, at: int) -> tuple[ParsedRequest | None, int]:
        """Return the request that begins at `at`, and the position of its end.

        Return None and `at` if the request is incomplete, None and -1 if it is for Twisted. The time is proportional to
        the length of the request, whatever follows it.
        """
        head_ends = read.find(b"\r\n\r\n", at, at + HEAD_BYTES_MAX) + 4
        if head_ends < 4:
            waits = len(read) - at <= HEAD_BYTES_MAX and _begins(read[at:])
            return None, at if waits else -1
        length = _LENGTH.search(read, at, head_ends)
        end = head_ends + int(length[1]) if length else head_ends
        if len(read) < end:
            # Wait for the body, unless Twisted must see the head now: it answers some requests before their body.
            waits = end - at <= PART_BYTES_MAX and self._parse_head(read[at:head_ends]) is not None
            return None, at if waits else -1
        request = read[at:end]
        parsed = self.parse_whole(request) if len(request) <= REMEMBERED_BYTES_MAX else self._parse_whole(request)
        return parsed, -1 if parsed is None else end

    def _parse_whole(self, request: bytes) -> ParsedRequest | None:
        """Parse bytes that are exactly one request; return None for anything else, and for requests for Twisted."""
        head, end, body = request.partition(b"\r\n\r\n")
        parsed = self._parse_head(head + end)
        if parsed is None or len(body) != parsed.length:
            return None
        if parsed.length > self.body_bytes_max and parsed.length > parsed.route.body_bytes_always:
            return None
        self.largest_body = max(self.largest_body, parsed.length)
        api_request = ApiRequest(parsed.method, parsed.names, parsed.query, body, parsed.etags, parsed.encodings)
        api_request.access = self._tokens.access(parsed.token)
        counts = self._node.requests.counts_of(parsed.route.name, parsed.method)
        return ParsedRequest(parsed.route, api_request, parsed.path, counts)

    def _parse_head(self, head: bytes) -> _ParsedHead | None:
        """Parse a head with the empty line at its end; return None where the request is for Twisted."""
        found = _HEAD.fullmatch(head)
        headers = None if found is None else _plain_headers(found["headers"])
        if found is None or headers is None:
            return None
        hosts = self._hosts
        if hosts is not None and (host := headers.get(b"host")) not in hosts.accepted and not hosts.permits(host):
            return None
        hot = self.routes.find_hot(path := found["path"].decode())
        length = headers.get(b"content-length", b"0")
        if hot is None or not _DIGITS.fullmatch(length) or int(length) > max(hot[0].body_bytes_always, BODY_BYTES_MAX):
            return None
        etags, encodings = headers.get(b"if-none-match"), headers.get(b"accept-encoding")
        method, query = found["method"].decode(), (found["query"] or b"").decode()
        token = token_in(headers.get(AUTHORIZATION), headers.get(CONSUL_TOKEN))
        return _ParsedHead(method, path, query, *hot, int(length), _text(etags), _text(encodings), token)

    def count_turned_away(self) -> None:
        """Count a request that was turned away because the node is overloaded."""
        self._node.counters.turned_away += 1

    def answer(self, parsed: ParsedRequest, waited_s: float = 0.0) -> bytes | None:
        """Return the response to a request that was read `waited_s` ago.

        Return None if the answer must wait, or be sent in pieces: Twisted answers the request then.
        """
        began_at = parsed.api_request.at = self._node.now()
        if not (parsed.route.while_not_ready or self._node.ready_at(began_at)):
            return None
        try:
            answered = answer(self._node, parsed.route, parsed.api_request)
        except Exception as error:
            self._log.failure("A request for {path} failed.", path=parsed.path)
            answered = error_response(error)
        if isinstance(answered, ApiResponse) and answered.pieces is None:
            now = self.answered_at = self._seconds()
            if waited_s:
                began_at -= waited_s
            parsed.counts.note(answered.status, now - began_at)
            if answered.status >= 400:
                answered = self.routes.error_form(answered)
            return self._heads.response(answered, int(now))
        if isinstance(answered, Coroutine):
            answered.close()  # it has not begun
        return None

    def refuse(self, parsed: ParsedRequest, refusal: ApiResponse, waited_s: float = 0.0) -> bytes:
        """Return a refusal as bytes, and count it as the answer to a request, whose command is not run."""
        parsed.counts.note(refusal.status, waited_s)
        return self._heads.response(self.routes.error_form(refusal), int(self._seconds()))


def reason(status: int) -> bytes:
    """Return the reason phrase of a status."""
    return HTTPStatus(status).phrase.encode()


class _ParsedHead(msgspec.Struct, frozen=True):
    """The head of a request for a hot route."""

    method: str
    path: str
    query: str
    route: Route
    names: tuple[str, ...]
    length: int
    etags: str | None
    encodings: str | None
    token: bytes | None

    def __repr__(self) -> str:
        return f"_Parsed({self.method} {self.path})"  # a log must not have the token


def _begins(part: bytes) -> bool:
    """Return True if these bytes can become the head of a plain request. Twisted must see a bad line at once."""
    found = _BEGINNING.fullmatch(part)
    headers = None if found is None else _plain_headers(found["headers"] or b"")
    return headers is not None and _DIGITS.fullmatch(headers.get(b"content-length", b"0")) is not None


def _plain_headers(lines: bytes) -> dict[bytes, bytes] | None:
    """Return the headers by name in lower case; None if one of them makes the request not plain."""
    headers: dict[bytes, bytes] = {}
    for line in lines.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        before = headers.get(name)
        headers[name] = value if before is None else b"%b,%b" % (before, value)
    kept = b"connection" not in headers or headers[b"connection"].lower() == b"keep-alive"
    return headers if kept and _NOT_PLAIN.isdisjoint(headers) else None


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


class _Heads:
    """The first lines of responses by status, cached for a second, because they contain the time."""

    def __init__(self) -> None:
        self._second = -1
        self._heads: dict[int, bytes] = {}

    def response(self, answer: ApiResponse, second: int) -> bytes:
        """Return an answer as bytes, in a given second of the node's clock."""
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
