"""The core keeps its promises in all schedules of a few steps, and a core with a planted fault breaks them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from bender.core.claims import Claims
from bender.core.ledger import End
from tests.effort import effort
from tests.model.explore import Failure, Search
from tests.model.world import STEPS
from tests.simulation.mutations import MUTATIONS
from tests.simulation.mutations.mutation import around
from tests.simulation.patches import Patch, patched


@frozen
class Fault:
    """The patches of a fault, and what finds it: the promise that breaks, the number of steps, and their kinds."""

    patches: list[Patch]
    promise: str
    depth: int
    kinds: str

    def found(self) -> Failure | None:
        search = Search("ab", {*self.kinds.split()})
        with patched(self.patches):
            failures = (failure for _ in range(self.depth) for failure in search.deepen())
            return next((failure for failure in failures if failure.promise == self.promise), None)


def _ends_what_it_hides(original: Callable[..., Any], claims: Claims, key: str, now: float) -> Any:
    original(claims, key, now)
    claim = claims.hidden_claim(key)
    ended = [root for entry in claims.index.entries(key) if isinstance(entry, End) for root in entry.roots]
    if claim is not None and claim.root not in ended:
        claims._end(key, claim.ttl_s + claims._timing.end_kept_s, claim.rev, (claim.root,), now)


FAULTS = {
    "a change begins a registration": Fault(
        MUTATIONS["a change begins a registration"].patches, "P4", 4, "register change deregister deliver"
    ),
    "ends live for an interval": Fault(
        MUTATIONS["ends live for an interval"].patches, "P4", 5, "register deregister cut wait"
    ),
    "claims lapse and nobody is asked": Fault(
        MUTATIONS["nobody is asked"].patches, "P2", 5, "register renew tick wait"
    ),
    "a deregistration ends the node's own claim alone": Fault(
        MUTATIONS["a removal without an end"].patches, "P4", 3, "register deregister deliver"
    ),
    "claims do not follow": Fault(MUTATIONS["claims do not follow"].patches, "P3", 3, "register shorten deliver"),
    "what is hidden is ended": Fault(
        [(Claims, "refresh", around(_ends_what_it_hides))], "P2", 4, "register deliver cut stay"
    ),
}


class Model(SynchronousTestCase):
    def test_the_core_keeps_its_promises(self) -> None:
        """All schedules of three steps at two nodes, and of two or three steps at three nodes, keep the promises."""
        for names, steps, states in ("ba", 3, 200), ("abc", effort(2, 3), effort(40, 400)):
            search = Search(names, {*STEPS})
            self.assertEqual([str(failure) for _ in range(steps) for failure in search.deepen()], [])
            self.assertGreater(search.levels[-1].states, states)

    def test_planted_faults_are_found(self) -> None:
        """Each planted fault breaks its promise within a few steps."""
        self.assertEqual([name for name, fault in FAULTS.items() if fault.found() is None], [])
