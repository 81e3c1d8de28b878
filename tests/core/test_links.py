"""With whom rounds begin, and how long their answers may take."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from bender.core.links import ALL_MAX, Link, partners
from bender.core.messages import Message, Request, Sender

ADDRESSES = [f"n{i}:1730" for i in range(100)]


class Partners(SynchronousTestCase):
    def test_few(self) -> None:
        """A small cluster talks all to all, in order and without chance."""
        self.assertEqual(partners(ADDRESSES[:ALL_MAX], list), ADDRESSES[:ALL_MAX])  # type: ignore[arg-type]

    def test_many(self) -> None:
        """In a large one each node begins rounds with √n others, each time with other ones, and with all in time."""
        chance = random.Random(1).random
        rounds = [partners(ADDRESSES, chance) for _ in range(200)]
        self.assertEqual({len({*each}) for each in rounds}, {10})
        self.assertEqual({address for each in rounds for address in each}, {*ADDRESSES})
        self.assertEqual(partners(ADDRESSES, lambda: 0.999_999)[0], ADDRESSES[-1])


class Limits(SynchronousTestCase):
    """A request's time limit is an interval, and longer where that has turned out to be too short."""

    def setUp(self) -> None:
        self.link = Link("n1:1730")

    def request(self, asked_at: float | None = 1000.0) -> Request:
        return Request("n1:1730", Message(Sender(1, "n2", "n2:1730"), ask=asked_at), 2.0)

    def lose(self, times: int) -> None:
        for _ in range(times):
            self.link.fail(self.request())

    def test_usually(self) -> None:
        self.assertEqual(self.link.limit(2.0), 2.0)
        self.link.succeed(self.request(), 1000.9)
        self.assertEqual(self.link.limit(2.0), 2.0)

    def test_unanswered(self) -> None:
        """As many in a row as loss alone hardly brings about: the peer may be slow."""
        self.lose(3)
        self.assertEqual(self.link.limit(2.0), 2.0)
        self.lose(1)
        self.assertEqual(self.link.limit(2.0), 6.0)

    def test_answered_again(self) -> None:
        """The next ones have twice the time that the last answer took, but no less than an interval."""
        self.lose(9)
        self.link.succeed(self.request(), 1002.5)
        self.assertEqual(self.link.limit(2.0), 5.0)
        self.link.succeed(self.request(), 1000.1)
        self.assertEqual(self.link.limit(2.0), 2.0)

    def test_at_most(self) -> None:
        """However long the last one took, as after a pause of this node itself."""
        self.link.succeed(self.request(), 1060.0)
        self.assertEqual(self.link.limit(2.0), 6.0)

    def test_a_push(self) -> None:
        """When it was made is not known, and its answer changes nothing about that time."""
        self.link.succeed(self.request(), 1002.0)
        self.link.succeed(self.request(None), 1002.1)
        self.assertEqual(self.link.limit(2.0), 4.0)
