"""Errors for a peer that does not answer."""

from __future__ import annotations

from twisted.internet import error
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.net.addresses import NoAnswer
from bender.net.endpoints import failure_clause, wait_for_answer


class InTime(SynchronousTestCase):
    def text_of(self, waiting: Deferred[None], connect_s_max: float | None = None) -> str:
        clock = Clock()
        asking = Deferred.fromCoroutine(wait_for_answer(clock, waiting, 5, connect_s_max))
        clock.advance(6)
        return str(self.failureResultOf(asking, NoAnswer).value)

    def test_no_answer(self) -> None:
        """The error has the time limit that was reached first."""
        timed_out = error.TimeoutError()
        self.assertEqual(self.text_of(Deferred()), "does not answer within 5 s")
        self.assertEqual(self.text_of(fail(timed_out)), "does not answer within 5 s")
        self.assertEqual(self.text_of(fail(timed_out), 2), "does not answer within 2 s")

    def test_a_reason(self) -> None:
        """The reason is understandable without Twisted's documentation."""
        self.assertEqual(failure_clause(error.TimeoutError()), "no connection in time")
