"""The half of the exchange that answers: `POST /exchange` brings a message, and its answer is one.

`POST /account` brings an id, and its answer is what this node knows of it. `POST /claims` brings many ids, and its
answer has the time that this node's claim of each has left. `POST /nodes` is answered with what this node reports about
itself, and `POST /consumers` with its consumers, as soon as they have acted on what the request names.

A request that is no message of this cluster's is refused with a sentence in JSON, and its sender named in the log. It
must never keep the body of a request that is larger than any message, nor write one to a file, as Twisted would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any, Protocol, TypeVar

import msgspec
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http, server
from twisted.web.resource import IResource, Resource
from werkzeug.exceptions import HTTPException

from bender.core.claim_leases import ClaimLease
from bender.core.consumers import Awaited, ConsumerState
from bender.core.diagnosis import NodeDiagnosis
from bender.core.messages import Message
from bender.core.node_report import NodeReport
from bender.exchange import push
from bender.exchange.connection_problems import PeerProblems
from bender.exchange.transport import (
    ACCOUNT_PATH,
    CLAIMS_PATH,
    CONSUMERS_PATH,
    MEDIA_TYPE,
    NODES_PATH,
    PATH,
    REFUSAL_TYPE,
    PeerRefusal,
)
from bender.exchange.wire import BODY_BYTES_MAX, WIRE_VERSION, Wire
from bender.exchange.wire_errors import MessageRefused, MessageTooLarge, OtherCluster, OtherVersion
from bender.net.fair_turns import Turns, Urgency
from bender.net.http_server import BROWSER_HEADERS, PacedChannel, PacedSite, PlainRequest
from bender.node.counters import Counters

#: Seconds without a byte after which a connection is closed. It is longer than peers keep an idle one.
IDLE_S_MAX = 60

#: Connections at a time: one for the rounds and one for the pushes of each of 2,000 peers, and as many for inquiries
#: and for those that are lost without a sign.
CONNECTIONS_MAX = 8_000

#: Bytes of messages that have not come completely: 16 of the largest.
HELD_BYTES_MAX = 256 * 1024 * 1024

#: The default port of the API, for clients that came to the wrong port.
API_PORT = 1729

_CLIENTS = f"clients use the port of --api, {API_PORT} by default"

_PATH = PATH.encode()
_PATHS = frozenset({_PATH, *(path.encode() for path in (ACCOUNT_PATH, CLAIMS_PATH, NODES_PATH, CONSUMERS_PATH))})

#: What is larger comes in pieces and takes its time anyway.
PUSH_BYTES_MAX = 64 * 1024

#: For a peer that does not use TLS, at a node that does. Other refusals say what a node is; this one has no need to.
NO_TLS = push.answer(
    http.BAD_REQUEST,
    http.RESPONSES[http.BAD_REQUEST],
    REFUSAL_TYPE,
    msgspec.json.encode(PeerRefusal("INVALID", "this port uses TLS: start the sender with --peer-tls DIR")),
)

_STATUSES = {OtherCluster: http.CONFLICT, OtherVersion: http.CONFLICT, MessageTooLarge: http.REQUEST_ENTITY_TOO_LARGE}

_CODES = {http.CONFLICT: "CONFLICT", http.REQUEST_ENTITY_TOO_LARGE: "TOO_LARGE", http.BAD_REQUEST: "INVALID"}


class AnsweringNode(Protocol):
    """The methods of a node that are used here."""

    @property
    def counters(self) -> Counters: ...

    def receive(self, message: Message) -> Message: ...

    def diagnose(self, key: str) -> NodeDiagnosis: ...

    def claim_leases(self, keys: Iterable[str]) -> list[ClaimLease | None]: ...

    def own_report(self) -> NodeReport: ...

    async def wait_for_consumers(self, awaited: Awaited) -> tuple[ConsumerState, ...]: ...


_Subject = TypeVar("_Subject")


class GossipServer:
    """Answers peers."""

    _log = Logger()
    _klein = Klein()

    def __init__(self, node: AnsweringNode, wire: Wire, problems: PeerProblems) -> None:
        self._node = node
        self._wire = wire
        self._problems = problems

    def site(self, reactor: IReactorTime, turns: Turns | None = None) -> PeerSite:
        """Return what peers connect to; `turns` are those of all that takes time at the node."""
        resource = _Paths(self._klein.resource(), self._node.counters)
        return PeerSite(resource, reactor, turns or Turns(reactor), self._problems, self._answer)

    @_klein.route(PATH, methods=["POST"])
    def exchange(self, request: PeerRequest) -> bytes:
        """Answer a message with a message."""
        return _respond(request, *self._answer(request.content.read(), request.getClientAddress().host))

    @_klein.route(ACCOUNT_PATH, methods=["POST"])
    def diagnose(self, request: PeerRequest) -> bytes:
        """Answer with what this node knows of an id, for a peer that was asked to explain it."""
        wire, node = self._wire, self._node
        return self._inform(request, wire.inquired, lambda key: wire.account_out(node.diagnose(key)))

    @_klein.route(CLAIMS_PATH, methods=["POST"])
    def claims(self, request: PeerRequest) -> bytes:
        """Answer with the time that this node's claims have left, for a peer that was asked for those of all nodes."""
        wire, node = self._wire, self._node
        return self._inform(request, wire.claims_inquired, lambda keys: wire.leases_out(node.claim_leases(keys)))

    @_klein.route(NODES_PATH, methods=["POST"])
    def report(self, request: PeerRequest) -> bytes:
        """Answer with what this node reports about itself, for a peer that was asked for all nodes."""
        wire, node = self._wire, self._node
        return self._inform(request, wire.check_question, lambda _: wire.report_out(node.own_report()))

    @_klein.route(CONSUMERS_PATH, methods=["POST"])
    async def consumers(self, request: PeerRequest) -> bytes:
        """Answer with this node's consumers, for a peer that waits for them."""
        try:
            awaited = self._wire.awaited(request.content.read())
        except MessageRefused as refused:
            return _respond(request, *self._refuse(refused, request.getClientAddress().host))
        consumers = await self._node.wait_for_consumers(awaited)
        return _respond(request, http.OK, MEDIA_TYPE, self._wire.consumers_out(consumers))

    def _inform(
        self, request: PeerRequest, decode: Callable[[bytes], _Subject], answer: Callable[[_Subject], bytes]
    ) -> bytes:
        """Answer a question that can be answered at once, or refuse it; `decode` raises `MessageRefused`."""
        try:
            subject = decode(request.content.read())
        except MessageRefused as refused:
            return _respond(request, *self._refuse(refused, request.getClientAddress().host))
        return _respond(request, http.OK, MEDIA_TYPE, answer(subject))

    def _answer(self, body: bytes, host: str) -> tuple[int, bytes, bytes]:
        """Return the status, media type and body of the answer to a request of `host`."""
        try:
            received = self._wire.decode(body)
        except MessageRefused as refused:
            return self._refuse(refused, host)
        answer = self._node.receive(received.message)
        address = received.message.sender.address
        self._problems.understood(address, "asks", received.interval_s, self._wire.interval_s)
        encoded = self._wire.encode(answer)
        counters = self._node.counters
        counters.received += 1
        counters.bytes_received += len(body)
        counters.bytes_sent += len(encoded)
        return http.OK, MEDIA_TYPE, encoded

    def _refuse(self, refused: MessageRefused, host: str) -> tuple[int, bytes, bytes]:
        address = refused.sender.address if refused.sender else host
        self._problems.refused(address, "asks", refused)
        status = _STATUSES.get(type(refused), http.BAD_REQUEST)
        message = f"the sender {refused.reason}"
        refusal = PeerRefusal(_CODES[status], message, WIRE_VERSION, self._wire.cluster)
        return status, REFUSAL_TYPE, msgspec.json.encode(refusal)

    @_klein.handle_errors(HTTPException)  # type: ignore[arg-type]
    def _no_route(self, request: server.Request, failure: Failure) -> bytes:
        return _no_such_request(request, getattr(failure.value, "code", http.NOT_FOUND))

    @_klein.handle_errors(Exception)  # type: ignore[arg-type]
    def _failed(self, request: server.Request, failure: Failure) -> bytes:
        self._log.failure("A peer's request failed.", failure)
        return _respond_with(
            request,
            http.INTERNAL_SERVER_ERROR,
            PeerRefusal("FAILED", "the node failed because of a defect in bender: its log has the details"),
        )


class _Paths(Resource):
    """Stands before Klein, which logs a traceback for each path that is not UTF-8.

    A browser, which sends what a web page has made, gets no further: no peer is one.
    """

    isLeaf = True

    def __init__(self, klein: IResource, counters: Counters) -> None:
        super().__init__()
        self._klein = klein
        self._counters = counters

    def render(self, request: server.Request) -> Any:
        """Return a body, or that there will be one later."""
        if any(request.requestHeaders.hasHeader(name) for name in BROWSER_HEADERS):
            self._counters.count_denied("FORBIDDEN")
            text = f"this port is for peers alone, and not for browsers: {_CLIENTS}"
            return _respond_with(request, http.FORBIDDEN, PeerRefusal("FORBIDDEN", text))
        return self._klein.render(request) if request.path in _PATHS else _no_such_request(request, http.NOT_FOUND)


def _no_such_request(request: server.Request, status: int) -> bytes:
    text = f"this port is for peers alone, which POST to {PATH}: {_CLIENTS}"
    return _respond_with(request, status, PeerRefusal("NOT_FOUND", text))


def _respond_with(request: server.Request, status: int, refusal: PeerRefusal) -> bytes:
    return _respond(request, status, REFUSAL_TYPE, msgspec.json.encode(refusal))


def _respond(request: server.Request, status: int, media_type: bytes, body: bytes) -> bytes:
    """Set all of an answer but the body, which is returned. Set its length, or Twisted would send it in chunks."""
    request.setResponseCode(status)
    request.responseHeaders.setRawHeaders(b"Content-Type", [media_type])
    request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
    return body


class PeerRequest(PlainRequest):
    """One request, whose body is kept in memory and no longer than a message can be."""

    content: BytesIO
    _too_large = False

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()
        if length is not None and length > BODY_BYTES_MAX:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        if self._too_large:
            return
        if self.content.tell() + len(data) > BODY_BYTES_MAX:
            self._refuse()
        else:
            self.content.write(data)

    def _refuse(self) -> None:
        """End the connection with a bare status: no node sends so much, and nothing else need understand why."""
        self._too_large = True
        self.channel.site.too_large(self.getClientAddress().host)  # type: ignore[attr-defined]
        self.channel.write(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.channel.loseConnection()

    def process(self) -> None:
        if not self._too_large:
            super().process()


class PeerChannel(PacedChannel):
    """One connection. Pushes that come in one piece are answered at once."""

    site: PeerSite
    urgency = Urgency.PEER

    def answer_at_once(self, held: bytes, at: int) -> int | None:
        """Answer a push, and leave all else to Twisted."""
        pushed = push.body_of(held, at, _PATH)
        if pushed is None or pushed[1] - at >= PUSH_BYTES_MAX:
            return None
        body, end = pushed
        self.resetTimeout()
        status, media_type, content = self.site.answer(body, self.transport.getPeer().host)
        self.write_at_once(push.answer(status, http.RESPONSES[status], media_type, content))
        return end


class PeerSite(PacedSite):
    """The factory of peers' connections."""

    protocol = PeerChannel  # type: ignore[assignment]  # not Twisted's proxy, whose only use is to switch to HTTP/2
    requestFactory = PeerRequest

    def __init__(
        self,
        resource: IResource,
        reactor: IReactorTime,
        turns: Turns,
        problems: PeerProblems,
        answer: Callable[[bytes, str], tuple[int, bytes, bytes]],
    ) -> None:
        super().__init__(
            resource, reactor, turns, IDLE_S_MAX, connections_max=CONNECTIONS_MAX, held_bytes_max=HELD_BYTES_MAX
        )
        self._problems = problems
        self.answer = answer

    def logPrefix(self) -> str:
        return "--exchange"

    def no_place_response(self) -> bytes:
        text = f"{self.places.used} connections of peers are open here, the maximum: close some, or try again"
        content = msgspec.json.encode(PeerRefusal("BUSY", text))
        return push.answer(429, b"Too Many Requests", REFUSAL_TYPE, content)

    def refused_tls(self, host: str, clause: str) -> None:
        """Note that a peer could not connect with TLS."""
        self._problems.trouble(host, "asks", f"cannot connect with TLS: {clause}", kind=f"tls: {clause}")

    def note_tls(self, host: str, encrypted: bool) -> None:
        """Note whether a peer uses TLS, at a node that prefers it."""
        if encrypted:
            self._problems.fine(host, "tls")
        else:
            self._problems.trouble(host, "tls", "does not use TLS yet: start it with --peer-tls-mode prefer")

    def too_large(self, host: str) -> None:
        self._problems.trouble(host, "asks", f"sends more than {BODY_BYTES_MAX} bytes", kind=MessageTooLarge.__name__)
