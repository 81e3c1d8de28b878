"""Three nodes with their real exchanges, sweeps and streams on one clock, and a network that carries their bytes.

Each message of an honest node is read once more as its peers would read it: no node may send a message that another one
would refuse.
"""

from __future__ import annotations

import random
import re
from bisect import insort
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from bender.core.timing import Timing
from bender.daemon.sweeper import Sweeper
from bender.exchange import wire_schema
from bender.exchange.client import GossipClient
from bender.exchange.connection_problems import PeerProblems
from bender.exchange.server import GossipServer
from bender.exchange.transport import (
    CLAIMS_PATH,
    CONSUMERS_PATH,
    DIAGNOSIS_PATH,
    NODES_PATH,
    PATH,
    PeerRefusal,
    RefusedByPeer,
    Unreachable,
)
from bender.exchange.wire import Wire
from bender.exchange.wire_errors import MessageRefused
from bender.node.node import Node
from bender.node.sources import Sources

#: The wall clock of all nodes when virtual time begins, in seconds.
NOW_MS, STARTED_AT = 1_795_447_942_248, 2.0**20

#: Steps of virtual time per interval; a message takes one step.
STEPS = 32

ADDRESSES = ("10.0.0.1:1730", "10.0.0.2:1730", "10.0.0.3:1730")

_CONTROLS = re.compile(rf"[{wire_schema.CONTROLS}]")
_INDEX = re.compile(r"\[[0-9]+\]")

#: Characters of a fault's description, at most.
FAULTS_MAX = 200


class Faults:
    """Faults that were found: each kind once, with its count."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.details: dict[str, str] = {}

    def add(self, kind: str, detail: str) -> None:
        kind = _INDEX.sub("[]", kind)
        self.counts[kind] += 1
        if len(self.details) < FAULTS_MAX:
            self.details.setdefault(kind, detail)

    def raised(self, where: str, failure: Failure) -> None:
        frames = failure.frames
        place = f"{frames[-1][1].rpartition('/')[2]}:{frames[-1][2]}" if frames else "?"
        self.add(f"{where} raised {type(failure.value).__name__} at {place}", failure.getTraceback())


@implementer(ILogObserver)
class Lines:
    """Checks all log lines: no failures, and only printable characters."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.count = 0

    def __call__(self, event: LogEvent) -> None:
        if not str(event.get("log_namespace", "")).startswith("bender"):
            return
        self.count += 1
        line = formatEvent(event)
        if event.get("log_failure") is not None:
            self._faults.raised(f"log: {line}", event["log_failure"])
        if _CONTROLS.search(line):
            self._faults.add("a log line has control characters", ascii(line))


class Post:
    """Carries the requests of one node, as its `Poster` would over HTTP."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def post(self, address: str, body: bytes, path: str = PATH) -> bytes:
        return await self.push(address, body, path)

    def push(self, address: str, body: bytes, path: str = PATH) -> Deferred[bytes]:
        answered: Deferred[bytes] = Deferred(lambda _: None)
        self._network.send(address, body, path, answered)
        return answered


class Stranger:
    """Answers at all addresses without an honest node; this one never answers."""

    def answer(self, address: str, path: str) -> bytes | None:
        """Return the bytes of an answer; None if there is never one."""
        raise Unreachable("refuses connections")


class Network:
    """Carries bytes to nodes and strangers, and their answers back."""

    def __init__(self, clock: Clock, faults: Faults, interval_s: float) -> None:
        self._clock = clock
        self._faults = faults
        self._delay_s = interval_s / STEPS
        self.interval_s = interval_s
        self.nodes: dict[str, Honest] = {}
        self.stranger = Stranger()
        #: Requests in this interval to addresses without an honest node, by kind.
        self.to_strangers: Counter[str] = Counter()
        #: The size of the longest message of an honest node.
        self.longest = 0
        self._checked: dict[int, bytes] = {}
        self._checking = Wire("bender", interval_s)

    def send(self, address: str, body: bytes, path: str, answered: Deferred[bytes]) -> None:
        if path == PATH:
            self.check(body, "a request")
        self._clock.callLater(self._delay_s, self._arrive, address, body, path, answered)

    def check(self, body: bytes, what: str) -> None:
        """Read a message of an honest node as any other node would."""
        if self._checked.get(id(body)) is body:  # a round sends one message to many peers
            return
        if len(self._checked) > 8:
            self._checked.clear()
        self._checked[id(body)] = body
        self.longest = max(self.longest, len(body))
        try:
            self._checking.decode(body)
        except MessageRefused as refused:
            self._faults.add(f"an honest node sends what others refuse: {str(refused)[:100]}", f"{what}: {refused}")

    def _arrive(self, address: str, body: bytes, path: str, answered: Deferred[bytes]) -> None:
        node = self.nodes.get(address)
        try:
            if node is not None:
                answering: Deferred[bytes] = Deferred.fromCoroutine(node.answer_peer(body, path))
            else:
                self.to_strangers[path] += 1
                answer = self.stranger.answer(address, path)
                if answer is None:
                    return
                answering = Deferred()
                answering.callback(answer)
        except (Unreachable, RefusedByPeer) as error:
            answering = Deferred()
            answering.errback(Failure(error))
        answering.addCallbacks(self._back, self._failed, callbackArgs=(answered,), errbackArgs=(answered,))

    def _back(self, answer: bytes, answered: Deferred[bytes]) -> None:
        self._clock.callLater(self._delay_s, _fire, answered, answer)

    def _failed(self, failure: Failure, answered: Deferred[bytes]) -> None:
        if not failure.check(Unreachable, RefusedByPeer):
            self._faults.raised("an answer to a peer", failure)
            failure = Failure(Unreachable("fails"))
        self._clock.callLater(self._delay_s, _fail, answered, failure)


def _fire(answered: Deferred[bytes], answer: bytes) -> None:
    if not answered.called:
        answered.callback(answer)


def _fail(answered: Deferred[bytes], failure: Failure) -> None:
    if not answered.called:
        answered.errback(failure)


class Honest:
    """A node with everything that `tap` puts around it, except HTTP."""

    def __init__(self, number: int, clock: Clock, network: Network, timing: Timing, faults: Faults) -> None:
        chance = random.Random(f"node {number}")
        sources = Sources(
            clock.seconds, lambda: NOW_MS + int((clock.seconds() - STARTED_AT) * 1000), lambda: chance.getrandbits(64)
        )
        self.address = ADDRESSES[number]
        self.name = f"n{number + 1}"
        seeds = [each for each in ADDRESSES if each != self.address]
        self.wire = Wire("bender", timing.interval_s)

        def exchange(node: Node) -> GossipClient:
            self.conditions = PeerProblems(clock, timing.interval_s, node.set_peer_problem)
            self.client = GossipClient(clock, node, self.wire, Post(network), self.conditions, chance.random)  # type: ignore[arg-type]
            return self.client

        self.node = Node(
            clock,
            sources,
            name=self.name,
            address=self.address,
            api_port=1728,
            timing=timing,
            seeds=seeds,
            exchange=exchange,
        )
        for seed in seeds:
            self.node.set_seed_addresses(seed, [seed])
        self._faults = faults
        self._network = network
        self._server = GossipServer(self.node, self.wire, self.conditions)
        self._expiry = Sweeper(clock, self.node)
        #: Its latest asks.
        self.echoes: list[float] = []
        network.nodes[self.address] = self

    def start(self) -> None:
        self.client.startService()
        self._expiry.startService()

    def stop(self) -> None:
        self._expiry.stopService()
        self.client.stopService()

    # State that a peer can know.

    @property
    def incarnation(self) -> int:
        return self.node.replica.identity.incarnation

    @property
    def version(self) -> int:
        """Return the version of its ledger that its peers can have."""
        return self.node.replica.gossip._version_sent

    @property
    def beats(self) -> int:
        return self.node.replica.gossip._beats

    @property
    def digest(self) -> int:
        return self.node.replica.configuration.digest

    # Peers.

    def take(self, body: bytes, host: str) -> int:
        """Take a request, and return the status of its answer, 500 if the node fails."""
        try:
            status, _, answer = self._server._answer(body, host)
        except Exception:
            self._faults.raised("a message", Failure())
            return 500
        if status == 200:
            self._network.check(answer, "an answer")
        return status

    async def answer_peer(self, body: bytes, path: str) -> bytes:
        """Return the answer to a request of an honest peer, or a refusal, like `bender.exchange.server`."""
        if path == DIAGNOSIS_PATH:
            return self.wire.encode_diagnosis(self.node.diagnose(self.wire.decode_key_inquiry(body)))
        if path == CLAIMS_PATH:
            return self.wire.encode_leases(self.node.claim_leases(self.wire.decode_claims_inquiry(body)))
        if path == NODES_PATH:
            self.wire.check_question(body)
            return self.wire.encode_report(self.node.own_report())
        if path == CONSUMERS_PATH:
            return self.wire.encode_consumers(
                await self.node.wait_for_consumers(self.wire.decode_consumers_inquiry(body))
            )
        status, _, answer = self._server._answer(body, self.address)
        if status != 200:
            refusal = msgspec.json.decode(answer, type=PeerRefusal)
            self._faults.add(f"an honest node refuses another: {refusal.message[:100]}", refusal.message)
            raise RefusedByPeer(refusal)
        self._network.check(answer, "an answer")
        return answer


class QuickClock(Clock):
    """A clock for tens of thousands of pending calls. Twisted's sorts all of them with each new one."""

    def advance(self, amount: float) -> None:
        self.rightNow += amount
        self.calls.sort(key=_time_of)  # delayed calls keep their place
        while self.calls and _time_of(self.calls[0]) <= self.rightNow:
            call: Any = self.calls.pop(0)
            call.called = 1
            call.func(*call.args, **call.kw)

    def _sortCalls(self) -> None:
        insort(self.calls, self.calls.pop(), key=_time_of)


def _time_of(call: Any) -> float:
    return float(call.getTime())


class Cluster:
    """All nodes, started and ready."""

    def __init__(self, timing: Timing) -> None:
        self.timing = timing
        self.faults = Faults()
        self.clock = QuickClock()
        self.clock.advance(STARTED_AT)
        self.lines = Lines(self.faults)
        self.network = Network(self.clock, self.faults, timing.interval_s)
        self.nodes = [Honest(i, self.clock, self.network, timing, self.faults) for i in range(len(ADDRESSES))]
        #: More than one saves time while nothing but time passes.
        self.steps_at_once = 1
        #: Called with each step of time.
        self.each_step: list[Callable[[], None]] = []
        globalLogPublisher.addObserver(self.lines)
        for node in self.nodes:
            node.start()

    def close(self) -> None:
        globalLogPublisher.removeObserver(self.lines)
        for node in self.nodes:
            node.stop()

    def step(self) -> None:
        """Let 1/32 of an interval pass, or several at once."""
        self.clock.advance(self.steps_at_once * self.timing.interval_s / STEPS)
        for node in self.nodes:
            if not node.echoes or self.clock.seconds() > node.echoes[-1] + self.timing.interval_s / 2:
                node.echoes = [*node.echoes[-3:], self.clock.seconds()]
        for call in self.each_step:
            call()

    def pass_intervals(self, intervals: float) -> None:
        for _ in range(round(intervals * STEPS / self.steps_at_once)):
            self.step()

    def finished(self, coroutine: Coroutine[Any, Any, Any], intervals_max: float = 70) -> Any:
        """Let time pass until a coroutine ends; return its result, or raise its exception."""
        done: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(done.append)
        for _ in range(round(intervals_max * STEPS)):
            if done:
                break
            self.step()
        assert done, "it never ends"
        if isinstance(done[0], Failure):
            done[0].raiseException()
        return done[0]
