"""Share the reactor fairly among connections.

A client that pipelines may leave hundreds of requests in one read. To answer all of them before anything else happens
would hold up every other client, the sweep and the rounds. So a connection does one piece of its work after another (a
request, a line, a slice of a list) until its time in this turn of the reactor is over, and goes on in the next turn.
What all connections together do in one turn is limited as well, because an attacker has more than one.

A connection that comes back with something new is served before those that have used up their time already: a client
that renews now and then waits for one turn at the most, whatever the others do.

Where more is asked than can be done, the more urgent comes first: peers, then renewals, which must not be missed, then
changes, and questions last. Nothing starves, because in each turn one worker of those that wait for long gets its time.
What has waited for too long is answered in the fewest words (`Turns.waited_s`): its client has gone elsewhere, or will.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from enum import IntEnum
from math import inf
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

#: Seconds that one connection may take in one turn, and the piece of work during which they end.
WORKER_S_MAX = 0.001

#: Seconds that all connections together may take in one turn. Less would cost more turns, which take 50 µs each.
TURN_S_MAX = 0.005


#: The reactor lags if its timers are late by this much; requests then wait for their turn by their urgency.
OVERLOAD_LAG_S = 0.05

#: Seconds after which a worker that waits is served although more urgent ones wait too, one in each turn.
AGED_S = 0.25


class Urgency(IntEnum):
    """What is to be served first when not all can be."""

    PEER = 0
    RENEWAL = 1
    CHANGE = 2
    QUERY = 3
    DIAGNOSIS = 4


class Worker(Protocol):
    """A connection, or anything else with work that can be interrupted."""

    @property
    def urgency(self) -> Urgency:
        """Return the urgency of the next piece of work."""

    def work(self) -> bool:
        """Do one piece of work, in a few milliseconds at the most. Return True if there is more to do at once."""

    def idle(self) -> None:
        """Take note that all work is done after it had to wait for a later turn."""


class Turns:
    """Gives workers their time. One for all connections of a node."""

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        *,
        each_s: float = WORKER_S_MAX,
        all_s: float = TURN_S_MAX,
        seconds: Callable[[], float] | None = None,
    ) -> None:
        """`seconds` is the clock that work is measured with, if not that of the reactor."""
        self._reactor = reactor
        self._each_s = each_s
        self._all_s = all_s
        self._seconds = seconds
        # Spent since the last turn that is known to have begun: at least what was spent in this turn.
        self._spent_s = 0.0
        self._scheduled = False
        # Workers that have had no time yet for what is new, with when they came, and those that have used up theirs.
        self._fresh: tuple[OrderedDict[Worker, float], ...] = tuple(OrderedDict() for _ in Urgency)
        self._used: OrderedDict[Worker, float] = OrderedDict()
        # The one of these queues that each worker which waits is in: every request asks for it.
        self._queue_of: dict[Worker, OrderedDict[Worker, float]] = {}
        #: Whether requests have to wait for their turn, by their urgency, instead of being served as they come.
        self.is_overloaded = False
        #: Seconds that the worker which is served at present has waited; 0 if it did not have to.
        self.waited_s = 0.0

    def run(self, worker: Worker) -> None:
        """Let a worker begin now, or in a later turn if there is no time left in this one."""
        if self.is_waiting(worker):
            return
        if self._spent_s < self._all_s and not self.is_overloaded:
            self._serve(worker)
        else:
            self._put(worker, self._fresh[worker.urgency], self._now())
            self._schedule()

    def is_waiting(self, worker: Worker) -> bool:
        """Return True if a worker waits for a later turn."""
        return worker in self._queue_of

    def note_lag(self, lag_s: float) -> None:
        """Note how late the timers of the reactor are at present."""
        if lag_s >= OVERLOAD_LAG_S:
            self.is_overloaded = True
        elif not any(self._fresh):
            self.is_overloaded = False

    def longest_wait_s(self, least: Urgency) -> float:
        """Return the seconds for which the first of the workers of this urgency, or a higher one, has waited."""
        came_at = min((next(iter(queue.values())) for queue in self._fresh[: least + 1] if queue), default=inf)
        return max(0.0, self._now() - came_at)

    def forget(self, worker: Worker) -> None:
        """Drop the work of a worker that is gone."""
        queue = self._queue_of.pop(worker, None)
        if queue is not None:
            del queue[worker]

    def run_steps(self, steps: Iterator[object]) -> Deferred[None]:
        """Take all steps of an iterator, each as a piece of work. Fires when the last is taken, or one has failed."""
        return _Steps(self, steps).done

    def _serve(self, worker: Worker) -> bool:
        """Let a worker work until its time is over. Return True if it waits for another turn now."""
        seconds = self._seconds or self._reactor.seconds
        began = now = seconds()
        more = False
        try:
            while more := worker.work():
                now = seconds()
                if now >= began + self._each_s:
                    break
        finally:
            # Each turn as a call of the reactor would double its work; so only when much was spent.
            self._spent_s += (now if more else seconds()) - began
            if more:
                self._put(worker, self._used, began)
            if more or self._spent_s >= self._all_s / 4:
                self._schedule()
        return more

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._reactor.callLater(0, self._next_turn)

    def _next_turn(self) -> None:
        """Serve waiting workers: first one that has used up its time, so that it ends some day, and then all others."""
        self._scheduled = False
        self._spent_s = 0.0
        if self._used:
            self._serve_used()
        aged = self._aged()
        if aged is not None:
            self._serve_fresh(aged)
        while self._spent_s < self._all_s:
            first = next((queue for queue in self._fresh if queue), None)
            if first is not None:
                self._serve_fresh(first)
            elif self._used:
                self._serve_used()
            else:
                return
        if self._used or any(self._fresh):
            self._schedule()

    def _aged(self) -> OrderedDict[Worker, float] | None:
        """Return the queue whose first worker has waited longest, if that is long; None without one."""
        waiting = [queue for queue in self._fresh if queue]
        if len(waiting) < 2:
            return None
        oldest = min(waiting, key=lambda queue: next(iter(queue.values())))
        return oldest if self._now() - next(iter(oldest.values())) >= AGED_S else None

    def _serve_fresh(self, queue: OrderedDict[Worker, float]) -> None:
        worker, came_at = self._next(queue)
        self.waited_s = self._now() - came_at
        try:
            self._serve_next(worker)
        finally:
            self.waited_s = 0.0

    def _serve_used(self) -> None:
        worker, _ = self._next(self._used)
        self._serve_next(worker)

    def _put(self, worker: Worker, queue: OrderedDict[Worker, float], came_at: float) -> None:
        """Let a worker wait in a queue, unless it waits already because something new came while it was served."""
        if worker not in self._queue_of:
            queue[worker] = came_at
            self._queue_of[worker] = queue

    def _next(self, queue: OrderedDict[Worker, float]) -> tuple[Worker, float]:
        """Take the first worker out of a queue, and return it with the time at which it came."""
        worker, came_at = queue.popitem(last=False)
        del self._queue_of[worker]
        return worker, came_at

    def _serve_next(self, worker: Worker) -> None:
        try:
            if not self._serve(worker) and not self.is_waiting(worker):
                worker.idle()
        except Exception:  # the others go on
            self._log.failure("Handling the data of a connection failed.")

    def _now(self) -> float:
        return (self._seconds or self._reactor.seconds)()


class _Steps:
    """Takes the steps of an iterator as work: of a long list, or of another long answer."""

    urgency = Urgency.QUERY

    def __init__(self, turns: Turns, steps: Iterator[object]) -> None:
        self.done: Deferred[None] = Deferred(lambda _: self._cancel())
        self._turns = turns
        self._steps = steps
        turns.run(self)

    def work(self) -> bool:
        try:
            next(self._steps)
        except StopIteration:
            self.done.callback(None)
            return False
        except Exception:
            self.done.errback()
            return False
        return True

    def idle(self) -> None:
        """All steps are taken."""

    def _cancel(self) -> None:
        self._turns.forget(self)
        self._steps = iter(())
        self.done.errback(CancelledError())
