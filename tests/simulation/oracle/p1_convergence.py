"""P1, convergence: nodes that have received the same updates show the same state.

Nodes that were connected for 2.2·I, and none of which has changed anything for as long, have equal digests (4.5·I where
messages get lost), unless one of them lacks pages of a ledger. After the last heal of a run, with no more commands, all
are equal after 2 rounds: digest, registrations, settings and their history (`tests.simulation.ending`).
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.simulation.knowledge import Life
from tests.simulation.oracle.history import History, ObservedNode
from tests.simulation.records import FORGOTTEN_S


class Convergence:
    """Compares the digests of nodes that are connected and do not change."""

    def __init__(self, history: History) -> None:
        self._history = history
        #: The digest that each life had last, and since when.
        self._digests: dict[Life, tuple[int, float]] = {}

    def check_equal(self, nodes: Iterable[ObservedNode]) -> None:
        history = self._history
        now, interval_s, weather = history.now, history.interval_s, history.weather
        quiet_s = (4.5 if weather.rough(now - 4.5 * interval_s) else 2.2) * interval_s
        compared = {
            node.life: node
            for node in nodes
            if node.serving and node.is_ready and not (node.life.doubled or node.lacks_pages())
        }
        for life, node in compared.items():
            digest = node.digest
            if life not in self._digests or self._digests[life][0] != digest:
                self._digests[life] = (digest, now)
        since = now - quiet_s
        if any(FORGOTTEN_S < now - life.beats[-1] < 3 * FORGOTTEN_S for life in history.lives):
            return  # Each node forgets them at its own time.
        if weather.stable_since() > since or not weather.lucky(since, now):
            return
        for group in weather.groups():
            if all(life in compared and self._digests[life][1] <= since for life in group):
                history.counts["digests compared"] += len(group) > 1
                if len({self._digests[life][0] for life in group}) > 1:
                    history.fail("P1", f"{', '.join(map(str, group))} are connected, quiet and unlike")
