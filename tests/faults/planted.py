"""Defects that are planted in real nodes, to prove that the judge finds them.

Most defects are mutations of the simulator. Each defect comes with the faults under which it has an effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf
from typing import Any

from attrs import evolve, frozen

from bender.core import claims, last_writer_wins
from bender.core.gossip import Gossip
from bender.core.ledger import Delta
from bender.core.peers import Peer, Peers
from bender.core.view import View
from tests.faults.plan import Plan, Step, plan_of
from tests.simulation.mutations import MUTATIONS
from tests.simulation.mutations.mutation import around, instead
from tests.simulation.patches import Patch

#: The seed from which clients and programs are drawn, and the time of faults for each defect.
SEED, FAULTS_S = 4, 14.0


@frozen
class Defect:
    """A defect with its nodes and faults, and the promises of which the judge has to find at least one broken."""

    promises: tuple[str, ...]
    patches: list[Patch]
    nodes: tuple[str, ...] = ("n1", "n2", "n3")
    steps: tuple[Step, ...] = ()

    @property
    def plan(self) -> Plan:
        drawn = plan_of(SEED, faults_s=FAULTS_S, previous=False)
        return evolve(drawn, nodes=3, interval_s=0.5, ttl_s=3.0, relayed=False, steps=self.steps)


def _takes_none(original: Any, gossip: Gossip, deltas: Iterable[Delta], now: float) -> Any:
    return original(gossip, (), now)


def _sends_event_twice(original: Any, view: View) -> Iterator[Any]:
    events = original(view)
    return [*events, *events[:1]]  # type: ignore[return-value]


def _twice_as_long_silent(_peers: Peers, peer: Peer, now: float) -> float:
    """Double the silence of peers. From outside, a smaller error looks like news on the way at the cut."""
    return 2 * (now - peer.heard_at)


def _mutation(name: str) -> list[Patch]:
    return MUTATIONS[name].patches


_STARTED_WHILE_CUT_OFF = (Step(4.0, "islands", (0,), 40.0), Step(4.5, "kill", (0,), 0.1))
_CUT = (Step(4.0, "islands", (0,), 7.0),)

DEFECTS = {
    "P1": Defect(("P1",), [(Gossip, "_join_deltas", around(_takes_none))], ("n1",)),
    "P2": Defect(("P2",), _mutation("a renewal elsewhere makes no claim")),
    # Claims are never confirmed by an answer, and nodes wait for peers without a limit.
    "P3": Defect(("P3",), [(claims, "confirmed_until", instead(lambda asked: -inf)), *_mutation("endless patience")]),
    "P4": Defect(("P4",), _mutation("a removal without an end")),
    "P5": Defect(("P5",), [(View, "take_events", around(_sends_event_twice))], ("n1",)),
    "P5, reasons": Defect(("P5",), _mutation("an end has no reason")),
    "P6": Defect(("P2",), [(Peers, "horizon_s", instead(_twice_as_long_silent))], steps=_CUT),
    "P7": Defect(("P7",), [(last_writer_wins, "SETTINGS_PER_KEY_MAX", instead(2))]),
    "P8": Defect(("P8",), _mutation("ready at once after a start"), steps=_STARTED_WHILE_CUT_OFF),
}


def plant(name: str) -> None:
    """Change bender in this process until the process ends."""
    for owner, attribute, change in DEFECTS[name].patches:
        setattr(owner, attribute, change(vars(owner)[attribute]))
