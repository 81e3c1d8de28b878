"""Some dozens of seeds of both profiles: whole clusters of one to seven nodes keep every promise."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.seeds import simulate


class Seeds(SynchronousTestCase):
    """What `python -m tests.simulation` does by the thousand."""

    def check(self, seeds: range, *, hard: bool) -> None:
        broken = {seed: outcome.broken for seed in seeds if (outcome := simulate(seed, hard=hard)).broken}
        self.assertEqual(broken, {})

    def test_normal(self) -> None:
        """A few faults at a time, good and bad networks, days of partition."""
        self.check(range(1, 31), hard=False)

    def test_hard(self) -> None:
        """Many faults at a time, bad networks, short leases, and clients that renew in the last moment."""
        self.check(range(1, 31), hard=True)
