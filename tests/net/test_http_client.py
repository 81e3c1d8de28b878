"""Bodies, endpoints and connections of HTTP clients."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import URI, ResponseDone

from bender.net.http_client import ENDPOINTS_KEPT_MAX, BodyCollector, EndpointFactory


class TooLong(Exception):
    """The error for a body that is too long."""


class Bodies(SynchronousTestCase):
    def setUp(self) -> None:
        self.collector = BodyCollector(1024, TooLong)
        self.transport = StringTransport()
        self.collector.makeConnection(self.transport)

    def test_a_body_up_to_the_limit(self) -> None:
        """A body up to the limit is returned at the end of the response."""
        self.collector.dataReceived(b" " * 1024)
        self.assertNoResult(self.collector.content)
        self.collector.connectionLost(Failure(ResponseDone()))
        self.assertEqual(self.successResultOf(self.collector.content), b" " * 1024)

    def test_a_longer_one(self) -> None:
        """A longer body fails at once, and closes the connection."""
        self.collector.dataReceived(b" " * 1024)
        self.collector.dataReceived(b" ")
        self.failureResultOf(self.collector.content, TooLong)
        self.assertTrue(self.transport.disconnecting)
        self.collector.connectionLost(Failure(ConnectionLost()))

    def test_a_connection_that_is_lost(self) -> None:
        """A body whose connection is lost fails."""
        self.collector.dataReceived(b"{")
        self.collector.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(self.collector.content, ConnectionLost)

    def test_cancelled(self) -> None:
        """After a cancellation the connection ends, because the rest of the body would precede the next response."""
        self.collector.content.cancel()
        self.failureResultOf(self.collector.content, CancelledError)
        self.assertTrue(self.transport.disconnecting)


class Endpoints(SynchronousTestCase):
    def test_kept_up_to_a_limit(self) -> None:
        """An endpoint is reused for its address, and forgotten after many other addresses."""
        made: list[int] = []

        def wrap(uri: URI, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
            made.append(uri.port)
            return endpoint

        factory = EndpointFactory(MemoryReactorClock(), wrap=wrap)
        first = factory.endpointForURI(URI.fromBytes(b"http://10.0.0.1:1/"))
        self.assertIs(factory.endpointForURI(URI.fromBytes(b"http://10.0.0.1:1/x")), first)
        for port in range(2, ENDPOINTS_KEPT_MAX + 2):
            factory.endpointForURI(URI.fromBytes(b"http://10.0.0.1:%d/" % port))
        self.assertIsNot(factory.endpointForURI(URI.fromBytes(b"http://10.0.0.1:1/")), first)
        self.assertEqual(made, [*range(1, ENDPOINTS_KEPT_MAX + 2), 1])
