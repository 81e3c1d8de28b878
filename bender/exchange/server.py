"""The server half of the exchange. `POST /exchange` has a message in its body, and is answered with a message.

- `POST /account` has an id, and is answered with this node's diagnosis of it.
- `POST /claims` has many ids, and is answered with the time that this node's claim of each has left.
- `POST /nodes` is answered with this node's report about itself.
- `POST /consumers` is answered with this node's consumers, when they have applied the change that the request names.

A request that is not a valid message of this cluster is refused with a sentence in JSON, and its sender is logged. The
server must never keep a body that is larger than any message, or write one to a file, as Twisted would.
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
from twisted.web import server
from twisted.web.http import (  # each look-up in the module itself would go through a proxy for deprecations
    BAD_REQUEST,
    CONFLICT,
    FORBIDDEN,
    INTERNAL_SERVER_ERROR,
    NOT_FOUND,
    OK,
    REQUEST_ENTITY_TOO_LARGE,
    RESPONSES,
)
from twisted.web.resource import IResource, Resource
from werkzeug.exceptions import HTTPException

from bender.core.claim_leases import ClaimLease
from bender.core.consumers import AwaitedChange, ConsumerState
from bender.core.diagnosis import NodeDiagnosis
from bender.core.messages import Message
from bender.core.node_report import NodeReport
from bender.exchange import push
from bender.exchange.connection_problems import PeerProblems
from bender.exchange.transport import (
    CLAIMS_PATH,
    CONSUMERS_PATH,
    DIAGNOSIS_PATH,
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

#: Seconds without a byte after which a connection is closed: longer than peers keep an idle connection.
IDLE_S_MAX = 60

#: The most connections at a time: for each of 2,000 peers, one for rounds and one for pushes, and the same number for
#: inquiries and for connections that were lost without notice.
CONNECTIONS_MAX = 8_000

#: The most bytes of all incomplete messages: 16 of the largest.
HELD_BYTES_MAX = 256 * 1024 * 1024

#: The default port of the API, for the error to clients at the wrong port.
API_PORT = 1729

_CLIENTS = f"clients use the port of --api, {API_PORT} by default"

_PATH = PATH.encode()
_PATHS = frozenset({_PATH, *(path.encode() for path in (DIAGNOSIS_PATH, CLAIMS_PATH, NODES_PATH, CONSUMERS_PATH))})

#: The most bytes of a push that is answered on the short path. Larger requests arrive in several parts anyway.
PUSH_BYTES_MAX = 64 * 1024

#: The answer to a peer that does not use TLS, at a node that does. It needs no wire version and cluster.
NO_TLS = push.encode_answer(
    BAD_REQUEST,
    RESPONSES[BAD_REQUEST],
    REFUSAL_TYPE,
    msgspec.json.encode(PeerRefusal("INVALID", "this port uses TLS: start the sender with --peer-tls DIR")),
)

_STATUSES = {OtherCluster: CONFLICT, OtherVersion: CONFLICT, MessageTooLarge: REQUEST_ENTITY_TOO_LARGE}

_CODES = {CONFLICT: "CONFLICT", REQUEST_ENTITY_TOO_LARGE: "TOO_LARGE", BAD_REQUEST: "INVALID"}


class AnsweringNode(Protocol):
    """The methods of a node that `GossipServer` calls."""

    @property
    def counters(self) -> Counters: ...

    def receive(self, message: Message) -> Message: ...

    def diagnose(self, key: str) -> NodeDiagnosis: ...

    def claim_leases(self, keys: Iterable[str]) -> list[ClaimLease | None]: ...

    def own_report(self) -> NodeReport: ...

    async def wait_for_consumers(self, awaited: AwaitedChange) -> tuple[ConsumerState, ...]: ...


_Subject = TypeVar("_Subject")


class GossipServer:
    """Answers the requests of peers."""

    _log = Logger()
    _klein = Klein()

    def __init__(self, node: AnsweringNode, wire: Wire, problems: PeerProblems) -> None:
        self._node = node
        self._wire = wire
        self._problems = problems

    def site(self, reactor: IReactorTime, turns: Turns | None = None) -> PeerSite:
        """Return the factory of peers' connections. `turns` share the reactor among all work of the node."""
        resource = _Paths(self._klein.resource(), self._node.counters)
        return PeerSite(resource, reactor, turns or Turns(reactor), self._problems, self._answer)

    @_klein.route(PATH, methods=["POST"])
    def exchange(self, request: PeerRequest) -> bytes:
        """Answer a message with a message."""
        return _respond(request, *self._answer(request.content.read(), request.getClientAddress().host))

    @_klein.route(DIAGNOSIS_PATH, methods=["POST"])
    def diagnose(self, request: PeerRequest) -> bytes:
        """Answer with this node's diagnosis of an id, for a peer whose client requests an explanation."""
        wire, node = self._wire, self._node
        return self._answer_question(
            request, wire.decode_key_inquiry, lambda key: wire.encode_diagnosis(node.diagnose(key))
        )

    @_klein.route(CLAIMS_PATH, methods=["POST"])
    def claims(self, request: PeerRequest) -> bytes:
        """Answer with the time that this node's claims have left, for a peer whose client requests all claims."""
        wire, node = self._wire, self._node
        return self._answer_question(
            request, wire.decode_claims_inquiry, lambda keys: wire.encode_leases(node.claim_leases(keys))
        )

    @_klein.route(NODES_PATH, methods=["POST"])
    def report(self, request: PeerRequest) -> bytes:
        """Answer with this node's report about itself, for a peer whose client lists all nodes."""
        wire, node = self._wire, self._node
        return self._answer_question(request, wire.check_question, lambda _: wire.encode_report(node.own_report()))

    @_klein.route(CONSUMERS_PATH, methods=["POST"])
    async def consumers(self, request: PeerRequest) -> bytes:
        """Answer with this node's consumers when they have applied a change, for a peer that waits for them."""
        try:
            awaited = self._wire.decode_consumers_inquiry(request.content.read())
        except MessageRefused as refused:
            return _respond(request, *self._refuse(refused, request.getClientAddress().host))
        consumers = await self._node.wait_for_consumers(awaited)
        return _respond(request, OK, MEDIA_TYPE, self._wire.encode_consumers(consumers))

    def _answer_question(
        self, request: PeerRequest, decode: Callable[[bytes], _Subject], answer: Callable[[_Subject], bytes]
    ) -> bytes:
        """Answer a question at once, or refuse it if `decode` raises `MessageRefused`."""
        try:
            subject = decode(request.content.read())
        except MessageRefused as refused:
            return _respond(request, *self._refuse(refused, request.getClientAddress().host))
        return _respond(request, OK, MEDIA_TYPE, answer(subject))

    def _answer(self, body: bytes, host: str) -> tuple[int, bytes, bytes]:
        """Return the status, media type and body of the answer to a request of `host`."""
        try:
            received = self._wire.decode(body)
        except MessageRefused as refused:
            return self._refuse(refused, host)
        answer = self._node.receive(received.message)
        address = received.message.sender.address
        self._problems.note_valid_message(address, "asks", received.interval_s, self._wire.interval_s)
        encoded = self._wire.encode(answer)
        counters = self._node.counters
        counters.received += 1
        counters.bytes_received += len(body)
        counters.bytes_sent += len(encoded)
        return OK, MEDIA_TYPE, encoded

    def _refuse(self, refused: MessageRefused, host: str) -> tuple[int, bytes, bytes]:
        address = refused.sender.address if refused.sender else host
        self._problems.note_refusal(address, "asks", refused)
        status = _STATUSES.get(type(refused), BAD_REQUEST)
        message = f"the sender {refused.reason}"
        refusal = PeerRefusal(_CODES[status], message, WIRE_VERSION, self._wire.cluster)
        return status, REFUSAL_TYPE, msgspec.json.encode(refusal)

    @_klein.handle_errors(HTTPException)  # type: ignore[arg-type]
    def _no_route(self, request: server.Request, failure: Failure) -> bytes:
        return _no_such_request(request, getattr(failure.value, "code", NOT_FOUND))

    @_klein.handle_errors(Exception)  # type: ignore[arg-type]
    def _failed(self, request: server.Request, failure: Failure) -> bytes:
        self._log.failure("A request of a peer failed because of a defect in bender.", failure)
        return _respond_with(
            request,
            INTERNAL_SERVER_ERROR,
            PeerRefusal("FAILED", "the node failed because of a defect in bender: its log has the details"),
        )


class _Paths(Resource):
    """Refuses unknown paths before Klein, which logs a traceback for each path that is not UTF-8.

    It also refuses browsers, because they send what a web page chooses, and no peer is a browser.
    """

    isLeaf = True

    def __init__(self, klein: IResource, counters: Counters) -> None:
        super().__init__()
        self._klein = klein
        self._counters = counters

    def render(self, request: server.Request) -> Any:
        """Return the body of the answer, or `NOT_DONE_YET` if it comes later."""
        if any(request.requestHeaders.hasHeader(name) for name in BROWSER_HEADERS):
            self._counters.count_denied("FORBIDDEN")
            text = f"this port is for peers alone, and not for browsers: {_CLIENTS}"
            return _respond_with(request, FORBIDDEN, PeerRefusal("FORBIDDEN", text))
        return self._klein.render(request) if request.path in _PATHS else _no_such_request(request, NOT_FOUND)


def _no_such_request(request: server.Request, status: int) -> bytes:
    text = f"this port is for peers alone, which POST to {PATH}: {_CLIENTS}"
    return _respond_with(request, status, PeerRefusal("NOT_FOUND", text))


def _respond_with(request: server.Request, status: int, refusal: PeerRefusal) -> bytes:
    return _respond(request, status, REFUSAL_TYPE, msgspec.json.encode(refusal))


def _respond(request: server.Request, status: int, media_type: bytes, body: bytes) -> bytes:
    """Set the status and headers of an answer, and return its body. With a length, Twisted sends it without chunks."""
    request.setResponseCode(status)
    request.responseHeaders.setRawHeaders(b"Content-Type", [media_type])
    request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
    return body


class PeerRequest(PlainRequest):
    """One request, whose body is kept in memory, up to the size of the largest message."""

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
        """Close the connection with a status alone: no node sends such a body, so no reason is needed."""
        self._too_large = True
        self.channel.site.note_too_large(self.getClientAddress().host)  # type: ignore[attr-defined]
        self.channel.write(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.channel.loseConnection()

    def process(self) -> None:
        if not self._too_large:
            super().process()


class PeerChannel(PacedChannel):
    """One connection. A push that is complete when it is read is answered on the short path."""

    site: PeerSite
    urgency = Urgency.PEER

    def answer_at_once(self, held: bytes, at: int) -> int | None:
        """Answer a push and return its end; return None for any other request, which is for Twisted."""
        pushed = push.parse_push(held, at, _PATH)
        if pushed is None or pushed[1] - at >= PUSH_BYTES_MAX:
            return None
        body, end = pushed
        self.resetTimeout()
        status, media_type, content = self.site.answer(body, self.transport.getPeer().host)
        self.write_at_once(push.encode_answer(status, RESPONSES[status], media_type, content))
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
        return push.encode_answer(429, b"Too Many Requests", REFUSAL_TYPE, content)

    def note_refused_tls(self, host: str, clause: str) -> None:
        """Note that a peer could not connect with TLS."""
        self._problems.note_problem(host, "asks", f"cannot connect with TLS: {clause}", kind=f"tls: {clause}")

    def note_tls(self, host: str, encrypted: bool) -> None:
        """Note whether a peer uses TLS, at a node that prefers it."""
        if encrypted:
            self._problems.note_no_problem(host, "tls")
        else:
            self._problems.note_problem(host, "tls", "does not use TLS yet: start it with --peer-tls-mode prefer")

    def note_too_large(self, host: str) -> None:
        """Note that a peer has sent a body that is larger than any message."""
        self._problems.note_problem(
            host, "asks", f"sends more than {BODY_BYTES_MAX} bytes", kind=MessageTooLarge.__name__
        )
