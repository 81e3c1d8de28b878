"""Find the changes that a node would refuse, before the first change is made.

A node judges each change by the objects that it lists at that moment (`bender.core.change_safety`). This module makes
the same judgements with a simulated registry: it begins with the present contents, and gets one change after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import define, frozen

from bender.client.types import Registration
from bender.core.change_safety import Impact
from bender.core.members import STATES_WITHOUT_TRAFFIC, versions_of
from bender.core.model import TooLarge
from bender.core.registration_status import UP
from bender.core.routing import BACKEND, FRONTEND
from bender.declared.config_diff import ConfigChange, Contents
from bender.declared.document import Fields, referenced_backends

#: An app and a version of it.
Version = tuple[str, str]


@frozen
class PreflightProblem:
    """A change that a node would refuse, and the reason."""

    change: ConfigChange
    reason: str


def versions_concerned(changes: Iterable[ConfigChange], contents: Contents) -> set[Version]:
    """Return the versions whose members decide whether the changes would be refused."""
    objects: list[Fields] = []
    found: set[Version] = set()
    for change in changes:
        sides = [fields for fields in (change.before, change.after) if fields is not None]
        if change.kind == "backend":
            objects += sides
        elif change.kind == "frontend":
            names = [name for fields in sides for _, name in referenced_backends(fields)]
            objects += [contents.backends[name] for name in names if name in contents.backends]
        else:
            _, app, version, *_ = change.name.split("/")
            found.add((app, version))
            objects += [each for each in contents.backends.values() if (app, version) in _versions_of(each)]
    return found.union(*map(_versions_of, objects))


def refusals(
    changes: Iterable[ConfigChange], contents: Contents, registrations: Iterable[Registration]
) -> list[PreflightProblem]:
    """Return the changes that a node would refuse if they were made one after the other.

    `registrations` are the members of at least the versions concerned. The changes after a refused change are judged
    as if it was made, so that each reason is about one mistake.
    """
    simulated = _SimulatedRegistry.of(contents, registrations)
    found = []
    for change in changes:
        reason = _refusal_of(change, simulated)
        if reason is not None:
            found.append(PreflightProblem(change, reason))
        simulated.make(change)
    return found


def oversized(changes: Iterable[ConfigChange], bytes_max: int) -> Iterator[PreflightProblem]:
    """Yield the changes that would leave an object with more than `bytes_max` bytes of JSON."""
    for change in changes:
        if change.kind == "state" or change.after is None:
            continue
        kind = BACKEND if change.kind == "backend" else FRONTEND
        try:
            kind.merged_body(change.name, change.after, None, bytes_max)
        except TooLarge as error:
            yield PreflightProblem(change, str(error))


def foreseen_warnings(
    changes: Iterable[ConfigChange], contents: Contents, registrations: Iterable[Registration]
) -> list[str]:
    """Return the warnings of nodes about the changed objects after all changes, without duplicates.

    The present members count, so a version whose instances are not registered yet has none.
    """
    changes, simulated = [*changes], _SimulatedRegistry.of(contents, registrations)
    for change in changes:
        simulated.make(change)
    impact, found = Impact(simulated), list[str]()
    for change in changes:
        if change.kind == "state":
            continue
        if change.after is None:
            found += impact.warnings_of_removal(change.name) if change.kind == "backend" else []
            continue
        after = {**change.after, "name": change.name}
        found += impact.warnings_of_backend(after) if change.kind == "backend" else impact.warnings_of_frontend(after)
    return [*dict.fromkeys(found)]


def _refusal_of(change: ConfigChange, simulated: _SimulatedRegistry) -> str | None:
    impact = Impact(simulated)
    if change.kind == "state":
        return impact.of_state(change.name, UP if change.state is None else change.state.state)
    before = simulated.by_kind[change.kind].get(change.name)
    after = None if change.after is None else {**change.after, "name": change.name}
    if change.kind == "backend":
        return impact.of_removal(before or {}) if after is None else impact.of_backend(before, after)
    return None if after is None else impact.of_frontend(before, after)


@define
class _SimulatedRegistry:
    """A registry after some changes, with the methods that `Impact` needs to judge a change.

    `by_kind` has the settings of backends and frontends by kind and name, `members` the instances of each version, and
    `states` the states of instances by id.
    """

    by_kind: Mapping[str, dict[str, Mapping[str, Any]]]
    members: Mapping[Version, list[Registration]]
    states: dict[str, str]

    @classmethod
    def of(cls, contents: Contents, registrations: Iterable[Registration]) -> _SimulatedRegistry:
        members: dict[Version, list[Registration]] = {}
        states = {}
        for each in registrations:
            members.setdefault((each.app, each.version), []).append(each)
            states[each.id] = each.state
        by_kind: dict[str, dict[str, Mapping[str, Any]]] = {
            kind: {name: {**fields, "name": name} for name, fields in contents.objects(kind).items()}
            for kind in ("backend", "frontend")
        }
        return cls(by_kind, members, states)

    def make(self, change: ConfigChange) -> None:
        """Make a change in the simulated registry."""
        if change.kind == "state":
            self.states[change.name] = UP if change.state is None else change.state.state
        elif change.after is None:
            self.by_kind[change.kind].pop(change.name, None)
        else:
            self.by_kind[change.kind][change.name] = {**change.after, "name": change.name}

    def taking_traffic(self, app: str, version: str) -> Iterator[str]:
        for each in self.members.get((app, version), ()):
            if each.weight and self.states[each.id] not in STATES_WITHOUT_TRAFFIC:
                yield each.id

    def count(self, app: str, version: str) -> int:
        return len(self.members.get((app, version), ()))

    def is_listed(self, id_: str) -> bool:
        _, app, version, *_ = id_.split("/")
        return any(each.id == id_ for each in self.members.get((app, version), ()))

    def objects(self, kind: str) -> Iterable[Mapping[str, Any]]:
        return self.by_kind[kind].values()

    def backend(self, name: str) -> Mapping[str, Any] | None:
        return self.by_kind["backend"].get(name)


def _versions_of(backend: Fields) -> set[Version]:
    return {(backend["app"], version) for version in versions_of(backend)}
