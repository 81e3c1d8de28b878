"""Connections of clients to a simulated process: every byte goes through Twisted's protocols.

A paused process receives nothing. Bytes that a client sends to it then are lost. A connection that a client closes
then is closed at the node when the process continues.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from tests.api.conversation import Transport
from tests.simulation.cluster import Node
from tests.simulation.soak.world import SoakCluster

#: The seconds after which the system reports that a connection is closed which a node closes.
CLOSING_S = 0.01


class _Socket(Transport):
    """A transport that reports its connection as lost when the node closes it."""

    connection: Connection

    def loseConnection(self) -> None:
        if not self.disconnecting:
            super().loseConnection()
            self.connection.closed_by_node()


class Connection:
    """A client's connection to the API, or with `lines` to the line protocol, of the process on a machine."""

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
        """Whether the node receives what is sent now."""
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
        """Send a request. Return the status of its answer, or 0 if there is none so far."""
        self.received()
        self.send(request)
        answer = self.received()
        return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0

    def received(self) -> bytes:
        """Return the bytes that were received since the last call."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def read_nothing(self) -> None:
        """Never read anything again."""
        if self.transport.producer is not None:
            self.transport.producer.pauseProducing()

    def close(self) -> None:
        """Close the connection from the client's side."""
        self._cluster.deliver(self._machine, self._boot, self._lose)

    def closed_by_node(self) -> None:
        self._cluster.after(CLOSING_S, self._cluster.deliver, self._machine, self._boot, self._lose)

    def _lose(self) -> None:
        if not self._lost and self._is_current:
            self._lost = True
            self._process.live_until(self._machine.clock(self._cluster.now))
            self._protocol.connectionLost(Failure(ConnectionDone()))
