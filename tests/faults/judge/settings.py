"""P7 as seen from outside: settings of backends are kept, and one of them wins everywhere.

The simulator's checker reads ranks and whole histories of replicas. Here every write has a `unit` that no other has, a
key gets fewer than 20, and nothing is removed, so that no setting may ever be displaced:

- a node that must know the moment at which a write was accepted shows it in the history of its key;
- no node shows or announces a setting that no client sent;
- in the end all nodes show the same history.

What was accepted before all nodes had ended is lost.
"""

from __future__ import annotations

from attrs import define, field

from tests.faults.facts import ClientRequest, HistoriesAnswer, ReceivedEvent
from tests.faults.judge.knowledge import ObservedLife
from tests.simulation.oracle.history import History


@define
class Settings:
    """Checks what nodes show of configuration against what clients wrote."""

    history: History
    #: What clients sent, by key, whether it was accepted or not.
    _sent: dict[str, set[str]] = field(factory=dict)
    #: What was accepted: key, unit, life and time of the answer.
    _accepted: list[tuple[str, str, ObservedLife, float]] = field(factory=list)
    #: What each node showed last.
    _shown: dict[str, dict[str, list[str | None]]] = field(factory=dict)

    def node_began(self, node: str) -> None:
        """Expect what a node has to show from a new process of it."""
        self._shown.pop(node, None)

    def all_ended(self) -> None:
        """Expect nothing of what was accepted while any node lived."""
        self._accepted.clear()

    def sent(self, request: ClientRequest) -> None:
        self._sent.setdefault(request.key, set()).add(request.unit)

    def accepted(self, life: ObservedLife, request: ClientRequest) -> None:
        self._accepted.append((request.key, request.unit, life, request.at))
        self.history.counts["configured"] += 1

    def check_announced(self, life: ObservedLife, fact: ReceivedEvent) -> None:
        if fact.body not in self._sent.get(fact.key, ()):
            self.history.fail("P7", f"{life} announces {fact.key} with {fact.body!r}, which nobody sent")

    def check_histories(self, life: ObservedLife, fact: HistoriesAnswer, known_at: float) -> None:
        """Check the histories that a node showed; `known_at` is a time before the request."""
        self._shown[fact.node] = fact.settings
        for key, shown in fact.settings.items():
            for unit in shown:
                if unit not in self._sent.get(key, ()):
                    self.history.fail("P7", f"{life} shows {unit!r} of {key}, which nobody sent")
            for written, unit, there, at in self._accepted:
                if written == key and unit not in shown and life.knows(there, known_at) > at:
                    self.history.fail("P7", f"{life} has lost {unit} of {key}, which {there} accepted")

    def check_end(self, nodes: list[str]) -> None:
        """Check that all nodes showed the same last."""
        shown = {node: self._shown[node] for node in nodes if node in self._shown}
        if len({str(sorted(each.items())) for each in shown.values()}) > 1:
            self.history.fail("P7", f"nodes show different settings in the end: {shown}")
