"""The answers of a node that is not ready (promise P8)."""

from __future__ import annotations

from twisted.internet.task import Clock

from bender.api import site
from tests.api.conversation import WEB, WEB_PATH, ApiCase, Network, parsed, request

REQUESTS = (
    ("GET", "/"),
    ("GET", "/registrations"),
    ("GET", WEB_PATH),
    ("POST", "/registrations"),
    ("POST", WEB_PATH),
    ("PUT", WEB_PATH),
    ("DELETE", WEB_PATH),
    ("POST", "/renewals"),
    ("POST", "/claims"),
    ("GET", "/backends"),
    ("POST", "/backends"),
    ("PUT", "/backends/site"),
    ("GET", "/frontends/edge"),
    ("GET", "/events"),
    ("GET", "/events?since=x&wait=30"),
    ("GET", "/nowhere"),
    ("GET", "/registrations/a%2Fb"),
)


class AtAStart(ApiCase):
    """A node that has not found its seed."""

    def setUp(self) -> None:
        super().setUp()
        self.await_a_seed()

    def test_refuses_at_once(self) -> None:
        """All other requests get 503 at once, with the time after which to try again."""
        for method, path in REQUESTS:
            response = self.ask(method, path, b"{}")
            self.refused("NOT_READY", response)
            self.assertEqual(response.headers["retry-after"], "1")

    def test_says_so(self) -> None:
        """`/ready` answers 503; `/status` and `/token` answer 200."""
        response = self.ask("GET", "/ready")
        self.refused("NOT_READY", response)
        self.assertEqual(response.headers["retry-after"], "1")
        status = self.ask("GET", "/status")
        self.assertEqual((status.status, status.json["ready"]), (200, False))
        self.assertEqual(self.ask("GET", "/token").status, 200)

    def test_gives_up(self) -> None:
        """After five intervals the node is ready without the peer."""
        self.pass_time(4)
        self.assertEqual(self.ask("GET", "/ready").status, 503)
        self.pass_time(2)
        self.assertEqual(self.ask("GET", "/ready").status, 200)
        self.assertEqual(self.ask("POST", "/registrations", WEB).status, 201)


class AfterAPause(ApiCase):
    """A node that was paused for three seconds, and whose peer is slow to answer."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.network = Network(self.clock)
        self.node = self.network.first
        self.site = site(self.node, self.clock)
        self.node.begin_round()
        self.node.sweep()
        self.assertTrue(self.node.ready)
        self.network.connected = False
        self.clock.advance(3)
        self.connection = self.connect()

    def test_waits(self) -> None:
        """A request waits for the peer's answer, and is processed then."""
        self.connection.send(request("POST", "/registrations", WEB))
        self.assertEqual(self.connection.received(), b"")
        self.network.reconnect()
        (response,) = parsed(self.connection.received())
        self.assertEqual(response.status, 201)
        self.assertEqual(self.ask("GET", WEB_PATH).status, 200)

    def test_waits_an_interval_at_most(self) -> None:
        """If the peer does not answer, the request gets 503 after an interval."""
        self.connection.send(request("POST", "/registrations", WEB))
        self.clock.advance(0.99)
        self.assertEqual(self.connection.received(), b"")
        self.clock.advance(0.02)
        (response,) = parsed(self.connection.received())
        self.refused("NOT_READY", response)
        self.network.reconnect()
        self.assertEqual(self.ask("GET", "/registrations").json, [])

    def test_nowhere(self) -> None:
        """A request for an unknown path waits as well."""
        self.connection.send(request("GET", "/nowhere"))
        self.assertEqual(self.connection.received(), b"")
        self.network.reconnect()
        (response,) = parsed(self.connection.received())
        self.refused("NOT_FOUND", response)

    def test_says_so_at_once(self) -> None:
        """`/ready` and `/status` are answered at once."""
        self.assertEqual(self.ask("GET", "/ready").status, 503)
        self.assertIs(self.ask("GET", "/status").json["ready"], False)

    def test_client_goes_away(self) -> None:
        """A waiting request whose client closes the connection is dropped."""
        self.connection.send(request("POST", "/registrations", WEB))
        self.connection.lose()
        self.assertEqual([call for call in self.clock.getDelayedCalls() if call.getTime() <= 4], [])
        self.network.reconnect()
        self.assertEqual(self.ask("GET", "/registrations").json, [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_in_order(self) -> None:
        """Waiting requests of one connection are answered in their order."""
        self.connection.send(request("POST", "/registrations", WEB) + request("DELETE", WEB_PATH))
        self.network.reconnect()
        self.assertEqual([each.status for each in parsed(self.connection.received())], [201, 204])
