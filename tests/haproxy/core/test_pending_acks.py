"""The events that HAProxy has applied, and the servers that still have requests."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy.core.pending_acks import BUSY_S_MAX, LOOK_LATER_S, LOOK_S, LeavingServers, PendingAcks

A, B = ("shop", "a"), ("shop", "b")


class Confirming(SynchronousTestCase):
    def setUp(self) -> None:
        self.progress: PendingAcks[str] = PendingAcks()

    def test_nothing_was_taken_away(self) -> None:
        """Events that remove no server are confirmed at once, by one confirmation of the last."""
        self.progress.add("one", (), 0)
        self.progress.add("two", (), 0)
        self.assertEqual([self.progress.take_done((), 0), self.progress.take_done((), 0)], ["two", None])

    def test_a_server_with_requests(self) -> None:
        """The event of a removed server is confirmed when its requests have ended; later events wait for that, too."""
        self.progress.add("one", {A, B}, 0)
        self.progress.add("two", (), 0)
        self.assertEqual((self.progress.take_done({A, B}, 0.01), self.progress.take_done({B}, 0.02)), (None, None))
        self.assertTrue(self.progress.waiting)
        self.assertEqual(self.progress.take_done({A}, 0.03), "two")

    def test_one_that_does_not_end(self) -> None:
        """If the requests of a server do not end, its event is confirmed after a limit."""
        self.progress.add("one", {A}, 5)
        self.assertEqual(self.progress.due_at(), 5 + BUSY_S_MAX)
        self.assertIsNone(self.progress.take_done({A}, 4.99 + BUSY_S_MAX))
        self.assertEqual(self.progress.take_done({A}, 5 + BUSY_S_MAX), "one")
        self.assertIsNone(self.progress.due_at())


class Looking(SynchronousTestCase):
    def test_often_at_first(self) -> None:
        """A leaving server is looked at often as long as its event waits, then rarely until it is gone."""
        leaving = LeavingServers()
        self.assertIsNone(leaving.next_look_at(0))
        leaving.update(["shop"], {A}, {A}, 10)
        self.assertEqual(leaving.next_look_at(10), 10 + LOOK_S)
        leaving.update(["shop"], {A}, {A}, 20)
        self.assertEqual(leaving.next_look_at(20), 20 + LOOK_LATER_S)
        self.assertEqual(leaving.pools, {"shop"})
        leaving.update(["shop"], (), (), 30)
        self.assertEqual((leaving.next_look_at(30), leaving.busy), (None, set()))

    def test_pools_that_were_not_looked_at(self) -> None:
        """Servers of pools that were not looked at keep their state."""
        leaving = LeavingServers()
        leaving.update(["shop"], {A}, {A}, 0)
        leaving.update(["api"], {("api", "c")}, (), 1)
        self.assertEqual((leaving.since, leaving.busy), ({A: 0, ("api", "c"): 1}, {A}))
        leaving.forget()
        self.assertEqual((leaving.since, leaving.busy), ({}, set()))
