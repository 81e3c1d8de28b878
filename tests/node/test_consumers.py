"""Consumers of events: their names, their confirmations, and requests that wait for confirmations."""

from __future__ import annotations

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.core.consumers import Confirmation, ConsumerState, Counted, Report, parse_confirmation
from bender.core.invalid import Invalid
from bender.core.replica import Full
from bender.node import consumer_limits
from bender.node.consumers import PRESENT_S, REMEMBERED_S
from bender.node.event_selection import Selection
from bender.node.journal import Entry
from tests.api.conversation import NOW_MS
from tests.node.watched import Watched, Window

KEY = "registration/web/1/10.0.0.1/80"
REPORT = Report(("registration/web/1/h/1",), {"site": {"1": Counted(10, 2)}})


class ConsumersCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.watched = Watched(self.clock)
        self.journal = self.watched.journal
        self.consumers = self.watched.node.consumers

    def confirm(self, name: str = "edge", report: Report | None = None) -> ConsumerState:
        return self.consumers.confirm(name, Confirmation(self.journal.cursor, report))

    def shown(self) -> list[tuple[str, bool, int]]:
        return [(each.name, each.connected, each.behind) for each in self.consumers.states()]

    def applied(self, key: str = KEY) -> dict[str, bool]:
        return {each.name: each.applied for each in self.consumers.states(key, self.journal.last_number)}


@define
class Looking:
    """A selection that admits the events of web, and counts the checked events."""

    app: str | None = "web"
    version: str | None = None
    looks: int = 0

    def admits(self, entry: Entry) -> bool:
        self.looks += 1
        return entry.app == self.app


class Parsing(SynchronousTestCase):
    """The body of a confirmation."""

    def test_with_a_report(self) -> None:
        """A confirmation has a cursor and a report; unknown fields are ignored."""
        document = (
            b'{"cursor": "k-1", "report": {"down": ["registration/web/1/h/1"], "haproxy": "2.6",'
            b' "backends": {"site": {"1": {"requests": 10, "errors": 2}}}}}'
        )
        self.assertEqual(parse_confirmation(document), Confirmation("k-1", REPORT))

    def test_what_is_none(self) -> None:
        """The error names the invalid field."""
        for field, document in (
            ("cursor", b"{}"),
            ("cursor", b'{"cursor": 1}'),
            ("report", b'{"cursor": "a", "report": {"down": "x"}}'),
            ("report", b'{"cursor": "a", "report": {"backends": {"b": {"1": {"requests": -1, "errors": 0}}}}}'),
            ("report", b'{"cursor": "a", "report": {"backends": {"b": {"1": {"requests": 1}}}}}'),
        ):
            with self.assertRaises(Invalid, msg=document) as caught:
                parse_confirmation(document)
            self.assertIn(caught.exception.field, (field, "errors"))


class Confirming(ConsumersCase):
    """The position of each consumer."""

    def test_what_is_shown(self) -> None:
        """The state has the position, the number of later events, and the last report."""
        self.watched.up()
        self.confirm(report=REPORT)
        self.watched.down()
        event_line = self.consumers.states()[0]
        cursor = self.journal.cursor_at(1)
        self.assertEqual(event_line, ConsumerState("edge", "n1", True, True, cursor, 1, NOW_MS, REPORT, "unix"))
        self.assertEqual(self.confirm().report, REPORT)

    def test_cursors_that_are_none(self) -> None:
        """A cursor that this node did not send, or no longer knows, is refused, and creates no consumer."""
        self.watched.up()
        for cursor in ("", "other-1", self.journal.cursor_at(2), self.journal.cursor + "~"):
            with self.assertRaises(Invalid) as caught:
                self.consumers.confirm("edge", Confirmation(cursor))
            self.assertEqual(caught.exception.field, "cursor")
        self.assertEqual(self.shown(), [])

    def test_never_backwards(self) -> None:
        """An older cursor does not undo a confirmation."""
        self.watched.up()
        early = self.journal.cursor
        self.watched.down()
        self.confirm()
        self.assertEqual(self.consumers.confirm("edge", Confirmation(early)).behind, 0)

    def test_who_applied(self) -> None:
        """A consumer has applied a key if it confirmed all events of it, or if its selection excludes the key."""
        self.confirm("early")
        self.consumers.connect("api", Selection(app="api"))
        self.consumers.connect("web", Selection(app="web", version="1"))
        self.consumers.connect("new", Selection())
        self.watched.up()
        self.confirm("late")
        self.assertEqual(self.applied(), {"early": False, "api": True, "web": False, "new": False, "late": True})
        self.watched.up("api")
        self.confirm("new")
        self.consumers.confirm("web", Confirmation(self.journal.cursor_at(1)))
        self.assertEqual(self.applied()["web"], True)
        self.assertEqual(self.applied()["late"], False)

    def test_who_is_asked_about_a_key(self) -> None:
        """States for one key have no reports, because each deregistration asks for them and reports may be long."""
        self.confirm(report=REPORT)
        self.assertIsNone(self.consumers.states(KEY, self.journal.last_number)[0].report)

    def test_one_that_is_far_behind(self) -> None:
        """One look at the last event shows that a consumer lacks it."""
        looking = Looking()
        self.consumers.connect("web", looking)
        self.confirm("web")
        for port in range(1, 1000):
            self.watched.up("api", port=port)
        self.watched.up()
        self.assertEqual((self.applied(), looking.looks), ({"web": False}, 1))


class Connecting(ConsumersCase):
    """Connected consumers."""

    def test_by_streams(self) -> None:
        """A consumer is connected as long as it has a stream, and is remembered as missing for a while after that."""
        first = self.consumers.connect("edge", Selection(), instance="a")
        second = self.consumers.connect("edge", Selection(), instance="a")
        self.consumers.confirm("edge", Confirmation(self.journal.cursor, instance="a"))
        first.end()
        self.assertEqual(self.shown(), [("edge", True, 0)])
        second.end()
        self.assertEqual(self.shown(), [("edge", False, 0)])
        self.clock.advance(REMEMBERED_S + 1)
        self.assertEqual(self.shown(), [])

    def test_started_anew(self) -> None:
        """A consumer that connects again after all its streams ended has confirmed nothing yet."""
        self.consumers.connect("edge", Selection()).end()
        self.confirm("edge", REPORT)
        self.consumers.connect("edge", Selection())
        event_line = self.consumers.states(KEY, self.journal.last_number)[0]
        self.assertEqual((event_line.cursor, event_line.report, event_line.applied), (None, None, False))

    def test_without_streams(self) -> None:
        """A consumer without a stream is connected for a while after each confirmation."""
        self.confirm()
        self.clock.advance(PRESENT_S - 1)
        self.assertEqual(self.shown(), [("edge", True, 0)])
        self.clock.advance(1)
        self.assertEqual(self.shown(), [("edge", False, 0)])

    def test_a_stream_with_a_name(self) -> None:
        """A stream with a name makes a consumer of its client until it ends or gets another subscription."""
        window = Window(self.watched.node, self.clock)
        window.follow(self.watched.node, name="edge")
        self.assertEqual(self.shown(), [("edge", True, 0)])
        window.follow(self.watched.node, name="rim")
        self.assertEqual(self.shown(), [("edge", False, 0), ("rim", True, 0)])
        window.stream.unsubscribe()
        self.assertEqual(self.shown(), [("edge", False, 0), ("rim", False, 0)])
        window.follow(self.watched.node, name="rim")
        window.stream.close()
        self.assertEqual(self.shown()[1], ("rim", False, 0))

    def test_too_many(self) -> None:
        """At the limit, another consumer is refused, or replaces one that ended."""
        self.patch(consumer_limits, "CONSUMERS_MAX", 1)
        self.confirm()
        self.assertRaises(Full, self.confirm, "other")
        self.clock.advance(PRESENT_S)
        self.confirm("other")
        self.assertEqual(self.shown(), [("other", True, 0)])
        window = Window(self.watched.node, self.clock)
        window.follow(self.watched.node, name="edge")
        self.assertEqual(self.shown(), [("edge", True, 0)])
        self.assertRaises(Full, Window(self.watched.node, self.clock).follow, self.watched.node, name="other")

    def test_who_waits_for_one_that_is_evicted(self) -> None:
        """A request no longer waits for a consumer that was dropped."""
        self.patch(consumer_limits, "CONSUMERS_MAX", 1)
        self.confirm()
        self.watched.up()
        waiting = Deferred.fromCoroutine(self.consumers.until_applied(KEY, self.journal.last_number, 5))
        self.assertNoResult(waiting)
        self.consumers.connect("other", Selection(app="api"))
        self.assertEqual([each.name for each in self.successResultOf(waiting)], ["other"])

    def test_a_confirmation_after_its_consumer_was_forgotten(self) -> None:
        """A stream that ended long ago can still confirm, because the line may have been under way."""
        stream = self.consumers.connect("edge", Selection())
        stream.end()
        self.clock.advance(REMEMBERED_S + 1)
        self.assertEqual(self.shown(), [])
        stream.confirm(Confirmation(self.journal.cursor))
        self.assertEqual(self.shown(), [("edge", True, 0)])


class Waiting(ConsumersCase):
    """Requests wait for all connected consumers."""

    def wait(self, within_s: float = 5) -> Deferred[tuple[ConsumerState, ...]]:
        return Deferred.fromCoroutine(self.consumers.until_applied(KEY, self.journal.last_number, within_s))

    def test_nobody(self) -> None:
        """Without consumers, a request does not wait."""
        self.assertEqual(self.successResultOf(self.wait()), ())

    def test_until_all_have_confirmed(self) -> None:
        """A request waits until the last consumer has confirmed."""
        self.confirm("a")
        self.confirm("b")
        self.watched.up()
        waiting = self.wait()
        self.confirm("a")
        self.assertNoResult(waiting)
        self.confirm("b")
        self.assertEqual([each.applied for each in self.successResultOf(waiting)], [True, True])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_within_a_time(self) -> None:
        """When the time is over, the consumers that have not confirmed are returned as not applied."""
        self.confirm("a")
        self.watched.up()
        waiting = self.wait(5)
        self.clock.advance(5)
        self.assertEqual([each.applied for each in self.successResultOf(waiting)], [False])
        self.assertEqual([each.applied for each in self.successResultOf(self.wait(0))], [False])

    def test_one_that_goes(self) -> None:
        """A request no longer waits for a consumer that disconnected."""
        stream = self.consumers.connect("a", Selection())
        self.watched.up()
        waiting = self.wait()
        stream.end()
        self.assertEqual([each.connected for each in self.successResultOf(waiting)], [False])

    def test_the_node_stops(self) -> None:
        """Waiting requests end when the node leaves."""
        self.confirm("a")
        self.watched.up()
        waiting = self.wait()
        self.watched.node.leave()
        self.successResultOf(waiting)

    def test_who_waits_goes(self) -> None:
        """A cancelled wait leaves neither an entry nor a timer."""
        self.confirm("a")
        self.watched.up()
        waiting = self.wait()
        waiting.addErrback(lambda _: None)
        waiting.cancel()
        self.assertEqual((self.consumers._waiting, self.clock.getDelayedCalls()), ([], []))
