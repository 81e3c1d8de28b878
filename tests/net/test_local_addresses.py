"""The addresses of this machine."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.net.local_addresses import FRESH_S, LocalAddresses


class Addresses(SynchronousTestCase):
    def test_they_are_asked_for_now_and_then(self) -> None:
        """Added and removed addresses are found after some seconds. Meanwhile, the kernel is not asked."""
        clock, asked = Clock(), []
        there = {"10.0.0.1"}

        def ask() -> frozenset[str]:
            asked.append(clock.seconds())
            return frozenset(there)

        local = LocalAddresses(clock, ask)
        self.assertEqual([local.has(address) for address in ("10.0.0.1", "10.0.0.2")], [True, False])
        there.add("10.0.0.2")
        clock.advance(FRESH_S - 0.1)
        self.assertFalse(local.has("10.0.0.2"))
        clock.advance(0.1)
        self.assertTrue(local.has("10.0.0.2"))
        self.assertEqual(asked, [0, FRESH_S])
