"""Connections of the line protocol on transports in memory."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from bender.line_protocol.connection import EventsFactory
from tests.node.watched import Watched, events, named


class Transport(StringTransport):
    """A transport that is full whenever it holds more than `full_bytes`, like a transport with a socket."""

    full_bytes = 1_000_000_000

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.producer is not None and len(self.value()) > self.full_bytes:
            self.producer.pauseProducing()


class Connected:
    """A client of a node's line protocol."""

    def __init__(self, factory: EventsFactory, full_bytes: int = 1_000_000_000, client: str = "10.9.9.9") -> None:
        address = IPv4Address("TCP", client, 40_000)
        self.transport = Transport(peerAddress=address)
        self.transport.full_bytes = full_bytes
        self.protocol: Any = factory.buildProtocol(address)
        self.protocol.makeConnection(self.transport)

    def send(self, sent: bytes) -> None:
        self.protocol.dataReceived(sent)

    def subscribe(self, **selection: Any) -> None:
        self.send(msgspec.json.encode({"subscribe": selection}) + b"\n")

    def received(self) -> list[dict[str, Any]]:
        """Return the events that were received since the last call, and make room for more."""
        received = self.transport.value()
        self.transport.clear()
        if self.transport.producer is not None:
            self.transport.producer.resumeProducing()
        return events(received)

    def named(self) -> list[str]:
        return named(self.received())

    def lose(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))

    @property
    def reading(self) -> bool:
        """Whether the node would read from this client now."""
        return self.transport.producerState == "producing"


class EventsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.watched = Watched(self.clock)
        self.factory = EventsFactory(self.watched.node, self.clock)

    def connect(self, full_bytes: int = 1_000_000_000) -> Connected:
        """Return a client that has read its `hello`."""
        connected = Connected(self.factory, full_bytes)
        self.assertEqual(connected.named(), ["hello"])
        return connected

    def refused(self, connected: Connected) -> str:
        """Expect one error line, and return its message."""
        (error,) = connected.received()
        self.assertEqual([*error], ["event", "code", "message"])
        self.assertEqual((error["event"], error["code"]), ("error", "INVALID"))
        return str(error["message"])
