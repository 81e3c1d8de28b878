"""P8, honest readiness.

No node is ready, answers a client or announces anything after a start or a noticed pause before every seed (at a
start), or every node that is not silent for certain (after a pause), has answered an ask made since, or 4.5·I have
passed; with all the configuration that those had which answered. 5·I after that, or after the last page, each is ready;
and a node that neither started nor paused is ready.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from tests.simulation.knowledge import Life
from tests.simulation.oracle.history import History, ObservedNode, kept_settings


class HonestReadiness:
    """Reports nodes that are ready too early or too late."""

    def __init__(self, history: History, name_at: Callable[[str], str | None]) -> None:
        """`name_at` returns the name of the node that is reached at an address."""
        self._history = history
        self._name_at = name_at

    def check_announces(self, node: ObservedNode, key: str) -> None:
        if not node.is_ready and not node.left:
            self._history.fail("P8", f"{node.life} announces {key} while it is not ready")
        self.check_may_speak(node, f"announces {key}")

    def check_became_ready(self, node: ObservedNode) -> None:
        self.check_may_speak(node, "is ready")
        self._check_agreed(node)

    def check_may_speak(self, node: ObservedNode, what: str) -> None:
        life = node.life
        if life.away and self._history.now < life.since + 4.49 * self._history.interval_s:
            missing = self._unheard_seeds(node) if life.starting else self._unheard_peers(life)
            if missing:
                self._history.fail("P8", f"{node.name} {what} before it has heard from {', '.join(missing)}")

    def _check_agreed(self, node: ObservedNode) -> None:
        """Check that a ready node has all configuration that the answering peers had when it asked them."""
        life = node.life
        if self._history.now > life.since + 2.9 * self._history.interval_s:
            return  # A peer may be silent again by then.
        for number, asked_at in life.echoed.items():
            peer = self._history.lives[number]
            if asked_at < life.since - 1e-6 or peer.left or self._history.is_replaced(peer):
                continue
            known = [self._history.writes[write] for write in life.settings_elsewhere.get(number, ())]
            for key in {write.key for write in known}:
                history = node.setting_history(key)
                writes = self._history.remembered(write for write in known if write.key == key)
                if [*history] != kept_settings([*writes, *history]):
                    self._history.fail("P8", f"{life} is ready without settings of {key} that {peer} has")

    def _unheard_seeds(self, node: ObservedNode) -> list[str]:
        # A clone may have answered for the other, before either of them knew of the other.
        heard = {
            clone.node for number in node.life.echoed for clone in self._history.clones(self._history.lives[number])
        } | {node.name}
        # A seed that left while it was asked, as the node knows, does not answer any more.
        latest = {life.node: life for life in self._history.lives}
        heard |= {life.node for life in latest.values() if life.left and life.number in node.life.may}
        return [seed for seed in node.seeds if seed not in heard and self._is_found(node, seed)]

    def _is_found(self, node: ObservedNode, seed: str) -> bool:
        """Return True if a seed's name leads a node to that seed, and not to itself or to another node."""
        addresses = node.seed_addresses(seed)
        found = map(self._name_at, addresses)
        return node.address not in addresses and all(name is None or name == seed for name in found)

    def _unheard_peers(self, life: Life) -> list[str]:
        """Return the peers that have not answered yet, and are neither silent for certain nor gone."""
        missing = []
        for number, before in life.must_before.items():
            peer = self._history.lives[number]
            if life.learned_of(peer, self._history.now) > before:
                heard_at = peer.last_beat(life.must[number])
            else:
                heard_at = peer.last_beat(before) + life.since - life.gone_at
            silent = self._history.now > heard_at + 2.9 * self._history.interval_s
            gone = peer.left or self._history.is_replaced(peer)
            # A clone may have answered for the other, before either of them knew of the other.
            echoed_at = max(life.echoed.get(clone.number, -inf) for clone in self._history.clones(peer))
            if not (silent or gone) and echoed_at < life.since - 1e-6:
                missing.append(str(peer))
        return missing

    def check_ready(self, node: ObservedNode) -> None:
        life, ready = node.life, node.is_ready
        if not ready and not life.away:
            self._history.fail("P8", f"{life} is not ready, though it was not away")
        if not (ready or self.may_be_away(life)):
            self._history.fail("P8", f"{life} is not ready since {self._history.now - life.since:.3f} s")

    def may_be_away(self, life: Life) -> bool:
        """Return True if a life need not be ready yet."""
        return life.away and self._history.now <= max(life.since, life.paged_at) + 5 * self._history.interval_s
