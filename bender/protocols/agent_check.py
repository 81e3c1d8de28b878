"""HAProxy's agent-check: tells HAProxy the state and weight of a server, which HAProxy applies.

For each check HAProxy opens a connection, sends the line that its configuration has for the server (`agent-send`), and
reads a line. Here, the line names an instance: `APP/VERSION/HOST/PORT`. If that is not listed, or the node is not
ready, the connection is closed without an answer, which changes nothing in HAProxy: the end of a registration is no
evidence against a server that passes HAProxy's own check.

Checks are frequent, so nothing is kept between them, and those that succeed are not logged.
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

#: Bytes of a line: two names of 255 characters, percent-encoded, and a host.
LINE_BYTES_MAX = 8 * 1024

#: Seconds from the connection to its end. HAProxy sends the line at once, and waits for 2 s unless it is configured.
CHECK_S_MAX = 5.0

#: Bytes of a line that names no instance which are logged.
LOGGED_BYTES_MAX = 100

#: HAProxy multiplies the weight in its configuration, 1 by default, by the percentage of the answer.
PERCENT_OF_WEIGHT = 100


class AgentCheckFactory(Factory):
    """Answers the checks of any number of HAProxys, each on a connection of its own."""

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
    """One check: a line, an answer or none, and the end."""

    _log = Logger()
    transport: Any
    #: A check that comes late does no harm.
    urgency = Urgency.QUERY

    def __init__(self, factory: AgentCheckFactory, client: str) -> None:
        self._factory = factory
        self.client = client
        self._read = b""
        self._displaced = False
        self._complete = False
        self._due: IDelayedCall | None = None

    # What Twisted calls.

    def connectionMade(self) -> None:
        self._due = self._factory.clock.callLater(self._seconds_max(), self._too_late)

    def dataReceived(self, data: bytes) -> None:
        if self._complete:
            return
        self._read += data
        if b"\n" in data or len(self._read) > LINE_BYTES_MAX:
            self.readConnectionLost()

    def readConnectionLost(self) -> None:
        """The line is complete, also without its end if the client sends no more."""
        if not self._complete:
            self._complete = True
            self._factory.turns.run(self)

    def writeConnectionLost(self) -> None:
        """Only comes where this side ends its sending alone, which it never does."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        del reason
        if not (self._read or self._displaced):
            self._log.warn(
                "A check of {client} at --agent has sent nothing: add agent-send to the server in HAProxy's "
                "configuration, because the port alone does not say which instance is meant.",
                client=self.client,
            )
        elif not (self._complete or self._displaced):
            self._log.warn(
                "A check of {client} at --agent has sent {sent} without a newline: in HAProxy's configuration, "
                'agent-send must end with "\\n".',
                client=self.client,
                sent=ascii(self._read[:LOGGED_BYTES_MAX])[1:],
            )
        self._factory.turns.forget(self)
        self._factory.places.release(self)
        if self._due is not None:
            self._due.cancel()
            self._due = None

    # What the turns call.

    def work(self) -> bool:
        """Answer the line, or not, and close the connection."""
        line, _, _ = self._read.partition(b"\n")
        node = self._factory.node
        if not node.limits.rate.take(self.client):
            key = key_in(line) if len(line) <= LINE_BYTES_MAX else None
            if key is None and self._read:
                self._log.warn(
                    "A check of {client} at --agent names no instance: {line}. The server's agent-send in HAProxy's "
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
        """The connection is closed by then."""

    # The rest.

    def abort(self) -> None:
        """Close the connection without an answer, because another needs its place."""
        self._displaced = True
        self.transport.abortConnection()

    def _seconds_max(self) -> float:
        return min(CHECK_S_MAX, self._factory.node.limits.values.client_timeout_s)

    def _too_late(self) -> None:
        self._due = None
        self.transport.abortConnection()


def answer_about(node: Node, key: str) -> bytes | None:
    """Return the answer about an instance by its id; None if nothing may change in HAProxy."""
    claim = node.claim(key) if node.ready else None
    return None if claim is None else state_line(node.registration_status(key).state, Terms.decode(claim.body).weight)


def key_in(line: bytes) -> str | None:
    """Return the id of the instance that a line names, with or without `registration/`; None if it names none.

    It is the instance's path in the API, so it may be percent-encoded, and `%` itself has to be.
    """
    try:
        parts = [unquote(part, errors="strict") for part in line.strip(b" \t\r").decode().split("/")]
        if len(parts) == 5 and parts[0] == "registration":
            del parts[0]
        app, version, host, port = parts
        return registration_key((app, version, host, port))
    except ValueError:  # Invalid and UnicodeDecodeError are
        return None


def state_line(state: State, weight: int) -> bytes:
    """Return the line for an instance in a state, with the weight (0 to 256) that it asks for.

    Only `ready` ends a drain or maintenance in HAProxy, and only `up` a `down` from elsewhere. A percentage is that of
    the weight in HAProxy's configuration.
    """
    if state != UP:
        return b"%b\n" % state.encode()
    return b"ready up %d%%\n" % (weight * PERCENT_OF_WEIGHT)
