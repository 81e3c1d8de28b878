"""The time of a reactor turn that a connection may take."""

from __future__ import annotations

from typing import Any

from bender.api import site
from bender.net.fair_turns import Turns
from bender.net.http_server import HELD_BYTES_MAX
from tests.api.conversation import WEB_PATH, ApiCase, parsed, request
from tests.net.reactor_turns import take_turn


class Budgets(ApiCase):
    """The work of a node for one connection in one turn is limited, whatever the client sends, on either way.

    Each piece of work takes 1 s here, which is the limit for one connection; all connections together have 4 s.
    """

    PIPELINED = {
        "the fast path": request("POST", WEB_PATH),
        "no route": request("GET", "/nothing"),
        "no command": request("PATCH", "/status"),
        "Twisted": request("GET", "/status"),
        "bare line feeds": b"GET /ready HTTP/1.1\n\n",
        "renewals": request("POST", "/renewals", {"ids": [f"{WEB_PATH[1:]}{n}" for n in range(1000)]}),
        "refused": request("POST", "/registrations", b"{"),
    }
    COUNT = 40

    def setUp(self) -> None:
        super().setUp()
        self.worked_s = 0.0
        self.turns = Turns(self.clock, each_s=1, all_s=4, seconds=self.seconds)
        self.site = site(self.node, self.clock, self.turns)

    def seconds(self) -> float:
        """Return the time, as if a piece of work had been done since the last call."""
        self.worked_s += 1
        return self.worked_s

    def turn(self) -> float:
        """Run a turn of the reactor without new input, and return the time of work in it."""
        before = self.worked_s
        take_turn(self.clock)
        return self.worked_s - before

    def test_each_way(self) -> None:
        """The rest of the pipelined requests is answered in later turns, in order."""
        for way, sent in self.PIPELINED.items():
            connection = self.connect()
            connection.send(sent * self.COUNT)
            first = len(parsed(connection.received()))
            self.assertLessEqual(first, 2, way)
            counts: list[int] = []
            while first + sum(counts) < self.COUNT:
                self.assertLessEqual(self.turn(), 3 * 4, way)
                counts.append(len(parsed(connection.received())))
                self.assertTrue(1 <= counts[-1] <= 4, (way, counts))
            connection.lose()
            self.turn()

    def test_many_connections(self) -> None:
        """All connections together have no more time; each gets its share, in turn."""
        connections = [self.connect() for _ in range(20)]
        for connection in connections:
            connection.send(request("POST", WEB_PATH) * 3)
        answered = [len(parsed(connection.received())) for connection in connections]
        self.assertLessEqual(sum(answered), 5)
        for _ in range(30):
            self.assertLessEqual(self.turn(), 3 * 4)
        answered = [before + len(parsed(each.received())) for before, each in zip(answered, connections, strict=True)]
        self.assertEqual(answered, [3] * 20)

    def test_others_come_first(self) -> None:
        """A client that sends one request is answered in the next turn, however much others have sent before."""
        greedy = [self.connect() for _ in range(10)]
        for connection in greedy:
            connection.send(request("POST", WEB_PATH) * 100)
        for _ in range(5):  # until each connection has had its time once
            self.turn()
        modest = self.connect()
        modest.send(request("PUT", WEB_PATH))
        self.turn()
        self.assertEqual([each.status for each in parsed(modest.received())], [200])

    def test_reading_stops(self) -> None:
        """The node stops reading from a client that sends more than it gets time for, so the held bytes are bounded."""
        for path, method in ((WEB_PATH, "POST"), ("/nothing", "GET")):
            connection = self.connect()
            sent = request(method, path) * 1000
            connection.send(sent)
            for _ in range(300):
                self.assertEqual(connection.transport.producerState == "paused", connection.held > HELD_BYTES_MAX)
                self.turn()
            self.assertEqual(len(parsed(connection.received())), 1000)
            self.assertEqual(connection.transport.producerState, "producing")

    def test_a_client_that_goes_away(self) -> None:
        """The held requests of a lost connection are dropped."""
        connection = self.connect()
        connection.send(request("POST", WEB_PATH) * 100)
        connection.lose()
        self.assertEqual(self.turn(), 0)

    def test_a_client_that_has_sent_all(self) -> None:
        """All requests are answered before the connection is closed."""
        connection = self.connect()
        connection.send(request("POST", WEB_PATH) * 10)
        connection.end()
        for _ in range(10):
            self.turn()
        self.assertEqual(len(parsed(connection.received())), 10)
        self.assertTrue(connection.closed)


class DoesNotRead(ApiCase):
    def test_answers_do_not_pile_up(self) -> None:
        """A client that does not read gets no more answers, on the fast path and on the long way."""
        for path in ("/ready", "/status", "/nothing"):
            connection = self.connect()
            producer: Any = connection.transport.producer
            connection.send(request("GET", path))
            self.assertEqual(len(parsed(connection.received())), 1)
            producer.pauseProducing()
            connection.send(request("GET", path) * 10)
            self.assertEqual(connection.received(), b"", path)
            producer.resumeProducing()
            self.assertEqual(len(parsed(connection.received())), 10, path)
