"""A network between two nodes, as a process that forwards bytes from its ports to others, and can be cut.

Use: python -m bench.relay CONTROL-PORT FROM:TO …, all on 127.0.0.1. Each line to the control port is a command,
answered with a line:

- `cut`: forward nothing from now on, and discard all bytes. The answer is `ok`.
- `heal`: forward again. Connections that have lost bytes are closed. The answer is the time, in nanoseconds of
  CLOCK_MONOTONIC.
- `passed`: return the time at which the first bytes of a request passed after the heal; 0 if none has yet.

A cut closes no connections, and new connections are neither refused nor answered, as in a network that loses packets.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from bench.nodes import LOOPBACK

reactor: Any = installed


class Network:
    """Whether bytes pass, and the open connections."""

    def __init__(self) -> None:
        self.is_cut = False
        self.passed_ns = 0
        self.callers: set[Caller] = set()

    def carry_out(self, what: bytes) -> bytes:
        """Carry out a command; return the answer."""
        if what == b"cut":
            self.is_cut = True
            return b"ok"
        if what == b"heal":
            self.is_cut = False
            self.passed_ns = 0
            for caller in [each for each in self.callers if each.broken]:
                caller.end()
            return b"%d" % time.monotonic_ns()
        return b"%d" % self.passed_ns


class Caller(Protocol):
    """An accepted connection, with its other half to the node behind it."""

    transport: Any

    def __init__(self, network: Network, to: int) -> None:
        self.network = network
        self.broken = network.is_cut
        self._to = to
        self._waiting = b""
        self._far: Far | None = None

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.network.callers.add(self)
        if not self.broken:
            far = connectProtocol(TCP4ClientEndpoint(reactor, LOOPBACK, self._to), Far(self))
            far.addCallbacks(self._reached, self._unreached)

    def _reached(self, far: Far) -> None:
        self._far = far
        if self not in self.network.callers:
            self.end()  # it was closed meanwhile
        elif not self.broken:
            far.transport.write(self._waiting)

    def _unreached(self, failure: Failure) -> None:
        failure.trap(ConnectError)
        self.end()

    def dataReceived(self, data: bytes) -> None:
        if self.network.is_cut or self.broken:
            self.broken = True
            return
        self.network.passed_ns = self.network.passed_ns or time.monotonic_ns()
        if self._far is None:
            self._waiting += data
        else:
            self._far.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        del reason
        if self.network.is_cut:
            self.broken = True  # the node behind it does not notice
        else:
            self.end()

    def end(self) -> None:
        """Close both halves, once what passed has been sent."""
        self.network.callers.discard(self)
        for end in (self, self._far):
            if end is not None:
                end.transport.abortConnection() if self.broken else end.transport.loseConnection()


class Far(Protocol):
    """The half to the node."""

    transport: Any

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        if self._caller.network.is_cut or self._caller.broken:
            self._caller.broken = True
        else:
            self._caller.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._caller.connectionLost(reason)


class Control(LineReceiver):
    """Receives commands."""

    delimiter = b"\n"

    def __init__(self, network: Network) -> None:
        self._network = network

    def lineReceived(self, line: bytes) -> None:
        self.sendLine(self._network.carry_out(line))


def main() -> None:
    network = Network()
    for wire in sys.argv[2:]:
        begin, end = map(int, wire.split(":"))
        reactor.listenTCP(begin, Factory.forProtocol(partial(Caller, network, end)), interface=LOOPBACK)
    reactor.listenTCP(int(sys.argv[1]), Factory.forProtocol(partial(Control, network)), interface=LOOPBACK)
    reactor.run()


if __name__ == "__main__":
    main()
