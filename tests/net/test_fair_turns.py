"""Time of the reactor: how it is shared, with a clock that each piece of work moves."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from bender.net.fair_turns import AGED_S, OVERLOAD_LAG_S, Turns, Urgency
from tests.net.reactor_turns import take_turn


class Pieces:
    """Some pieces of work, each of which takes 1 s."""

    def __init__(self, case: TurnsCase, name: str, count: int, urgency: Urgency = Urgency.QUERY) -> None:
        self._case = case
        self.urgency = urgency
        self.waited_s: list[float] = []
        self._name = name
        self.left = count
        self.idled = 0

    def work(self) -> bool:
        self.waited_s.append(self._case.turns.waited_s)
        if self.left:
            self.left -= 1
            self._case.now += 1
            self._case.done += self._name
        return self.left > 0

    def idle(self) -> None:
        self.idled += 1


class TurnsCase(SynchronousTestCase):
    """Each worker has 2 s in a turn, all together 6 s."""

    def setUp(self) -> None:
        self.reactor = Clock()
        self.now = 0.0
        self.done = ""
        self.turns = Turns(self.reactor, each_s=2, all_s=6, seconds=lambda: self.now)

    def run_some(self, name: str, count: int, urgency: Urgency = Urgency.QUERY) -> Pieces:
        pieces = Pieces(self, name, count, urgency)
        self.turns.run(pieces)
        return pieces

    def turn(self) -> str:
        """Return the work that is done in the next turn."""
        self.done = ""
        take_turn(self.reactor)
        return self.done


class Alone(TurnsCase):
    def test_little(self) -> None:
        """Work within the time is done at once, and `idle` is not called."""
        pieces = self.run_some("a", 1)
        self.assertEqual((self.done, pieces.idled), ("a", 0))

    def test_much(self) -> None:
        """More work continues in later turns, within their time."""
        pieces = self.run_some("a", 10)
        self.assertEqual(self.done, "aa")
        self.assertEqual([self.turn(), self.turn(), self.turn()], ["aaaaaa", "aa", ""])
        self.assertEqual(pieces.idled, 1)

    def test_idle(self) -> None:
        """Light work calls the reactor once in a while, not in each turn."""
        self.turns = Turns(self.reactor, each_s=100, all_s=400, seconds=lambda: self.now)
        for _ in range(99):
            self.run_some("a", 1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.run_some("a", 1)
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)


class Together(TurnsCase):
    def test_in_turn(self) -> None:
        """Workers that have used up their time continue one after the other."""
        for name in "abcd":
            self.run_some(name, 5)
        self.assertEqual(self.done, "aabbcc")
        self.assertEqual([self.turn(), self.turn(), self.turn()], ["aaddbb", "ccaddb", "cd"])

    def test_news_first(self) -> None:
        """New work comes before the work of all but one of the workers that have used up their time."""
        for name in "abc":
            self.run_some(name, 9)
        self.run_some("d", 1)
        self.assertEqual(self.done, "aabbcc")
        self.assertEqual(self.turn(), "aadbbcc")

    def test_gone(self) -> None:
        """A worker that is gone does no more."""
        for name in "abc":
            pieces = self.run_some(name, 9)
        self.turns.forget(pieces)
        self.assertNotIn("c", self.turn())

    def test_one_fails(self) -> None:
        """If a worker fails, the others continue, and the log names its client."""

        class Fails(Pieces):
            client = "10.0.0.5"

            def work(self) -> bool:
                if self.left == 1:
                    raise ZeroDivisionError
                return super().work()

        self.turns.run(Fails(self, "f", 3))
        self.run_some("a", 3)
        with capturedLogs() as logs:
            self.assertEqual(self.turn(), "a")
        self.assertIn("Requests or events of 10.0.0.5 could not be processed", formatEvent(logs[0]))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class Steps(TurnsCase):
    def steps(self, count: int) -> Iterator[None]:
        for _ in range(count):
            self.now += 1
            self.done += "s"
            yield

    def test_taken(self) -> None:
        """Steps are pieces of work; when the last is taken their Deferred fires."""
        done = self.turns.run_steps(self.steps(5))
        self.assertEqual(self.done, "ss")
        self.assertNoResult(done)
        self.assertEqual(self.turn(), "sss")
        self.successResultOf(done)

    def test_one_fails(self) -> None:
        """If a step fails, the Deferred fires with the error."""
        self.failureResultOf(self.turns.run_steps(1 / 0 for _ in range(3)), ZeroDivisionError)

    def test_given_up(self) -> None:
        """After a cancellation, no more steps are taken."""
        done = self.turns.run_steps(self.steps(5))
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual(self.turn(), "")


class Again(TurnsCase):
    def test_something_new_comes_while_a_worker_is_served(self) -> None:
        """A worker with new work waits once, and completes it in a later turn."""
        turns = self.turns

        class Nested(Pieces):
            def work(self) -> bool:
                if self.left > 1:
                    turns._spent_s = 6
                    turns.run(self)
                return super().work()

        nested = Nested(self, "n", 3)
        turns.run(nested)
        self.assertTrue(turns.is_waiting(nested))
        while turns.is_waiting(nested):
            self.turn()
        self.assertEqual(nested.left, 0)
        turns.forget(nested)
        self.assertEqual(self.turn(), "")


class Overloaded(TurnsCase):
    """The reactor lags, so that requests wait for their turn."""

    def setUp(self) -> None:
        super().setUp()
        self.turns.note_lag(OVERLOAD_LAG_S)

    def test_the_most_urgent_comes_first(self) -> None:
        """The most urgent work is done first; equally urgent work in its order of arrival."""
        for name, urgency in (
            ("d", Urgency.DIAGNOSIS),
            ("q", Urgency.QUERY),
            ("c", Urgency.CHANGE),
            ("r", Urgency.RENEWAL),
            ("s", Urgency.RENEWAL),
            ("p", Urgency.PEER),
        ):
            self.run_some(name, 1, urgency)
        self.assertEqual((self.done, self.turn()), ("", "prscqd"))

    def test_nothing_starves(self) -> None:
        """In each turn, one worker that has waited for long is served."""
        self.run_some("q", 1)
        self.run_some("d", 1, Urgency.DIAGNOSIS)
        self.now += AGED_S
        for _ in range(20):
            self.run_some("r", 1, Urgency.RENEWAL)
        self.assertEqual([self.turn(), self.turn()], ["qrrrrr", "drrrrr"])

    def test_a_worker_may_ask_how_long_it_has_waited(self) -> None:
        """`waited_s` is set during the first piece of work of a waiting worker, and 0 otherwise."""
        pieces = self.run_some("q", 1)
        self.now += 3
        self.turn()
        self.assertEqual((pieces.waited_s, self.turns.waited_s), ([3.0], 0.0))

    def test_how_long_renewals_have_waited(self) -> None:
        """The longest wait counts renewals and more urgent work only; it is 0 if nothing waits."""
        self.assertEqual(self.turns.longest_wait_s(Urgency.CHANGE), 0.0)
        self.run_some("q", 1)
        self.now += 1
        self.assertEqual(self.turns.longest_wait_s(Urgency.CHANGE), 0.0)
        renewals = self.run_some("r", 1, Urgency.RENEWAL)
        self.now += 2
        self.assertEqual(
            (self.turns.longest_wait_s(Urgency.CHANGE), self.turns.longest_wait_s(Urgency.QUERY)), (2.0, 3.0)
        )
        self.turns.forget(renewals)
        self.assertEqual(self.turns.longest_wait_s(Urgency.CHANGE), 0.0)

    def test_it_ends_when_nothing_waits_and_the_reactor_is_in_time(self) -> None:
        """When nothing waits and the reactor is in time, work is done at once again."""
        self.run_some("a", 1)
        self.turns.note_lag(0)
        self.assertTrue(self.turns.is_overloaded)
        self.turn()
        self.turns.note_lag(OVERLOAD_LAG_S)
        self.assertTrue(self.turns.is_overloaded)
        self.turns.note_lag(0)
        self.assertFalse(self.turns.is_overloaded)
        self.done = ""
        self.run_some("b", 1)
        self.assertEqual(self.done, "b")
