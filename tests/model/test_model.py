"""The core keeps its promises in all schedules of a few steps, and a core with a fault does not."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.model.explore import Failure, Search
from tests.model.faults import FAULTS, Fault
from tests.model.world import STEPS
from tests.simulation.patches import patched


class Model(SynchronousTestCase):
    def test_the_core_keeps_its_promises(self) -> None:
        """All schedules of three steps at two nodes, and at three nodes, end as they must."""
        for names, states in ("ba", 200), ("abc", 400):
            search = Search(names, {*STEPS})
            self.assertEqual([str(failure) for _ in range(3) for failure in search.deepen()], [])
            self.assertGreater(search.levels[-1].states, states)

    def test_faults_are_found(self) -> None:
        """A planted fault breaks the promise that it is about, within a few steps."""
        for name, fault in FAULTS.items():
            with patched(fault.patches):
                self.assertIsNotNone(_found(fault), name)


def _found(fault: Fault) -> Failure | None:
    search = Search(fault.names, fault.kinds)
    failures = (failure for _ in range(fault.depth) for failure in search.deepen())
    return next((failure for failure in failures if failure.promise == fault.promise), None)
