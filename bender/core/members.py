"""The members that serve a backend, with their weights: instances of its version and of its canary, and fixed servers.

The API, the driver of HAProxy and the DNS server all use this module, so a load balancer gets the members that the API
lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from attrs import frozen

from bender.core.invalid import Invalid
from bender.core.routing import Canary, FixedServer, parse_canary, valid_servers
from bender.core.weights import shared_weights

#: Members in these states get no traffic, whatever weight they have requested.
STATES_WITHOUT_TRAFFIC = ("drain", "maint")

_T = TypeVar("_T")


@frozen
class ServedVersions:
    """The fields of a backend that select its members. `canary` is None, or its version differs from `version`."""

    app: str
    version: str
    canary: Canary | None
    servers: tuple[FixedServer, ...]

    @property
    def versions(self) -> tuple[str, ...]:
        """The backend's own version, followed by the version of its canary if it has one."""
        return (self.version,) if self.canary is None else (self.version, self.canary.version)


class _Weighted(msgspec.Struct):
    weight: int


_weighted = msgspec.json.Decoder(_Weighted)


def requested_weight(terms: bytes, state: str) -> int:
    """Return the weight in the encoded terms of a registration; 0 if its state is one without traffic."""
    return 0 if state in STATES_WITHOUT_TRAFFIC else _weighted.decode(terms).weight


def weighted_members(
    backend: Mapping[str, Any], stable: Sequence[Mapping[str, Any]], canary: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the members that serve a backend, given as its fields; see `serving_members`."""
    return serving_members(served_versions_of(backend), stable, canary)


def served_versions_of(backend: Mapping[str, Any]) -> ServedVersions:
    """Return those fields of a backend that select its members."""
    return ServedVersions(backend["app"], backend["version"], canary_of(backend), servers_of(backend))


def serving_members(
    service: ServedVersions, stable: Sequence[Mapping[str, Any]], canary: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the members that serve a backend in order of id, each with its effective weight (0 to 256).

    `stable` and `canary` are the registrations of the backend's own version and of its canary, with the weights that
    they have requested; `canary` is ignored if the backend has no canary. A member in state `drain` or `maint` gets the
    weight 0, and the other members keep up the canary's share. Fixed servers belong to the backend's own version. A
    fixed server that is also registered appears only as the registration.
    """
    others = canary if service.canary is not None else ()
    stable = [*stable, *_fixed(service, [*stable, *others])]
    asked_of_stable, asked_of_others = map(_requested_weight, stable), map(_requested_weight, others)
    of_stable, of_others = effective_weights(service, [*asked_of_stable], [*asked_of_others])
    weighted = zip([*stable, *others], [*of_stable, *of_others], strict=True)
    return sorted(({**member, "weight": weight} for member, weight in weighted), key=lambda member: str(member["id"]))


def effective_weights(
    service: ServedVersions, stable: Sequence[int], canary: Sequence[int]
) -> tuple[Sequence[int], Sequence[int]]:
    """Return the effective weights of members from the requested weights (0 for members that get no traffic)."""
    return (stable, canary) if service.canary is None else shared_weights(stable, canary, service.canary.percent)


def canary_of(backend: Mapping[str, Any]) -> Canary | None:
    """Return the canary of a backend; None if it has none, or if the canary has the backend's own version.

    It is also None if the value is not valid: a node of a release without canaries may have accepted any value.
    """
    canary: Canary | None = _valid_or(backend.get("canary"), parse_canary, None)
    return None if canary is None or canary.version == backend["version"] else canary


def versions_of(backend: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the versions that serve a backend: its own version, followed by the version of its canary if any."""
    canary = canary_of(backend)
    return (backend["version"],) if canary is None else (backend["version"], canary.version)


def servers_of(backend: Mapping[str, Any]) -> tuple[FixedServer, ...]:
    """Return the fixed servers of a backend. Invalid ones, which an older node may have accepted, are left out."""
    servers = backend.get("servers")
    return () if servers is None else valid_servers(servers)[0]


def backends_of_rules(frontend: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Return the index of each rule of a frontend that names a backend, with this name."""
    rules = frontend.get("rules")
    numbered = enumerate(rules) if isinstance(rules, list) else ()
    named = [(at, rule.get("backend")) for at, rule in numbered if isinstance(rule, dict)]
    return [(at, name) for at, name in named if isinstance(name, str)]


def _valid_or(value: Any, parse: Callable[[Any], _T], none: _T) -> _T:
    """Return a value as `parse` returns it; `none` if the value is None or not valid."""
    try:
        return none if value is None else parse(value)
    except Invalid:
        return none


def _requested_weight(member: Mapping[str, Any]) -> int:
    return 0 if member.get("state") in STATES_WITHOUT_TRAFFIC else int(member["weight"])


def _fixed(service: ServedVersions, registered: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the fixed servers as members, except those that are registered."""
    known = {(member["host"], member["port"]) for member in registered}
    return [
        {
            "id": f"server/{server.host}/{server.port}",
            "resource": "Server",
            "app": service.app,
            "version": service.version,
            "host": server.host,
            "port": server.port,
            "weight": 1,
            "state": "up",
            "meta": {},
            "fixed": True,
        }
        for server in service.servers
        if (server.host, server.port) not in known
    ]
