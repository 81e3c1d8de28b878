"""The client half of the exchange: it begins a round every interval, and sends all other requests of the node at once.

Each request of the node is reported to it exactly once, as answered or failed, whatever happens to the request. No
request may wait for another: a peer that hangs delays only the requests to it, up to their time limit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from bender.core.claim_leases import ClaimLease
from bender.core.consumers import AwaitedChange, ConsumerState
from bender.core.diagnosis import NodeDiagnosis, NoDiagnosis
from bender.core.gossip_targets import partners
from bender.core.messages import Message, OutgoingMessage
from bender.core.node_report import NodeReport
from bender.core.timing import Timing
from bender.exchange.connection_problems import PeerProblems
from bender.exchange.transport import (
    CLAIMS_PATH,
    CONSUMERS_PATH,
    DIAGNOSIS_PATH,
    NODES_PATH,
    PeerRefusal,
    PeerTransport,
    RefusedByPeer,
    Unanswered,
    Unreachable,
)
from bender.exchange.wire import Wire
from bender.exchange.wire_errors import MessageRefused, Unsendable
from bender.node.counters import Counters

#: The most requests in flight to one peer: the core's four rounds, their second requests, and one push. A peer with
#: more of them hangs, and another request could only wait too.
UNDER_WAY_MAX = 10

#: Seconds for an answer to travel, which are part of the time that this node waits for it.
ANSWER_TRAVEL_S = 0.05

#: The largest random delay of a round, as a part of the interval, so that not all nodes send at the same moment.
JITTER = 0.1

_Answer = TypeVar("_Answer")


class SendingNode(Protocol):
    """The methods of a node that `GossipClient` calls."""

    @property
    def counters(self) -> Counters: ...

    @property
    def timing(self) -> Timing: ...

    def addresses(self) -> list[str]: ...

    def begin_round(self, addresses: Iterable[str] | None = None) -> None: ...

    def note_answer(self, request: OutgoingMessage, answer: Message) -> None: ...

    def note_failure(self, request: OutgoingMessage) -> None: ...


class GossipClient(Service):
    """Sends the requests of `node`, and calls it to begin its rounds.

    `chance` returns random numbers between 0 and 1.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        node: SendingNode,
        wire: Wire,
        transport: PeerTransport,
        problems: PeerProblems,
        chance: Callable[[], float],
    ) -> None:
        self._reactor = reactor
        self._node = node
        self._wire = wire
        self._transport = transport
        self._problems = problems
        self._chance = chance
        self._limit_s = node.timing.interval_s
        self._under_way: dict[OutgoingMessage, Deferred[None] | None] = {}
        self._under_way_to: Counter[str] = Counter()
        # The last message with its bytes, because the same push goes to many peers.
        self._encoded: tuple[Message, bytes] | None = None
        self._waiting: list[Deferred[None]] = []
        self._late: IDelayedCall | None = None
        self._ended = False
        self._rounds = LoopingCall(self._tick)
        self._rounds.clock = reactor

    def startService(self) -> None:
        """Begin the first round at once, because the node is not ready before its peers have answered."""
        super().startService()
        self._round()
        self._rounds.start(self._limit_s, now=False)  # a tick never raises, so the loop runs until it is stopped

    def stopService(self) -> Deferred[None]:
        """End the rounds, and wait an interval at most for answers, mainly to the notices that this node leaves."""
        super().stopService()
        self._rounds.stop()
        if self._late is not None and self._late.active():
            self._late.cancel()
        return Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        with suppress(TimedOut, CancelledError):
            await self._idle().addTimeout(self._limit_s, self._reactor)
        self._ended = True
        for carrying in list(self._under_way.values()):
            if carrying is not None:
                carrying.cancel()
        await self._idle()

    def _idle(self) -> Deferred[None]:
        """Return a Deferred that fires when no request is in flight."""
        idle: Deferred[None] = Deferred()
        if self._under_way:
            self._waiting.append(idle)
        else:
            idle.callback(None)
        return idle

    # Rounds.

    def _tick(self) -> None:
        self._late = self._reactor.callLater(self._chance() * JITTER * self._limit_s, self._round)

    def _round(self) -> None:
        try:
            self._node.begin_round(partners(self._node.addresses(), self._chance))
            self._problems.end_forgotten()
        except Exception:
            self._node.counters.rounds_failed += 1
            failed = self._node.counters.rounds_failed
            self._log.failure(
                "A round of the exchange with peers failed; the next round begins as usual. Failed so far: {failed}.",
                failed=failed,
            )

    # Requests.

    def send(self, requests: Iterable[OutgoingMessage]) -> None:
        """Send requests to their peers. No result is reported before this returns."""
        posted: list[tuple[OutgoingMessage, Deferred[bytes]]] = []
        for request in requests:
            if self._ended or self._under_way_to[request.address] >= UNDER_WAY_MAX:
                self._reactor.callLater(0, self._report, request, None)
                continue
            self._under_way_to[request.address] += 1
            self._under_way[request] = None
            posted.append((request, maybeDeferred(self._post, request)))
        # All requests are sent before the first answer is awaited, so that no peer delays the others.
        for request, posting in posted:
            self._under_way[request] = Deferred.fromCoroutine(self._carry(request, posting))

    def _post(self, request: OutgoingMessage) -> Deferred[bytes]:
        if self._encoded is None or self._encoded[0] is not request.message:
            self._encoded = (request.message, self._wire.encode(request.message))
        self._node.counters.bytes_sent += len(self._encoded[1])
        if request.push:
            return self._transport.push(request.address, self._encoded[1])
        return Deferred.fromCoroutine(self._transport.post(request.address, self._encoded[1]))

    async def _carry(self, request: OutgoingMessage, posting: Deferred[bytes]) -> None:
        answer = None
        try:
            answer = await self._answer(request, posting)
        except CancelledError:
            pass  # this node stops
        except Exception:
            self._log.failure(
                "A request to peer {address} failed because of a defect in bender; the next round repeats it.",
                address=request.address,
            )
        if answer is None:
            # Later, because the node may still be in its call of `send`.
            self._reactor.callLater(0, self._finish, request, None)
        else:
            self._finish(request, answer)

    async def ask_diagnosis(self, address: str, key: str) -> NodeDiagnosis | NoDiagnosis:
        """Return what the node at an address knows about an id."""
        answer = await self._ask(address, DIAGNOSIS_PATH, self._wire.encode_inquiry(key), self._wire.decode_diagnosis)
        return NoDiagnosis(address, address, answer) if isinstance(answer, str) else answer

    async def ask_claims(self, address: str, keys: Sequence[str]) -> list[ClaimLease | None] | None:
        """Return the node's claim of each key, in the order of the keys; None if the node does not answer."""
        leases_in = partial(self._wire.decode_leases, count=len(keys))
        answer = await self._ask(address, CLAIMS_PATH, self._wire.encode_inquiry(keys), leases_in)
        return None if isinstance(answer, str) else answer

    async def ask_report(self, address: str) -> NodeReport | str:
        """Return the node's report about itself; if it does not answer, a clause about the node that says why."""
        return await self._ask(address, NODES_PATH, self._wire.encode_question(), self._wire.decode_report)

    async def _ask(self, address: str, path: str, question: bytes, decode: Callable[[bytes], _Answer]) -> _Answer | str:
        """Return the decoded answer of the node at an address, or a clause about the node that says why there is none.

        A missing answer is not logged, because rounds notice and log it.
        """
        posting = Deferred.fromCoroutine(self._transport.post(address, question, path))
        try:
            return decode(await posting.addTimeout(self._limit_s, self._reactor))
        except TimedOut:
            return f"does not answer within {self._limit_s:g} s"
        except Unanswered as unanswered:
            return unanswered.text
        except RefusedByPeer as refusing:
            if refusing.refusal.code == "NOT_FOUND":
                return "runs an earlier release, which does not know this request"
            return f"refuses this node: {refusing.refusal.message}"
        except MessageRefused as refused:
            return refused.reason

    async def ask_consumers(self, address: str, awaited: AwaitedChange) -> tuple[ConsumerState, ...] | None:
        """Return the node's consumers when they have applied the awaited change; None if the node does not answer."""
        limit_s = max(awaited.within_s, self._limit_s)
        awaited = msgspec.structs.replace(awaited, within_s=max(0.0, awaited.within_s - ANSWER_TRAVEL_S))
        posting = Deferred.fromCoroutine(
            self._transport.post(address, self._wire.encode_inquiry(awaited), CONSUMERS_PATH)
        )
        try:
            return self._wire.decode_consumers(await posting.addTimeout(limit_s, self._reactor))
        except (TimedOut, Unanswered, RefusedByPeer, MessageRefused):
            return None

    async def _answer(self, request: OutgoingMessage, posting: Deferred[bytes]) -> Message | None:
        """Return the answer; None if there is no valid one, which is noted as a problem of the peer."""
        address, problems = request.address, self._problems
        try:
            answer = await posting.addTimeout(request.limit_s, self._reactor)
            self._node.counters.bytes_received += len(answer)
            received = self._wire.decode(answer)
        except TimedOut:
            problems.note_unreachable(address, f"does not answer within {request.limit_s:.3g} s")
        except Unreachable as unreachable:
            problems.note_unreachable(address, unreachable.text)
        except Unanswered as unanswered:
            problems.note_problem(address, "answers", unanswered.text, kind=unanswered.kind)
        except RefusedByPeer as refusing:
            self._refused(address, refusing.refusal)
        except MessageRefused as refused:
            problems.note_refusal(address, "answers", refused)
        except Unsendable as unsendable:
            problems.note_problem(address, "answers", f"needs {unsendable}", kind="unsendable")
        else:
            problems.note_no_problem(address, "reach")
            problems.note_valid_message(address, "answers", received.interval_s, self._wire.interval_s)
            return received.message
        return None

    def _refused(self, address: str, refusal: PeerRefusal) -> None:
        """Note a peer's refusal, with the same reason as the peer notes, so that it is one problem for both nodes."""
        try:
            if refusal.wire is not None and refusal.cluster is not None:
                self._wire.check(refusal.wire, refusal.cluster)
        except MessageRefused as refused:
            self._problems.note_refusal(address, "answers", refused)
        else:
            self._problems.note_problem(address, "answers", f"refuses this node: {refusal.message}", kind=refusal.code)

    def _finish(self, request: OutgoingMessage, answer: Message | None) -> None:
        del self._under_way[request]
        self._under_way_to[request.address] -= 1
        if not self._under_way_to[request.address]:
            del self._under_way_to[request.address]
        self._report(request, answer)
        if not self._under_way:
            waiting, self._waiting = self._waiting, []
            for idle in waiting:
                idle.callback(None)

    def _report(self, request: OutgoingMessage, answer: Message | None) -> None:
        try:
            if answer is None:
                self._node.note_failure(request)
            else:
                self._node.note_answer(request, answer)
        except Exception:
            self._log.failure(
                "The result of a request to peer {address} could not be processed; the next round repeats it.",
                address=request.address,
            )
