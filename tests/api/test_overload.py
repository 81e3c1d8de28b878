"""An overloaded node answers urgent requests first, turns others away, and lets no lease lapse meanwhile."""

from __future__ import annotations

from bender.api import site
from bender.api.overload import WAIT_S_MAX, urgency_at, urgency_of
from bender.net.fair_turns import OVERLOAD_LAG_S, Turns, Urgency
from tests.api.conversation import WEB, WEB_ID, WEB_PATH, ApiCase, Connection, Response, parsed, request
from tests.net.reactor_turns import take_turn


class Urgencies(ApiCase):
    def test_renewals_come_before_changes_and_those_before_questions(self) -> None:
        """`/ready` and `/status` are as urgent as renewals, because they are needed when the node is overloaded."""
        for method, path, urgency in (
            ("PUT", WEB_PATH, Urgency.RENEWAL),
            ("POST", "/renewals", Urgency.RENEWAL),
            ("GET", "/ready", Urgency.RENEWAL),
            ("GET", "/status", Urgency.RENEWAL),
            ("GET", "/", Urgency.RENEWAL),
            ("GET", "/page/main.js", Urgency.RENEWAL),
            ("POST", "/registrations", Urgency.CHANGE),
            ("POST", WEB_PATH, Urgency.CHANGE),
            ("DELETE", WEB_PATH, Urgency.CHANGE),
            ("PUT", "/backends/shop", Urgency.CHANGE),
            ("GET", "/registrations", Urgency.QUERY),
            ("HEAD", "/backends", Urgency.QUERY),
            ("GET", "/events", Urgency.QUERY),
            ("GET", "/explain/" + WEB_ID, Urgency.DIAGNOSIS),
            ("POST", "/claims", Urgency.DIAGNOSIS),
            ("GET", "/nodes", Urgency.DIAGNOSIS),
        ):
            self.assertEqual(urgency_of(method, path), urgency, (method, path))
            sent = request(method, path)
            self.assertEqual(urgency_at(b"xx" + sent, 2), urgency, (method, path))
        self.assertEqual(urgency_at(b"\r\n", 0), Urgency.QUERY)


class Overloaded(ApiCase):
    """The reactor lags, so requests wait; each has a turn of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.late_s = 0.0
        self.turns = Turns(self.clock, all_s=0.0005, seconds=self.seconds)
        self.site = site(self.node, self.clock, self.turns)
        self.ask("POST", WEB_PATH)
        self.turns.note_lag(OVERLOAD_LAG_S)

    def seconds(self) -> float:
        """Return the time of a clock on which each piece of work takes a millisecond."""
        self.late_s += 0.001
        return self.clock.seconds() + self.late_s

    def send(self, method: str, path: str, body: object = None) -> Connection:
        connection = self.connect()
        connection.send(request(method, path, body))
        self.assertEqual(connection.received(), b"")
        return connection

    def answered(self, *sent: Connection) -> dict[int, Response]:
        """Return the responses of the next turns, in their order, by the number of the request."""
        came: dict[int, Response] = {}
        for _ in range(2 * len(sent)):
            take_turn(self.clock)
            for number, connection in enumerate(sent):
                came.update((number, response) for response in parsed(connection.received()))
        return came

    def test_the_most_urgent_is_answered_first(self) -> None:
        """A renewal is answered before a registration, and this before a list, in spite of their order of arrival."""
        sent = [
            self.send("GET", "/registrations"),
            self.send("POST", "/registrations", {**WEB, "port": 81}),
            self.send("PUT", WEB_PATH),
        ]
        self.assertEqual([*self.answered(*sent)], [2, 1, 0])

    def test_questions_that_waited_too_long_are_turned_away(self) -> None:
        """A query that waited too long gets 429 with `Retry-After`, on both ways, and is counted."""
        for late_s, status in ((0.9 * WAIT_S_MAX[Urgency.QUERY], 200), (1.1 * WAIT_S_MAX[Urgency.QUERY], 429)):
            sent = [self.send("GET", path) for path in ("/registrations", "/backends")]
            self.late_s += late_s
            responses = [*self.answered(*sent).values()]
            self.assertEqual([each.status for each in responses], [status] * 2)
        for response in responses:
            self.assertIn("overloaded", self.refused("BUSY", response))
            self.assertEqual(response.headers["retry-after"], "1")
        self.assertEqual(self.node.status()["since_start"]["turned_away"], 2)

    def test_changes_and_renewals_never_are(self) -> None:
        """Changes and renewals are answered however long they waited, because clients would only send them again."""
        sent = [self.send(method, path) for method, path in (("PUT", WEB_PATH), ("POST", WEB_PATH), ("GET", "/ready"))]
        self.late_s += 60
        self.assertEqual({each.status for each in self.answered(*sent).values()}, {200})

    def test_no_lease_lapses_while_its_renewal_waits(self) -> None:
        """An instance stays listed while requests wait that arrived before the end of its lease."""
        self.pass_time(10)
        self.clock.advance(0.5)
        self.node.sweep(1.0)
        self.assertEqual([claim.key for claim in self.node.claims()], [WEB_ID])
        self.node.sweep(0.0)
        self.assertEqual(self.node.claims(), [])
