"""A network in memory for whole exchanges, with a clock that is moved by hand, host names, and strangers."""

from __future__ import annotations

import re
from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from math import ceil, inf
from operator import attrgetter
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.base import DelayedCall
from twisted.internet.error import ConnectionRefusedError as NobodyListens
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IListeningPort,
    IResolutionReceiver,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from bender.core.claim_leases import ClaimLease
from bender.core.consumers import AwaitedChange, ConsumerState
from bender.core.diagnosis import NodeDiagnosis
from bender.core.messages import Message, OutgoingMessage, Sender
from bender.core.node_report import HeardPeer, NodeReport
from bender.core.timing import Timing
from bender.exchange.connection_problems import PeerProblems
from bender.exchange.wire import Wire
from bender.node.counters import Counters

#: The host from which all connections come.
HOST = "10.0.0.9"

#: The id that the double of a node lists.
LISTED = "registration/web/1/10.0.0.5/80"

#: A step of time: a power of two, so that sums of steps are exact.
STEP_S = 1 / 16


@implementer(IHostResolution)
class Resolution:
    """A look-up under way, which cannot be cancelled."""

    name = "a name"

    def cancel(self) -> None:
        raise NotImplementedError


@implementer(IHostnameResolver)
class Names:
    """The addresses of names. A `slow` name is resolved when `answer` is called; a `broken` resolver raises."""

    def __init__(self) -> None:
        self.addresses: dict[str, Sequence[str]] = {}
        self.slow: set[str] = set()
        self.broken = False
        self.asked: list[str] = []
        self._waiting: list[tuple[IResolutionReceiver, str, int]] = []

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        self.asked.append(hostName)
        if self.broken:
            raise RuntimeError("a fault")
        resolutionReceiver.resolutionBegan(Resolution())
        self._waiting.append((resolutionReceiver, hostName, portNumber))
        if hostName not in self.slow:
            self.answer(hostName)
        return Resolution()

    def answer(self, hostName: str) -> None:
        for receiver, name, port in list(self._waiting):
            if name != hostName:
                continue
            self._waiting.remove((receiver, name, port))
            for address in self.addresses.get(name, ()):
                kind = IPv6Address if ":" in address else IPv4Address
                receiver.addressResolved(kind("TCP", address, port))
            receiver.resolutionComplete()


@implementer(IListeningPort)
class Door:
    """A listening port."""

    def __init__(self, network: Network, address: tuple[str, int]) -> None:
        self._network = network
        self._address = address

    def startListening(self) -> None:
        """The port listens from the beginning."""

    def stopListening(self) -> None:
        del self._network.listening[self._address]

    def getHost(self) -> IAddress:
        return IPv4Address("TCP", *self._address)


_planned_at = attrgetter("time")


class End(FakeTransport):
    """One end of a connection, which may be `aborted`, or `paused`: no byte moves on a paused connection."""

    aborted = False
    paused = False

    @property
    def has_something(self) -> bool:
        """Whether the end has bytes to send or is ending; most ends have neither, and are skipped."""
        return bool(self.stream or self.disconnecting or self.producer)

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class Network(MemoryReactorClock):
    """A reactor that all nodes on the network share. Bytes move only in `settle` and `pass_time`.

    `cut` has the hosts that are unreachable on any connection, without an error.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names = Names()
        self.nameResolver = self.names
        self.listening: dict[tuple[str, int], Any] = {}
        self.cut: set[str] = set()
        #: The address from which all connections come.
        self.local = HOST
        self.ends: list[End] = []
        self.server_ends: list[End] = []
        self._reaching: list[tuple[str, int, Any, Any]] = []
        self._pumps: list[IOPump] = []

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Door:
        self.listening[interface, port] = factory
        return Door(self, (interface, port))

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> Any:
        connector = super().connectTCP(host, port, factory, timeout, bindAddress)
        factory.doStart()
        self._reaching.append((host, port, factory, connector))
        return connector

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kw: Any) -> DelayedCall:  # noqa: A002 - its name there
        """Keep the calls in order: the original sorts all of them for each new call."""
        call = DelayedCall(
            self.rightNow + delay, callable, args, kw, self.calls.remove, self._moved_forward, self.seconds
        )
        insort(self.calls, call, key=_planned_at)
        return call

    def _moved_forward(self, call: DelayedCall) -> None:
        self.calls.remove(call)
        insort(self.calls, call, key=_planned_at)

    def _next_at(self) -> float:
        """Return the time of the next call; infinity without one."""
        while self.calls and self.calls[0].delayed_time > 0:
            self.calls[0].activate_delay()
            self._moved_forward(self.calls[0])
        return self.calls[0].time if self.calls else inf

    def advance(self, amount: float) -> None:
        self.rightNow += amount
        while self._next_at() <= self.rightNow:
            call = self.calls.pop(0)
            call.called = 1
            call.func(*call.args, **call.kw)

    def settle(self) -> None:
        """Process everything that takes no time."""
        moved = True
        while moved:
            self.advance(0)
            moved = self._connect()
            for pump in filter(self._moves, list(self._pumps)):
                moved = bool(pump.pump(advanceClock=False)) or moved
            self._pumps = [p for p in self._pumps if not (p.clientIO.disconnected and p.serverIO.disconnected)]

    def pass_time(self, seconds: float) -> None:
        self.settle()
        left = round(seconds / STEP_S)
        while left:
            until_due = min((self._next_at() - self.rightNow) / STEP_S, left + 1)
            quiet = max(0, ceil(until_due) - 1)
            self.advance(quiet * STEP_S)
            left -= quiet
            if left:
                self.advance(STEP_S)
                self.settle()
                left -= 1

    @property
    def connections(self) -> int:
        """The number of connections since the start."""
        return len(self.ends)

    @property
    def open(self) -> int:
        """The number of open connections."""
        return len(self._pumps)

    def _moves(self, pump: IOPump) -> bool:
        client, server = pump.clientIO, pump.serverIO
        if client.paused or server.hostAddress.host in self.cut:
            return False
        return bool(client.has_something or server.has_something)

    def _connect(self) -> bool:
        reaching, self._reaching = self._reaching, []
        for host, port, factory, connector in reaching:
            if connector.stoppedConnecting or host in self.cut:
                continue
            if (host, port) not in self.listening:
                factory.clientConnectionFailed(connector, Failure(NobodyListens()))
                continue
            there, back = IPv4Address("TCP", host, port), IPv4Address("TCP", self.local, 50_000)
            server, client = self.listening[host, port].buildProtocol(back), factory.buildProtocol(there)
            server_end = End(server, isServer=True, hostAddress=there, peerAddress=back)
            client_end = End(client, isServer=False, hostAddress=back, peerAddress=there)
            self.ends.append(client_end)
            self.server_ends.append(server_end)
            self._pumps.append(connect(server, server_end, client, client_end, greet=False))
        return bool(reaching)


class Stranger(Factory):
    """A server in the place of a peer that sends the same answer to every request, or no answer if it is None."""

    def __init__(self, saying: bytes | None = None, *, hanging_up: bool = False) -> None:
        self.saying = saying
        self.hanging_up = hanging_up
        self.requests: list[bytes] = []
        self.connected = 0

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return _Conversation(self)


class _Conversation(Protocol):
    def __init__(self, stranger: Stranger) -> None:
        self._stranger = stranger
        self._read = b""

    def connectionMade(self) -> None:
        self._stranger.connected += 1

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stranger.connected -= 1

    def dataReceived(self, data: bytes) -> None:
        self._read += data
        length = re.search(rb"Content-Length: (\d+)", self._read)
        head, end, body = self._read.partition(b"\r\n\r\n")
        if not (end and length and len(body) >= int(length[1])):
            return
        self._read = b""
        self._stranger.requests.append(head)
        assert self.transport is not None
        if self._stranger.saying is not None:
            self.transport.write(self._stranger.saying)
        if self._stranger.hanging_up:
            self.transport.loseConnection()


def http_answer(status: str, media_type: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {media_type}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Double:
    """A double of a node: it records its calls, and its attributes determine its answers."""

    timing = Timing(interval_s=1.0, ttl_s=10.0)

    def __init__(self, address: str = "10.0.0.1:1730") -> None:
        self.sender = Sender(1, "n1", address)
        self.counters = Counters()
        self.rounds: list[Any] = []
        self.on_round: Callable[[], None] = lambda: None
        self.on_report: Callable[[], None] = lambda: None
        self.received: list[Message] = []
        self.reports: list[tuple[OutgoingMessage, Message | None]] = []
        self.seeds: list[tuple[str, list[str]]] = []
        self.problems: dict[str, str | None] = {}
        self.known: list[str] = []

    def addresses(self) -> list[str]:
        return self.known

    def begin_round(self, addresses: Any = None) -> None:
        self.rounds.append(addresses)
        self.on_round()

    def receive(self, message: Message) -> Message:
        self.received.append(message)
        self.on_report()
        return Message(self.sender, ask=7.0)

    def diagnose(self, key: str) -> NodeDiagnosis:
        return NodeDiagnosis(
            node="n1",
            address=self.sender.address,
            ready=True,
            listed=key == LISTED,
            hidden=False,
            claim=None,
            sees=(),
            ended=(),
            hears=(),
        )

    def claim_leases(self, keys: Iterable[str]) -> list[ClaimLease | None]:
        return [ClaimLease(10.0, 7.5, speaks=True) if key == LISTED else None for key in keys]

    def own_report(self) -> NodeReport:
        hears = (HeardPeer("n2", "10.0.0.2:1730", "heard", 0.4), HeardPeer("n3", "10.0.0.3:1730", "silent", None))
        me = self.sender
        return NodeReport(1, me.name, me.address, 1729, "0.2.0", True, 123.4, 2**64 - 1, 3, hears)

    async def wait_for_consumers(self, awaited: AwaitedChange) -> tuple[ConsumerState, ...]:
        return (ConsumerState(awaited.key, "n1", connected=True, applied=False, cursor=None, behind=0, at_ms=0),)

    def note_answer(self, request: OutgoingMessage, answer: Message) -> None:
        self.reports.append((request, answer))
        self.on_report()

    def note_failure(self, request: OutgoingMessage) -> None:
        self.reports.append((request, None))
        self.on_report()

    def set_seed_addresses(self, seed: str, addresses: Sequence[str]) -> None:
        self.seeds.append((seed, list(addresses)))

    def remove_seed(self, seed: str) -> None:
        self.seeds.append((seed, []))

    def set_peer_problem(self, address: str, problem: str | None, unreachable: bool) -> None:
        del unreachable
        self.problems[address] = problem


@implementer(ILogObserver)
class Lines:
    """Keeps the log lines of the exchange, and those of Twisted for the exchange."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def __call__(self, event: LogEvent) -> None:
        if str(event.get("log_namespace", "")).startswith(("bender.exchange", "twisted.web", "twisted.protocols")):
            self._lines.append(formatEvent(event))


class ExchangeCase(SynchronousTestCase):
    """A network, the double of a node, and the log lines of the exchange."""

    def setUp(self) -> None:
        self.network = Network()
        self.node = Double()
        self.wire = Wire("bender", 1.0)
        self.conditions = PeerProblems(self.network, 1.0, self.node.set_peer_problem)
        self.lines: list[str] = []

        observer = Lines(self.lines)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def request(self, address: str = "10.0.0.2:1730") -> OutgoingMessage:
        return OutgoingMessage(address, Message(self.node.sender, ask=1.0), 1.0)

    def stranger(self, saying: bytes | None = None, *, host: str = "10.0.0.2", hanging_up: bool = False) -> Stranger:
        stranger = Stranger(saying, hanging_up=hanging_up)
        self.network.listening[host, 1730] = stranger
        return stranger

    def failures(self) -> list[OutgoingMessage]:
        return [request for request, answer in self.node.reports if answer is None]
