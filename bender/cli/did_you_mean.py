"""Suggest known names that are similar to an unknown name, or list the known names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from bender.client import Backend, Client, Registration
from bender.core.did_you_mean import did_you_mean
from bender.core.members import versions_of

#: Limit for the suggested similar names.
SUGGESTED_MAX = 3

#: Limit for the listed names if none is similar.
LISTED_MAX = 10

#: Limit for the instances that are compared with the unknown instance, which takes 10 µs each.
INSTANCES_MAX = 1000


def versions_by_app(registrations: Iterable[Registration], backends: Iterable[Backend]) -> Mapping[str, set[str]]:
    """Return the versions by app, for all apps that are registered or that a backend names."""
    versions: dict[str, set[str]] = defaultdict(set)
    for registration in registrations:
        versions[registration.app].add(registration.version)
    for backend in backends:
        versions[backend.app].update(versions_of(backend.settings))
    return dict(versions)


def name_hint(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown name: the similar names, or some known names if none is similar."""
    names = sorted(known)
    suggestion = did_you_mean(name, names, SUGGESTED_MAX)
    if suggestion:
        return suggestion
    if not names:
        return "; nothing is registered"
    more = f", and {len(names) - LISTED_MAX} more" if len(names) > LISTED_MAX else ""
    return f"; known names: {', '.join(names[:LISTED_MAX])}{more}"


async def instance_hint(client: Client, id_: str) -> str:
    """Return the end of a sentence about an unknown instance: similar instances or apps."""
    _, app, version, host, _ = id_.split("/")
    found = await client.registrations(app)
    if found:
        if len(found) > INSTANCES_MAX:
            found = [each for each in found if each.version == version or each.host == host]
        paths = (each.id.removeprefix("registration/") for each in found[:INSTANCES_MAX])
        return name_hint(id_.removeprefix("registration/"), paths) if found else ""
    versions = versions_by_app(await client.registrations(), [])
    none = f"; no instance of {app} is registered" if versions else ""
    return f"{none}{name_hint(app, versions)}"
