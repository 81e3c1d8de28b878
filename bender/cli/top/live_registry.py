"""The registry as one node lists it, made of its events, with recent changes.

An event replaces one immutable object and updates the counts of its app, so that its cost does not depend on the number
of instances. A removed object stays for `RECENT_S`, so that people see its removal. Times are those of the caller's
steady clock; this module reads no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import msgspec
from attrs import define, evolve, field, frozen

from bender.client import Event, Registration
from bender.core.members import servers_of, versions_of
from bender.core.registration_status import UP

#: Seconds for which a change stands out.
RECENT_S = 5.0

#: The number of last events that are kept, and the seconds over which their rate is measured.
EVENTS_MAX = 1000
RATE_S = 10

_REMOVALS = {"offline", "removed"}


@frozen
class SeenChange:
    """The last change of an object, and the time `at` when it arrived."""

    event: str
    reason: str
    at: float


@frozen(slots=False)
class ListedInstance:
    """A registration. `is_gone` is True if it is no longer listed."""

    registration: Registration
    change: SeenChange | None = None
    is_gone: bool = False

    @property
    def id(self) -> str:
        return self.registration.id

    @property
    def state(self) -> str:
        """The state that an operator has set, or `suspect`, or `up`; `gone` if the instance is no longer listed."""
        if self.is_gone:
            return "gone"
        about = self.registration
        return "suspect" if about.suspect and about.state == UP else about.state

    @property
    def takes_traffic(self) -> bool:
        return not self.is_gone and self.registration.state == UP and self.registration.weight > 0

    @cached_property
    def meta(self) -> str:
        """The `meta` of the instance as JSON; empty if there is none."""
        return msgspec.json.encode(self.registration.meta).decode() if self.registration.meta else ""

    @cached_property
    def searched_text(self) -> str:
        """The text that a filter searches, in lower case."""
        about = self.registration
        return f"{about.id} {self.state} {about.node} {self.meta}".lower()


@define
class AppVersion:
    """One version of an app: counts of its instances by state, the sum of their weights, and its last change."""

    app: str
    version: str
    listed: int = 0
    up: int = 0
    drain: int = 0
    maint: int = 0
    suspect: int = 0
    in_rotation: int = 0
    weight: int = 0
    change: SeenChange | None = None

    def count(self, instance: ListedInstance, number: int) -> None:
        """Add an instance with 1, or subtract it with -1."""
        self.listed += number
        state = instance.state
        if state in ("up", "drain", "maint", "suspect"):
            setattr(self, state, getattr(self, state) + number)
        if instance.takes_traffic:
            self.in_rotation += number
            self.weight += number * instance.registration.weight


@frozen(slots=False)
class ListedSetting:
    """A backend or frontend. `is_gone` is True if it was removed."""

    kind: str
    name: str
    settings: Mapping[str, Any]
    change: SeenChange | None = None
    is_gone: bool = False

    @cached_property
    def served_versions(self) -> list[tuple[str, str]]:
        """The app and version of all instances to which a backend sends."""
        return [(self.settings["app"], version) for version in versions_of(self.settings)]

    @cached_property
    def fixed_count(self) -> int:
        """The number of fixed servers of a backend."""
        return len(servers_of(self.settings))


@frozen
class SeenEvent:
    """An event with its number, and the time `at` when it arrived."""

    number: int
    event: Event
    at: float


@define
class LiveRegistry:
    """All listed objects, the counts of each version of an app, and the last events."""

    instances: dict[str, ListedInstance] = field(factory=dict)
    versions: dict[tuple[str, str], AppVersion] = field(factory=dict)
    backends: dict[str, ListedSetting] = field(factory=dict)
    frontends: dict[str, ListedSetting] = field(factory=dict)
    events: deque[SeenEvent] = field(factory=lambda: deque(maxlen=EVENTS_MAX))
    #: Whether all objects of the snapshot have arrived.
    is_synced: bool = False
    #: The number of listed registrations.
    listed: int = 0
    _event_count: int = 0
    _removed: deque[tuple[float, str, str]] = field(factory=deque)
    _events_by_second: deque[tuple[int, int]] = field(factory=deque)
    # The backends of each version of an app; None after a backend has changed.
    _serving: dict[tuple[str, str], list[str]] | None = None

    def apply(self, event: Event, now: float) -> None:
        """Apply an event of a watch."""
        if event.event == "synced":
            self.is_synced = True
            return
        change = None
        if event.reason != "snapshot":
            change = SeenChange(event.event, event.reason, now)
            self._event_count += 1
            self.events.append(SeenEvent(self._event_count, event, now))
            self._count(now)
        is_gone = event.event in _REMOVALS
        if event.kind == "registration":
            self._replace(ListedInstance(event.registration, change, is_gone), now)
        elif event.kind in ("backend", "frontend"):
            settings = self.backends if event.kind == "backend" else self.frontends
            name = event.body["name"]
            settings[name] = ListedSetting(event.kind, name, event.body, change, is_gone)
            self._serving = None
            if is_gone:
                self._removed.append((now, event.kind, name))

    def _replace(self, instance: ListedInstance, now: float) -> None:
        before = self.instances.get(instance.id)
        if before is not None and not before.is_gone:
            self._count_instance(before, -1)
        self.instances[instance.id] = instance
        version = self._count_instance(instance, 0 if instance.is_gone else 1)
        version.change = instance.change or version.change
        if instance.is_gone:
            self._removed.append((now, "registration", instance.id))

    def _count_instance(self, instance: ListedInstance, number: int) -> AppVersion:
        about = instance.registration
        version = self.versions.get((about.app, about.version))
        if version is None:
            version = self.versions[about.app, about.version] = AppVersion(about.app, about.version)
        if number:
            version.count(instance, number)
            self.listed += number
        return version

    def forget(self, now: float) -> bool:
        """Remove objects that have been gone for `RECENT_S`. Return True if rows may have changed."""
        found = bool(self._removed) and self._removed[0][0] <= now - RECENT_S
        while self._removed and self._removed[0][0] <= now - RECENT_S:
            _, kind, name = self._removed.popleft()
            if kind == "registration":
                self._forget_instance(name, now)
            else:
                settings = self.backends if kind == "backend" else self.frontends
                setting = settings.get(name)
                if setting is not None and setting.is_gone and _is_over(setting.change, now):
                    del settings[name]
        return found

    def _forget_instance(self, id_: str, now: float) -> None:
        found = self.instances.get(id_)
        if found is None or not found.is_gone or not _is_over(found.change, now):  # it has returned since
            return
        del self.instances[id_]
        key = (found.registration.app, found.registration.version)
        version = self.versions.get(key)
        if version is not None and not version.listed and _is_over(version.change, now):
            del self.versions[key]

    def _count(self, now: float) -> None:
        second = int(now)
        if self._events_by_second and self._events_by_second[-1][0] == second:
            self._events_by_second[-1] = (second, self._events_by_second[-1][1] + 1)
        else:
            self._events_by_second.append((second, 1))
        while self._events_by_second[0][0] <= second - RATE_S:
            self._events_by_second.popleft()

    def events_per_s(self, now: float) -> float:
        """Return the number of events per second in the last `RATE_S` seconds."""
        return sum(number for second, number in self._events_by_second if second > int(now) - RATE_S) / RATE_S

    def served_by(self, version: AppVersion) -> list[str]:
        """Return the names of the backends that send to a version, including those of which it is the canary."""
        if self._serving is None:
            self._serving = {}
            for name, backend in self.backends.items():
                for key in () if backend.is_gone else backend.served_versions:
                    self._serving.setdefault(key, []).append(name)
        return self._serving.get((version.app, version.version), [])

    def members(self, backend: ListedSetting) -> int:
        """Return the number of instances and fixed servers of a backend that take traffic."""
        found = [self.versions[key].in_rotation for key in backend.served_versions if key in self.versions]
        return sum(found) + backend.fixed_count

    def frozen(self) -> LiveRegistry:
        """Return a copy that later events do not change."""
        return evolve(
            self,
            instances=dict(self.instances),
            versions={key: evolve(version) for key, version in self.versions.items()},
            backends=dict(self.backends),
            frontends=dict(self.frontends),
            events=deque(self.events, EVENTS_MAX),
            removed=deque(self._removed),
            events_by_second=deque(self._events_by_second),
        )


def is_recent(change: SeenChange | None, now: float) -> bool:
    """Return True if a change stands out."""
    return change is not None and now < change.at + RECENT_S


def _is_over(change: SeenChange | None, now: float) -> bool:
    return change is None or change.at + RECENT_S <= now
