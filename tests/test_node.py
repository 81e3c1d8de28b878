"""What a node makes of commands where the replica alone cannot say."""

from __future__ import annotations

from msgspec.json import decode
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.core.model import Wanted, registration
from tests.api.conversation import Network

WEB = Wanted("web", "1", "10.0.0.5", 80)
WEIGHTLESS = Wanted("web", "1", "10.0.0.5", 80, weight=0, meta={"zone": "a"})


class Hidden(SynchronousTestCase):
    """A registration is alive at one node, and hidden at another that is cut off from it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock)
        self.pass_time(2)
        _, self.body = self.network.first.register(WEIGHTLESS)
        self.network.connected = False
        for _ in range(4):
            self.pass_time(4)
            self.network.first.renew(WEB.key)
        assert self.network.second.registration(WEB.key) is None

    def pass_time(self, seconds: int) -> None:
        for _ in range(4 * seconds):
            self.clock.advance(0.25)
            for node in (self.network.first, self.network.second):
                node.sweep()
                if self.clock.seconds() % 1 == 0:
                    node.begin_round()

    def test_registered_where_it_is_hidden(self) -> None:
        """What is not sent keeps its value there too, so a heal changes nothing where it was alive all the time."""
        created, body = self.network.second.register(WEB)
        self.assertEqual((created, decode(body)), (True, decode(self.body)))
        before = self.network.first.journal.number
        self.network.reconnect()
        self.pass_time(2)
        self.assertEqual(self.network.first.registration(WEB.key), registration(WEB.key, self.body))
        self.assertEqual(self.network.first.journal.number, before)

    def test_registered_after_it_has_expired(self) -> None:
        """What is gone begins anew."""
        self.network.reconnect()
        self.pass_time(2)
        self.assertEqual(self.network.second.registration(WEB.key), registration(WEB.key, self.body))
        self.pass_time(12)
        self.assertIsNone(self.network.second.registration(WEB.key))
        _, body = self.network.second.register(WEB)
        self.assertEqual((decode(body)["weight"], decode(body)["meta"]), (1, {}))
