"""`GET /events?last=N`: the events before the request."""

from __future__ import annotations

import msgspec

from bender.core.view import ViewEvent
from bender.node.event_selection import Selection, Subscription
from tests.api.test_events import STREAM, WatchCase, streamed
from tests.node.watched import named


class Past(WatchCase):
    def test_the_last(self) -> None:
        """The last events of the journal come at once, oldest first, with the present cursor."""
        self.watched.up(port=1)
        self.watched.configure()
        self.watched.up("api", port=2)
        self.watched.down(port=1)
        answer = self.poll("?last=3&wait=30")
        self.assertEqual(named(answer["events"]), ["created frontend/edge", "online 2", "offline 1"])
        self.assertEqual(answer["cursor"], self.cursor)
        self.assertEqual(len(self.poll("?last=10000")["events"]), 5)
        self.assertEqual(self.poll("?last=0&wait=30"), {"events": [], "cursor": self.cursor})

    def test_the_last_of_an_app(self) -> None:
        """With an app or a version, the last matching events come."""
        for port in (1, 2, 3):
            self.watched.up("web", port=port)
            self.watched.up("api", "2", port=port)
        self.watched.configure()
        self.assertEqual(named(self.poll("?last=2&app=web")["events"]), ["online 2", "online 3"])
        self.assertEqual(named(self.poll("?last=2&version=2")["events"]), ["online 2", "online 3"])
        self.assertEqual(self.poll("?last=2&app=web&version=2"), {"events": [], "cursor": self.cursor})

    def test_the_last_is_a_number_of_a_poll(self) -> None:
        """`last` is a number up to 10,000, and is possible only in a poll without `since` and `snapshot`."""
        for last in ("", "-1", "1.5", "+1", "10001", "9" * 5000, "%D9%A1", "all", "1&last=1"):
            self.invalid("last", self.ask("GET", f"/events?last={last}"))
        for other in (f"since={self.cursor}", "since=", "snapshot", "snapshot=false"):
            self.invalid("last", self.ask("GET", f"/events?last=1&{other}"))
        self.invalid("last", self.ask("GET", "/events?last=1", **STREAM))

    def test_the_last_of_a_journal_that_goes_on(self) -> None:
        """Events that the journal drops before the answer begins are missing from it, and cause no snapshot."""
        self.node.journal._events_max = 20
        for port in range(1, 31):
            self.watched.up(port=port)
        connection = self.asked("/events?last=10000")
        answer = self.answered(connection)
        self.assertEqual([*range(11, 31)], [event["registration"]["port"] for event in answer["events"]])
        subscription = Subscription(self.node, Selection(last=10_000))
        self.watched.up(port=31)
        taken = subscription.take(1_000_000)
        self.assertEqual(
            [f"online {port}" for port in range(12, 32)], named(msgspec.json.decode(each.line) for each in taken)
        )
        self.assertEqual(subscription.cursor, self.cursor)

    def test_ten_thousand(self) -> None:
        """Ten thousand events are sent in many pieces."""
        events = [
            ViewEvent("online", f"registration/web/1/10.0.0.1/{n}", b'{"a":1}', "registered") for n in range(10_000)
        ]
        self.node.journal.append(events)
        _, found = streamed(self.asked("/events?last=10000").received())
        self.assertEqual(len(msgspec.json.decode(b"".join(found))["events"]), 10_000)
        self.assertLess(max(map(len, found)), 100_000)
