"""P6, partitions: the guard and the number of writes; the bounds on hiding are in P2 and P3.

Under guard, which some seeds have, more than half of an app is not hidden within ttl: what would be is announced as
suspect, if and only if the members that are out of sight, and those that were hidden within ttl, are more than half of
those before. A suspect is shown for the guard more, no longer by P3, and no shorter, unless an operator lifts the guard
from the app; nothing is suspect of which O knows that it was lifted, nor what O is obliged to show.

No storm: a life writes no more than its commands and each unit account for (`tests.simulation.ending`), and nothing at
all for a renewal where the instance renewed last.
"""

from __future__ import annotations

from math import inf

from bender.core.ledger import Claim, End
from bender.core.node_loss_guard import app_of, key_of_guard
from tests.simulation.knowledge import Life
from tests.simulation.oracle.history import History, ObservedNode, kept_settings
from tests.simulation.oracle.p2_no_false_offline import NoFalseOffline
from tests.simulation.records import CLOCKS, Record


class Partitions:
    """Reports keys that are hidden or suspect against the guard's rule, and writes without need."""

    def __init__(self, history: History, p2: NoFalseOffline) -> None:
        self._history = history
        self._p2 = p2

    def check_renewal(self, node: ObservedNode, record: Record, body: bytes, version: int) -> None:
        """Check that a renewal at the node of the last renewal writes nothing. The ledger had `version` before."""
        life, now, unit = node.life, self._history.now, record.units.get(body)
        if unit is None or life in record.waiting or record.hold(life, now, now) is None or unit.registration.ends:
            return
        if node.ledger_version != version:
            self._history.fail("P6", f"{node.name} writes for a renewal of {record.key}, which it holds")

    def check_suspected(self, node: ObservedNode, key: str) -> None:
        if True not in self._verdicts(node, key):
            self._history.fail("P6", f"{node.life} suspects {key}, though most of its app is not lost")

    def suspect(self, life: Life, record: Record) -> None:
        """Note that a key is suspect from now on."""
        life.suspects[record.key] = (self._history.now, self._guarded_for_certain(life, record))

    def check_hidden(self, node: ObservedNode, record: Record) -> None:
        """Check that no suspect is hidden too early, and that most of an app is hidden only after it was suspect."""
        life, key, now = node.life, record.key, self._history.now
        if key in life.suspects:
            since, until = life.suspects[key]
            until = min(until, self._guarded_for_certain(life, record))  # A holder may have removed its claim since.
            if life.born_at < since and now < until and not self._may_be_lifted(key):
                self._history.fail("P6", f"{life} hides {key} before the guard is over")
            return
        has_claims = self._history.guard_s and any(isinstance(entry, Claim) for entry in node.entries(key))
        if has_claims and not self._may_be_lifted(key):  # noqa: SIM102 - two questions
            if False not in self._verdicts(node, key) and now < self._guarded_for_certain(life, record):
                self._history.fail("P6", f"{life} hides {key}, though most of its app is lost")

    def note_loss(self, life: Life, key: str) -> None:
        """Note that a key is hidden, which was listed until now."""
        life.losses[key] = (self._history.now, sum(app_of(other) == app_of(key) for other in life.shown))

    def _verdicts(self, node: ObservedNode, key: str) -> set[bool]:
        """Return whether hiding a key is part of a mass loss. Return both answers if this depends on the clocks."""
        life, app = node.life, app_of(key)
        listed = [other for other in life.shown if app_of(other) == app]
        out_of_sight = sum(self._out_of_sight(node, other) for other in listed)
        verdicts = set()
        for window_s in (self._history.ttl_s * (1 - CLOCKS), self._history.ttl_s * (1 + CLOCKS)):
            lost = [
                members
                for other, (at, members) in life.losses.items()
                if at > self._history.now - window_s and app_of(other) == app
            ]
            verdicts.add(2 * (out_of_sight + len(lost)) > (lost[0] if lost else len(listed)))
        return verdicts

    def _out_of_sight(self, node: ObservedNode, key: str) -> bool:
        """Return True if a key will be hidden unless a node is heard again that is silent now."""
        entries = node.entries(key)
        ended = {root for entry in entries if isinstance(entry, End) for root in entry.roots}
        holders = [entry.node for entry in entries if isinstance(entry, Claim) and entry.root not in ended]
        peers = [(peer, silent) for peer, silent in node.peers(self._history.now) if peer.incarnation in holders]
        if node.life.incarnation in holders or not all(silent for _, silent in peers):
            return False
        return key in node.life.suspects or not all(peer.is_gone for peer, _ in peers)

    def _guarded_for_certain(self, life: Life, record: Record) -> float:
        """Return the time until which a life must list its suspects, by what it knows for certain of the holders."""
        ttl_s = record.ttl_s_min * (1 - CLOCKS) + 2.95 * self._history.interval_s
        last_at = -inf
        for holder in record.holds:
            moment = life.knows(holder, self._history.now)
            hold = record.hold(holder, moment, self._history.now)
            if hold is not None and life.learned_of(holder, self._history.now) < hold[0]:
                last_at = max(last_at, holder.last_beat(moment))
        return last_at + ttl_s + self._history.guard_s * (1 - CLOCKS)

    def _may_be_lifted(self, key: str) -> bool:
        lifting = key_of_guard(app_of(key))
        return any(write.key == lifting and not self._history.is_over(write) for write in self._history.writes)

    def _is_lifted(self, node: ObservedNode, key: str) -> bool:
        lifting = key_of_guard(app_of(key))
        known = [
            self._history.writes[number] for number in node.life.settings if self._history.writes[number].key == lifting
        ]
        return bool(known) and self._history.is_in_time(kept_settings([*known, *node.setting_history(lifting)])[0])

    def check_suspects(self, node: ObservedNode) -> None:
        life, history = node.life, self._history
        for key, (since, _) in life.suspects.items():
            until = max(since + history.guard_s * (1 + CLOCKS), life.ready_at, life.resumed_at)
            if history.now > until + 0.3 * history.interval_s:
                history.fail("P6", f"{life} suspects {key} since {history.now - since:.3f} s")
            if self._is_lifted(node, key):
                history.fail("P6", f"{life} suspects {key}, though the guard was lifted from its app")
            self._p2.check_still_suspect(life, history.records[key])
