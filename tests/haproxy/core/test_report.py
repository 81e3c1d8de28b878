"""What HAProxy has counted, whatever became of it meanwhile."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy.core.reality import Row
from bender.haproxy.core.report import Counts


def row(requests: int, errors: int = 10, name: str = "a") -> Row:
    return Row("shop", name, 0, "UP", "L4OK", requests, errors)


class Counting(SynchronousTestCase):
    def setUp(self) -> None:
        self.counts = Counts()
        self.counts.begin([row(100, 10)])

    def total(self) -> tuple[int, int]:
        total = self.counts.totals()["shop"]["1"]
        return total["requests"], total["errors"]

    def test_from_the_beginning(self) -> None:
        """What was counted before the driver began does not count."""
        self.counts.take("shop", "1", row(103, 11))
        self.counts.take("shop", "1", row(7, 1, "b"))
        self.counts.take("shop", "2", row(5, 1, "c"))
        self.assertEqual(self.total(), (10, 2))
        self.assertEqual(self.counts.totals()["shop"]["2"], {"requests": 5, "errors": 1})

    def test_after_haproxy_has_begun_again(self) -> None:
        """It goes on, and never back."""
        self.counts.take("shop", "1", row(103))
        self.counts.restarted()
        self.counts.take("shop", "1", row(104))
        self.assertEqual(self.total(), (107, 10))

    def test_when_that_was_not_noticed(self) -> None:
        """It is seen by a number that is smaller."""
        self.counts.take("shop", "1", row(103, 12))
        self.counts.take("shop", "1", row(2, 1))
        self.assertEqual(self.total(), (5, 3))

    def test_a_server_that_was_deleted_and_came_back(self) -> None:
        """It counts from 0, and so does HAProxy."""
        self.counts.take("shop", "1", row(103))
        self.counts.deleted("shop", "a")
        self.counts.take("shop", "1", row(103))
        self.assertEqual(self.total()[0], 106)
