"""Those who act on events: who they are, what they have confirmed, and who waits for that."""

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
    """Lets the events of web through, and counts those that were looked at."""

    app: str | None = "web"
    version: str | None = None
    looks: int = 0

    def admits(self, entry: Entry) -> bool:
        self.looks += 1
        return entry.app == self.app


class Parsing(SynchronousTestCase):
    """What a consumer sends."""

    def test_with_a_report(self) -> None:
        """The cursor, and what it sees; what is not known is passed over."""
        document = (
            b'{"cursor": "k-1", "report": {"down": ["registration/web/1/h/1"], "haproxy": "2.6",'
            b' "backends": {"site": {"1": {"requests": 10, "errors": 2}}}}}'
        )
        self.assertEqual(parse_confirmation(document), Confirmation("k-1", REPORT))

    def test_what_is_none(self) -> None:
        """It is refused, and the field is named."""
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
    """How far each has got."""

    def test_what_is_shown(self) -> None:
        """Where it stands, how much came since, and what it reported last."""
        self.watched.up()
        self.confirm(report=REPORT)
        self.watched.down()
        event_line = self.consumers.states()[0]
        cursor = self.journal.cursor_at(1)
        self.assertEqual(event_line, ConsumerState("edge", "n1", True, True, cursor, 1, NOW_MS, REPORT, "unix"))
        self.assertEqual(self.confirm().report, REPORT)

    def test_cursors_that_are_none(self) -> None:
        """Nobody can have confirmed what this node did not tell, or told so long ago; nothing is kept of him."""
        self.watched.up()
        for cursor in ("", "other-1", self.journal.cursor_at(2), self.journal.cursor + "~"):
            with self.assertRaises(Invalid) as caught:
                self.consumers.confirm("edge", Confirmation(cursor))
            self.assertEqual(caught.exception.field, "cursor")
        self.assertEqual(self.shown(), [])

    def test_never_backwards(self) -> None:
        """What was confirmed stays so."""
        self.watched.up()
        early = self.journal.cursor
        self.watched.down()
        self.confirm()
        self.assertEqual(self.consumers.confirm("edge", Confirmation(early)).behind, 0)

    def test_who_applied(self) -> None:
        """Who has confirmed all that happened; of a key that it is not told of it need not."""
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
        """What they report is left out: each deregistration asks, and a report may be long."""
        self.confirm(report=REPORT)
        self.assertIsNone(self.consumers.states(KEY, self.journal.last_number)[0].report)

    def test_one_that_is_far_behind(self) -> None:
        """That it lacks the last event is found out by a look at that."""
        looking = Looking()
        self.consumers.connect("web", looking)
        self.confirm("web")
        for port in range(1, 1000):
            self.watched.up("api", port=port)
        self.watched.up()
        self.assertEqual((self.applied(), looking.looks), ({"web": False}, 1))


class Connecting(ConsumersCase):
    """Who is there."""

    def test_by_streams(self) -> None:
        """As long as it has one; then it is remembered for a while, as one that is missing."""
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
        """One that has a stream again, and had none, has confirmed nothing yet."""
        self.consumers.connect("edge", Selection()).end()
        self.confirm("edge", REPORT)
        self.consumers.connect("edge", Selection())
        event_line = self.consumers.states(KEY, self.journal.last_number)[0]
        self.assertEqual((event_line.cursor, event_line.report, event_line.applied), (None, None, False))

    def test_without_streams(self) -> None:
        """Who only confirms is there for a while after that."""
        self.confirm()
        self.clock.advance(PRESENT_S - 1)
        self.assertEqual(self.shown(), [("edge", True, 0)])
        self.clock.advance(1)
        self.assertEqual(self.shown(), [("edge", False, 0)])

    def test_a_stream_with_a_name(self) -> None:
        """It makes a consumer of its client, until it ends, or follows another subscription."""
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
        """The next is refused, or evicts one that ended where it needs room."""
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
        """Nobody waits for it any longer."""
        self.patch(consumer_limits, "CONSUMERS_MAX", 1)
        self.confirm()
        self.watched.up()
        waiting = Deferred.fromCoroutine(self.consumers.until_applied(KEY, self.journal.last_number, 5))
        self.assertNoResult(waiting)
        self.consumers.connect("other", Selection(app="api"))
        self.assertEqual([each.name for each in self.successResultOf(waiting)], ["other"])

    def test_a_confirmation_after_its_consumer_was_forgotten(self) -> None:
        """A line may come long after a client said that it wants no more events."""
        stream = self.consumers.connect("edge", Selection())
        stream.end()
        self.clock.advance(REMEMBERED_S + 1)
        self.assertEqual(self.shown(), [])
        stream.confirm(Confirmation(self.journal.cursor))
        self.assertEqual(self.shown(), [("edge", True, 0)])


class Waiting(ConsumersCase):
    """For all that are connected."""

    def wait(self, within_s: float = 5) -> Deferred[tuple[ConsumerState, ...]]:
        return Deferred.fromCoroutine(self.consumers.until_applied(KEY, self.journal.last_number, within_s))

    def test_nobody(self) -> None:
        """Then there is nothing to wait for."""
        self.assertEqual(self.successResultOf(self.wait()), ())

    def test_until_all_have_confirmed(self) -> None:
        """Not before the last."""
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
        """Then it is said who has not."""
        self.confirm("a")
        self.watched.up()
        waiting = self.wait(5)
        self.clock.advance(5)
        self.assertEqual([each.applied for each in self.successResultOf(waiting)], [False])
        self.assertEqual([each.applied for each in self.successResultOf(self.wait(0))], [False])

    def test_one_that_goes(self) -> None:
        """It is not waited for any longer."""
        stream = self.consumers.connect("a", Selection())
        self.watched.up()
        waiting = self.wait()
        stream.end()
        self.assertEqual([each.connected for each in self.successResultOf(waiting)], [False])

    def test_the_node_stops(self) -> None:
        """Nobody waits any longer."""
        self.confirm("a")
        self.watched.up()
        waiting = self.wait()
        self.watched.node.leave()
        self.successResultOf(waiting)

    def test_who_waits_goes(self) -> None:
        """Nothing is left of it."""
        self.confirm("a")
        self.watched.up()
        waiting = self.wait()
        waiting.addErrback(lambda _: None)
        waiting.cancel()
        self.assertEqual((self.consumers._waiting, self.clock.getDelayedCalls()), ([], []))
