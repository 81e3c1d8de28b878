"""Applies a configuration that was reread to a node that runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from bender.daemon.options import NodeOptions
from bender.process.signals import Reread


class RunningNode(Protocol):
    """The methods of a node that are used here."""

    def set_guard_duration(self, guard_s: float) -> None: ...


class RunningExchange(Protocol):
    """The methods of the exchange that are used here."""

    def replace_seeds(self, seeds: Sequence[str]) -> None: ...


#: The options that a node takes over at its next start, as strings for people.
AT_NEXT_START: dict[str, Callable[[NodeOptions], str]] = {
    "api": lambda choices: choices.api.description,
    "exchange": lambda choices: choices.exchange.description,
    "events": lambda choices: choices.events.description,
    "cluster": lambda choices: choices.cluster,
    "name": lambda choices: choices.name,
    "advertise": lambda choices: choices.advertise,
    "ttl": lambda choices: f"{choices.timing.ttl_s:g}",
    "interval": lambda choices: f"{choices.timing.interval_s:g}",
}


class NodeReloader:
    """Changes the options of a node that was started with `choices`."""

    def __init__(self, choices: NodeOptions, node: RunningNode, exchange: RunningExchange) -> None:
        self._started_with = choices
        self._now = choices
        self._node = node
        self._exchange = exchange

    def apply(self, chosen: NodeOptions) -> Reread:
        """Apply the options that can change while the node runs, and name the others that differ."""
        before, self._now = self._now, chosen
        changed = [*self._apply_peers(before, chosen), *self._apply_guard(before, chosen)]
        return Reread(changed, [*self._later(chosen)])

    def _apply_peers(self, before: NodeOptions, chosen: NodeOptions) -> Sequence[str]:
        added = [peer for peer in chosen.peers if peer not in before.peers]
        removed = [peer for peer in before.peers if peer not in chosen.peers]
        if not (added or removed):
            return ()
        self._exchange.replace_seeds(chosen.peers)
        return [
            f"--peers: {', '.join(peers)} {what}" for peers, what in ((added, "added"), (removed, "removed")) if peers
        ]

    def _apply_guard(self, before: NodeOptions, chosen: NodeOptions) -> Sequence[str]:
        if chosen.guard_s == before.guard_s:
            return ()
        self._node.set_guard_duration(chosen.guard_s)
        return [f"--guard: {chosen.guard_s:g} instead of {before.guard_s:g}"]

    def _later(self, chosen: NodeOptions) -> Sequence[str]:
        """Yield what differs from the start, also where an earlier reread has logged it."""
        pairs = {option: (of(self._started_with), of(chosen)) for option, of in AT_NEXT_START.items()}
        return [f"--{option} {new} instead of {old}" for option, (old, new) in pairs.items() if new != old]
