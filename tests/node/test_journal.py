"""The journal of a node: the events that it writes and keeps, and the listeners that it notifies."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from bender.core.model import ENTRY_BYTES_MAX
from bender.core.replica import Full
from bender.core.view import ViewEvent
from bender.node.journal import NOTIFIED_AT_ONCE, Entry, Journal

AT_MS = 1_795_447_942_248


def online(n: int = 1, app: str = "web", version: str = "1", body: bytes = b"{}") -> ViewEvent:
    return ViewEvent("online", f"registration/{app}/{version}/10.0.0.1/{n}", body, "registered")


class Ear:
    """A listener that reads the new events, of `app` if given, keeps their cursors, and calls `then` each time."""

    def __init__(self, journal: Journal, app: str | None = None, client: str = "10.0.0.1") -> None:
        self.client = client
        self.displaced_because = ""
        self.cursors: list[str] = []
        self.ended = 0
        self.then: Callable[[], None] = lambda: None
        self.app = app
        self._journal = journal
        self._position = journal.last_number

    def on_events(self, since: int) -> None:
        for number in range(max(self._position, since) + 1, self._journal.last_number + 1):
            entry = self._journal.entry(number)
            assert entry is not None
            if self.app in (None, entry.app):
                self.cursors.append(entry.cursor)
        self._position = self._journal.last_number
        self.then()

    def end(self) -> None:
        self.ended += 1

    def displace(self, reason: str) -> None:
        self.displaced_because = reason


class JournalCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.later: list[Callable[[], None]] = []
        self.journal = Journal("k3f9", lambda: AT_MS, self.later.append, events_max=3)

    def append(self, *events: ViewEvent) -> list[Entry]:
        """Append events, and return the entries that are still kept."""
        self.journal.append(events)
        first = self.journal.last_number + 1 - len(events)
        entries = [self.journal.entry(number) for number in range(first, self.journal.last_number + 1)]
        return [entry for entry in entries if entry is not None]


class Writing(JournalCase):
    def test_an_event_has_its_fields_in_order(self) -> None:
        """The event of a registration has its kind, cursor, time, reason and registration."""
        (entry,) = self.append(online(body=b'{"weight":1}'))
        self.assertEqual(
            entry.line,
            b'{"event":"online","cursor":"k3f9-1","at":1795447942248,"reason":"registered",'
            b'"registration":{"id":"registration/web/1/10.0.0.1/1","resource":"Registration","app":"web","version":"1",'
            b'"host":"10.0.0.1","port":1,"weight":1,"state":"up"}}\n',
        )
        self.assertEqual((entry.cursor, entry.app, entry.version), ("k3f9-1", "web", "1"))
        self.assertEqual(entry.size, len(entry.line))

    def test_of_a_backend_or_frontend(self) -> None:
        """The object takes the place of the registration, and the entry has no app to filter by."""
        entries = self.append(
            ViewEvent("created", "backend/site", b'{"app":"web"}', "configured"),
            ViewEvent("removed", "frontend/edge", b"{}", "configured"),
        )
        event_line = [msgspec.json.decode(entry.line) for entry in entries]
        self.assertEqual([[*each][-1] for each in event_line], ["backend", "frontend"])
        self.assertEqual([each["event"] for each in event_line], ["created", "removed"])
        self.assertEqual([(entry.app, entry.version) for entry in entries], [(None, None)] * 2)
        self.assertEqual([entry.size for entry in entries], [len(entry.line) for entry in entries])

    def test_a_body_is_spliced_in_as_it_is(self) -> None:
        """An event has exactly the bytes of the object, whatever the order and form of its fields."""
        body = '{ "z": 1.0, "a": "ü\\u00fc/\\/" }'.encode()
        created, online_ = self.append(
            ViewEvent("created", "backend/site", body, "configured"), online(app="ü", body=body)
        )
        self.assertIn(b'"backend":' + body + b"}\n", created.line)
        self.assertTrue(online_.line.endswith(b'"port":1,' + body[1:-1] + b',"state":"up"}}\n'))
        self.assertEqual(online_.size, len(online_.line))

    def test_the_longest_event_is_a_line_for_everybody(self) -> None:
        """The longest possible event is below 16,384 bytes, which many line readers have as their limit."""
        name = "\U0001f600" * 255
        (entry,) = self.append(online(app=name, version=name, body=b"{" + b" " * (ENTRY_BYTES_MAX - 2) + b"}"))
        self.assertLess(len(entry.line), 16_384)


class Cursors(JournalCase):
    def test_now(self) -> None:
        """An empty journal has a cursor, which stays known."""
        start = self.journal.cursor
        self.append(online(1), online(2))
        self.assertEqual(self.journal.position(start), 0)
        self.assertEqual(self.journal.position(self.journal.cursor), 2)
        self.assertIsNone(self.journal.entry(3))

    def test_unknown(self) -> None:
        """Cursors of another node, future cursors and invalid cursors are unknown."""
        self.append(online(1), online(2))
        strange = ("", "k3f9", "1", "-1", "k3f9-", "k3f9-3", "k3f9-01", "k3f9-+1", "k3f9-1~", "k3f9--1", "k3f9-1 ")
        for cursor in (*strange, "x-1", "K3F9-1", "k3f9-²", "k3f9-\u0661", "k3f9-" + "9" * 5000, "\ud800", "k3f9-1\0"):
            self.assertIsNone(self.journal.position(cursor), cursor)

    def test_no_longer_held(self) -> None:
        """If three of four events are kept, a watcher can continue after the first event, but not before it."""
        start = self.journal.cursor
        self.append(*map(online, range(1, 5)))
        self.assertIsNone(self.journal.position(start))
        self.assertIsNone(self.journal.entry(1))
        self.assertEqual(self.journal.position("k3f9-1"), 1)
        self.assertIsNotNone(self.journal.entry(2))

    def test_before_the_last(self) -> None:
        """The position goes back as far as events are kept, and counts only those of an app or a version, if given."""
        self.journal.append([online(1, "api"), online(2, "web", "2"), online(3, "api"), online(4, "web", "1")])
        self.assertEqual(self.journal.oldest_position, 1)
        self.assertEqual([self.journal.position_before_last(count) for count in (0, 1, 3, 4, 10_000)], [4, 3, 1, 1, 1])
        for _ in ("as they happened", "encoded"):
            before_last = self.journal.position_before_last
            self.assertEqual([before_last(count, "web") for count in (0, 1, 2, 3)], [4, 3, 1, 1])
            self.assertEqual(before_last(2, "api"), 2)
            self.assertEqual(
                (before_last(5, None, "2"), before_last(5, "web", "1"), before_last(5, "api", "2")), (1, 3, 4)
            )
            self.assertEqual(before_last(5, "we"), 4)
            for number in (2, 3, 4):
                self.journal.entry(number)

    def test_before_the_last_of_a_backend(self) -> None:
        """A backend's event belongs to no app and no version."""
        self.journal.append([ViewEvent("created", "backend/web", b"{}", "configured")])
        self.assertEqual([self.journal.position_before_last(1, *of) for of in ((), ("web",), (None, "1"))], [0, 1, 1])

    def test_bytes_are_limited_too(self) -> None:
        """A limit of 2,500 bytes keeps two events of a kilobyte, whether they were read or not."""
        for look in (False, True):
            self.journal = Journal("k3f9", lambda: AT_MS, self.later.append, bytes_max=2_500)
            for _ in range(5):
                self.journal.append([online(body=b"{" + b" " * 800 + b"}")])
                if look:
                    self.assertIsNotNone(self.journal.entry(self.journal.last_number))
            held = [self.journal.entry(number) is not None for number in range(1, 6)]
            self.assertEqual(held, [False, False, False, True, True])

    def test_more_events_at_once_than_are_kept(self) -> None:
        """If more events are appended than are kept, the last ones are kept, and listeners get all of them."""
        ear = Ear(self.journal)
        self.journal.listen(ear)
        self.journal.append(map(online, range(1, 11)))
        self.assertEqual(self.journal.position("k3f9-7"), 7)
        self.assertEqual(len(ear.cursors), 10)


class Observing(JournalCase):
    def test_each_event(self) -> None:
        """An observer gets each event once, before the listeners, also if there are more events than are kept."""
        seen: list[str] = []
        self.journal.observe(lambda event: seen.append(event.key.rpartition("/")[2]))
        ear = Ear(self.journal)
        ear.then = lambda: seen.append("told")
        self.journal.listen(ear)
        self.journal.append([online(n) for n in range(1, 3)])
        self.assertEqual(seen, ["1", "told", "2", "told"])
        del seen[:]
        self.journal.append(map(online, range(3, 10)))
        self.assertEqual([each for each in seen if each != "told"], ["3", "4", "5", "6", "7", "8", "9"])


class Listening(JournalCase):
    def test_one_that_fails(self) -> None:
        """A listener that raises is not notified again; the others are notified of all events."""

        def fail() -> None:
            raise RuntimeError("a defect")

        ears = [Ear(self.journal) for _ in range(3)]
        for ear in ears:
            self.journal.listen(ear)
        ears[1].then = fail
        self.journal.append([online(1)])
        self.journal.append([online(2)])
        self.assertEqual([ear.cursors for ear in ears], [["k3f9-1", "k3f9-2"], ["k3f9-1"], ["k3f9-1", "k3f9-2"]])
        self.assertEqual([ear.ended for ear in ears], [0, 1, 0])
        self.assertEqual((self.journal.listeners, len(self.flushLoggedErrors(RuntimeError))), (2, 1))

    def test_in_order(self) -> None:
        """A listener is notified of all events after its beginning, in order."""
        self.append(online(1))
        ear = Ear(self.journal)
        self.journal.listen(ear)
        self.append(online(2), ViewEvent("created", "backend/site", b"{}", "configured"))
        self.assertEqual(ear.cursors, ["k3f9-2", "k3f9-3"])

    def test_to_one_app(self) -> None:
        """A listener to an app is notified only of that app's registrations, in all versions."""
        ear = Ear(self.journal, "web")
        self.journal.listen(ear, "web")
        self.append(online(1, "web", "1"), online(2, "api"), ViewEvent("created", "backend/site", b"{}", "configured"))
        self.append(online(3, "web", "2"))
        self.assertEqual(ear.cursors, ["k3f9-1", "k3f9-4"])

    def test_to_something_else(self) -> None:
        """Listening again replaces the app of the listener."""
        ear = Ear(self.journal)
        self.journal.listen(ear, "web")
        self.journal.listen(ear, "api")
        ear.app = "api"
        self.append(online(1, "web"), online(2, "api"))
        self.journal.listen(ear)
        ear.app = None
        self.append(online(3, "web"))
        self.assertEqual(ear.cursors, ["k3f9-2", "k3f9-3"])

    def test_no_more(self) -> None:
        """A listener that was removed is not notified, and may be removed again."""
        ear = Ear(self.journal)
        for app in (None, "web"):
            self.journal.listen(ear, app)
            self.journal.unlisten(ear)
            self.journal.unlisten(ear)
        self.append(online(1))
        self.assertEqual(ear.cursors, [])

    def test_leaving_while_told(self) -> None:
        """A listener that is removed during its notification does not affect the others."""
        leaving = [Ear(self.journal), Ear(self.journal), Ear(self.journal)]
        for ear in leaving:
            ear.then = partial(self.journal.unlisten, ear)
            self.journal.listen(ear)
        self.append(online(1), online(2))
        self.append(online(3))
        self.assertEqual([ear.cursors for ear in leaving], [["k3f9-1"]] * 3)

    def test_too_many(self) -> None:
        """At the limit, no other listener is accepted, but present ones may change their app."""
        self.journal = Journal("k3f9", lambda: AT_MS, self.later.append, listeners_max=1)
        ear = Ear(self.journal)
        self.journal.listen(ear)
        self.assertRaises(Full, self.journal.listen, Ear(self.journal))
        self.journal.listen(ear, "web")
        self.journal.unlisten(ear)
        self.journal.listen(Ear(self.journal))

    def test_a_client_with_many(self) -> None:
        """At the limit, its newest listener is displaced for a client with fewer, which is notified of all events."""
        self.journal = Journal("k3f9", lambda: AT_MS, self.later.append, listeners_max=3)
        greedy = [Ear(self.journal) for _ in range(3)]
        for ear in greedy:
            self.journal.listen(ear)
        modest = Ear(self.journal, client="10.0.0.2")
        self.journal.listen(modest, "web")
        self.assertEqual([bool(ear.displaced_because) for ear in greedy], [False, False, True])
        self.assertEqual(
            greedy[2].displaced_because,
            "this node has 3 subscribers, the maximum (--max-subscribers), most of them from 10.0.0.1: this "
            "subscription is ended to make room for another client",
        )
        self.journal.unlisten(greedy[2])
        self.append(online(1))
        self.assertEqual([bool(ear.cursors) for ear in (*greedy, modest)], [True, True, False, True])
        with self.assertRaises(Full) as refused:
            self.journal.listen(Ear(self.journal))
        self.assertEqual(
            str(refused.exception),
            "this node has 3 subscribers, the maximum (--max-subscribers): end some, or use another node",
        )

    def test_fewer_places_than_listeners(self) -> None:
        """Present listeners may still change their app."""
        ear = Ear(self.journal)
        self.journal.listen(ear)
        self.journal.places.maximum = 0
        self.journal.listen(ear, "web")
        self.append(online(1))
        self.assertEqual(len(ear.cursors), 1)

    def test_very_many(self) -> None:
        """Listeners are notified in slices, with other work in between, and each gets every event once and in time."""
        ears = [Ear(self.journal) for _ in range(2 * NOTIFIED_AT_ONCE + 1)]
        for ear in ears:
            self.journal.listen(ear)
        self.append(online(1))
        self.assertEqual(sum(map(bool, (ear.cursors for ear in ears))), NOTIFIED_AT_ONCE)
        self.assertEqual((self.journal.last_delivered, len(self.later)), (0, 1))
        self.append(online(2))  # in the middle of the round: the remaining listeners get both events at once
        self.journal.unlisten(ears[-1])
        while self.later:
            self.later.pop()()
        self.assertEqual({tuple(ear.cursors) for ear in ears[:-1]}, {("k3f9-1", "k3f9-2")})
        self.assertEqual((ears[-1].cursors, self.journal.last_delivered), ([], 2))

    def test_very_many_of_another_app(self) -> None:
        """A round notifies no listener of other apps' events, and the number of delivered events is right."""
        heard: list[int] = []
        ear = Ear(self.journal, "web")
        ear.on_events = heard.append  # type: ignore[assignment,method-assign]
        self.journal.listen(ear, "web")
        self.append(online(1, "api"), online(2, "api"))
        self.append(online(3, "web"))
        self.assertEqual(heard, [2])

    def test_the_end(self) -> None:
        """All listeners are ended, also those that are removed at that moment."""
        ears = [Ear(self.journal), Ear(self.journal)]
        self.journal.listen(ears[0])
        self.journal.listen(ears[1], "web")
        self.journal.close()
        self.assertEqual([ear.ended for ear in ears], [1, 1])
