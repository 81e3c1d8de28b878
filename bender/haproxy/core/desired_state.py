"""The state that HAProxy is to have, updated event by event, so that an event costs only what it changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any

from attrs import define, field

from bender.haproxy.core.admin_states import StateAnswer
from bender.haproxy.core.listening import ListeningPlace, ListeningPlaces, listened_in
from bender.haproxy.core.machine_settings import Machine
from bender.haproxy.core.registry import ReceivedEvent, Registry
from bender.haproxy.core.servers import DesiredServer, Ramps, desired_servers
from bender.haproxy.core.topology import Topology, build_topology, slots_for

#: Seconds between two checks of an address that cannot be listened on.
BIND_AGAIN_S = 5.0


@define
class DesiredState:
    """The whole desired state.

    `address_of` returns the address of a host, None if it is not known yet; `why_not` why an address cannot be listened
    on, and `shares` is True if it allows addresses at which HAProxy itself listens; `is_local` whether an address is
    one of this machine. `with_slots` is True if servers cannot be added to HAProxy. `beside` are places that must not
    be servers, beside those at which HAProxy listens.
    """

    address_of: Callable[[str], str | None]
    why_not: Callable[[str], str | None] = lambda _bind: None
    shares: bool = False
    with_slots: bool = False
    is_local: Callable[[str], bool] = lambda _address: False
    beside: frozenset[ListeningPlace] = frozenset()
    #: The settings of HAProxy's machine, and by id why parts of them cannot be used.
    machine: Machine = field(factory=Machine)
    machine_problems: dict[str, str] = field(factory=dict)
    registry: Registry = field(factory=Registry)
    #: The names of backends whose servers may have changed. The driver removes those that it has updated.
    changed: set[str] = field(factory=set)
    #: Whether the topology may have changed. The driver clears it.
    topology_changed: bool = True
    #: By id of backends and frontends, why they or parts of them cannot be used.
    problems: dict[str, str] = field(factory=dict)
    #: By name of backends, the ids of members whose address is not known.
    without_address: dict[str, list[str]] = field(factory=dict)
    #: By name of backends, the ids of members that are HAProxy itself, each with the reason.
    itself: dict[str, dict[str, str]] = field(factory=dict)
    _places: ListeningPlaces = field(factory=ListeningPlaces)
    _ramps: Ramps = field(factory=Ramps)
    _slow_starts: dict[str, float] = field(factory=dict)
    # When the weights of a backend's servers change next.
    _grow_at: dict[str, float] = field(factory=dict)
    _slots: dict[str, int] = field(factory=dict)
    _known_problems: Mapping[str, str] = field(factory=dict)
    # When to check again whether addresses can be listened on.
    _bind_at: float = inf

    def take(self, event: ReceivedEvent, now: float) -> None:
        """Process an event."""
        names = self.registry.take(event, now)
        self.changed |= names
        if event.kind == "frontend":
            self.topology_changed = True
        if event.kind == "backend":
            self.topology_changed = True
            for name in names:
                self._take_backend(name)

    def answer(self, id_: str, answer: StateAnswer, asked_at: float, now: float) -> None:
        """Process a node's answer about the state of an instance, asked for at `asked_at`."""
        self.changed |= self.registry.answer(id_, answer, asked_at, now)

    def begin(self, now: float) -> None:
        """Note that the initial state is complete, so that none of its servers starts slowly."""
        for name, backend in self.registry.backends.items():
            servers, _ = desired_servers(self.registry, backend, self.address_of)
            self._ramps.begin(name, servers)
        self.pass_time(now)

    def due_at(self, *, lapsing: bool = True) -> float | None:
        """Return when to call `pass_time` next with the same `lapsing`, if nothing happens before."""
        lapse_at = self.registry.due_at() if lapsing else None
        due_at = min([*self._grow_at.values(), *([] if lapse_at is None else [lapse_at]), self._bind_at])
        return None if due_at == inf else due_at

    def pass_time(self, now: float, *, lapsing: bool = True) -> None:
        """Apply what is due. Unless `lapsing`, unlisted objects are kept longer."""
        if lapsing:
            self.changed |= self.registry.lapse(now)
        for name in [name for name, at in self._grow_at.items() if at <= now]:
            del self._grow_at[name]
            self.changed.add(name)
        self.topology_changed |= self._bind_at <= now

    def address_changed(self, host: str) -> None:
        """Note that the address of a host has changed."""
        del host
        self.changed |= self.registry.backends.keys()

    def servers(self, name: str, now: float) -> list[DesiredServer]:
        """Return the desired servers of a backend now, in order of name."""
        backend = self.registry.backends.get(name)
        if backend is None:
            return []
        found, unresolved = desired_servers(self.registry, backend, self.address_of)
        if unresolved:
            self.without_address[name] = unresolved
        else:
            self.without_address.pop(name, None)
        found = self._without_itself(name, found)
        ramped, grow_at = self._ramps.ramped(name, found, self._slow_starts.get(name, 0.0), now)
        if grow_at is None:
            self._grow_at.pop(name, None)
        else:
            self._grow_at[name] = grow_at
        return ramped

    def avoid(self, listened: frozenset[ListeningPlace]) -> None:
        """Set the places at which HAProxy listens: no server may be there."""
        listened |= self.beside
        if listened != self._places.listened:
            self._places = ListeningPlaces(listened)
            self.changed |= self.registry.backends.keys()

    def _without_itself(self, name: str, servers: list[DesiredServer]) -> list[DesiredServer]:
        """Return the servers that are not HAProxy itself, with unchanged weights."""
        itself: dict[str, str] = {}
        for server in servers:
            if server.address is not None:
                why = self._places.why_not(server.address, server.port, self.is_local)
                if why is not None:
                    itself[server.id] = why
        if not itself:
            self.itself.pop(name, None)
            return servers
        self.itself[name] = itself
        return [server for server in servers if server.id not in itself]

    def servers_in(self, topology: Topology, now: float) -> Mapping[str, list[DesiredServer]]:
        """Return the servers of all pools, by the name of the pool."""
        return {pool.name: self.servers(pool.title, now) for pool in topology.pools}

    def topology(self, before: Topology | None, now: float) -> Topology:
        """Return the desired topology. Frontends keep the addresses that they have in the topology `before`.

        Without `before`, HAProxy's addresses are only known from its file (`avoid`).
        """
        if before is None and self.shares:
            before = Topology()
        if self.with_slots:
            for name in self.registry.backends:
                self._slots[name] = slots_for(max(1, len(self.servers(name, now))), self._slots.get(name, 0))
        self._bind_at = inf

        def why_not(bind: str) -> str | None:
            why = self.why_not(bind)
            if why is not None:
                self._bind_at = now + BIND_AGAIN_S
            return why

        found, self.problems = build_topology(
            self.registry.backends,
            self.registry.frontends,
            self._slots,
            before,
            why_not,
            self.machine,
            is_in_file=lambda bind: listened_in(f"bind {bind}") <= self._places.listened,
        )
        return found

    @property
    def all_problems(self) -> dict[str, str]:
        """By id, in order, the problems of events, backends, frontends, the machine and members."""
        itself = {id_: why for of_backend in self.itself.values() for id_, why in of_backend.items()}
        return dict(sorted((self.registry.problems | self.problems | self.machine_problems | itself).items()))

    def new_problems(self) -> dict[str, str]:
        """Return the problems that are new or have changed since the last call."""
        before, self._known_problems = self._known_problems, self.all_problems
        return {id_: problem for id_, problem in self._known_problems.items() if before.get(id_) != problem}

    def _take_backend(self, name: str) -> None:
        backend = self.registry.backends.get(name)
        if backend is None:
            self._forget(name, (self._slow_starts, self._grow_at, self._slots, self.without_address, self.itself))
            self._ramps.forget(name)
            return
        self._slow_starts[name] = backend.slow_start_s

    def _forget(self, name: str, places: Iterable[dict[str, Any]]) -> None:
        for place in places:
            place.pop(name, None)
