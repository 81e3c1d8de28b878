"""The instances that went offline in the last minutes."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.core.view import ViewEvent
from bender.protocols.thalassa.recent_ends import KEPT_MAX, RecentEnds
from tests.node.watched import Watched


class Ends(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.watched = Watched(self.clock)
        self.ends = RecentEnds(self.clock.seconds)
        self.watched.journal.observe(self.ends.observe)

    def ports(self) -> list[int]:
        return [int(key.rpartition("/")[2]) for key in self.ends.keys()]  # noqa: SIM118 - not a dict

    def test_what_went(self) -> None:
        """Ids are in the order in which their instances went offline; backends are ignored."""
        for port in (1, 2, 3):
            self.watched.up(port=port)
        self.watched.down(port=2)
        self.watched.down(port=1)
        self.watched.configure()
        self.watched.node.configure("backend/site", None, "somebody")
        self.assertEqual(self.ports(), [2, 1])

    def test_what_came_back(self) -> None:
        self.watched.up(port=1)
        self.watched.down(port=1)
        self.watched.up(port=1)
        self.assertEqual(self.ports(), [])
        self.watched.down(port=1)
        self.assertEqual(self.ports(), [1])

    def test_ten_minutes(self) -> None:
        """An end is forgotten after ten minutes."""
        self.watched.up(port=1)
        self.watched.up(port=2)
        self.watched.down(port=1)
        for _ in range(60):
            self.clock.advance(1)
            self.watched.node.sweep()
        self.watched.down(port=2)
        self.clock.advance(540)
        self.assertEqual(self.ports(), [1, 2])
        self.clock.advance(0.001)
        self.assertEqual(self.ports(), [2])

    def test_too_many(self) -> None:
        """If there are too many ends, the last ones are remembered."""
        for number in range(KEPT_MAX + 2):
            self.ends.observe(ViewEvent("offline", f"registration/web/1/10.0.0.1/{number}", b"", "expired"))
        ports = self.ports()
        self.assertEqual((len(ports), ports[0], ports[-1]), (KEPT_MAX, 2, KEPT_MAX + 1))
