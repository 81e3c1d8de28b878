"""The servers of a backend: who they are, and how much of the load each gets now.

Who serves, and with what weight, is decided in `bender.core.members`, as it is for everybody. What is added here is
time: a server that is new in a backend with `slow_start` begins with little and gets more in steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

from attrs import define, evolve, field, frozen

from bender.core.members import serving as weighted
from bender.core.model import WEIGHT_MAX
from bender.core.status import State
from bender.haproxy.core.names import safe
from bender.haproxy.core.registry import RegisteredInstance, Registry
from bender.haproxy.core.settings import BackendSettings

#: In how many steps a weight grows.
STEPS = 10

#: A timer may be that much early, as sums of fractions are.
_ROUNDING_S = 1e-6


@frozen
class DesiredServer:
    """A server as it is to be. `name` is the one that HAProxy knows it by, `id` bender's of the member.

    `address` is of IPv4 or IPv6, without brackets; None where its host has none that is known. Such a server is not
    added, but one that is there already stays where it is.
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
    """The servers of a backend, in order of name, with the weights that they have in the end; and who has no address.

    `address_of` gives the address of a host, None if it is not known.
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
    """Since when each server of each backend has been there, as far as that still matters."""

    _since: dict[str, dict[str, float]] = field(factory=dict)

    def begin(self, backend: str, servers: Sequence[DesiredServer]) -> None:
        """These were there before anybody looked."""
        self._since[backend] = {server.name: -inf for server in servers}

    def forget(self, backend: str) -> None:
        self._since.pop(backend, None)

    def ramped(
        self, backend: str, servers: Sequence[DesiredServer], slow_start_s: float, now: float
    ) -> tuple[list[DesiredServer], float | None]:
        """The servers with the weights that they have now, and when that changes; None if it does not.

        All weights are as large as they can be, or there would be nothing between 0 and the 1 that most ask for.
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
    """The steps done so far, of which the first is done at once."""
    return STEPS if past_s + _ROUNDING_S >= STEPS * step_s else int((past_s + _ROUNDING_S) // step_s) + 1
