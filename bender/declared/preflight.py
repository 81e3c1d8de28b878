"""Find the changes that a node would refuse, before the first of them is made.

A node judges each change by what it lists at that moment (`bender.core.change_safety`). The same judgement is made here
by what the registry has now, changed in thought, step by step, in the order in which the changes would be made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import define, frozen

from bender.client.types import Registration
from bender.core.change_safety import Impact
from bender.core.members import AWAY, versions_of
from bender.core.model import TooLarge
from bender.core.registration_status import UP
from bender.core.routing import BACKEND, FRONTEND
from bender.declared.config_diff import ConfigChange, Contents
from bender.declared.document import Fields, backends_named

#: An app and a version of it.
Version = tuple[str, str]


@frozen
class PreflightProblem:
    """A change that a node would refuse, and why."""

    change: ConfigChange
    why: str


def versions_concerned(changes: Iterable[ConfigChange], contents: Contents) -> set[Version]:
    """Return the versions whose members decide whether the changes would be refused."""
    objects: list[Fields] = []
    found: set[Version] = set()
    for change in changes:
        sides = [fields for fields in (change.before, change.after) if fields is not None]
        if change.kind == "backend":
            objects += sides
        elif change.kind == "frontend":
            names = [name for fields in sides for _, name in backends_named(fields)]
            objects += [contents.backends[name] for name in names if name in contents.backends]
        else:
            _, app, version, *_ = change.name.split("/")
            found.add((app, version))
            objects += [each for each in contents.backends.values() if (app, version) in _versions(each)]
    return found.union(*map(_versions, objects))


def objections(
    changes: Iterable[ConfigChange], contents: Contents, registrations: Iterable[Registration]
) -> list[PreflightProblem]:
    """Return what a node would refuse if the changes were made one after the other.

    `registrations` are the members of at least the versions concerned. A change that would be refused counts as made
    for those after it, so that each sentence is about one mistake.
    """
    thought = _Thought.of(contents, registrations)
    found = []
    for change in changes:
        why = _judged(change, thought)
        if why is not None:
            found.append(PreflightProblem(change, why))
        thought.make(change)
    return found


def oversized(changes: Iterable[ConfigChange], bytes_max: int) -> Iterator[PreflightProblem]:
    """Yield the changes after which an object would have more than `bytes_max` bytes of JSON."""
    for change in changes:
        if change.kind == "state" or change.after is None:
            continue
        kind = BACKEND if change.kind == "backend" else FRONTEND
        try:
            kind.body(change.name, change.after, None, bytes_max)
        except TooLarge as error:
            yield PreflightProblem(change, str(error))


def warnings(changes: Iterable[ConfigChange], contents: Contents, registrations: Iterable[Registration]) -> list[str]:
    """Return what a node would warn of what is changed, when all is as it is to be; each sentence once.

    The members are those of now: versions whose instances are not registered yet have none.
    """
    changes, thought = [*changes], _Thought.of(contents, registrations)
    for change in changes:
        thought.make(change)
    impact, found = Impact(thought), list[str]()
    for change in changes:
        if change.kind == "state":
            continue
        if change.after is None:
            found += impact.warnings_of_removal(change.name) if change.kind == "backend" else []
            continue
        after = {**change.after, "name": change.name}
        found += impact.warnings_of_backend(after) if change.kind == "backend" else impact.warnings_of_frontend(after)
    return [*dict.fromkeys(found)]


def _judged(change: ConfigChange, thought: _Thought) -> str | None:
    impact = Impact(thought)
    if change.kind == "state":
        return impact.of_state(change.name, UP if change.state is None else change.state.state)
    before = thought.named[change.kind].get(change.name)
    after = None if change.after is None else {**change.after, "name": change.name}
    if change.kind == "backend":
        return impact.of_removal(before or {}) if after is None else impact.of_backend(before, after)
    return None if after is None else impact.of_frontend(before, after)


@define
class _Thought:
    """A registry as it would be after some changes, in the form in which a node's list is judged."""

    named: Mapping[str, dict[str, Mapping[str, Any]]]
    members: Mapping[Version, list[Registration]]
    states: dict[str, str]

    @classmethod
    def of(cls, contents: Contents, registrations: Iterable[Registration]) -> _Thought:
        members: dict[Version, list[Registration]] = {}
        states = {}
        for each in registrations:
            members.setdefault((each.app, each.version), []).append(each)
            states[each.id] = each.state
        named: dict[str, dict[str, Mapping[str, Any]]] = {
            kind: {name: {**fields, "name": name} for name, fields in contents.objects(kind).items()}
            for kind in ("backend", "frontend")
        }
        return cls(named, members, states)

    def make(self, change: ConfigChange) -> None:
        """Make a change in thought."""
        if change.kind == "state":
            self.states[change.name] = UP if change.state is None else change.state.state
        elif change.after is None:
            self.named[change.kind].pop(change.name, None)
        else:
            self.named[change.kind][change.name] = {**change.after, "name": change.name}

    def taking_traffic(self, app: str, version: str) -> Iterator[str]:
        for each in self.members.get((app, version), ()):
            if each.weight and self.states[each.id] not in AWAY:
                yield each.id

    def count(self, app: str, version: str) -> int:
        return len(self.members.get((app, version), ()))

    def is_listed(self, id_: str) -> bool:
        _, app, version, *_ = id_.split("/")
        return any(each.id == id_ for each in self.members.get((app, version), ()))

    def objects(self, kind: str) -> Iterable[Mapping[str, Any]]:
        return self.named[kind].values()

    def backend(self, name: str) -> Mapping[str, Any] | None:
        return self.named["backend"].get(name)


def _versions(backend: Fields) -> set[Version]:
    return {(backend["app"], version) for version in versions_of(backend)}
