"""The HTTP server for clients: its limits, and the errors that Twisted's web would answer in another form than ours.

Everything with a request line and headers gets a JSON answer; anything else gets a 400 that closes the connection. A
body is kept in memory, never in a file. A body over its limit is answered at once, and its rest is read and dropped: a
client that is still sending may not see the answer if the connection is closed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from io import BytesIO
from math import ceil, inf

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.resource import IResource
from zope.interface import implementer

from bender.access.tokens import NO_TOKEN, Access
from bender.api.fast_path import REMEMBERED_BYTES_MAX, FastPath, ParsedRequest, reason
from bender.api.overload import overload_response, urgency_at
from bender.api.responses import BODY_BYTES_MAX, RETRY_AFTER, ApiResponse, refusal_response
from bender.api.route import RouteTable
from bender.net.eager_write import limit_unsent
from bender.net.fair_turns import Turns, Urgency
from bender.net.http_server import PacedChannel, PacedSite, PlainRequest
from bender.node.limits import DEFAULTS, Limits, LimitUse, NodeLimits
from bender.node.request_counts import RequestCounts, RouteCounts

REQUEST_LINE_BYTES_MAX = 8 * 1024
HEADERS_BYTES_MAX = 16 * 1024

#: The bytes of a body over its limit that are read and dropped before the connection is closed.
PASSED_OVER_BYTES_MAX = 16 * 1024 * 1024

#: The most bytes of all incomplete requests: 512 of the largest lists of renewals.
INCOMPLETE_BYTES_MAX = 128 * 1024 * 1024

#: The status, in metrics, of a request whose client had closed the connection before the answer began, as in nginx.
CLIENT_GONE = 499

#: Seconds between two resets of a connection's time limit: a reset at each request would take a tenth of its time.
TIMED_APART_S = 1

# Twenty digits are more than any number of bytes; Python refuses to read some thousands of them.
_CONTENT_LENGTH_BYTES_MAX = 64

_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_SCHEME_AND_HOST = re.compile(rb"\A[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")


def _closing_response(answer: ApiResponse) -> bytes:
    """Return the bytes of a response after which the connection is closed, for invalid or unread requests."""
    headers = [*answer.headers, (b"Content-Length", b"%d" % len(answer.body)), (b"Connection", b"close")]
    lines = [b"HTTP/1.1 %d %b" % (answer.status, reason(answer.status)), *(b"%b: %b" % header for header in headers)]
    return b"\r\n".join([*lines, b"", answer.body])


_NO_REQUEST = _closing_response(
    refusal_response("INVALID", "this is not a valid HTTP/1.1 request, or its request line or headers are too long")
)


#: The answer to a client that does not use TLS, at a node that does. The status is not 400, which clients take as the
#: answer of all nodes: while a cluster is being moved to TLS, another node may still serve the client.
NO_TLS = _closing_response(
    msgspec.structs.replace(
        refusal_response(
            "INVALID",
            "this port uses TLS: ask https://, and give the CA (bender: --ca FILE)",
            (b"Upgrade", b"TLS/1.2, HTTP/1.1"),
            (b"Connection", b"Upgrade"),
        ),
        status=HTTPStatus.UPGRADE_REQUIRED,
    )
)


def respond(request: server.Request, answer: ApiResponse) -> bytes:
    """Set the status and headers of an answer, and return its body."""
    request.setResponseCode(answer.status, reason(answer.status))
    headers = request.responseHeaders
    for name, value in answer.headers:
        headers.setRawHeaders(name, [value])
    length = answer.length if answer.pieces is not None else len(answer.body) or None
    if length is not None:
        headers.setRawHeaders(b"Content-Length", [b"%d" % length])
    return answer.body


async def send(request: HttpRequest, answer: ApiResponse, turns: Turns) -> None:
    """Send an answer in pieces, as fast as the client reads them; the caller finishes the request afterwards."""
    assert answer.pieces is not None
    respond(request, answer)
    limit_unsent(request.channel.transport)  # otherwise a client that reads slowly would seem to read nothing
    sender = _Sender(request, answer.pieces, turns)
    request.registerProducer(sender, streaming=True)
    try:
        sender.resumeProducing()
        await sender.done
    finally:
        sender.stopProducing()
        if request.channel is not None:  # the client is still there
            request.unregisterProducer()


@implementer(IPushProducer)
class _Sender:
    """Writes the pieces of an answer, each when the client has read enough of those before."""

    urgency = Urgency.QUERY

    def __init__(self, request: HttpRequest, pieces: Iterator[bytes], turns: Turns) -> None:
        self.done: Deferred[None] = Deferred()
        self._request = request
        self._pieces = pieces
        self._turns = turns
        self._paused = True

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._turns.run(self)

    def stopProducing(self) -> None:
        """Stop, because all is sent, or the client has closed the connection."""
        self._paused = True
        self._turns.forget(self)

    def work(self) -> bool:
        """Write one piece. Return True if the transport takes more."""
        if self._paused:
            return False
        piece = next(self._pieces, None)
        if piece is None:
            self._paused = True
            self.done.callback(None)
        else:
            self._request.write(piece)
        return not self._paused

    def idle(self) -> None:
        """Do nothing: the transport's buffer is full, or all is sent."""


class HttpRequest(PlainRequest):
    """One request, whose body is kept up to its limit."""

    content: BytesIO
    body_bytes_max = BODY_BYTES_MAX
    channel: ApiChannel
    #: Whether the answer is a stream of events, without an end.
    endless = False
    #: The permissions of the client: none until its token was checked.
    access: Access = NO_TOKEN
    #: The counts of its route, once that is known, and when it was read.
    counts: RouteCounts | None = None
    _read_at: float | None = None
    _received_bytes = 0
    _refused = False

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory: Twisted would write one that is long, or of unknown length, to a file."""
        del length
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        self._received_bytes += len(data)
        if self._received_bytes > self.body_bytes_max:
            self.refuse_body()
        if not self._refused:
            self.content.write(data)
        elif self._received_bytes > PASSED_OVER_BYTES_MAX:
            self.loseConnection()

    def refuse_body(self) -> None:
        """Send the refusal now. The request and the connection end at the end of the body."""
        if self._refused:
            return
        self._refused = True
        self._read_at = self.channel.site.reactor.seconds()
        self.channel.site.bodies_refused += 1
        self.channel.persistent = 0
        self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        limit = " (--max-body)" if self.body_bytes_max == self.channel.site.limits.values.body_bytes else ""
        text = f"the body must not be larger than {self.body_bytes_max} bytes{limit}"
        self.write(respond(self, self.channel.site.routes.in_error_form(refusal_response("TOO_LARGE", text))))

    def process(self) -> None:
        site = self.channel.site
        self._read_at = site.reactor.seconds() - site.turns.waited_s
        if self._refused:
            self.finish()
            return
        self.channel.site.largest_body = max(self.channel.site.largest_body, self._received_bytes)
        method, path = self.method.decode("latin-1"), self.path.decode("latin-1")
        busy = self.channel.turn_away_if_late(method, path) or self.channel.refuse_over_rate()
        if busy is not None:
            self.write(respond(self, self.channel.site.routes.in_error_form(busy)))
            self.finish()
            return
        # A server must accept both of these forms, although no client of ours sends them (RFC 9112, 3.2).
        self.path = b"/" if self.path == b"*" else _SCHEME_AND_HOST.sub(b"", self.path) or b"/"
        super().process()

    def finish(self) -> None:
        self._count(self.code)
        super().finish()

    def connectionLost(self, reason: Failure) -> None:
        """Count a request whose answer is incomplete because the connection is lost."""
        self._count(self.code if self.startedWriting else CLIENT_GONE)
        super().connectionLost(reason)

    def _count(self, status: int) -> None:
        if self._read_at is None:
            return  # the request was incomplete
        site = self.channel.site
        counts = self.counts or site.requests.counts_of_unknown_route(self.method.decode("latin-1"))
        counts.note(status, site.reactor.seconds() - self._read_at)


@implementer(IHalfCloseableProtocol)
class ApiChannel(PacedChannel):
    """One connection. A client may close its sending side after its last request, as `nc` does."""

    #: With the CR at the end of a line.
    MAX_LENGTH = max(REQUEST_LINE_BYTES_MAX, HEADERS_BYTES_MAX) + 1
    #: Twisted's limit of the number of headers, 500, is not used: their bytes are limited.
    maxHeaders = HEADERS_BYTES_MAX
    site: ApiSite
    _has_sent_all = False
    #: When the time limit was last moved for a request of the fast path.
    _timed_at = -inf

    @property
    def is_answering(self) -> bool:
        """True if the client waits for an answer that has not begun. A stream of events has begun."""
        return bool(self._held) or any(not request.startedWriting for request in self.requests)

    def dataReceived(self, data: bytes) -> None:
        # A single short request is answered without a turn, unless others wait for their turns.
        busy = self._held or self._in_twisted or self._waitingForTransport or self.site.turns.is_overloaded
        free = not busy and self.persistent
        if free and len(data) <= REMEMBERED_BYTES_MAX:
            parsed = self.site.fast_path.parse_whole(data)
            if parsed is not None and self._answer(parsed):
                return
        super().dataReceived(data)

    def answer_at_once(self, held: bytes, at: int) -> int | None:
        """Answer a request on the fast path. Return its end; `at` if incomplete; None if it is for Twisted."""
        parsed, end = self.site.fast_path.parse(held, at)
        if parsed is None:
            return at if end == at else None
        return end if self._answer(parsed) else None

    def _answer(self, parsed: ParsedRequest) -> bool:
        """Answer a request of the fast path; return False if Twisted must answer it."""
        site = self.site
        waited_s = site.turns.waited_s
        if waited_s and (late := self.turn_away_if_late(parsed.api_request.method, parsed.path)):
            self.write_at_once(site.fast_path.refuse(parsed, late, waited_s))
            return True
        if site.rate.per_s:
            busy = self.refuse_over_rate()
            if busy is not None:
                self.write_at_once(site.fast_path.refuse(parsed, busy, waited_s))
                return True
        response = site.fast_path.answer(parsed, waited_s)
        if response is None:
            if site.rate.per_s:
                site.rate.give_back(self.client)
            return False
        now = site.fast_path.answered_at
        if now >= self._timed_at + TIMED_APART_S:
            self._timed_at = now
            self._received = True
            self.resetTimeout()
        self.write_at_once(response)
        return True

    @property
    def urgency(self) -> Urgency:
        """The urgency of the next request."""
        return urgency_at(self._held, self._offset)

    def turn_away_if_late(self, method: str, path: str) -> ApiResponse | None:
        """Count a request that has waited too long at this overloaded node and return the 429; None for any other."""
        late = overload_response(method, path, self.site.turns.waited_s)
        if late is not None:
            self.site.fast_path.count_turned_away()
        return late

    def refuse_over_rate(self) -> ApiResponse | None:
        """Count a request against its client's rate; return the 429 if the client sends too many, else None."""
        wait_s = self.site.rate.take(self.client)
        if not wait_s:
            return None
        text = self.site.limits.rate_problem(self.client)
        return refusal_response("BUSY", text, (b"Retry-After", b"%d" % ceil(wait_s)))

    def connectionMade(self) -> None:
        super().connectionMade()
        self.site.channels[self] = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.site.channels.pop(self, None)
        super().connectionLost(reason)

    def work(self) -> bool:
        """Act on one request; close the connection after the last one if the client sends no more."""
        more = super().work()
        if self._has_sent_all and not more and not self._lost:
            self._end_when_answered()
        return more

    def readConnectionLost(self) -> None:
        """Answer the requests so far, and then close the connection: the client sends no more."""
        self._has_sent_all = True
        self.site.turns.run(self)

    def _end_when_answered(self) -> None:
        """Close the connection if no answer is due, or if the client watches events or has sent half a request."""
        if not self.requests:
            if not (self._held and self._waitingForTransport):
                self.loseConnection()
        elif not self._handlingRequest or self.requests[0].endless:
            self.transport.abortConnection()

    def writeConnectionLost(self) -> None:
        """Do nothing: only this end closes the sending side, together with the whole connection."""

    def line(self, line: bytes) -> None:
        if self._receivedHeaderSize == 0:  # the request line
            if len(line) > REQUEST_LINE_BYTES_MAX:
                self._respondToBadRequestAndDisconnect()
                return
            # A path that a client has not percent-encoded is accepted, or refused in JSON with the reason.
            line = _NOT_ASCII.sub(lambda byte: b"%%%02X" % ord(byte[0]), line)
            self.totalHeadersSize = len(line) + HEADERS_BYTES_MAX
        super().line(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Send an answer, where Twisted would close the connection without one."""
        del line
        self._respondToBadRequestAndDisconnect()

    def headerReceived(self, line: bytes) -> bool:
        if len(line) > _CONTENT_LENGTH_BYTES_MAX and line[:15].lower() == b"content-length:":
            self._respondToBadRequestAndDisconnect()
            return False
        return bool(super().headerReceived(line))

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Answer invalid requests in the form of all errors, where Twisted sends a bare 400."""
        if not any(request.startedWriting for request in self.requests):
            self.transport.write(_NO_REQUEST)
        self.loseConnection()

    def allHeadersReceived(self) -> None:
        request = self.requests[-1]
        # Twisted sets these only after the body, but a refusal of the body needs them before.
        request.method, request.clientproto = self._command, self._version
        least = self.site.fast_path.routes.body_bytes_always(self._path.split(b"?", 1)[0])
        request.body_bytes_max = max(self.site.limits.values.body_bytes, least)
        too_large = self.length is not None and self.length > request.body_bytes_max
        if too_large:
            request.requestHeaders.removeHeader(b"Expect")  # do not ask the client to send the refused body
        super().allHeadersReceived()
        if too_large:
            request.refuse_body()


class ApiSite(PacedSite):
    """The factory of these connections."""

    #: The connections that are open.
    channels: dict[ApiChannel, None]
    protocol = ApiChannel  # type: ignore[assignment]  # not Twisted's proxy, whose only use is to switch to HTTP/2
    requestFactory = HttpRequest

    def __init__(
        self,
        resource: IResource,
        fast_path: FastPath,
        reactor: IReactorTime,
        turns: Turns | None = None,
        limits: NodeLimits | None = None,
        requests: RequestCounts | None = None,
        prefix: str = "",
    ) -> None:
        """Create the factory. `limits` are those of the node, by default the default limits.

        `requests` counts the requests. In `/status`, the names of this site's limits begin with `prefix`.
        """
        self.limits = limits or NodeLimits(DEFAULTS, reactor.seconds)
        values = self.limits.values
        super().__init__(
            resource,
            reactor,
            turns or Turns(reactor),
            values.client_timeout_s,
            connections_max=values.connections,
            held_bytes_max=INCOMPLETE_BYTES_MAX,
        )
        self.channels = {}
        self.fast_path = fast_path
        self.reactor = reactor
        self.requests = requests or RequestCounts()
        self.rate = self.limits.rate
        #: The bytes of the largest accepted body, and the number of refused ones.
        self.largest_body = 0
        self.bodies_refused = 0
        self.limits.bind_connections(f"{prefix}connections", self.places)
        self.limits.show_held(f"{prefix}request_bytes", self.held)
        self.limits.show_held(f"{prefix}answer_bytes", self.unsent)
        self.limits.uses[f"{prefix}body"] = self._use_of_body
        self.limits.follow(self._keep_to)
        self._option = f"--{prefix.rstrip('_') or 'api'}"

    def logPrefix(self) -> str:
        return self._option

    @property
    def routes(self) -> RouteTable:
        return self.fast_path.routes

    def _keep_to(self, limits: Limits) -> None:
        self.timeOut = limits.client_timeout_s  # for new connections
        self.fast_path.body_bytes_max = limits.body_bytes

    def _use_of_body(self) -> LimitUse:
        largest = max(self.largest_body, self.fast_path.largest_body)
        return LimitUse(self.limits.values.body_bytes, largest, largest, self.bodies_refused)

    def no_place_response(self) -> bytes:
        text = (
            f"{self.places.used} connections to this node are open, the maximum (--max-connections): "
            "use another node, or try again"
        )
        return _closing_response(
            self.routes.in_error_form(refusal_response("BUSY", text, (b"Retry-After", RETRY_AFTER)))
        )

    def end_idle(self) -> bool:
        """Close the connections whose clients wait for no answer. Return True if any others are left."""
        for channel in [*self.channels]:
            if not channel.is_answering:
                channel.transport.loseConnection()
        return bool(self.channels)
