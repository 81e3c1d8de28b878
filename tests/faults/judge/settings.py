"""P7 as seen from outside: settings of backends are kept, and all nodes agree on one.

The simulator's checker reads ranks and whole histories of replicas. Here every write has its own `unit`, a key gets
fewer than 20 writes, and no backend is removed, so that no setting may ever be displaced:

- if a node must know the moment at which a write was accepted, the history of the key at this node has the write;
- no node shows or announces a setting that no client has sent;
- in the end all nodes show the same history.

Settings that were accepted before all nodes ended may be lost.
"""

from __future__ import annotations

from attrs import define, field

from tests.faults.facts import ClientRequest, HistoriesAnswer, ReceivedEvent
from tests.faults.judge.knowledge import ObservedLife
from tests.simulation.oracle.history import History


@define
class Settings:
    """Checks the settings that nodes show against the writes of clients."""

    history: History
    #: The units that clients have sent, by key.
    _sent: dict[str, set[str]] = field(factory=dict)
    #: Accepted writes: key, unit, life, and time of the answer.
    _accepted: list[tuple[str, str, ObservedLife, float]] = field(factory=list)
    #: The last histories of each node.
    _shown: dict[str, dict[str, list[str | None]]] = field(factory=dict)

    def node_began(self, node: str) -> None:
        """Forget the histories of a node whose process has started again."""
        self._shown.pop(node, None)

    def all_ended(self) -> None:
        """Forget all accepted writes, because no node is left."""
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
        """Check the histories of a node; `known_at` is a time before the request."""
        self._shown[fact.node] = fact.settings
        for key, shown in fact.settings.items():
            for unit in shown:
                if unit not in self._sent.get(key, ()):
                    self.history.fail("P7", f"{life} shows {unit!r} of {key}, which nobody sent")
            for written, unit, there, at in self._accepted:
                if written == key and unit not in shown and life.knows(there, known_at) > at:
                    self.history.fail("P7", f"{life} has lost {unit} of {key}, which {there} accepted")

    def check_end(self, nodes: list[str]) -> None:
        """Check that the last histories of all nodes are equal."""
        shown = {node: self._shown[node] for node in nodes if node in self._shown}
        if len({str(sorted(each.items())) for each in shown.values()}) > 1:
            self.history.fail("P7", f"nodes show different settings in the end: {shown}")
