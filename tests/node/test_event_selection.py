"""The entries that a subscription owes: snapshots, missed events, and their order."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.core.admin_state import Override
from bender.core.invalid import Invalid
from bender.node.event_selection import Selection, Subscription
from bender.node.journal import Journal
from tests.api.conversation import NOW_MS
from tests.node.watched import ALL, EDGE, SITE, Watched, named, never, read


class SubscriptionCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.watched = Watched(Clock())
        self.journal = self.watched.journal

    def subscribe(self, **selection: Any) -> Subscription:
        return Subscription(self.watched.node, Selection(**selection))

    def owed(self, **selection: Any) -> list[str]:
        return named(read(self.subscribe(**selection).take(ALL)))


class Selecting(SynchronousTestCase):
    def test_what_can_be_no_name(self) -> None:
        """An app or version that no registration can have is refused, and named."""
        for field in ("app", "version"):
            for name in ("", "a/b", "..", "\n", "x" * 256):
                error = self.assertRaises(Invalid, Selection, **{field: name})
                self.assertEqual(error.field, field)


class FromNowOn(SubscriptionCase):
    def test_nothing_is_owed(self) -> None:
        """Without `snapshot` and `since`, a subscription owes only later events."""
        self.watched.up()
        self.assertEqual(self.owed(), [])

    def test_pass_over(self) -> None:
        """A subscription owes each later event of its selection once, except for those that were passed over."""
        subscription = self.subscribe(app="web")
        self.watched.up(port=1)
        subscription.pass_over(self.watched.journal.last_number)
        subscription.pass_over(0)
        self.watched.up(port=2)
        self.watched.up("api", port=3)
        self.assertEqual(named(read(subscription.take(ALL))), ["online 2"])
        self.assertEqual(subscription.take(ALL), [])


class AfterAll(SubscriptionCase):
    """A snapshot `always`, for a client that comes from another node."""

    def setUp(self) -> None:
        super().setUp()
        self.watched.up(port=1)
        self.cursor = self.journal.cursor
        self.watched.up(port=2)
        self.watched.down(port=1)

    def test_what_was_missed_comes_before_the_snapshot(self) -> None:
        """The events since the cursor come first, then the snapshot, then `synced`."""
        owed = self.owed(since=self.cursor, snapshot="always")
        self.assertEqual(owed, ["online 2", "offline 1", "online 2", "synced"])

    def test_nothing_missed(self) -> None:
        """Without missed events, only the snapshot comes, and it comes once."""
        subscription = self.subscribe(since=self.journal.cursor, snapshot="always")
        self.assertEqual(named(read(subscription.take(ALL))), ["online 2", "synced"])
        self.watched.up(port=3)
        self.assertEqual(named(read(subscription.take(ALL))), ["online 3"])

    def test_in_small_pieces(self) -> None:
        """The snapshot follows the missed events at once; events that happen meanwhile come after it."""
        subscription = self.subscribe(since=self.cursor, snapshot="always")
        taken = []
        for port in range(3, 8):
            taken += named(read(subscription.take(1)))
            self.watched.up(port=port)
        taken += named(read(subscription.take(ALL)))
        snapshot = [*taken[3 : taken.index("synced")]]
        self.assertEqual(taken[:3], ["online 2", "offline 1", "online 3"])
        self.assertEqual(
            taken[taken.index("synced") + 1 :], [f"online {port}" for port in range(4 + len(snapshot) - 3, 8)]
        )

    def test_a_cursor_that_is_not_known(self) -> None:
        """An unknown cursor leads to `reset`, the snapshot and `synced`."""
        self.assertEqual(self.owed(since="x-1", snapshot="always"), ["reset", "online 2", "synced"])

    def test_without_a_cursor(self) -> None:
        """Without a cursor, only the snapshot and `synced` come."""
        self.assertEqual(self.owed(snapshot="always"), ["online 2", "synced"])


class Snapshots(SubscriptionCase):
    def setUp(self) -> None:
        super().setUp()
        self.watched.configure()
        for app, version, port in (("web", "2", 2), ("web", "1", 1), ("api", "1", 3)):
            self.watched.up(app, version, port)

    def test_everything(self) -> None:
        """Registrations by id, then backends and frontends as created, then `synced`."""
        self.assertEqual(
            self.owed(snapshot=True),
            ["online 3", "online 1", "online 2", "created backend/site", "created frontend/edge", "synced"],
        )

    def test_form(self) -> None:
        """Entries of a snapshot are events with `snapshot` instead of a reason, and with the bytes of the object."""
        online, *_, created, framed, synced = self.subscribe(snapshot=True).take(ALL)
        within = f"{self.journal.cursor}~"
        (event_line,) = read([online])
        self.assertEqual([*event_line], ["event", "cursor", "at", "snapshot", "registration"])
        self.assertEqual((event_line["cursor"], event_line["at"], event_line["snapshot"]), (within, NOW_MS, True))
        self.assertIn(b'"snapshot":true,"backend":' + SITE + b"}\n", created.line)
        self.assertIn(b'"snapshot":true,"frontend":' + EDGE + b"}\n", framed.line)
        self.assertEqual(synced.line, b'{"event":"synced","cursor":"%b"}\n' % self.journal.cursor.encode())
        self.assertEqual([online.cursor, synced.cursor], [within, self.journal.cursor])

    def test_filtered(self) -> None:
        """With an app, a version or both, a snapshot has these registrations, and no backends or frontends."""
        self.assertEqual(self.owed(snapshot=True, app="web"), ["online 1", "online 2", "synced"])
        self.assertEqual(self.owed(snapshot=True, version="1"), ["online 3", "online 1", "synced"])
        self.assertEqual(self.owed(snapshot=True, app="web", version="2"), ["online 2", "synced"])
        self.assertEqual(self.owed(snapshot=True, app="nobody"), ["synced"])

    def test_is_of_one_instant(self) -> None:
        """Events that happen while a snapshot is read are not in it, but follow it, in order and once."""
        subscription = self.subscribe(snapshot=True)
        taken = subscription.take(1)
        self.watched.down("web", "1", 1)
        self.watched.up("web", "1", 4)
        while piece := subscription.take(1):
            self.assertEqual(len(piece), 1)
            taken += piece
        self.assertEqual(
            named(read(taken))[-5:],
            ["created backend/site", "created frontend/edge", "synced", "offline 1", "online 4"],
        )
        self.assertEqual(named(read(taken))[:3], ["online 3", "online 1", "online 2"])

    def test_states_are_of_the_same_instant(self) -> None:
        """A state that is set while a snapshot is read is not in it, but follows it."""
        subscription = self.subscribe(snapshot=True, app="web")
        taken = subscription.take(1)
        key = "registration/web/2/10.0.0.1/2"
        self.watched.node.set_state(key, Override("drain", 60.0), "ops")
        while piece := subscription.take(1):
            taken += piece
        event_line = [(each["event"], each["registration"]["state"]) for each in read(taken) if "registration" in each]
        self.assertEqual(event_line, [("online", "up"), ("online", "up"), ("changed", "drain")])

    def test_is_made_when_it_is_taken(self) -> None:
        """A snapshot is made when its first entry is taken, and is owed until then."""
        subscription = self.subscribe(snapshot=True, app="web")
        self.assertTrue(subscription.owes_snapshot)
        self.watched.down("web", "1", 1)
        self.assertEqual(named(read(subscription.take(ALL))), ["online 2", "synced"])
        self.assertFalse(subscription.owes_snapshot)

    def test_there_is_no_going_on_after_half_of_it(self) -> None:
        """A cursor from within a snapshot leads to another complete snapshot."""
        (first,) = self.subscribe(snapshot=True).take(1)
        self.assertEqual(self.owed(since=first.cursor)[:2], ["reset", "online 3"])


class Since(SubscriptionCase):
    def test_exactly_what_came_later(self) -> None:
        """The later events come in order, without those that the filter excludes."""
        self.watched.up(port=1)
        cursor = self.journal.cursor
        self.watched.up(port=2)
        self.watched.configure()
        self.watched.up("api", port=3)
        self.watched.down(port=1)
        self.assertEqual(
            self.owed(since=cursor),
            ["online 2", "created backend/site", "created frontend/edge", "online 3", "offline 1"],
        )
        self.assertEqual(self.owed(since=cursor, app="web"), ["online 2", "offline 1"])
        self.assertEqual(self.owed(since=cursor, version="1"), ["online 2", "online 3", "offline 1"])
        self.assertEqual(self.owed(since=self.journal.cursor), [])

    def test_after_each_event(self) -> None:
        """A subscription after the cursor of an event continues with the next event."""
        for port in (1, 2, 3):
            self.watched.up(port=port)
        subscription = self.subscribe(since=f"{self.journal.cursor[:-1]}0")
        self.assertEqual([self.owed(since=entry.cursor) for entry in subscription.take(ALL)][1:], [["online 3"], []])

    def test_with_a_snapshot(self) -> None:
        """With a known cursor no snapshot comes, but `synced` comes after the missed events."""
        self.watched.up(port=1)
        cursor = self.journal.cursor
        self.watched.up(port=2)
        subscription = self.subscribe(since=cursor, snapshot=True)
        self.assertFalse(subscription.owes_snapshot)
        self.assertEqual(named(read(subscription.take(ALL))), ["online 2", "synced"])
        self.assertEqual(subscription.take(ALL), [])

    def test_unknown(self) -> None:
        """A cursor that this node does not know leads to `reset`, the snapshot, `synced`, and later events."""
        self.watched.configure()
        self.watched.up(port=1)
        subscription = self.subscribe(since="another-5")
        first, *others = subscription.take(ALL)
        within = f"{self.journal.cursor}~"
        self.assertEqual(first.line, b'{"event":"reset","cursor":"%b"}\n' % within.encode())
        self.assertEqual(named(read(others)), ["online 1", "created backend/site", "created frontend/edge", "synced"])
        self.watched.down(port=1)
        self.assertEqual(named(read(subscription.take(ALL))), ["offline 1"])

    def test_unknown_with_a_filter_and_a_snapshot(self) -> None:
        """An unknown cursor with a filter leads to one snapshot, of the filtered registrations."""
        self.watched.configure()
        self.watched.up(port=1)
        self.watched.up("api", port=2)
        self.assertEqual(self.owed(since="another-5", app="web", snapshot=True), ["reset", "online 1", "synced"])


class ReadingSlowly(SubscriptionCase):
    def setUp(self) -> None:
        super().setUp()
        self.journal = self.watched.node.journal = Journal("few", lambda: NOW_MS, never, events_max=3)

    def test_slower_than_the_journal_forgets(self) -> None:
        """If the journal drops owed events, the subscription owes `reset` and another snapshot."""
        subscription = self.subscribe(app="web")
        for port in (1, 2, 3, 4):
            self.watched.up(port=port)
        self.assertFalse(subscription.owes_snapshot)
        self.assertEqual(subscription.take(ALL), [])
        self.assertTrue(subscription.owes_snapshot)
        self.assertEqual(named(read(subscription.take(ALL)))[:2], ["reset", "online 1"])

    def test_at_the_edge(self) -> None:
        """As long as the journal has all owed events, none is lost."""
        subscription = self.subscribe()
        for port in (1, 2, 3):
            self.watched.up(port=port)
        self.assertEqual(named(read(subscription.take(ALL))), ["online 1", "online 2", "online 3"])


class Owing(SubscriptionCase):
    def test_what_is_left_of_a_snapshot_and_what_follows(self) -> None:
        """The owed bytes decrease as entries are taken, and increase with events of the selection."""
        for port in range(1, 11):
            self.watched.up(port=port)
        body = len(self.watched.node.registration("registration/web/1/10.0.0.1/1") or b"")
        subscription = self.subscribe(snapshot=True, app="web")
        self.assertEqual(subscription.owed_bytes(ALL), 0)
        subscription.take(1)
        self.assertApproximates(subscription.owed_bytes(ALL), 9 * body, 20)
        self.assertLess(subscription.owed_bytes(2 * body), 4 * body)
        self.watched.up("api")
        self.assertApproximates(subscription.owed_bytes(ALL), 9 * body, 20)
        self.watched.up(port=11)
        following = self.journal.entry(self.journal.last_number)
        assert following is not None
        self.assertApproximates(subscription.owed_bytes(ALL), 9 * body + len(following.line), 20)
        subscription.take(ALL)
        self.assertEqual(subscription.owed_bytes(ALL), 0)
