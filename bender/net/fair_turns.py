"""Share the reactor fairly among connections.

A client that pipelines requests may send hundreds in one read. If a node answered all of them at once, every other
client, the sweep and the rounds would wait. So a connection works in pieces (a request, a line, a slice of a list)
until its time in this turn of the reactor is over, and continues in the next turn. The time of all connections in one
turn is limited as well, because an attacker has more than one connection.

A connection with new work is served before connections that have used up their time. So a client that renews now and
then waits for at most one turn, whatever the others do.

When a node is overloaded, urgent work comes first: peers, then renewals, which must not be missed, then changes, then
queries. No work starves, because in each turn one worker that has waited for long is served. A request that has waited
for too long gets a short refusal (`Turns.waited_s`), because its client turns to another node anyway.
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

#: Seconds after which a worker stops in one turn. The piece of work at that moment is completed.
WORKER_S_MAX = 0.001

#: Seconds that all workers together may take in one turn. Shorter turns would be more turns, each of which takes 50 µs.
TURN_S_MAX = 0.005

#: If the timers of the reactor are late by this time, the node is overloaded: requests then wait in order of urgency.
OVERLOAD_LAG_S = 0.05

#: Seconds after which a waiting worker is served before more urgent ones; one such worker in each turn.
AGED_S = 0.25


class Urgency(IntEnum):
    """The order of work when a node is overloaded; the least value is served first."""

    PEER = 0
    RENEWAL = 1
    CHANGE = 2
    QUERY = 3
    DIAGNOSIS = 4


class Worker(Protocol):
    """A connection, or another object whose work consists of pieces."""

    @property
    def urgency(self) -> Urgency:
        """Return the urgency of the next piece of work."""

    def work(self) -> bool:
        """Do one piece of work, in a few milliseconds at the most. Return True if there is more to do at once."""

    def idle(self) -> None:
        """Called when all work is done, if the worker had to wait for a later turn."""


class Turns:
    """Divides the turns of the reactor among workers. All connections of a node share one instance."""

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        *,
        each_s: float = WORKER_S_MAX,
        all_s: float = TURN_S_MAX,
        seconds: Callable[[], float] | None = None,
    ) -> None:
        """`seconds` is the clock that measures work, by default that of the reactor."""
        self._reactor = reactor
        self._each_s = each_s
        self._all_s = all_s
        self._seconds = seconds
        # Time spent since the last turn that is known to have begun: at least the time spent in this turn.
        self._spent_s = 0.0
        self._scheduled = False
        # Workers with new work, by urgency, and workers that have used up their time; with the time when each came.
        self._fresh: tuple[OrderedDict[Worker, float], ...] = tuple(OrderedDict() for _ in Urgency)
        self._used: OrderedDict[Worker, float] = OrderedDict()
        # The queue of each waiting worker, for a fast look-up at every request.
        self._queue_of: dict[Worker, OrderedDict[Worker, float]] = {}
        #: Whether requests wait in order of urgency, instead of being served when they arrive.
        self.is_overloaded = False
        #: Seconds for which the worker that is being served has waited; 0 if it did not wait.
        self.waited_s = 0.0

    def run(self, worker: Worker) -> None:
        """Let a worker work now, or in a later turn if no time is left in this turn."""
        if self.is_waiting(worker):
            return
        if self._spent_s < self._all_s and not self.is_overloaded:
            self._serve(worker)
        else:
            self._enqueue(worker, self._fresh[worker.urgency], self._now())
            self._schedule()

    def is_waiting(self, worker: Worker) -> bool:
        """Return True if a worker waits for a later turn."""
        return worker in self._queue_of

    def note_lag(self, lag_s: float) -> None:
        """Update `is_overloaded` from the present lag of the reactor's timers."""
        if lag_s >= OVERLOAD_LAG_S:
            self.is_overloaded = True
        elif not any(self._fresh):
            self.is_overloaded = False

    def longest_wait_s(self, least: Urgency) -> float:
        """Return the longest time for which a worker of this urgency or a higher one has waited, in seconds."""
        came_at = min((next(iter(queue.values())) for queue in self._fresh[: least + 1] if queue), default=inf)
        return max(0.0, self._now() - came_at)

    def forget(self, worker: Worker) -> None:
        """Remove a worker that has no more work, because its connection is lost."""
        queue = self._queue_of.pop(worker, None)
        if queue is not None:
            del queue[worker]

    def run_steps(self, steps: Iterator[object]) -> Deferred[None]:
        """Exhaust an iterator; each step is a piece of work. Fires after the last step, or with its error."""
        return _StepWorker(self, steps).done

    def _serve(self, worker: Worker) -> bool:
        """Let a worker work until its time is over. Return True if it now waits for another turn."""
        seconds = self._seconds or self._reactor.seconds
        began = now = seconds()
        more = False
        try:
            while more := worker.work():
                now = seconds()
                if now >= began + self._each_s:
                    break
        finally:
            # Only if much time was spent: a call of the reactor for every request would double its work.
            self._spent_s += (now if more else seconds()) - began
            if more:
                self._enqueue(worker, self._used, began)
            if more or self._spent_s >= self._all_s / 4:
                self._schedule()
        return more

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._reactor.callLater(0, self._next_turn)

    def _next_turn(self) -> None:
        """Serve waiting workers: first one that has used up its time, so that it does not starve, then the others."""
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
        """Return the queue of the worker that has waited longest, if this is `AGED_S` or more; else None."""
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

    def _enqueue(self, worker: Worker, queue: OrderedDict[Worker, float], came_at: float) -> None:
        """Append a worker to a queue, unless it waits already: new work may arrive while it is being served."""
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
        except Exception:  # the other workers are served all the same
            self._log.failure(
                "Requests or events of {client} could not be processed because of a defect in bender: the client may "
                "get no answer.",
                client=getattr(worker, "client", "a client"),
            )

    def _now(self) -> float:
        return (self._seconds or self._reactor.seconds)()


class _StepWorker:
    """A worker that takes the steps of an iterator, for a long list or another long answer."""

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
