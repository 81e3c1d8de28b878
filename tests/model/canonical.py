"""Whether two worlds are alike: a digest of all that decides what can still happen, by value.

Times are taken relative to now, and heartbeats relative to those that their incarnation has made. What is left out
follows from the rest, or is only looked at by people.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import cache
from hashlib import blake2b
from operator import attrgetter
from typing import Any

import attrs
import msgspec

from bender.core.contacts import Contact
from bender.core.entries import Entries
from bender.core.leases import Leases
from bender.core.links import Link
from bender.core.messages import Counter
from bender.core.view import View
from tests.model.promises import I, KEY, TTL_S
from tests.model.world import LONG_S, World

#: Attributes that are found elsewhere as well, never change here, or decide nothing.
LEFT_OUT = {
    *("_claims", "_configuration", "_contacts", "_identity", "_interval_s", "_links", "_marks", "_page_entries_max"),
    *("_stale_settings", "_timing", "_view", "configuration", "guard", "guard_s", "index", "ledger", "timing"),
    *("_asked_at", "_inherited_until", "_keys_max", "now", "names", "api_port", "_beats", "beats", "known_beats", "requests", "seeds"),
}

#: No rule looks back further than this, but for the ten minutes after which nodes are forgotten.
OLD_S = TTL_S + 8 * I

SCALARS = {int, str, bytes, bool, type(None)}


def digest(world: World) -> bytes:
    """Return the same for worlds with the same future."""
    plain = _Plain(world)
    value = [plain.of(world), world.now % I]
    return blake2b(msgspec.msgpack.encode(value), digest_size=16).digest()


class _Plain:
    """Makes lists, numbers and strings of everything in a world."""

    def __init__(self, world: World) -> None:
        self._now = world.now
        replicas = [node.replica for node in world.nodes.values()]
        # Of incarnations that are no more the heartbeats are what they are.
        self._beats = {replica.identity.incarnation: replica.rounds._beats for replica in replicas}
        self._ways: dict[type, Callable[[Any], Any]] = {
            float: self._time,
            dict: lambda values: [self.all((key, values[key])) for key in sorted(values)],
            Entries: lambda entries: self.all(entries.values()),
            Leases: self._leases,
            Link: lambda link: [link.incarnation, link.pushed, link.failed, min(link.failures, 4), link.push is None],
            View: lambda view: self.all((view.claim(KEY), view.hidden_root(KEY))),
            Contact: self._heard,
            Counter: self._heard,
            **dict.fromkeys((list, tuple, deque), self.all),
            **dict.fromkeys((set, frozenset), lambda values: sorted(self.all(values))),
        }

    def of(self, value: Any) -> Any:
        way = self._ways.get(type(value))
        return way(value) if way else self.all(_values(value))

    def all(self, values: Iterable[Any]) -> list[Any]:
        return [value if type(value) in SCALARS else self.of(value) for value in values]

    def _time(self, value: float) -> float:
        return max(value - self._now, -OLD_S) if value > LONG_S else value

    def _leases(self, leases: Leases) -> Any:
        due = leases.due
        return sorted(self.all((lease.entry.n, lease.deadline, lease.current, due.get(lease, 0))) for lease in leases)

    def _heard(self, heard: Contact | Counter) -> Any:
        own = self._beats.get(heard.incarnation, 0)
        beats = (heard.beats, getattr(heard, "known_beats", -1))
        return self.all(_values(heard)) + [count - own if count >= 0 else None for count in beats]


def _values(value: Any) -> tuple[Any, ...]:
    """All attributes of an instance that decide something."""
    fields = _fields(type(value))
    return fields(value) if fields else tuple([vars(value)[name] for name in vars(value) if name not in LEFT_OUT])


@cache
def _fields(kind: type) -> Callable[[Any], tuple[Any, ...]] | None:
    fields = [field.name for field in attrs.fields(kind)] if attrs.has(kind) else getattr(kind, "__slots__", ())
    names = [name for name in getattr(kind, "__struct_fields__", fields) if name not in LEFT_OUT]
    return attrgetter(*names) if len(names) > 1 else None
