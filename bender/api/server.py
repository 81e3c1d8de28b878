"""HTTP as clients may speak it with a node: the limits, and what Twisted's web would answer in other forms than ours.

Everything that has a request line and headers gets a JSON answer from the routes; what has not is a bare 400. A body
is kept in memory, never in a file, and one over its limit is answered at once and then read without being kept, because
a client that is still sending may not see an answer before a closed connection.
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
from bender.api.overload import turned_away, urgency_at
from bender.api.responses import BODY_BYTES_MAX, RETRY_AFTER, ApiResponse, refusal_response
from bender.api.route import RouteTable
from bender.net.eager_write import limit_unsent
from bender.net.fair_turns import Turns, Urgency
from bender.net.http_server import PacedChannel, PacedSite, PlainRequest
from bender.node.limits import DEFAULTS, Limits, LimitUse, NodeLimits
from bender.node.request_counts import RequestCounts, RouteCounts

REQUEST_LINE_BYTES_MAX = 8 * 1024
HEADERS_BYTES_MAX = 16 * 1024

#: What is read of a body over its limit before the connection is closed in the middle of it.
PASSED_OVER_BYTES_MAX = 16 * 1024 * 1024

#: Bytes of requests that have not come completely: 512 of the largest lists of renewals.
INCOMPLETE_BYTES_MAX = 128 * 1024 * 1024

#: The status of a request in metrics whose client was gone before the answer began, as nginx has it.
CLIENT_GONE = 499

#: The time limit is not moved more often: to do so at each request would take a tenth of the time of one.
TIMED_APART_S = 1

# Twenty digits are more than any number of bytes; Python refuses to read some thousands of them.
_CONTENT_LENGTH_BYTES_MAX = 64

_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_SCHEME_AND_HOST = re.compile(rb"\A[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")


def _bare(answer: ApiResponse) -> bytes:
    """Return the bytes of a response to what is not a request, or was not read; the connection ends with it."""
    headers = [*answer.headers, (b"Content-Length", b"%d" % len(answer.body)), (b"Connection", b"close")]
    lines = [b"HTTP/1.1 %d %b" % (answer.status, reason(answer.status)), *(b"%b: %b" % header for header in headers)]
    return b"\r\n".join([*lines, b"", answer.body])


_NO_REQUEST = _bare(
    refusal_response("INVALID", "this is not a valid HTTP/1.1 request, or its request line or headers are too long")
)


#: For a client that does not use TLS, at a node that does. The status is not 400, which a client takes as the answer of
#: all nodes: in a cluster that is moved to TLS, another node may still serve it.
NO_TLS = _bare(
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
    """Set everything of an answer but the body, which is returned."""
    request.setResponseCode(answer.status, reason(answer.status))
    headers = request.responseHeaders
    for name, value in answer.headers:
        headers.setRawHeaders(name, [value])
    length = answer.length if answer.pieces is not None else len(answer.body) or None
    if length is not None:
        headers.setRawHeaders(b"Content-Length", [b"%d" % length])
    return answer.body


async def send(request: HttpRequest, answer: ApiResponse, turns: Turns) -> None:
    """Send an answer in pieces, as fast as the client takes them; the caller finishes the request then."""
    assert answer.pieces is not None
    respond(request, answer)
    limit_unsent(request.channel.transport)  # or one that reads slowly would seem to read nothing
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
    """Writes the next piece as long as the client takes what was written."""

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
        """Stop: all is sent, or the client is gone."""
        self._paused = True
        self._turns.forget(self)

    def work(self) -> bool:
        """Write one piece."""
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
        """The client does not take more at present, or has it all."""


class HttpRequest(PlainRequest):
    """One request, which keeps no more of its body than it may."""

    content: BytesIO
    body_bytes_max = BODY_BYTES_MAX
    channel: ApiChannel
    #: Set while this is answered with events for as long as its client listens.
    endless = False
    #: What the client may do: nothing, until its token was looked at.
    access: Access = NO_TOKEN
    #: Where it is counted, once its route is known, and when it was read.
    counts: RouteCounts | None = None
    _read_at: float | None = None
    _received_bytes = 0
    _refused = False

    def gotLength(self, length: int | None) -> None:
        """Twisted would write a body that is long, or of unknown length, to a file."""
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
        """Answer now; the request ends, and the connection with it, when the body does."""
        if self._refused:
            return
        self._refused = True
        self._read_at = self.channel.site.reactor.seconds()
        self.channel.site.bodies_refused += 1
        self.channel.persistent = 0
        self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        limit = " (--max-body)" if self.body_bytes_max == self.channel.site.limits.values.body_bytes else ""
        text = f"the body must not be larger than {self.body_bytes_max} bytes{limit}"
        self.write(respond(self, self.channel.site.routes.formed(refusal_response("TOO_LARGE", text))))

    def process(self) -> None:
        site = self.channel.site
        self._read_at = site.reactor.seconds() - site.turns.waited_s
        if self._refused:
            self.finish()
            return
        self.channel.site.largest_body = max(self.channel.site.largest_body, self._received_bytes)
        method, path = self.method.decode("latin-1"), self.path.decode("latin-1")
        busy = self.channel.turned_away(method, path) or self.channel.over_rate()
        if busy is not None:
            self.write(respond(self, self.channel.site.routes.formed(busy)))
            self.finish()
            return
        # Both of these forms must be understood, though no client of ours sends them (RFC 9112, 3.2).
        self.path = b"/" if self.path == b"*" else _SCHEME_AND_HOST.sub(b"", self.path) or b"/"
        super().process()

    def finish(self) -> None:
        self._count(self.code)
        super().finish()

    def connectionLost(self, reason: Failure) -> None:
        """Count a request that has no whole answer because its client is gone, or was dropped."""
        self._count(self.code if self.startedWriting else CLIENT_GONE)
        super().connectionLost(reason)

    def _count(self, status: int) -> None:
        if self._read_at is None:
            return  # it never came completely
        site = self.channel.site
        counts = self.counts or site.requests.counts_of_unknown_route(self.method.decode("latin-1"))
        counts.note(status, site.reactor.seconds() - self._read_at)


@implementer(IHalfCloseableProtocol)
class ApiChannel(PacedChannel):
    """One connection. A client that has sent all may close its half, as `nc` does, and is still answered."""

    #: With the CR at the end of a line.
    MAX_LENGTH = max(REQUEST_LINE_BYTES_MAX, HEADERS_BYTES_MAX) + 1
    #: Their bytes are counted; Twisted would count them as well, and draw the line at 500.
    maxHeaders = HEADERS_BYTES_MAX
    site: ApiSite
    _said_all = False
    #: When the time limit was last moved for a request of the fast path.
    _timed_at = -inf

    @property
    def answering(self) -> bool:
        """Return True if a client waits for an answer that has not begun. A stream of events has begun."""
        return bool(self._held) or any(not request.startedWriting for request in self.requests)

    def dataReceived(self, data: bytes) -> None:
        # One short request, with nothing before it and nothing after it, needs no turn unless others wait for theirs.
        busy = self._held or self._in_twisted or self._waitingForTransport or self.site.turns.is_overloaded
        free = not busy and self.persistent
        if free and len(data) <= REMEMBERED_BYTES_MAX:
            parsed = self.site.fast_path.take_whole(data)
            if parsed is not None and self._answer(parsed):
                return
        super().dataReceived(data)

    def answer_at_once(self, held: bytes, at: int) -> int | None:
        """Answer what the fast path takes, unless the answer must wait or comes piece by piece: that is for Twisted."""
        parsed, end = self.site.fast_path.take(held, at)
        if parsed is None:
            return at if end == at else None
        return end if self._answer(parsed) else None

    def _answer(self, parsed: ParsedRequest) -> bool:
        """Answer a request of the fast path; False if it is for Twisted."""
        site = self.site
        waited_s = site.turns.waited_s
        if waited_s and (late := self.turned_away(parsed.api_request.method, parsed.path)):
            self.write_at_once(site.fast_path.refuse(parsed, late, waited_s))
            return True
        if site.rate.per_s:
            busy = self.over_rate()
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
        """Return the urgency of the request that is acted upon next."""
        return urgency_at(self._held, self._offset)

    def turned_away(self, method: str, path: str) -> ApiResponse | None:
        """Count a request that has waited too long at an overloaded node, and return its answer; None for any other."""
        late = turned_away(method, path, self.site.turns.waited_s)
        if late is not None:
            self.site.fast_path.count_turned_away()
        return late

    def over_rate(self) -> ApiResponse | None:
        """Count a request; return the answer to it where its client sends too many."""
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
        """Act on one request, and end the connection after the last if the client sends no more."""
        more = super().work()
        if self._said_all and not more and not self._lost:
            self._end_when_answered()
        return more

    def readConnectionLost(self) -> None:
        """Answer all that was asked, and close then."""
        self._said_all = True
        self.site.turns.run(self)

    def _end_when_answered(self) -> None:
        """Close if no answer is due; a client that watches events, or was in the middle of a request, is gone."""
        if not self.requests:
            if not (self._held and self._waitingForTransport):
                self.loseConnection()
        elif not self._handlingRequest or self.requests[0].endless:
            self.transport.abortConnection()

    def writeConnectionLost(self) -> None:
        """Only this end closes that half, and with it the whole."""

    def line(self, line: bytes) -> None:
        if self._receivedHeaderSize == 0:  # the request line
            if len(line) > REQUEST_LINE_BYTES_MAX:
                self._respondToBadRequestAndDisconnect()
                return
            # Clients that do not encode what they should are understood, or told in JSON why not.
            line = _NOT_ASCII.sub(lambda byte: b"%%%02X" % ord(byte[0]), line)
            self.totalHeadersSize = len(line) + HEADERS_BYTES_MAX
        super().line(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Answer, where Twisted would close the connection without an answer."""
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
        # Known only when all of the body is there, otherwise, and needed to refuse it before.
        request.method, request.clientproto = self._command, self._version
        least = self.site.fast_path.routes.body_bytes_always(self._path.split(b"?", 1)[0])
        request.body_bytes_max = max(self.site.limits.values.body_bytes, least)
        too_large = self.length is not None and self.length > request.body_bytes_max
        if too_large:
            request.requestHeaders.removeHeader(b"Expect")  # do not ask for what is not wanted
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
        """`limits` are those of the node; without them these connections have the defaults.

        `requests` is where the node counts them. The names under which the use of the limits is shown begin with
        `prefix`.
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
        #: The largest body of a request, and the number of those that were too large.
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
        self.timeOut = limits.client_timeout_s  # of connections from now on
        self.fast_path.body_bytes_max = limits.body_bytes

    def _use_of_body(self) -> LimitUse:
        largest = max(self.largest_body, self.fast_path.largest_body)
        return LimitUse(self.limits.values.body_bytes, largest, largest, self.bodies_refused)

    def no_place_response(self) -> bytes:
        text = (
            f"{self.places.used} connections to this node are open, the maximum (--max-connections): "
            "use another node, or try again"
        )
        return _bare(self.routes.formed(refusal_response("BUSY", text, (b"Retry-After", RETRY_AFTER))))

    def end_idle(self) -> bool:
        """Close the connections that wait for no answer. Return True if any other is left."""
        for channel in [*self.channels]:
            if not channel.answering:
                channel.transport.loseConnection()
        return bool(self.channels)
