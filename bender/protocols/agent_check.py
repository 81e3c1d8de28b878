"""HAProxy's agent-check: tells HAProxy the state and weight of a server, which HAProxy applies.

For each check, HAProxy opens a connection, sends the line that its configuration has for the server (`agent-send`), and
reads a line. The line that it sends names an instance: `APP/VERSION/HOST/PORT`. If the instance is not listed, or the
node is not ready, the node closes the connection without an answer, which changes nothing in HAProxy: a server that
passes HAProxy's own check must not go down because its registration has ended.

Checks are frequent. So no state is kept between them, and successful checks are not logged.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from twisted.internet.interfaces import IAddress, IDelayedCall, IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from bender.core.model import Terms, registration_key
from bender.core.registration_status import UP, State
from bender.net.client_address import client_at, host_of
from bender.net.eager_write import eager_writer
from bender.net.fair_shares import FairShares, admit
from bender.net.fair_turns import Turns, Urgency
from bender.node.node import Node

#: Bytes of the longest line: two names of 255 characters, percent-encoded, and a host.
LINE_BYTES_MAX = 8 * 1024

#: Seconds from the beginning of a connection to its end. HAProxy sends the line at once, and by default waits for 2 s.
CHECK_S_MAX = 5.0

#: Bytes that are logged of a line that names no instance.
LOGGED_BYTES_MAX = 100

#: HAProxy multiplies the weight in its configuration, by default 1, by the percentage in the answer.
PERCENT_OF_WEIGHT = 100


class AgentCheckFactory(Factory):
    """Answers the checks of any number of HAProxy processes; each check has its own connection."""

    noisy = False

    def __init__(self, node: Node, clock: IReactorTime, turns: Turns) -> None:
        self.node = node
        self.clock = clock
        self.turns = turns
        self.places: FairShares[AgentCheck] = FairShares(node.limits.values.connections)
        node.limits.bind_connections("agent_connections", self.places)

    def logPrefix(self) -> str:
        return "--agent"

    def buildProtocol(self, addr: IAddress | None) -> AgentCheck | None:
        return admit(AgentCheck(self, client_at(host_of(addr))), self.places, self.logPrefix())


@implementer(IHalfCloseableProtocol)
class AgentCheck(Protocol):
    """One check: HAProxy sends a line, the node answers or not, and closes the connection."""

    _log = Logger()
    transport: Any
    #: A check that comes late does no harm.
    urgency = Urgency.QUERY

    def __init__(self, factory: AgentCheckFactory, client: str) -> None:
        self._factory = factory
        self.client = client
        self._received = b""
        self._has_lost_place = False
        self._is_complete = False
        self._timeout: IDelayedCall | None = None

    # What Twisted calls.

    def connectionMade(self) -> None:
        self._timeout = self._factory.clock.callLater(self._seconds_max(), self._timed_out)

    def dataReceived(self, data: bytes) -> None:
        if self._is_complete:
            return
        self._received += data
        if b"\n" in data or len(self._received) > LINE_BYTES_MAX:
            self.readConnectionLost()

    def readConnectionLost(self) -> None:
        """Answer the line, which is complete, even without a newline, because the client sends no more."""
        if not self._is_complete:
            self._is_complete = True
            self._factory.turns.run(self)

    def writeConnectionLost(self) -> None:
        """Never called, because this side never closes its sending direction alone."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        del reason
        if not (self._received or self._has_lost_place):
            self._log.warn(
                "A check from {client} at --agent has sent nothing: add agent-send to the server in HAProxy's "
                "configuration, because the port alone does not say which instance is meant.",
                client=self.client,
            )
        elif not (self._is_complete or self._has_lost_place):
            self._log.warn(
                "A check from {client} at --agent has sent {sent} without a newline: in HAProxy's configuration, "
                'agent-send must end with "\\n".',
                client=self.client,
                sent=ascii(self._received[:LOGGED_BYTES_MAX])[1:],
            )
        self._factory.turns.forget(self)
        self._factory.places.release(self)
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    # What the turns call.

    def work(self) -> bool:
        """Answer the line if it names a listed instance, and close the connection."""
        line, _, _ = self._received.partition(b"\n")
        node = self._factory.node
        if not node.limits.rate.take(self.client):
            key = key_in(line) if len(line) <= LINE_BYTES_MAX else None
            if key is None and self._received:
                self._log.warn(
                    "A check from {client} at --agent names no instance: {line}. The server's agent-send in HAProxy's "
                    'configuration must be "APP/VERSION/HOST/PORT\\n".',
                    client=self.client,
                    line=ascii(line[:LOGGED_BYTES_MAX])[1:],
                )
            answer = None if key is None else answer_about(node, key)
            if answer is not None:
                eager_writer(self.transport)(answer)
        self.transport.loseConnection()
        return False

    def idle(self) -> None:
        """Do nothing: the connection is closed."""

    # The rest.

    def abort(self) -> None:
        """Close the connection without an answer, because another connection gets its place."""
        self._has_lost_place = True
        self.transport.abortConnection()

    def _seconds_max(self) -> float:
        return min(CHECK_S_MAX, self._factory.node.limits.values.client_timeout_s)

    def _timed_out(self) -> None:
        self._timeout = None
        self.transport.abortConnection()


def answer_about(node: Node, key: str) -> bytes | None:
    """Return the answer about the instance with this id; None to change nothing in HAProxy."""
    claim = node.claim(key) if node.ready else None
    return None if claim is None else state_line(node.registration_status(key).state, Terms.decode(claim.body).weight)


def key_in(line: bytes) -> str | None:
    """Return the id of the instance that a line names; None if it names none. The line may begin with `registration/`.

    The line is the path of the instance in the API. So it may be percent-encoded, and `%` itself must be.
    """
    try:
        parts = [unquote(part, errors="strict") for part in line.strip(b" \t\r").decode().split("/")]
        if len(parts) == 5 and parts[0] == "registration":
            del parts[0]
        app, version, host, port = parts
        return registration_key((app, version, host, port))
    except ValueError:  # Invalid and UnicodeDecodeError are subclasses
        return None


def state_line(state: State, weight: int) -> bytes:
    """Return the answer about an instance with this state and weight (0 to 256).

    `ready` is necessary to end a drain or maintenance in HAProxy, and `up` to end a `down` from another source. The
    percentage refers to the weight in HAProxy's configuration.
    """
    if state != UP:
        return b"%b\n" % state.encode()
    return b"ready up %d%%\n" % (weight * PERCENT_OF_WEIGHT)
