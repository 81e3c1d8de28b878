"""The topology: all of HAProxy's configuration except its servers. A change of the topology needs a reload.

Frontends and backends get their HAProxy names here. A backend is rendered once for each mode in which a frontend uses
it. Requests for a backend that does not exist go to a backend without servers, which answers 503. So backends and
frontends can be set in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import field, frozen

from bender.core.routing import Balance, Health, Rule
from bender.haproxy.core.binds import BindProblem, problem_beside_listeners, problem_beside_unknown, served_frontends
from bender.haproxy.core.machine_settings import Machine
from bender.haproxy.core.names import safe
from bender.haproxy.core.settings import BALANCE, BackendSettings, FrontendSettings, Mode

#: The backends that answer 503. No other backend has such a name, because in these a hash follows the mark `__`.
NOWHERE: Mapping[Mode, str] = {"http": "bender__nowhere", "tcp": "bender__nowhere:tcp"}

#: Suffixes of HAProxy's names for frontends, and for backends in mode tcp: HAProxy has one namespace for both.
_FRONTEND = ":in"
_TCP = ":tcp"

#: HAProxy's name for the frontend with its statistics, which is not a frontend of bender.
STATS = "bender:stats"

#: The least number of slots of a backend, if servers cannot be added without a reload.
SLOTS_MIN = 8


@frozen
class Pool:
    """A backend in HAProxy's configuration. `name` is its name there, `title` its name in bender."""

    name: str
    title: str
    mode: Mode
    balance: Balance
    hashed: bool
    health: Health | None
    #: The number of slots, used or not; 0 if servers can be added.
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
    """A frontend in HAProxy's configuration. `name` is its name there, `title` its name in bender.

    `pool` gets the requests that match none of `routes`. `tls` has the addresses with TLS, also those that are left out
    of `binds`. `redirect_port` is the HTTPS port to which requests without TLS are redirected, None for no redirect.
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
    bind_problem: BindProblem = lambda _bind: None,
    machine: Machine | None = None,
    is_in_file: Callable[[str], bool] = lambda _bind: False,
) -> tuple[Topology, dict[str, str]]:
    """Return the topology, and by id the reasons why backends, frontends or parts of them cannot be used.

    `slots_of` has the number of slots by name of the backend, if servers cannot be added. If several frontends have the
    same address, the frontend that has it in the topology `before` keeps it. `bind_problem` returns why HAProxy cannot
    listen at an address. It is not called for the addresses of `before`, at which HAProxy itself listens.

    Without `before`, HAProxy's addresses are not known. Then `bind_problem` only checks that this machine has an
    address, and is not called if `is_in_file` returns True for the address, because HAProxy may listen there.
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
    why_unusable = (
        problem_beside_unknown(is_in_file, bind_problem)
        if before is None
        else problem_beside_listeners(owners, bind_problem)
    )
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
    """Return the number of slots for a backend: `before` if that is enough, else at least twice `servers`."""
    if servers <= before:
        return before
    slots = SLOTS_MIN
    while slots < 2 * servers:
        slots *= 2
    return slots


def _pool(backend: BackendSettings, mode: Mode, problems: dict[str, str], slots: int) -> Pool:
    name = safe(backend.name) + (_TCP if mode == "tcp" else "")
    balance, hashed = backend.balance, backend.hashed
    if mode == "tcp" and backend.needs_requests:
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
