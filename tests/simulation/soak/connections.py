"""Connections of clients to a simulated process: every byte goes through Twisted's protocols.

A process that is paused takes nothing in. What a client sends then is lost, and what it closes is closed when the
process goes on.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from tests.api.conversation import Transport
from tests.simulation.cluster import Node
from tests.simulation.soak.world import SoakCluster

#: Seconds from when a node closes a connection until the system says that it is closed.
CLOSING_S = 0.01


class _Socket(Transport):
    """One that is lost when the node closes it."""

    connection: Connection

    def loseConnection(self) -> None:
        if not self.disconnecting:
            super().loseConnection()
            self.connection.closed_by_node()


class Connection:
    """A client's connection to the API, or with `lines` to the events, of the process on a machine."""

    def __init__(self, cluster: SoakCluster, machine: Node, client: tuple[str, int], *, lines: bool = False) -> None:
        self._cluster = cluster
        self._machine = machine
        self._boot = machine.boot
        self._process = cluster.processes[machine.name]
        self._lost = False
        address = IPv4Address("TCP", *client)
        factory: Any = self._process.events if lines else self._process.site
        self.transport = _Socket(peerAddress=address)
        self.transport.connection = self
        self._protocol: Any = factory.buildProtocol(address)
        self._protocol.makeConnection(self.transport)

    @property
    def usable(self) -> bool:
        """Whether the node takes in what is sent now."""
        return self._is_current and self._machine.serving and not self._lost and not self.transport.disconnecting

    @property
    def _is_current(self) -> bool:
        return self._cluster.processes.get(self._machine.name) is self._process

    def send(self, data: bytes) -> None:
        """Send bytes, if the connection is usable."""
        if self.usable:
            self._process.live_until(self._machine.clock(self._cluster.now))
            self._protocol.dataReceived(data)

    def ask(self, request: bytes) -> int:
        """Send a request; return the status of its answer, or 0 if there is none so far."""
        self.received()
        self.send(request)
        answer = self.received()
        return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0

    def received(self) -> bytes:
        """Return what has come since this was called last."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def read_nothing(self) -> None:
        """Never read anything again."""
        if self.transport.producer is not None:
            self.transport.producer.pauseProducing()

    def close(self) -> None:
        """Close it, as a client does."""
        self._cluster.deliver(self._machine, self._boot, self._lose)

    def closed_by_node(self) -> None:
        self._cluster.after(CLOSING_S, self._cluster.deliver, self._machine, self._boot, self._lose)

    def _lose(self) -> None:
        if not self._lost and self._is_current:
            self._lost = True
            self._process.live_until(self._machine.clock(self._cluster.now))
            self._protocol.connectionLost(Failure(ConnectionDone()))
