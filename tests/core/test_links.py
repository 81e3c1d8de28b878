"""With whom rounds begin."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from bender.core.links import ALL_MAX, partners

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
