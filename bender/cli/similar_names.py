"""Suggest names that the registry knows in place of a name that it does not know."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from bender.client import Backend, Client, Registration
from bender.core.did_you_mean import nearest_names
from bender.core.members import versions_of

#: Names that are suggested, if they are near.
SUGGESTED_MAX = 3

#: Names that are listed if none is near.
LISTED_MAX = 10

#: Instances among which the nearest is looked for: 10 µs each.
INSTANCES_MAX = 1000


def versions_by_app(registrations: Iterable[Registration], backends: Iterable[Backend]) -> Mapping[str, set[str]]:
    """Return the versions of each app that is registered, or that a backend names."""
    versions: dict[str, set[str]] = defaultdict(set)
    for registration in registrations:
        versions[registration.app].add(registration.version)
    for backend in backends:
        versions[backend.app].update(versions_of(backend.settings))
    return dict(versions)


def nearest(name: str, known: Iterable[Any]) -> str:
    """Return the end of a sentence that says which names are near, or which there are at all."""
    names = sorted(known)
    near = nearest_names(name, names, SUGGESTED_MAX)
    if near:
        return f"; the nearest {'is' if len(near) == 1 else 'are'} {', '.join(near)}"
    if not names:
        return "; nothing is registered"
    more = f", and {len(names) - LISTED_MAX} more" if len(names) > LISTED_MAX else ""
    return f"; known names: {', '.join(names[:LISTED_MAX])}{more}"


async def instances_near(client: Client, id_: str) -> str:
    """Return the end of a sentence about an instance that does not exist: which instances or apps are near."""
    _, app, version, host, _ = id_.split("/")
    found = await client.registrations(app)
    if found:
        if len(found) > INSTANCES_MAX:
            found = [each for each in found if each.version == version or each.host == host]
        paths = (each.id.removeprefix("registration/") for each in found[:INSTANCES_MAX])
        return nearest(id_.removeprefix("registration/"), paths) if found else ""
    versions = versions_by_app(await client.registrations(), [])
    none = f"; no instance of {app} is registered" if versions else ""
    return f"{none}{nearest(app, versions)}"
