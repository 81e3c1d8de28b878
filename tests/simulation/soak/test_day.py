"""In an hour of two whole nodes nothing grows, except for a leak that the test makes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.soak.day import Day

#: The virtual hours of the test, which take some seconds.
HOURS = 1.0


class AnHour(SynchronousTestCase):
    """A short run of `python -m tests.simulation --hours 24`."""

    def test_growth(self) -> None:
        """Nothing grows at one node, and the structure that the other one leaks is named."""
        day = Day(1, nodes=2, instances=5, watchers=2, look_s=60.0)
        forgetful = day.cluster.processes["n1"].node
        forgetful.replica.view.addresses.discard = lambda key, address: None  # type: ignore[method-assign]
        day.run(HOURS)
        growths = day.growths()
        self.assertEqual([str(growth) for growth in growths["n0"]], [])
        self.assertIn("node.conflicts._index._shards[][]", {growth.path for growth in growths["n1"]})
