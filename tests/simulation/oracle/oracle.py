"""Runs all checkers: at events and accepted commands, when a node becomes ready, and twice an interval."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from bender.core.view import ViewEvent
from tests.simulation.knowledge import Life
from tests.simulation.oracle.history import History, ObservedNode
from tests.simulation.oracle.p1_convergence import Convergence
from tests.simulation.oracle.p2_no_false_offline import NoFalseOffline
from tests.simulation.oracle.p3_nothing_dead_stays import NothingDeadStays
from tests.simulation.oracle.p4_gone_is_gone import GoneIsGone
from tests.simulation.oracle.p5_truthful_events import ENDED, TruthfulEvents
from tests.simulation.oracle.p6_partitions import Partitions
from tests.simulation.oracle.p7_configuration_is_kept import ConfigurationIsKept
from tests.simulation.oracle.p8_honest_readiness import HonestReadiness
from tests.simulation.records import Record


class Oracle:
    """Watches the nodes of a cluster, and writes what it sees to the history."""

    def __init__(
        self, history: History, nodes: Mapping[str, ObservedNode], name_at: Callable[[str], str | None]
    ) -> None:
        """`nodes` are the nodes of each moment, by name. `name_at` returns the name of the node at an address."""
        self.history = history
        #: The promises that were broken.
        self.broken = history.broken
        self._nodes = nodes
        self._p1 = Convergence(history)
        self._p2 = NoFalseOffline(history)
        self._p3 = NothingDeadStays(history)
        self._p4 = GoneIsGone(history, self._p3)
        self._p5 = TruthfulEvents(history)
        self._p6 = Partitions(history, self._p2)
        self._p7 = ConfigurationIsKept(history, self._p5)
        self._p8 = HonestReadiness(history, name_at)

    # Commands.

    def accepted(
        self, node: ObservedNode, key: str, body: bytes, existing: bytes | None, version: int, *, succeeds: bool = False
    ) -> None:
        """Note and check that a node accepted a registration or renewal. Its ledger had `version` before."""
        self._p8.check_may_speak(node, f"accepts {key}")
        self._count(node, "accepted")
        record = self.history.record(key)
        self._p6.check_renewal(node, record, body, version)
        self.history.accepted(node.life, record, body, existing, succeeds=succeeds)

    def deregistered(self, node: ObservedNode, key: str, bodies: Iterable[bytes], reason: str | None) -> None:
        """Note and check that a node deregistered a key of which it knew claims with `bodies`."""
        self._p8.check_may_speak(node, f"deregisters {key}")
        self._count(node, "deregistered")
        self.history.deregistered(node.life, key, bodies, reason)

    def _count(self, node: ObservedNode, what: str) -> None:
        self.history.counts[what] += 1
        self.history.commands[node.life] += 1

    def configured(self, node: ObservedNode, key: str) -> None:
        """Note that a node accepted a setting of a key."""
        self._p8.check_may_speak(node, f"configures {key}")
        self.history.counts["configured"] += 1
        self.history.configured(node.life, node.setting_history(key)[0])

    # Nodes.

    def became_ready(self, node: ObservedNode) -> None:
        """Check a node that reports that it is ready."""
        self._p8.check_became_ready(node)
        self.history.became_ready(node.life)

    def may_be_away(self, life: Life) -> bool:
        """Return True if a life need not be ready yet."""
        return self._p8.may_be_away(life)

    # Events.

    def event(self, node: ObservedNode, event: ViewEvent) -> None:
        """Check an event that a node announced."""
        known = len(self.broken)
        self._event(node, event)
        if node.life.unaware:  # The node cannot know better.
            del self.broken[known:]

    def _event(self, node: ObservedNode, event: ViewEvent) -> None:
        life, key = node.life, event.key
        self.history.counts[event.change] += 1
        life.events.append(event)
        self._p8.check_announces(node, key)
        if not key.startswith("registration/"):
            self._p5.check_setting_changed(life, event)
            self._p7.check_announced(life, event)
            return
        record = self._p5.check_body(life, event)
        if record is None:
            return
        if event.change == "online":
            self._p5.check_online(life, record, event)
            self._p4.check_online(life, record, record.units[event.body].registration)
        elif event.reason == "configured":
            self._p5.check_state_changed(life, event)
        elif not self._p5.check_state(life, event):
            return
        elif event.change == "changed" and event.body == life.shown.get(key):
            self._turned(node, record, event)
        elif event.change == "changed":
            self._changed(life, record, event)
        else:
            self._offline(node, record, event)

    def _changed(self, life: Life, record: Record, event: ViewEvent) -> None:
        old = self._p5.check_changed(life, event)
        if old is not None:
            self._p4.check_announced(life, record, record.units[event.body].registration)
            self._p5.check_goes_on(life, record, event, old)

    def _offline(self, node: ObservedNode, record: Record, event: ViewEvent) -> None:
        life, key, unit = node.life, event.key, record.units[event.body]
        correct = self._p5.check_suspicion(life, event)
        if event.reason == "node-lost":
            if correct:
                self._p6.check_hidden(node, record)
            self._p6.note_loss(life, key)
        self._p5.check_offline(life, event)
        if not (life.away or unit.registration.ends):
            self._p3.check_was_shown(life, record)
        self._p2.check_taken_back(life, record)
        self._p5.check_reason(life, record, unit, event)
        life.ghosts.pop(key, None)
        suspect = life.suspects.pop(key, None)
        # Under a long guard, the nodes with claims may be forgotten before the registration is hidden.
        lost_at = self.history.now if suspect is None else suspect[0]
        life.taken_back[key] = (lost_at, event.reason, event.body)
        if event.reason in ENDED:
            life.said_deregistered.add(unit.registration)
        elif not record.was_ended and suspect is None:
            self._p3.note_delay(life, record)

    def _turned(self, node: ObservedNode, record: Record, event: ViewEvent) -> None:
        """Check an event by which a registration became suspect, or is not suspect any more."""
        life, key = node.life, event.key
        if not self._p5.check_turned(life, event):
            return
        if not event.status.suspect:
            del life.suspects[key]
            self._p3.check_trusted_again(life, record)
            return
        self.history.counts["suspected"] += 1
        self._p2.check_suspected(life, record)
        self._p6.check_suspected(node, key)
        self._p5.check_reason(life, record, record.units[event.body], event)
        self._p6.suspect(life, record)

    # Twice an interval.

    def look(self) -> None:
        """Check everything that all nodes list."""
        self.history.note_who_knows()
        for node in self._nodes.values():
            if not node.serving:
                continue
            self._p8.check_ready(node)
            self._p5.check_shown(node)
            if node.is_ready and not node.life.unaware:
                for record in self.history.records.values():
                    self._check_record(node.life, record)
                self._p7.check_settings(node)
                self._p7.check_states(node)
                self._p5.check_suspects(node)
                self._p6.check_suspects(node)
        self._p1.check_equal(self._nodes.values())

    def _check_record(self, life: Life, record: Record) -> None:
        body = life.shown.get(record.key)
        if body is None:
            self._p2.check_is_shown(life, record)
            return
        unit = record.units[body]
        self._p4.check_shown(life, record, unit.registration)
        self._p3.check_shown(life, record)
        if self.history.now >= record.last_at + record.ttl_s_max:
            self._p4.check_ghost(life, record)
        if len(record.units) > 1:
            self._p2.check_not_replaced(life, record, unit)
