"""An hour of two whole nodes in which nothing grows, but for what is made to."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.soak.day import Day

#: Virtual hours; they take some seconds.
HOURS = 1.0


class AnHour(SynchronousTestCase):
    """What `python -m tests.simulation --hours 24` does, for a short time."""

    def test_growth(self) -> None:
        """Nothing grows at a node, and what another one forgets to remove is named."""
        day = Day(1, nodes=2, instances=5, watchers=2, look_s=60.0)
        forgetful = day.cluster.processes["n1"].node
        forgetful.replica.view.addresses.discard = lambda key, address: None  # type: ignore[method-assign]
        day.run(HOURS)
        growths = day.growths()
        self.assertEqual([str(growth) for growth in growths["n0"]], [])
        self.assertIn("node.conflicts._index._shards[][]", {growth.path for growth in growths["n1"]})
