"""What bender has said, and what of that still holds.

Whatever bender does not say, HAProxy stays as it is. An instance is gone where bender says that it was deregistered or
has expired. Where it is hidden because nodes are not heard, or is missing at a node that was restarted, it may well be
there: it is kept for as long as that may take to clear up, counted only while a node is followed. Backends and
frontends are kept until somebody removes them, for when all nodes have lost them it was not meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from attrs import define, field, frozen

#: Reasons for which an instance is gone.
GONE = ("expired", "deregistered")

#: Seconds for which one is kept that is not listed for any other reason.
KEPT_S = 60.0

Kind = Literal["registration", "backend", "frontend"]


@frozen
class Said:
    """One event: `body` is what it is about."""

    event: str
    kind: str
    id: str
    reason: str
    body: Mapping[str, Any]


@define
class Registry:
    """Registrations, backends and frontends, by what was said of them last."""

    backends: dict[str, Mapping[str, Any]] = field(factory=dict)
    frontends: dict[str, Mapping[str, Any]] = field(factory=dict)
    #: Backends and frontends, by id, that bender does not know any more though nobody has removed them.
    missing: set[str] = field(factory=set)
    _registrations: dict[str, Mapping[str, Any]] = field(factory=dict)
    _of_version: dict[tuple[str, str], set[str]] = field(factory=dict)
    _of_app: dict[str, set[str]] = field(factory=dict)
    # Registrations that are not listed, with the time until which they are kept.
    _lost: dict[str, float] = field(factory=dict)

    @property
    def lost(self) -> Mapping[str, float]:
        """Registrations that bender does not list any more, with the time until which they are kept."""
        return self._lost

    def registrations(self, app: str, version: str) -> list[Mapping[str, Any]]:
        """Those of a version, in order of id."""
        return [self._registrations[id_] for id_ in sorted(self._of_version.get((app, version), ()))]

    def backends_of(self, app: str) -> frozenset[str]:
        """The names of the backends that an app serves."""
        return frozenset(self._of_app.get(app, ()))

    def take(self, said: Said, now: float) -> frozenset[str]:
        """Take in an event; returns the names of the backends whose servers it may have changed."""
        if said.kind == "registration":
            return self._take_registration(said, now)
        if said.kind == "backend":
            return self._take_backend(said)
        if said.kind == "frontend":
            self._set(self.frontends, said)
        return frozenset()

    def due_at(self) -> float | None:
        """When the next of those that are kept is gone."""
        return min(self._lost.values(), default=None)

    def lapse(self, now: float) -> frozenset[str]:
        """Let go of what was kept long enough; returns the names of the backends that it served."""
        changed: set[str] = set()
        for id_ in [id_ for id_, until in self._lost.items() if until <= now]:
            changed |= self._remove(id_)
        return frozenset(changed)

    def heard_again(self, now: float) -> None:
        """A node is followed again after a time in which none was: what is lost gets all of its time once more."""
        self._lost = dict.fromkeys(self._lost, now + KEPT_S)

    def _take_registration(self, said: Said, now: float) -> frozenset[str]:
        if said.event == "offline":
            if said.reason in GONE:
                return self._remove(said.id)
            if said.id in self._registrations:
                self._lost.setdefault(said.id, now + KEPT_S)
            return frozenset()
        self._lost.pop(said.id, None)
        self._registrations[said.id] = said.body
        self._of_version.setdefault(_version(said.body), set()).add(said.id)
        return self.backends_of(said.body["app"])

    def _remove(self, id_: str) -> frozenset[str]:
        self._lost.pop(id_, None)
        body = self._registrations.pop(id_, None)
        if body is None:
            return frozenset()
        ids = self._of_version[_version(body)]
        ids.discard(id_)
        if not ids:
            del self._of_version[_version(body)]
        return self.backends_of(body["app"])

    def _take_backend(self, said: Said) -> frozenset[str]:
        before = self.backends.get(said.body["name"])
        self._set(self.backends, said)
        after = self.backends.get(said.body["name"])
        for body, change in ((before, set.discard), (after, set.add)):
            if body is not None:
                change(self._of_app.setdefault(body["app"], set()), body["name"])
        return frozenset({said.body["name"]})

    def _set(self, objects: dict[str, Mapping[str, Any]], said: Said) -> None:
        if said.event != "removed":
            self.missing.discard(said.id)
            objects[said.body["name"]] = said.body
        elif said.reason == "configured":
            self.missing.discard(said.id)
            objects.pop(said.body["name"], None)
        elif said.body["name"] in objects:
            self.missing.add(said.id)


def _version(body: Mapping[str, Any]) -> tuple[str, str]:
    return body["app"], body["version"]


def kept(registry: Registry) -> Iterator[str]:
    """The ids of all that is kept though bender does not list it, in order."""
    yield from sorted({*registry.missing, *registry.lost})
