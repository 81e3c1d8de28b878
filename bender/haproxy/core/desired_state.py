"""The desired state of HAProxy. It is updated event by event, so that the work for an event depends on its changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any

from attrs import define, field

from bender.haproxy.core.admin_states import StateAnswer
from bender.haproxy.core.listening import ListeningPlace, ListeningPlaces, listening_places_in
from bender.haproxy.core.machine_settings import Machine
from bender.haproxy.core.registry import ReceivedEvent, Registry
from bender.haproxy.core.servers import DesiredServer, desired_servers
from bender.haproxy.core.slow_start import Ramps
from bender.haproxy.core.topology import Topology, build_topology, slots_for

#: Seconds between two checks of an address that cannot be listened on.
BIND_CHECK_S = 5.0


@define
class DesiredState:
    """The whole desired state.

    - `address_of` returns the address of a host, None if it is not known yet.
    - `bind_problem` returns why HAProxy cannot listen at an address, None if it can.
    - `can_share_binds` is True if `bind_problem` allows addresses at which HAProxy itself listens.
    - `uses_slots` is True if servers cannot be added to HAProxy.
    - `is_local` returns True if this machine has an address.
    - `reserved_places` are places, other than HAProxy's own, at which no server may be.
    """

    address_of: Callable[[str], str | None]
    bind_problem: Callable[[str], str | None] = lambda _bind: None
    can_share_binds: bool = False
    uses_slots: bool = False
    is_local: Callable[[str], bool] = lambda _address: False
    reserved_places: frozenset[ListeningPlace] = frozenset()
    #: The settings of HAProxy's machine, and by id the reasons why parts of them cannot be used.
    machine: Machine = field(factory=Machine)
    machine_problems: dict[str, str] = field(factory=dict)
    registry: Registry = field(factory=Registry)
    #: The names of backends whose servers may have changed. The driver removes those that it has updated.
    changed: set[str] = field(factory=set)
    #: Whether the topology may have changed. The driver clears it.
    topology_changed: bool = True
    #: By id of a backend or frontend, the reason why it or a part of it cannot be used.
    problems: dict[str, str] = field(factory=dict)
    #: By name of a backend, the ids of members whose address is not known.
    without_address: dict[str, list[str]] = field(factory=dict)
    #: By name of a backend, the ids of members at places where HAProxy itself listens, each with the reason.
    looping_members: dict[str, dict[str, str]] = field(factory=dict)
    _places: ListeningPlaces = field(factory=ListeningPlaces)
    _ramps: Ramps = field(factory=Ramps)
    _slow_starts: dict[str, float] = field(factory=dict)
    # When the weights of a backend's servers change next.
    _weights_change_at: dict[str, float] = field(factory=dict)
    _slots: dict[str, int] = field(factory=dict)
    _known_problems: Mapping[str, str] = field(factory=dict)
    # When to check again whether addresses can be listened on.
    _check_binds_at: float = inf

    def receive(self, event: ReceivedEvent, now: float) -> None:
        """Process an event."""
        names = self.registry.receive(event, now)
        self.changed |= names
        if event.kind == "frontend":
            self.topology_changed = True
        if event.kind == "backend":
            self.topology_changed = True
            for name in names:
                self._update_backend(name)

    def receive_state_answer(self, id_: str, answer: StateAnswer, asked_at: float, now: float) -> None:
        """Process a node's answer to a question about the state of an instance, which was sent at `asked_at`."""
        self.changed |= self.registry.receive_state_answer(id_, answer, asked_at, now)

    def note_synced(self, now: float) -> None:
        """Note that the initial state is complete, so that none of its servers starts slowly."""
        for name, backend in self.registry.backends.items():
            servers, _ = desired_servers(self.registry, backend, self.address_of)
            self._ramps.start_at_full_weight(name, servers)
        self.pass_time(now)

    def due_at(self, *, lapsing: bool = True) -> float | None:
        """Return when to call `pass_time` next with the same `lapsing`, unless an event comes first; None for never."""
        lapse_at = self.registry.due_at() if lapsing else None
        due_at = min([*self._weights_change_at.values(), inf if lapse_at is None else lapse_at, self._check_binds_at])
        return None if due_at == inf else due_at

    def pass_time(self, now: float, *, lapsing: bool = True) -> None:
        """Apply the changes that are due at `now`. Unless `lapsing`, unlisted objects are kept longer."""
        if lapsing:
            self.changed |= self.registry.lapse(now)
        for name in [name for name, at in self._weights_change_at.items() if at <= now]:
            del self._weights_change_at[name]
            self.changed.add(name)
        self.topology_changed |= self._check_binds_at <= now

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
        found = self._without_loops(name, found)
        ramped, grow_at = self._ramps.ramp(name, found, self._slow_starts.get(name, 0.0), now)
        if grow_at is None:
            self._weights_change_at.pop(name, None)
        else:
            self._weights_change_at[name] = grow_at
        return ramped

    def set_listening_places(self, places: frozenset[ListeningPlace]) -> None:
        """Set the places at which HAProxy listens. No server may be there."""
        places |= self.reserved_places
        if places != self._places.places:
            self._places = ListeningPlaces(places)
            self.changed |= self.registry.backends.keys()

    def _without_loops(self, name: str, servers: list[DesiredServer]) -> list[DesiredServer]:
        """Return the servers at places where HAProxy does not listen, with unchanged weights."""
        looping_members: dict[str, str] = {}
        for server in servers:
            if server.address is not None:
                why = self._places.server_conflict(server.address, server.port, self.is_local)
                if why is not None:
                    looping_members[server.id] = why
        if not looping_members:
            self.looping_members.pop(name, None)
            return servers
        self.looping_members[name] = looping_members
        return [server for server in servers if server.id not in looping_members]

    def servers_in(self, topology: Topology, now: float) -> Mapping[str, list[DesiredServer]]:
        """Return the servers of all pools, by the name of the pool."""
        return {pool.name: self.servers(pool.title, now) for pool in topology.pools}

    def topology(self, before: Topology | None, now: float) -> Topology:
        """Return the desired topology. Frontends keep the addresses that they have in the topology `before`.

        Without `before`, HAProxy's addresses are only known from its file (`set_listening_places`).
        """
        if before is None and self.can_share_binds:
            before = Topology()
        if self.uses_slots:
            for name in self.registry.backends:
                self._slots[name] = slots_for(max(1, len(self.servers(name, now))), self._slots.get(name, 0))
        self._check_binds_at = inf

        def bind_problem(bind: str) -> str | None:
            why = self.bind_problem(bind)
            if why is not None:
                self._check_binds_at = now + BIND_CHECK_S
            return why

        found, self.problems = build_topology(
            self.registry.backends,
            self.registry.frontends,
            self._slots,
            before,
            bind_problem,
            self.machine,
            is_in_file=lambda bind: listening_places_in(f"bind {bind}") <= self._places.places,
        )
        return found

    @property
    def all_problems(self) -> dict[str, str]:
        """By id, in order, the problems of events, backends, frontends, the machine and members."""
        looping_members = {id_: why for of_backend in self.looping_members.values() for id_, why in of_backend.items()}
        return dict(sorted((self.registry.problems | self.problems | self.machine_problems | looping_members).items()))

    def new_problems(self) -> dict[str, str]:
        """Return the problems that are new or have changed since the last call."""
        before, self._known_problems = self._known_problems, self.all_problems
        return {id_: problem for id_, problem in self._known_problems.items() if before.get(id_) != problem}

    def _update_backend(self, name: str) -> None:
        backend = self.registry.backends.get(name)
        if backend is None:
            self._forget(
                name,
                (self._slow_starts, self._weights_change_at, self._slots, self.without_address, self.looping_members),
            )
            self._ramps.forget(name)
            return
        self._slow_starts[name] = backend.slow_start_s

    def _forget(self, name: str, places: Iterable[dict[str, Any]]) -> None:
        for place in places:
            place.pop(name, None)
