"""The servers of a backend in HAProxy: their names, addresses and final weights.

`bender.core.members` decides for the API and the driver which instances serve, and with which weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from bender.core.members import serving_members as weighted
from bender.core.registration_status import State
from bender.haproxy.core.names import safe
from bender.haproxy.core.registry import RegisteredInstance, Registry
from bender.haproxy.core.settings import BackendSettings


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
