"""What HAProxy is to be, and when that changes by itself."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy.core.shape import Shape
from bender.haproxy.core.wanted import BIND_AGAIN_S, Wanted
from tests.haproxy.said import frontend


class Addresses(SynchronousTestCase):
    """An address that cannot be listened on is tried again."""

    def test_until_it_can(self) -> None:
        """Its frontend is there as soon as that is seen, and then nobody looks any more."""
        taken = {"*:80"}
        wanted = Wanted(lambda host: host, lambda bind: "taken" if bind in taken else None)
        wanted.take(frontend("www", bind="*:80"), 10.0)
        self.assertEqual(wanted.shape(Shape(), 10.0).doors, ())
        wanted.reshaped = False
        self.assertEqual(wanted.due_at(), 10.0 + BIND_AGAIN_S)
        wanted.pass_time(10.0 + BIND_AGAIN_S - 0.1)
        self.assertFalse(wanted.reshaped)
        wanted.pass_time(10.0 + BIND_AGAIN_S)
        self.assertTrue(wanted.reshaped)
        taken.clear()
        self.assertEqual([door.title for door in wanted.shape(Shape(), 15.0).doors], ["www"])
        self.assertEqual((wanted.problems, wanted.due_at()), ({}, None))

    def test_from_the_beginning(self) -> None:
        """Where HAProxy's own addresses do not seem to be taken, which it has need not be known."""
        for shares, doors in ((True, []), (False, ["www"])):
            wanted = Wanted(lambda host: host, lambda _bind: "taken", shares=shares)
            wanted.take(frontend("www", bind="*:80"), 10.0)
            self.assertEqual([door.title for door in wanted.shape(None, 10.0).doors], doors)
