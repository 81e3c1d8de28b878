"""A digest, by value, of everything that decides the future of a world.

Times are relative to the present, and heartbeats to the heartbeats that their incarnation has made. A new attribute
of the core counts, unless the lists below name it. They name the attributes whose values are found elsewhere too,
never change in a search, or decide nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from hashlib import blake2b
from operator import attrgetter
from typing import Any

import msgspec

from bender.core.entries import Entries
from bender.core.gossip_targets import FAILURES_IN_A_ROW, Link
from bender.core.leases import Leases
from bender.core.messages import Counter
from bender.core.peers import Peer
from bender.core.view import View
from tests.model.promises import INTERVAL_S, KEY, TTL_S
from tests.model.world import DURATION_S_MAX, World

LEFT_OUT = {
    *("_beats", "_claims", "_peers", "_links", "_view", "beats", "index", "known_beats", "ledger", "requests"),
    *("_configuration", "_identity", "_interval_s", "_keys_max", "_page_entries_max", "_stale_settings", "_timing"),
    *("api_port", "configuration", "guard", "guard_s", "names", "seeds", "timing"),
    *("_asked_at", "_inherited_until", "_marks", "lapse_rules", "now", "own"),
}

#: No rule looks back further than this, except for the ten minutes after which nodes are forgotten.
OLD_S = TTL_S + 8 * INTERVAL_S

SCALARS = {int, str, bytes, bool, type(None)}


def digest(world: World) -> bytes:
    """Return the same digest for worlds with the same future."""
    value = [_Plain(world).of(world), world.now % INTERVAL_S]
    return blake2b(msgspec.msgpack.encode(value), digest_size=16).digest()


class _Plain:
    """Turns everything in a world into lists of scalars."""

    def __init__(self, world: World) -> None:
        self._now = world.now
        replicas = [node.replica for node in world.nodes.values()]
        # Heartbeats of ended incarnations keep their value.
        self._beats = {replica.identity.incarnation: replica.gossip._beats for replica in replicas}
        self._ways: dict[type, Callable[[Any], Any]] = {
            float: lambda value: max(value - self._now, -OLD_S) if value > DURATION_S_MAX else value,
            dict: lambda values: [self.all((key, values[key])) for key in sorted(values)],
            Entries: lambda entries: self.all(entries.values()),
            Leases: self._leases,
            Link: self._link,
            View: lambda view: self.all((view.claim(KEY), view.hidden_root(KEY))),
            Peer: self._heard,
            Counter: self._heard,
            **dict.fromkeys((list, tuple, deque), self.all),
            **dict.fromkeys((set, frozenset), lambda values: sorted(self.all(values))),
        }

    def of(self, value: Any) -> Any:
        way = self._ways.get(type(value))
        return way(value) if way else self.all(_values(value))

    def all(self, values: Iterable[Any]) -> list[Any]:
        return [value if type(value) in SCALARS else self.of(value) for value in values]

    def _leases(self, leases: Leases) -> Any:
        due = leases.due
        return sorted(
            self.all((lease.entry.n, lease.deadline, lease.is_current, due.get(lease, 0))) for lease in leases
        )

    def _link(self, link: Link) -> Any:
        failures = min(link.failures, FAILURES_IN_A_ROW)
        return [link.incarnation, link.pushed_version, link.has_failed, failures, link.open_push is None]

    def _heard(self, heard: Peer | Counter) -> Any:
        own = self._beats.get(heard.incarnation, 0)
        beats = (heard.beats, getattr(heard, "known_beats", -1))
        return self.all(_values(heard)) + [count - own if count >= 0 else None for count in beats]


_FIELDS: dict[type, Callable[[Any], tuple[Any, ...]]] = {}


def _values(value: Any) -> tuple[Any, ...]:
    """Return all attributes of an instance except the ignored ones."""
    kind = type(value)
    if kind not in _FIELDS:
        _FIELDS[kind] = _fields(kind)
    return _FIELDS[kind](value)


def _fields(kind: type) -> Callable[[Any], tuple[Any, ...]]:
    slots = getattr(kind, "__struct_fields__", getattr(kind, "__slots__", ()))
    names = [name for name in slots if name not in LEFT_OUT and name != "__weakref__"]
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple([field for name, field in vars(value).items() if name not in LEFT_OUT])
