"""The shells of a node start together and stop in order. Shells and clock are controlled by the tests."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, cast

from twisted.application.service import Service
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from bender.api.route import RouteTable
from bender.api.server import ApiSite
from bender.core.timing import Timing
from bender.daemon.service import NodeService
from bender.process.lifecycle import StartRefused

CLIENT = IPv4Address("TCP", "127.0.0.1", 50000)


class Shell(Service):
    """Records its start and stop; it may refuse to start, fail to stop, or never stop."""

    def __init__(
        self, order: list[str], refuses: Exception | None = None, ends: Callable[[], Any] | None = None
    ) -> None:
        self._order = order
        self._refuses = refuses
        self._ends = ends

    def privilegedStartService(self) -> None:
        if self._refuses:
            raise self._refuses

    def startService(self) -> None:
        super().startService()
        self.privilegedStartService()
        self._order.append(f"{self.name} starts")

    def stopService(self) -> Any:
        self._order.append(f"{self.name} ends")
        return self._ends() if self._ends else super().stopService()


class Node:
    """Records when the node leaves."""

    name = "n1"
    timing = Timing(interval_s=1.0, ttl_s=10.0)

    def __init__(self, order: list[str]) -> None:
        self._order = order

    def leave(self) -> None:
        self._order.append("node leaves")


class Later(Resource):
    """Answers when the test calls `answer`. /stream begins an endless answer at once."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Request] = []

    def render_GET(self, request: Request) -> int:
        if request.path == b"/stream":
            request.write(b"first")
        self.waiting.append(request)
        return NOT_DONE_YET


class NoFastPath:
    """A fast path that handles no request, so that Twisted handles all."""

    routes = RouteTable(())

    def parse_whole(self, read: bytes) -> None: ...

    def parse(self, read: bytes, at: int) -> tuple[None, int]:
        del read, at
        return None, -1

    def answer(self, taken: Any) -> None: ...


class ServiceCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.order: list[str] = []

    def service(self, clients: ApiSite | None = None, **shells: Shell) -> NodeService:
        """Return a service with four shells, in which `shells` replace the plain ones."""
        names = ("api", "events", "exchange", "expiry")
        return NodeService(
            self.clock,
            Node(self.order),
            {name: shells.get(name) or Shell(self.order) for name in names},
            clients or ApiSite(Resource(), cast(Any, NoFastPath()), self.clock),
        )


class Beginning(ServiceCase):
    def test_the_shells_start_in_order(self) -> None:
        """No sweep begins and no peer is contacted before all ports are open."""
        service = self.service()
        service.privilegedStartService()
        service.startService()
        self.assertEqual(self.order, ["api starts", "events starts", "exchange starts", "expiry starts"])

    def test_a_port_in_use_is_refused_with_the_name_of_the_option(self) -> None:
        """The error has the option, the address in use and the remedy."""
        error = CannotListenError("127.0.0.1", 1731, OSError(errno.EADDRINUSE, "Address already in use"))
        service = self.service(events=Shell(self.order, refuses=error))
        for start in (service.privilegedStartService, service.startService):
            refusal = self.assertRaises(StartRefused, start)
            self.assertEqual(
                str(refusal),
                "bender: --events cannot listen on 127.0.0.1:1731 (Address already in use): "
                "choose another address, or stop the process that uses it.",
            )


class Leaving(ServiceCase):
    def leave(self, service: NodeService) -> Deferred[None]:
        service.startService()
        self.order.clear()
        return service.stopService()

    def test_clients_find_closed_doors_before_peers_hear_of_it(self) -> None:
        """The node informs its peers after the ports for clients are closed, and sweeps until the end."""
        left = self.leave(self.service())
        self.clock.pump([0, 0, 0])
        self.successResultOf(left)
        self.assertEqual(
            self.order,
            ["api ends", "events ends", "node leaves", "exchange ends", "expiry ends"],
        )

    def test_it_goes_on_leaving_where_a_shell_fails_to_end(self) -> None:
        """The failure to stop is logged, and the peers are informed all the same."""

        def fail() -> None:
            raise RuntimeError("a fault")

        left = self.leave(self.service(api=Shell(self.order, ends=fail)))
        self.clock.pump([0, 0, 0])
        self.successResultOf(left)
        self.assertIn("exchange ends", self.order)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_shell_that_never_ends_is_waited_for_two_seconds(self) -> None:
        """The limit for a shell to stop is one interval and one second."""
        left = self.leave(self.service(exchange=Shell(self.order, ends=Deferred)))
        self.clock.pump([0, 0, 1.9])
        self.assertNoResult(left)
        self.clock.pump([0.2])
        self.successResultOf(left)
        self.assertIn("expiry ends", self.order)
        self.flushLoggedErrors()


class Connection(StringTransport):
    """The connection of a client, which has received all data sent to it only if `reads` is true."""

    def __init__(self, reads: bool) -> None:
        super().__init__(peerAddress=CLIENT)
        self._reads = reads

    def connect(self, clients: ApiSite) -> None:
        protocol = clients.buildProtocol(CLIENT)
        assert protocol is not None
        self._protocol = protocol
        protocol.makeConnection(self)

    def get(self, path: str) -> None:
        """Send a request."""
        self._protocol.dataReceived(f"GET {path} HTTP/1.1\r\nHost: n1\r\n\r\n".encode())

    def loseConnection(self) -> None:
        super().loseConnection()
        if self._reads:
            self.close()

    def close(self) -> None:
        """Close the connection, as a client that leaves or has read everything."""
        self._protocol.connectionLost(Failure(ConnectionDone()))


class Clients(ServiceCase):
    """Connections of clients to a node that leaves."""

    def setUp(self) -> None:
        super().setUp()
        self.resource = Later()
        self.clients = ApiSite(self.resource, cast(Any, NoFastPath()), self.clock)

    def connect(self, *paths: str, reads: bool = True) -> Connection:
        """Return a connection on which these requests have arrived."""
        connection = Connection(reads)
        connection.connect(self.clients)
        for path in paths:
            connection.get(path)
        return connection

    def leave(self) -> Deferred[None]:
        service = self.service(self.clients)
        service.startService()
        left = service.stopService()
        self.clock.pump([0, 0.02, 0])
        return left

    def answer(self) -> None:
        request = self.resource.waiting.pop()
        request.write(b"an answer")
        request.finish()

    def test_a_connection_without_a_request_is_closed(self) -> None:
        """A connection without a request is closed, so that its client connects to another node."""
        connection = self.connect()
        self.successResultOf(self.leave())
        self.assertTrue(connection.disconnecting)

    def test_a_request_is_answered_before_its_connection_is_closed(self) -> None:
        """A request is answered before its connection is closed, and before the peers are informed."""
        connection = self.connect("/")
        left = self.leave()
        self.clock.advance(0.5)
        self.assertNoResult(left)
        self.assertFalse(connection.disconnecting)
        self.assertNotIn("node leaves", self.order)
        self.answer()
        self.clock.pump([0.02, 0.02, 0])
        self.successResultOf(left)
        self.assertTrue(connection.disconnecting)
        self.assertIn(b"an answer", connection.value())

    def test_a_request_that_has_just_arrived_is_answered_too(self) -> None:
        """A request that is still in its socket when the node leaves is answered."""
        connection = self.connect()
        service = self.service(self.clients)
        service.startService()
        left = service.stopService()
        connection.get("/")
        self.clock.pump([0, 0])
        self.assertNoResult(left)
        self.answer()
        self.clock.pump([0.02, 0.02, 0])
        self.successResultOf(left)
        self.assertIn(b"an answer", connection.value())

    def test_an_answer_that_is_still_being_read_is_not_cut(self) -> None:
        """The node waits until a slow client has received its answer."""
        connection = self.connect("/", reads=False)
        self.answer()
        left = self.leave()
        self.clock.advance(0.5)
        self.assertNoResult(left)
        connection.close()
        self.clock.pump([0.02, 0])
        self.successResultOf(left)

    def test_a_stream_is_closed_at_once(self) -> None:
        """A stream is closed at once, because its answer would never end."""
        connection = self.connect("/stream")
        self.successResultOf(self.leave())
        self.assertTrue(connection.disconnecting)

    def test_an_answer_is_waited_for_two_seconds(self) -> None:
        """The node waits for an answer for at most two seconds."""
        self.connect("/")
        left = self.leave()
        self.clock.pump([0.02] * 97)
        self.assertNoResult(left)
        self.clock.pump([0.02] * 4)
        self.successResultOf(left)

    def test_a_client_that_went_away_is_not_waited_for(self) -> None:
        """A request whose client has disconnected does not delay the node."""
        self.connect("/").close()
        self.successResultOf(self.leave())

    def test_the_site_is_told_when_it_is_listened_with(self) -> None:
        """The site is started and stopped together with its port."""
        self.clients.doStart()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clients.doStop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
