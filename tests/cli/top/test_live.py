"""The requests and pictures of `bender top`, with a clock and a screen of the test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.cli.top.frame import Size
from bender.cli.top.live import CHANGE_INTERVAL_S, KEY_INTERVAL_S, LiveTop
from bender.cli.top.views import Scope
from bender.client import Event, NotFound, Refused, Reply
from bender.net.addresses import NoAnswer
from tests.cli.top.shown import SYNCED, WALL_MS, instance

NODE = "127.0.0.1:1729"

STATUS = {
    "node": "n1",
    "version": "1",
    "ready": True,
    "uptime": 5.0,
    "digest": "0123456789abcdef",
    "counts": {"registrations": 0, "frontends": 0, "claims": 0},
    "peers": [{"node": "n2", "state": "heard", "api": "127.0.0.1:1739", "lag": 0.1}],
}


class FakeWatch:
    """A watch whose events come from the test."""

    def __init__(self) -> None:
        self.node: str | None = None
        self.on_away: Callable[[dict[str, str]], None] = lambda _problems: None
        self.on_taken: Callable[[], None] = lambda: None
        self.is_closed = False
        self._waiting: list[Event] = []
        self._taker: Deferred[Event] | None = None

    def __aiter__(self) -> FakeWatch:
        return self

    async def __anext__(self) -> Event:
        if self._waiting:
            return self._waiting.pop(0)
        self._taker = Deferred()
        return await self._taker

    async def aclose(self) -> None:
        self.is_closed = True

    def send(self, *events: Event, node: str = NODE) -> None:
        self.node = node
        self.on_taken()
        self._waiting += events
        if self._waiting and self._taker is not None:
            taker, self._taker = self._taker, None
            taker.callback(self._waiting.pop(0))

    def refuse(self, error: Exception) -> None:
        taker, self._taker = self._taker, None
        assert taker is not None
        taker.errback(error)


class FakeNodes:
    def in_turn(self) -> list[str]:
        return [NODE]


class FakeClient:
    """A client of nodes that answer at once, unless they are in `silent`."""

    def __init__(self) -> None:
        self.nodes = FakeNodes()
        self.made = FakeWatch()
        self.on_problem: Callable[[str, str], None] = lambda _node, _problem: None
        self.status_problem: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.selection: tuple[str | None, str | None] | None = None

    def watch(self, app: str | None, version: str | None) -> FakeWatch:
        self.selection = (app, version)
        return self.made

    async def ask(self, node: str, method: str, path: str, *, within_s: float) -> Reply:
        self.asked.append((node, path))
        if node in self.status_problem:
            raise NoAnswer("does not answer")
        return Reply(node, 200, msgspec.json.encode(STATUS | ({} if node == NODE else {"node": "n2"})))

    async def read(self, read: Callable[[Reply], Any], method: str, path: str) -> tuple[Any, Reply]:
        self.asked.append(("any", path))
        raise NotFound(404, "NOT_FOUND", "there is no such thing", NODE)


class FakeScreen:
    def __init__(self) -> None:
        self.size = Size(80, 24)
        self.pictures: list[list[str]] = []
        self.cleared = 0
        self.is_held = False

    def start(self, on_key: Callable[[str], None], on_size: Callable[[], None], on_lost: Callable[[], None]) -> None:
        self.is_held = True
        self.press, self.resize, self.lose = on_key, on_size, on_lost

    def stop(self) -> None:
        self.is_held = False

    def clear(self) -> None:
        self.cleared += 1

    def draw(self, lines: Sequence[str]) -> None:
        self.pictures.append([*lines])


class LiveCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.time_text, self.client, self.screen = Clock(), FakeClient(), FakeScreen()
        self.begin(Scope())

    def begin(self, scope: Scope) -> None:
        reactor: Any = self.time_text
        client: Any = self.client
        self.live = LiveTop(
            reactor,
            client,
            scope,
            screen=self.screen,
            interval_s=2.0,
            styles=frozenset(),
            wall_ms=lambda: WALL_MS,
        )
        self.running: Deferred[None] = Deferred.fromCoroutine(self.live.run())
        self.addCleanup(self.live.end)

    def advance(self, seconds: float) -> int:
        """Let time pass, and return the number of pictures."""
        before = len(self.screen.pictures)
        for _ in range(round(seconds / 0.01)):
            self.time_text.advance(0.01)
        return len(self.screen.pictures) - before

    @property
    def text(self) -> str:
        return "\n".join(self.screen.pictures[-1])

    def press(self, *keys: str) -> None:
        for key in keys:
            self.screen.press(key)


class Drawing(LiveCase):
    def test_an_idle_registry_is_drawn_once_per_interval(self) -> None:
        """An idle registry is drawn once per interval to update the ages."""
        self.client.made.send(instance())
        self.advance(3.0)
        self.assertEqual(self.advance(10.0), 5)

    def test_changes_are_drawn_at_most_four_times_a_second(self) -> None:
        self.client.made.send()
        self.advance(1.0)
        drawn = 0
        for number in range(100):
            self.client.made.send(instance(f"web/1/h/{number + 1}", reason="registered"))
            drawn += self.advance(0.01)
        self.assertIn(drawn, range(3, 2 + round(1 / CHANGE_INTERVAL_S)))
        self.advance(CHANGE_INTERVAL_S)
        self.assertIn("registrations: 100 ", self.text)

    def test_a_change_after_quiet_is_drawn_at_once(self) -> None:
        self.client.made.send()
        self.advance(1.5)
        self.client.made.send(instance(reason="registered"))
        self.assertEqual(self.advance(0.02), 1)

    def test_keys_do_not_wait_for_changes(self) -> None:
        """Keys are drawn sooner than changes, and many keys at once cause one picture."""
        self.client.made.send(instance())
        self.advance(0.02)
        self.client.made.send(instance("web/1/h/1", reason="registered"))
        self.press("b", "n", "e")
        self.assertEqual(self.advance(KEY_INTERVAL_S + 0.02), 1)
        self.assertIn("registered", self.text)

    def test_rows_are_listed_again_only_after_a_change(self) -> None:
        self.client.made.send(instance())
        self.advance(0.5)
        rows = self.live._rows
        self.press("down")
        self.advance(0.5)
        self.assertIs(self.live._rows, rows)
        self.client.made.send(instance("web/1/h/1", reason="registered"))
        self.advance(0.5)
        self.assertEqual((len(rows), len(self.live._rows)), (1, 2))

    def test_what_is_gone_leaves_by_itself(self) -> None:
        self.client.made.send(instance())
        self.client.made.send(instance(event="offline", reason="expired"))
        self.advance(1.0)
        self.assertIn("expired", self.text)
        self.advance(8.0)
        self.assertNotIn("expired", self.text)

    def test_a_pause_holds_the_table_alone(self) -> None:
        self.client.made.send(instance())
        self.advance(1.0)
        self.press("p")
        self.client.made.send(instance("new/1/h/1", reason="registered"))
        self.advance(1.0)
        self.assertIn("registrations: 2 ", self.text)
        self.assertNotIn("new", self.text)
        self.press("p")
        self.advance(1.0)
        self.assertIn("new", self.text)

    def test_the_screen_can_be_drawn_anew(self) -> None:
        self.press("ctrl-l")
        self.assertEqual((self.screen.cleared, self.advance(0.1)), (1, 1))
        self.screen.size = Size(120, 50)
        self.live.resized()
        self.advance(0.1)
        self.assertEqual(len(self.screen.pictures[-1]), 50)


class Nodes(LiveCase):
    def test_the_followed_node_is_asked_for_its_status(self) -> None:
        """The followed node is asked at once and then once per interval; other nodes only while they are shown."""
        self.client.made.send()
        self.advance(0.5)
        self.assertIn("n1 (127.0.0.1:1729)  ready  nodes: 2 of 2 heard", self.text)
        self.client.asked.clear()
        self.advance(10.0)
        self.assertEqual(self.client.asked, [(NODE, "/status")] * 5)
        self.press("n")
        self.advance(0.1)
        self.assertIn(("127.0.0.1:1739", "/status"), self.client.asked)
        self.client.status_problem.add("127.0.0.1:1739")
        self.advance(3.0)
        self.assertIn("unreachable", self.text)

    def test_a_node_that_does_not_answer_makes_the_state_stale(self) -> None:
        self.client.made.send(instance())
        self.advance(1.0)
        self.client.status_problem.add(NODE)
        self.advance(5.0)
        self.assertIn("STALE, as of 4 s ago, retrying: 127.0.0.1:1729 does not answer", self.text)
        self.client.status_problem.clear()
        self.advance(3.0)
        self.assertNotIn("STALE", self.text)

    def test_without_any_node_the_state_is_stale_until_one_is_heard(self) -> None:
        """The state is stale until another node sends an event or its position."""
        self.client.made.send(instance())
        self.advance(1.0)
        self.client.made.on_away({NODE: "refused", "b:1": "is gone"})
        self.advance(1.0)
        self.assertIn("STALE, as of 2 s ago, retrying: 127.0.0.1:1729 refused; b:1 is gone", self.text)
        self.client.made.send(node="127.0.0.1:1739")
        self.advance(0.5)
        self.client.made.send(SYNCED, node="127.0.0.1:1739")
        self.advance(0.5)
        self.assertIn("lost n1, now following 127.0.0.1:1739.", self.text)
        self.assertIn("bender top  n2 (127.0.0.1:1739)", self.text)

    def test_an_instance_that_no_node_knows_is_explained_so(self) -> None:
        self.client.made.send(instance())
        self.advance(1.0)
        self.press("enter", "enter")
        self.advance(0.1)
        self.assertIn("there is no such thing.", self.text)
        self.assertIn(("any", "/explain/registration/web/1.2.0/10.0.0.5/8080"), self.client.asked)

    def test_an_app_alone_begins_with_its_instances(self) -> None:
        self.live.end()
        self.begin(Scope("web", "1.2.0"))
        self.client.made.send(instance())
        self.advance(1.0)
        self.assertEqual(self.client.selection, ("web", "1.2.0"))
        self.assertIn("[e]vents  of web 1.2.0  by APP", self.text)


class Ending(LiveCase):
    def ended(self) -> None:
        self.assertFalse(self.screen.is_held)
        self.assertTrue(self.client.made.is_closed)
        self.assertEqual([call for call in self.time_text.getDelayedCalls() if call.active()], [])

    def test_a_key_ends_it(self) -> None:
        """The key `q` restores the terminal and ends all timers."""
        self.client.made.send(instance())
        self.advance(1.0)
        self.assertTrue(self.screen.is_held)
        self.press("q")
        self.successResultOf(self.running)
        self.ended()

    def test_a_refused_selection_ends_it(self) -> None:
        self.client.made.refuse(Refused(400, "INVALID", "app: no", NODE))
        self.failureResultOf(self.running, Refused)
        self.ended()

    def test_a_defect_ends_it(self) -> None:
        """A defect is raised, and the terminal is restored."""
        self.client.made.refuse(ZeroDivisionError())
        self.failureResultOf(self.running, ZeroDivisionError)
        self.ended()

    def test_a_defect_in_drawing_ends_it(self) -> None:
        """A defect in drawing is raised after the terminal is restored, so its traceback is readable."""
        self.screen.draw = lambda _: 1 / 0  # type: ignore[assignment, method-assign]
        self.advance(1.0)
        self.failureResultOf(self.running, ZeroDivisionError)
        self.ended()

    def test_a_defect_with_a_key_ends_it(self) -> None:
        """A defect in a key's effect ends the command like any other defect."""
        self.patch(self.live, "_present_rows", lambda _: 1 / 0)
        self.screen.press("j")
        self.failureResultOf(self.running, ZeroDivisionError)
        self.ended()

    def test_a_signal_ends_it(self) -> None:
        self.advance(1.0)
        self.running.cancel()
        self.failureResultOf(self.running)
        self.ended()
