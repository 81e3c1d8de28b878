"""The topology: all of HAProxy's configuration except its servers. Changing it takes a reload.

Frontends and backends get their names for HAProxy here. A backend is rendered once for each mode in which a frontend
uses it. Requests for a backend that does not exist go to one without servers, which answers 503, so that backends and
frontends can be set in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import field, frozen

from bender.core.routing import Balance, Health, Rule
from bender.haproxy.core.binds import WhyNot, beside, beside_unknown, served_frontends
from bender.haproxy.core.machine_settings import Machine
from bender.haproxy.core.names import safe
from bender.haproxy.core.settings import BALANCE, BackendSettings, FrontendSettings, Mode

#: The backends that answer 503. No other backend can have these names, because a hash follows the mark in those.
NOWHERE: Mapping[Mode, str] = {"http": "bender__nowhere", "tcp": "bender__nowhere:tcp"}

#: Suffixes of HAProxy's names for frontends, and for backends in mode tcp: HAProxy has one namespace for both.
_FRONTEND = ":in"
_TCP = ":tcp"

#: HAProxy's name for the frontend with its statistics, which is not one of bender's.
STATS = "bender:stats"

#: The least number of slots of a backend, where servers cannot be added without a reload.
SLOTS_MIN = 8


@frozen
class Pool:
    """A backend of HAProxy's. `title` is bender's name of it."""

    name: str
    title: str
    mode: Mode
    balance: Balance
    hashed: bool
    health: Health | None
    #: The number of slots, used or not, where servers cannot be added; else 0.
    slots: int = 0
    #: By HAProxy's names for them, in seconds.
    timeouts: tuple[tuple[str, float], ...] = ()
    #: Connections to one of its servers at the same time.
    maxconn: int | None = None


@frozen
class PoolRoute:
    """A rule that sends requests to the pool of this name."""

    rule: Rule
    pool: str


@frozen
class Door:
    """A frontend of HAProxy's; `pool` gets the requests that match none of `routes`.

    `tls` are the addresses with TLS, also those that are left out of `binds`. `redirect_port` is the port of HTTPS to
    which requests without TLS are redirected, None for no redirect.
    """

    name: str
    title: str
    mode: Mode
    binds: tuple[str, ...]
    pool: str
    routes: tuple[PoolRoute, ...]
    tls: tuple[str, ...] = ()
    redirect_port: int | None = None
    forwardfor: bool = True
    log: bool = True
    #: By HAProxy's names for them, in seconds.
    timeouts: tuple[tuple[str, float], ...] = ()
    maxconn: int | None = None


@frozen
class Topology:
    """All frontends and backends, in order of name, and the settings of the machine."""

    doors: tuple[Door, ...] = ()
    pools: tuple[Pool, ...] = ()
    machine: Machine = field(factory=Machine)

    def parts_of(self, id_: str) -> tuple[Pool | Door, ...]:
        """Return the pools or frontends made from one of bender's backends or frontends, by its id."""
        kind, _, title = id_.partition("/")
        parts: tuple[Pool | Door, ...] = self.pools if kind == "backend" else self.doors
        return tuple(part for part in parts if part.title == title)


def build_topology(
    backends: Mapping[str, BackendSettings],
    frontends: Mapping[str, FrontendSettings],
    slots_of: Mapping[str, int] | None = None,
    before: Topology | None = None,
    why_not: WhyNot = lambda _bind: None,
    machine: Machine | None = None,
    is_in_file: Callable[[str], bool] = lambda _bind: False,
) -> tuple[Topology, dict[str, str]]:
    """Return the topology, and by id why backends, frontends or parts of them cannot be used.

    `slots_of` has, by the name of a backend, the number of its slots, where servers cannot be added. If several
    frontends have the same address, the one that has it in the topology `before` keeps it. `why_not` returns why an
    address cannot be listened on; it is not asked about those of `before`, at which HAProxy itself listens. Without
    `before`, HAProxy's addresses are unknown: then `why_not` is only asked whether an address is one of this machine,
    and not about those for which `is_in_file` is true, because HAProxy may listen there.
    """
    problems: dict[str, str] = {}
    known = dict(sorted(backends.items()))
    for name, backend in known.items():
        if backend.problems:
            problems[f"backend/{name}"] = "; ".join(backend.problems)
    machine = machine or Machine()
    for file, why in machine.custom.unused(frontends, known).items():
        problems[f"include/{file}"] = why
    owners = {bind: door.title for door in (before or Topology()).doors for bind in door.binds}
    why_unusable = beside_unknown(is_in_file, why_not) if before is None else beside(owners, why_not)
    usable = [*served_frontends(frontends, problems, owners, why_unusable, machine)]
    modes: dict[str, set[Mode]] = {name: set() for name in known}
    for frontend in usable:
        for used in (frontend.backend, *(rule.backend for rule in frontend.rules)):
            if used in modes:
                modes[used].add(frontend.mode)
    pools = [
        _pool(backend, mode, problems, (slots_of or {}).get(name, 0))
        for name, backend in known.items()
        for mode in (sorted(modes[name]) or ["http"])
    ]
    doors = [_door(frontend, modes) for frontend in usable]
    return Topology(tuple(doors), tuple(sorted(pools, key=lambda pool: pool.name)), machine), problems


def slots_for(servers: int, before: int) -> int:
    """Return the number of slots for a backend: twice as many as `servers` at least, and never fewer than `before`."""
    if servers <= before:
        return before
    slots = SLOTS_MIN
    while slots < 2 * servers:
        slots *= 2
    return slots


def _pool(backend: BackendSettings, mode: Mode, problems: dict[str, str], slots: int) -> Pool:
    name = safe(backend.name) + (_TCP if mode == "tcp" else "")
    balance, hashed = backend.balance, backend.hashed
    if mode == "tcp" and backend.of_requests:
        known_problems = [problems[key]] if (key := f"backend/{backend.name}") in problems else []
        problems[key] = "; ".join([*known_problems, f"balance: {balance.algorithm} needs mode http"])
        balance, hashed = BALANCE, False
    return Pool(
        name,
        backend.name,
        mode,
        balance,
        hashed,
        backend.health,
        slots,
        timeouts=_timeouts(backend.timeouts),
        maxconn=backend.maxconn,
    )


def _door(frontend: FrontendSettings, modes: Mapping[str, set[Mode]]) -> Door:
    def pool(backend: str | None) -> str:
        if backend is None or backend not in modes:
            return NOWHERE[frontend.mode]
        return safe(backend) + (_TCP if frontend.mode == "tcp" else "")

    routes = tuple(PoolRoute(rule, pool(rule.backend)) for rule in frontend.rules)
    return Door(
        safe(frontend.name) + _FRONTEND,
        frontend.name,
        frontend.mode,
        frontend.binds,
        pool(frontend.backend),
        routes,
        tls=frontend.tls,
        redirect_port=frontend.redirect_port,
        forwardfor=frontend.forwardfor,
        log=frontend.log,
        timeouts=_timeouts(frontend.timeouts),
        maxconn=frontend.maxconn,
    )


def _timeouts(timeouts: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple((name.replace("_", "-"), seconds) for name, seconds in timeouts.items())
