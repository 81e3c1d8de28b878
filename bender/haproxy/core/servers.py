"""The servers of a backend, and the share of the load that each gets now.

`bender.core.members` decides for the API and the driver which instances serve, and with which weight. This module adds
the change over time: a new server in a backend with `slow_start` begins with a small weight, which grows in steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

from attrs import define, evolve, field, frozen

from bender.core.members import serving as weighted
from bender.core.model import WEIGHT_MAX
from bender.core.registration_status import State
from bender.haproxy.core.names import safe
from bender.haproxy.core.registry import RegisteredInstance, Registry
from bender.haproxy.core.settings import BackendSettings

#: The number of steps in which a weight grows.
STEPS = 10

#: The time by which a timer may be early because of rounding.
_ROUNDING_S = 1e-6


@frozen
class DesiredServer:
    """A server that HAProxy is to have. `name` is its name in HAProxy, `id` is bender's id of the member.

    `address` is an IPv4 or IPv6 address without brackets; None if the address of the host is not known. A server
    without one is not added, but an existing server keeps its address.
    """

    name: str
    id: str
    version: str
    address: str | None
    port: int
    weight: int
    state: State


def desired_servers(
    registry: Registry, backend: BackendSettings, address_of: Callable[[str], str | None]
) -> tuple[list[DesiredServer], list[str]]:
    """Return the servers of a backend, in order of name, with their final weights, and the ids without an address.

    `address_of` returns the address of a host, None if it is not known.
    """
    service = backend.service
    stable = registry.registrations(service.app, service.version)
    beside = registry.registrations(service.app, service.canary.version) if service.canary is not None else []
    found: dict[str, DesiredServer] = {}
    unknown = []
    for member in weighted(service, [*map(_as_member, stable)], [*map(_as_member, beside)]):
        server = _server(member, address_of(member["host"]))
        found[server.name] = server
        if server.address is None:
            unknown.append(server.id)
    return [found[name] for name in sorted(found)], unknown


def _as_member(instance: RegisteredInstance) -> dict[str, Any]:
    return {
        "id": instance.id,
        "version": instance.version,
        "host": instance.host,
        "port": instance.port,
        "weight": instance.weight,
        "state": instance.state,
    }


def _server(member: Mapping[str, Any], address: str | None) -> DesiredServer:
    host, port = member["host"], member["port"]
    parts = (host, str(port)) if member.get("fixed") else (member["version"], host, str(port))
    return DesiredServer(
        safe(*parts), member["id"], member["version"], address, port, member["weight"], member["state"]
    )


@define
class Ramps:
    """The time at which each server of each backend was added, from which its weight grows."""

    _since: dict[str, dict[str, float]] = field(factory=dict)

    def start_at_full_weight(self, backend: str, servers: Sequence[DesiredServer]) -> None:
        """Note the servers that existed before the driver started. They have their full weights."""
        self._since[backend] = {server.name: -inf for server in servers}

    def forget(self, backend: str) -> None:
        self._since.pop(backend, None)

    def ramp(
        self, backend: str, servers: Sequence[DesiredServer], slow_start_s: float, now: float
    ) -> tuple[list[DesiredServer], float | None]:
        """Return the servers with their present weights, and when these change next; None if they do not change.

        All weights are scaled up as far as possible, because no weight is between 0 and 1, the weight of most members.
        """
        before = self._since.get(backend, {})
        since = self._since[backend] = {server.name: before.get(server.name, now) for server in servers}
        heaviest = max((server.weight for server in servers), default=0)
        if not slow_start_s or not heaviest:
            return [*servers], None
        times = WEIGHT_MAX // heaviest
        step_s = slow_start_s / STEPS
        ramped, next_at = [], inf
        for server in servers:
            done = _steps(now - since[server.name], step_s)
            if done < STEPS:
                next_at = min(next_at, since[server.name] + done * step_s)
            weight = server.weight * times * done // STEPS
            ramped.append(evolve(server, weight=max(weight, 1) if server.weight else 0))
        return ramped, None if next_at == inf else next_at


def _steps(past_s: float, step_s: float) -> int:
    """Return the number of steps after `past_s` seconds, from 1 to `STEPS`. The first step is at once."""
    return STEPS if past_s + _ROUNDING_S >= STEPS * step_s else int((past_s + _ROUNDING_S) // step_s) + 1
