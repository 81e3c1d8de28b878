"""The stream of a subscription to clients that read, do not read, or read slowly."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.node.journal import Journal
from bender.node.watcher_stream import PIECE_BYTES, STALLED_S, TICK_S, TRANSPORT_BYTES, WAITING_BYTES_MAX
from tests.api.conversation import NOW_MS, Network
from tests.node.watched import Watched, Window, named, never, read

#: The terms of a registration that makes an event of about a kilobyte.
KILOBYTE: dict[str, Any] = {"meta": {"filling": "x" * 800}}


class StreamCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.watched = Watched(self.clock)
        self.window = Window(self.watched.node, self.clock)

    def follow(self, **selection: Any) -> None:
        self.window.follow(self.watched.node, **selection)

    def named(self) -> list[str]:
        return named(read(self.window.sent))

    def up(self, count: int, first: int = 1, **wanted: Any) -> None:
        for port in range(first, first + count):
            self.watched.up(port=port, **wanted)

    def onlines(self, last: int, first: int = 1) -> list[str]:
        return [f"online {port}" for port in range(first, last + 1)]


class Live(StreamCase):
    def test_from_now_on(self) -> None:
        """Each event is sent as it happens."""
        self.up(1)
        self.follow()
        self.assertTrue(self.window.stream.live)
        self.up(1, first=2)
        self.assertEqual(self.named(), ["online 2"])

    def test_filtered(self) -> None:
        """Events that the selection does not admit are not sent."""
        self.follow(app="web", version="1")
        self.watched.up("web", "2")
        self.watched.up("api", "1")
        self.watched.configure()
        self.up(1)
        self.assertEqual(self.named(), ["online 1"])

    def test_after_what_was_owed(self) -> None:
        """The snapshot is followed by events, and the outlet is notified in between."""
        self.up(1)
        self.follow(snapshot=True)
        self.assertEqual(self.window.times_caught_up, 1)
        self.up(1, first=2)
        self.assertEqual(self.named(), ["online 1", "synced", "online 2"])

    def test_another_subscription(self) -> None:
        """A new subscription begins where the one before ends: no event is missing or sent twice."""
        self.follow()
        self.up(1)
        self.follow(app="web")
        self.up(1, first=2)
        self.watched.up("api", port=3)
        self.follow(app="api")
        self.watched.up("api", port=4)
        self.up(1, first=5)
        self.assertEqual(self.named(), ["online 1", "online 2", "online 4"])

    def test_closed(self) -> None:
        """A closed stream sends nothing, and has no timer and no listener."""
        self.window = Window(self.watched.node, self.clock, ticks=True)
        self.follow()
        self.window.stream.pauseProducing()
        self.window.stream.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.window.stream.resumeProducing()
        self.window.stream.close()
        self.up(1)
        self.assertEqual(self.window.sent, [])

    def test_connection_lost(self) -> None:
        """A stream whose connection is lost sends nothing."""
        self.follow()
        self.window.stream.stopProducing()
        self.up(1)
        self.assertEqual(self.window.sent, [])

    def test_the_node_stops(self) -> None:
        """The outlet is ended when the journal closes."""
        self.follow()
        self.watched.journal.close()
        self.assertTrue(self.window.ended)


class Ticks(StreamCase):
    def setUp(self) -> None:
        super().setUp()
        self.window = Window(self.watched.node, self.clock, ticks=True)

    def test_without_an_event(self) -> None:
        """After 15 s without an event, a tick with the present cursor is sent."""
        self.follow(app="web")
        self.watched.up("api")
        self.clock.advance(14.9)
        self.assertEqual(self.window.sent, [])
        self.clock.advance(0.2)
        (tick,) = self.window.sent
        self.assertEqual(tick.line, b'{"event":"tick","cursor":"%b"}\n' % self.watched.journal.cursor.encode())
        self.assertEqual(tick.cursor, self.watched.journal.cursor)
        self.clock.advance(15)
        self.assertEqual(self.named(), ["tick", "tick"])

    def test_after_an_event(self) -> None:
        """Each event begins the time until a tick again."""
        self.follow()
        self.clock.advance(10)
        self.up(1)
        self.clock.advance(14.9)
        self.assertEqual(self.named(), ["online 1"])
        self.clock.advance(0.2)
        self.assertEqual(self.named(), ["online 1", "tick"])

    def test_not_while_anything_is_owed(self) -> None:
        """No tick is sent while an event is owed, because a cursor confirms all events before it."""
        self.follow()
        self.window.stream.pauseProducing()
        self.up(1)
        self.clock.advance(TICK_S + 1)
        self.assertEqual(self.window.sent, [])
        self.window.stream.resumeProducing()
        self.clock.advance(TICK_S)
        self.assertEqual(self.named(), ["online 1", "tick"])

    def test_none_where_there_are_none(self) -> None:
        """A stream without ticks, for a long poll, sends none."""
        self.window = Window(self.watched.node, self.clock)
        self.follow()
        self.clock.advance(100)
        self.assertEqual(self.window.sent, [])


class BackPressure(StreamCase):
    def test_a_snapshot_goes_as_fast_as_it_is_read(self) -> None:
        """A snapshot is sent in limited pieces, and none is sent while the client does not read."""
        self.up(200, **KILOBYTE)
        self.window.pieces_left = 1
        self.follow(snapshot=True)
        sizes = [sum(len(entry.line) for entry in self.window.sent)]
        while self.window.times_caught_up == 0:
            before = len(self.window.sent)
            self.window.read(1)
            sizes.append(sum(len(entry.line) for entry in self.window.sent[before:]))
        self.assertGreater(len(sizes), 5)
        self.assertLess(max(sizes), PIECE_BYTES + 2000)
        self.assertEqual(self.named(), [*sorted(self.onlines(200), key=lambda each: each.split()[1]), "synced"])

    def test_what_happens_in_a_pause_follows(self) -> None:
        """No event is lost or sent twice, whether it happens before, in or after a pause."""
        self.follow()
        self.window.pieces_left = 2
        self.up(5)
        self.assertEqual(self.named(), self.onlines(2))
        self.window.read(float("inf"))
        self.up(1, first=6)
        self.assertEqual(self.named(), self.onlines(6))

    def test_a_pause_while_nothing_is_sent(self) -> None:
        """The transport may pause at any time, and more than once."""
        self.follow()
        self.up(1)
        self.window.stream.pauseProducing()
        self.up(1, first=2)
        self.window.stream.pauseProducing()
        self.up(1, first=3)
        self.window.stream.resumeProducing()
        self.window.stream.resumeProducing()
        self.up(1, first=4)
        self.assertEqual(self.named(), self.onlines(4))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_slower_than_the_journal_forgets(self) -> None:
        """If the journal drops owed events, the stream begins again with `reset` and a snapshot."""
        journal = self.watched.node.journal = self.watched.journal = Journal("few", lambda: NOW_MS, never, events_max=3)
        self.follow(app="web")
        self.window.stream.pauseProducing()
        self.up(1)
        for port in range(1, 5):
            self.watched.up("api", port=port)
        self.window.stream.resumeProducing()
        self.assertEqual(self.named(), ["reset", "online 1", "synced"])
        self.assertEqual((self.window.sent[-1].cursor, self.window.times_caught_up), (journal.cursor, 2))

    def test_a_snapshot_larger_than_the_limit(self) -> None:
        """A client that reads is not dropped during a snapshot that is longer than the limit."""
        self.up(600, **KILOBYTE)
        self.window.pieces_left = 1
        self.follow(snapshot=True)
        while self.window.times_caught_up == 0:
            self.clock.advance(STALLED_S * 0.9)
            self.up(50, first=10_000, **KILOBYTE)
            self.window.read(1)
        self.assertFalse(self.window.dropped)

    def test_a_storm_larger_than_the_limit(self) -> None:
        """A client that reads gets all events, even if more than the limit are waiting at first."""
        self.follow()
        self.window.pieces_left = 1
        self.up(600, **KILOBYTE)
        self.clock.advance(STALLED_S * 0.9)
        self.assertFalse(self.window.dropped)
        self.window.read(float("inf"))
        self.assertEqual(self.named(), self.onlines(600))


class NotReading(StreamCase):
    def test_is_dropped_above_the_limit(self) -> None:
        """A client that has stalled is dropped if more than 256 KiB wait for it, with those in the transport."""
        self.follow()
        self.window.stream.pauseProducing()
        self.clock.advance(STALLED_S)
        waiting = TRANSPORT_BYTES
        port = 0
        while not self.window.dropped:
            self.assertLessEqual(waiting, WAITING_BYTES_MAX)
            port += 1
            self.up(1, first=port, **KILOBYTE)
            waiting += len(self.watched.journal.entry(self.watched.journal.last_number).line)  # type: ignore[union-attr]
        self.assertGreater(waiting, WAITING_BYTES_MAX)

    def test_is_dropped_when_it_turns_out(self) -> None:
        """If more than the limit waits, a client is dropped when it has read nothing for a second."""
        self.follow()
        self.window.stream.pauseProducing()
        self.up(600, **KILOBYTE)
        self.clock.advance(STALLED_S * 0.9)
        self.assertFalse(self.window.dropped)
        self.clock.advance(STALLED_S * 0.2)
        self.assertTrue(self.window.dropped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.up(1, first=1000)

    def test_the_rest_of_a_snapshot_waits_too(self) -> None:
        """A client that asks for a long snapshot and reads nothing is dropped."""
        self.up(600, **KILOBYTE)
        self.window.pieces_left = 1
        self.follow(snapshot=True)
        self.clock.advance(STALLED_S)
        self.assertTrue(self.window.dropped)

    def test_is_not_dropped_below_the_limit(self) -> None:
        """A client may stop reading for almost a minute if few bytes wait; later it gets the missed events."""
        self.follow(app="web")
        self.window.stream.pauseProducing()
        self.clock.advance(STALLED_S)
        self.up(5, **KILOBYTE)
        for port in range(600):
            self.watched.up("api", port=port + 1, **KILOBYTE)
        self.clock.advance(58)
        self.assertFalse(self.window.dropped)
        self.window.stream.resumeProducing()
        self.assertEqual(self.named(), self.onlines(5))

    def test_is_dropped_in_time(self) -> None:
        """A client that reads nothing for a minute is dropped; each read begins another minute."""
        self.follow()
        for _ in range(3):
            self.window.stream.pauseProducing()
            self.clock.advance(59)
            self.window.stream.resumeProducing()
        self.window.stream.pauseProducing()
        self.clock.advance(59.9)
        self.assertFalse(self.window.dropped)
        self.clock.advance(0.1)
        self.assertTrue(self.window.dropped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_reading_again(self) -> None:
        """The time without a read begins again with each pause."""
        self.follow()
        for first in (1, 101, 201, 301):
            self.window.stream.pauseProducing()
            self.clock.advance(STALLED_S)
            self.up(100, first=first, **KILOBYTE)
            self.window.stream.resumeProducing()
        self.window.stream.pauseProducing()
        self.up(300, first=401, **KILOBYTE)
        self.window.stream.resumeProducing()
        self.assertFalse(self.window.dropped)
        self.assertEqual(self.named(), self.onlines(700))


class NotReady(StreamCase):
    def setUp(self) -> None:
        super().setUp()
        self.network = Network(self.clock)
        self.node = self.network.first
        self.network.connected = False
        self.assertFalse(self.node.ready)
        self.window = Window(self.node, self.clock)

    def test_a_snapshot_waits_until_the_node_is_ready(self) -> None:
        """The stream sends nothing before the node is ready, and then `reset`, a snapshot and `synced`."""
        self.window.follow(self.node, since="another-5")
        self.clock.advance(0.3)
        self.assertEqual((self.window.sent, self.window.times_caught_up), ([], 0))
        self.node.begin_round()
        self.network.reconnect()
        self.node.sweep()
        self.assertTrue(self.node.ready)
        self.clock.advance(0.3)
        self.assertEqual(named(read(self.window.sent)), ["reset", "synced"])
        self.assertEqual(self.window.times_caught_up, 1)

    def test_going_away_while_it_waits(self) -> None:
        """A stream that is closed while it waits has no timer."""
        self.window.follow(self.node, snapshot=True)
        self.window.stream.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_without_a_snapshot(self) -> None:
        """Without a snapshot, the stream does not wait for the node to be ready."""
        self.window.follow(self.node)
        self.assertTrue(self.window.stream.live)


class AnyClient(SynchronousTestCase):
    """However a client reads, and whatever it subscribes to in turn, it knows the listed registrations in the end."""

    @given(
        st.sampled_from([2, 5, 10_000]),
        st.lists(
            st.tuples(st.lists(st.integers(1, 6), max_size=6), st.integers(0, 3), st.none() | st.integers(0, 40)),
            min_size=5,
            max_size=15,
        ),
    )
    def test_no_gap_and_no_duplicate(self, events_max: int, steps: list[tuple[list[int], int, int | None]]) -> None:
        """Between two `reset` events, `online` and `offline` alternate for each id.

        In each step some registrations begin or end, the client reads some pieces, and perhaps continues after one of
        its cursors on another connection.
        """
        clock = Clock()
        watched = Watched(clock)
        watched.node.journal = watched.journal = Journal("short", lambda: NOW_MS, never, events_max=events_max)
        window = Window(watched.node, clock)
        window.pieces_left = 1
        window.follow(watched.node, snapshot=True)
        for ports, pieces, lost_after in steps:
            for port in ports:
                gone = watched.node.registration(f"registration/web/1/10.0.0.1/{port}") is None
                (watched.up if gone else watched.down)(port=port)
            if pieces:
                window.read(pieces)
            if lost_after is not None:
                window.stream.close()
                client = KnowingClient(window.sent[: lost_after + 1])
                window = Window(watched.node, clock)
                window.pieces_left = 1
                window.sent = client.taken
                window.follow(watched.node, since=client.cursor)
        window.read(float("inf"))
        shown = {f"registration/web/1/10.0.0.1/{port}" for port in range(1, 7)}
        shown = {key for key in shown if watched.node.registration(key) is not None}
        self.assertEqual(KnowingClient(window.sent).known, shown)


class KnowingClient:
    """A client that reads a stream, and fails at an event that contradicts the events before it."""

    def __init__(self, taken: list[Any]) -> None:
        self.taken = list(taken)
        self.known: set[str] = set()
        self.cursor = "none"
        for event in read(taken):
            self.cursor = event["cursor"]
            if event["event"] == "reset":
                self.known.clear()
            elif event["event"] == "online":
                assert event["registration"]["id"] not in self.known, event
                self.known.add(event["registration"]["id"])
            elif event["event"] == "offline":
                self.known.remove(event["registration"]["id"])
