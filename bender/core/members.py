"""Which instances serve a backend, and with what weight: members of its version and its canary's, and fixed servers.

All senders of traffic use this: the members that the API shows are those that a load balancer gets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from attrs import frozen

from bender.core.invalid import Invalid
from bender.core.routing import Canary, FixedServer, parse_canary, valid_servers
from bender.core.weights import shared_weights

#: Members in these states get no traffic, whatever weight they ask for.
STATES_WITHOUT_TRAFFIC = ("drain", "maint")

_T = TypeVar("_T")


@frozen
class ServedVersions:
    """The fields of a backend that select its instances. `canary` has another version than `version`, or is None."""

    app: str
    version: str
    canary: Canary | None
    servers: tuple[FixedServer, ...]

    @property
    def versions(self) -> tuple[str, ...]:
        """Its own version, and that of the canary if it has one."""
        return (self.version,) if self.canary is None else (self.version, self.canary.version)


class _Weighted(msgspec.Struct):
    weight: int


_weighted = msgspec.json.Decoder(_Weighted)


def requested_weight(terms: bytes, state: str) -> int:
    """Return the weight that the encoded terms of a registration ask for; 0 in a state in which it gets no traffic."""
    return 0 if state in STATES_WITHOUT_TRAFFIC else _weighted.decode(terms).weight


def weighted_members(
    backend: Mapping[str, Any], stable: Sequence[Mapping[str, Any]], canary: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the members of a backend as it is kept; see `serving_members`."""
    return serving_members(served_versions_of(backend), stable, canary)


def served_versions_of(backend: Mapping[str, Any]) -> ServedVersions:
    """Return what selects the members of a backend as it is kept."""
    return ServedVersions(backend["app"], backend["version"], canary_of(backend), servers_of(backend))


def serving_members(
    service: ServedVersions, stable: Sequence[Mapping[str, Any]], canary: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the members that serve a backend in order of id, each with its effective weight (0 to 256).

    `stable` and `canary` are the registrations of the backend's version and of its canary's, with the weights that they
    ask for; `canary` is ignored if the backend has none. A member that is drained or in maintenance has the weight 0,
    and the others make up the canary's share. Fixed servers belong to the version itself; a fixed server that is also
    registered counts once, as the registration.
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
    """Return the effective weights of members by those that they ask for; of members out of rotation that is 0."""
    return (stable, canary) if service.canary is None else shared_weights(stable, canary, service.canary.percent)


def canary_of(backend: Mapping[str, Any]) -> Canary | None:
    """Return the canary of a backend if it has one of another version; else None.

    It is also None if a node of a release without canaries has kept another value in its place.
    """
    canary: Canary | None = _valid_or(backend.get("canary"), parse_canary, None)
    return None if canary is None or canary.version == backend["version"] else canary


def versions_of(backend: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the versions that serve a backend: its own, and that of its canary if it has one."""
    canary = canary_of(backend)
    return (backend["version"],) if canary is None else (backend["version"], canary.version)


def servers_of(backend: Mapping[str, Any]) -> tuple[FixedServer, ...]:
    """Return the fixed servers of a backend, without values kept there by an older node that are not valid."""
    servers = backend.get("servers")
    return () if servers is None else valid_servers(servers)[0]


def backends_of_rules(frontend: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Return the backends that the rules of a frontend name, each with the index of its rule."""
    rules = frontend.get("rules")
    numbered = enumerate(rules) if isinstance(rules, list) else ()
    named = [(at, rule.get("backend")) for at, rule in numbered if isinstance(rule, dict)]
    return [(at, name) for at, name in named if isinstance(name, str)]


def _valid_or(value: Any, parse: Callable[[Any], _T], none: _T) -> _T:
    """Return a kept value as parsed, or `none` if there is none or it is not valid."""
    try:
        return none if value is None else parse(value)
    except Invalid:
        return none


def _requested_weight(member: Mapping[str, Any]) -> int:
    return 0 if member.get("state") in STATES_WITHOUT_TRAFFIC else int(member["weight"])


def _fixed(service: ServedVersions, registered: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the fixed servers as members, without those that are registered."""
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
