"""Refusals of changes after which requests that are served now would get no answer, and warnings about traffic.

A backend serves while a member or a fixed server takes its traffic. A member of the backend's version, or of its
canary, takes traffic unless it is drained, in maintenance or of weight 0. A change is most likely a typo if nothing
takes traffic after it, or if it names a version without such members or a missing backend. Such a change is refused
while the backend or frontend serves, unless the client forces it. If nothing serves yet, no traffic can be lost, so
objects can be set up in any order.

Changes are judged by what one node lists at this moment. Each sentence contains the figures of this node, so that its
readers can compare them with what they know.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Protocol

from attrs import frozen

from bender.core.did_you_mean import nearest_name
from bender.core.members import STATES_WITHOUT_TRAFFIC, backends_of_rules, canary_of, servers_of, versions_of

#: The largest number of names in one sentence, and of warnings in one answer.
NAMES_MAX = 5

Settings = Mapping[str, Any]


class ListedObjects(Protocol):
    """The registrations, backends and frontends that a node lists."""

    def taking_traffic(self, app: str, version: str) -> Iterator[str]:
        """Return the ids of the members of a version that take traffic. They are looked up one by one."""

    def count(self, app: str, version: str) -> int:
        """Return the number of listed members of a version, whether they take traffic or not."""

    def is_listed(self, id_: str) -> bool:
        """Return True if a registration is listed."""

    def objects(self, kind: str) -> Iterable[Settings]:
        """Return all backends, or all frontends."""

    def backend(self, name: str) -> Settings | None:
        """Return one backend as it is set; None if it does not exist."""


@frozen
class Impact:
    """Judges changes by what a node lists.

    Each method `of_…` returns the reason why a change is refused, None if the change is allowed. The reason is a
    sentence without a full stop.
    """

    listed: ListedObjects

    def of_backend(self, before: Settings | None, after: Settings, *, back: bool = False) -> str | None:
        """Judge a new setting of a backend.

        `back` means that an earlier setting is restored: its canary is not a typo, so it may have no members.
        """
        if before is None or not self.serves(before):
            return None
        fate = self._consequence(after)
        app, version = after["app"], after["version"]
        if (app, version) != (before["app"], before["version"]) and not self._stable(after):
            return f"{self._serving(before)}; {self._has(app, version)}: {fate}"
        canary, former = canary_of(after), canary_of(before)
        is_new = canary is not None and (
            former is None or not former.percent or canary.version != former.version or app != before["app"]
        )
        if (
            canary is not None
            and canary.percent
            and is_new
            and not back
            and not self._takes_traffic(app, canary.version)
        ):
            share = f"no request would reach this canary, whose share is {float(canary.percent):g} % of the traffic"
            return f"{self._serving(before)}; {self._has(app, canary.version)}: {share if self.serves(after) else fate}"
        if not self.serves(after):
            return f"{self._serving(before)}; with this setting no member or server takes its traffic: {fate}"
        return None

    def of_frontend(self, before: Settings | None, after: Settings) -> str | None:
        """Judge a new setting of a frontend.

        A new rule that names a missing backend is refused even if the frontend does not serve.
        """
        known = set() if before is None else {*_backends_in_rules(before)}
        unknown = [
            name for name in _backends_in_rules(after) if name not in known and self.listed.backend(name) is None
        ]
        if unknown:
            rules = f"the rules of frontend/{after['name']} name {self._missing(unknown)}"
            return f"{rules}: the requests that they send there would get 503"
        if before is None or _default_backend(before) == _default_backend(after):
            return None
        former, name = _default_backend(before), _default_backend(after)
        backend = None if name is None else self.listed.backend(name)
        serving = [each for each in (former, *_backends_in_rules(before)) if each is not None and self._is_served(each)]
        if not serving or (former not in serving and (name is None or backend is not None)):
            return None
        if backend is not None and self.serves(backend):
            return None
        by = self.listed.backend(serving[0])
        assert by is not None
        sends = f"frontend/{after['name']} sends to backend {by['name']}, which serves {self._figures(by)}"
        return f"{sends}; {self._missing_backend(name, backend)}: the requests to this frontend would get 503"

    def of_removal(self, backend: Settings) -> str | None:
        """Judge the removal of a backend."""
        users = self.frontends_of(backend["name"])
        if not users or not self.serves(backend):
            return None
        send = "sends" if len(users) == 1 else "send"
        name = backend["name"]
        sends = f"frontend {_name_list(users)} {send} to backend/{name}, which serves {self._figures(backend)}"
        return f"{sends}: every request would get 503"

    def of_state(self, id_: str, state: str) -> str | None:
        """Judge an operator's state of a registration."""
        _, app, version, _, _ = id_.split("/")
        # One other member that takes traffic is enough for all backends of the version, so the backends are not read.
        # There may be very many backends, and very many members.
        if state not in STATES_WITHOUT_TRAFFIC or self._takes_traffic(app, version, without=id_):
            return None
        if not self._takes_traffic(app, version):
            return None
        ended = [each["name"] for each in self._backends_of(app, version) if not self.serves(each, without=id_)]
        if not ended:
            return None
        left = f"without {id_}, no member of backend {_name_list(ended)} takes traffic"
        return f"{left}: every request to it would get 503"

    # Warnings about changes that are allowed, and rarely intended.

    def warnings_of_backend(self, backend: Settings) -> list[str]:
        """Return the problems of the traffic of a backend as it is set, as sentences without full stops."""
        name, app = backend["name"], backend["app"]
        if not self.serves(backend):
            listed = self.listed.count(app, backend["version"])
            if listed:
                return [f"backend {name} {_idle(listed)}: requests get 503 until one does"]
            return [f"backend {name} has no members: requests get 503 until there are"]
        canary = canary_of(backend)
        if canary is None or self._stable(backend):
            return []
        return [f"{self._has(app, backend['version'])}: its canary {canary.version} gets all requests to {name}"]

    def warnings_of_frontend(self, frontend: Settings) -> list[str]:
        """Return the problems of the backends to which a frontend sends, as sentences without full stops."""
        found: list[str] = []
        for name in dict.fromkeys([frontend.get("backend"), *_backends_in_rules(frontend)]):
            backend = None if name is None else self.listed.backend(name)
            if backend is not None:
                found += self.warnings_of_backend(backend)
            elif name is not None:
                found.append(f"there is no backend {name}: requests get 503 until there is")
        return found

    def warnings_of_removal(self, name: str) -> list[str]:
        """Return a warning if frontends still send to a backend that is removed."""
        users = self.frontends_of(name)
        send = "sends" if len(users) == 1 else "send"
        return [f"frontend {_name_list(users)} {send} to backend {name}: requests get 503"] if users else []

    # Queries: whether a backend serves, and which frontends send to it.

    def serves(self, backend: Settings, without: str | None = None) -> bool:
        """Return True if a member or server takes the traffic of a backend.

        The registration `without` is not counted.
        """
        versions = versions_of(backend)
        return bool(self._fixed(backend)) or any(self._takes_traffic(backend["app"], of, without) for of in versions)

    def frontends_of(self, name: str) -> list[str]:
        """Return the names of the frontends that send to a backend, in order."""
        frontends = self.listed.objects("frontend")
        return sorted(each["name"] for each in frontends if name in (each.get("backend"), *_backends_in_rules(each)))

    def _stable(self, backend: Settings, without: str | None = None) -> bool:
        return bool(self._fixed(backend)) or self._takes_traffic(backend["app"], backend["version"], without)

    def _takes_traffic(self, app: str, version: str, without: str | None = None) -> bool:
        return any(id_ != without for id_ in self.listed.taking_traffic(app, version))

    def _fixed(self, backend: Settings) -> int:
        """Return the number of fixed servers that are not listed as registrations too."""
        app, versions = backend["app"], versions_of(backend)
        places = [f"{each.host}/{each.port}" for each in servers_of(backend)]
        listed = self.listed.is_listed
        return sum(not any(listed(f"registration/{app}/{of}/{place}") for of in versions) for place in places)

    def _is_served(self, name: str) -> bool:
        backend = self.listed.backend(name)
        return backend is not None and self.serves(backend)

    def _backends_of(self, app: str, version: str) -> Iterator[Settings]:
        for each in self.listed.objects("backend"):
            if each["app"] == app and version in versions_of(each):
                yield each

    # Parts of sentences.

    def _serving(self, backend: Settings) -> str:
        return f"backend/{backend['name']} serves {self._figures(backend)}"

    def _figures(self, backend: Settings) -> str:
        """Return what serves a backend, in words: the version, and the numbers of members and servers."""
        app, version, canary = backend["app"], backend["version"], canary_of(backend)
        number, fixed = self._number(app, version), self._fixed(backend)
        counts = [_members(number)] if number or not fixed else []
        counts += [f"{fixed} fixed server{'' if fixed == 1 else 's'}"] if fixed else []
        beside = "" if canary is None else self._canary_with(app, canary.version)
        return f"{app} {version} with {' and '.join(counts)}{beside}"

    def _canary_with(self, app: str, version: str) -> str:
        return f", and its canary {app} {version} with {_members(self._number(app, version))}"

    def _has(self, app: str, version: str) -> str:
        """Return the clause which says that a version has no member that takes traffic."""
        listed = self.listed.count(app, version)
        return f"{app} {version} {_idle(listed) if listed else 'has no members'}"

    def _missing_backend(self, name: str | None, backend: Settings | None) -> str:
        """Return a clause which says why requests of a frontend would get no answer from this backend."""
        if name is None:
            return "it would have no backend"
        if backend is None:
            return f"there is no backend {name}{self._nearest(name)}"
        return f"backend {name} ({backend['app']} {backend['version']}) has no member or server that takes traffic"

    def _consequence(self, backend: Settings) -> str:
        """Return a clause which says what would happen to the requests to a backend."""
        if not self.serves(backend):
            return "every request would get 503"
        canary = canary_of(backend)
        assert canary is not None or self._stable(backend)
        return "it would get no request" if canary is None else f"all requests would go to its canary {canary.version}"

    def _number(self, app: str, version: str) -> int:
        return sum(1 for _ in self.listed.taking_traffic(app, version))

    def _missing(self, names: Collection[str]) -> str:
        hint = self._nearest(next(iter(names)))
        return f"backend {_name_list(names)}, which {'does' if len(names) == 1 else 'do'} not exist{hint}"

    def _nearest(self, name: str) -> str:
        nearest = nearest_name(name, [each["name"] for each in self.listed.objects("backend")])
        return f" (did you mean {nearest}?)" if nearest else ""


def _backends_in_rules(frontend: Settings) -> list[str]:
    """Return the backends that the rules of a frontend name, without repetitions."""
    return [*dict.fromkeys(name for _, name in backends_of_rules(frontend))]


def _default_backend(frontend: Settings) -> str | None:
    """Return the backend for all requests that no narrower rule matches.

    This is the backend of the first rule for the path `/`, or the frontend's own backend if there is no such rule.
    """
    rules = frontend.get("rules")
    for rule in rules if isinstance(rules, list) else ():
        if isinstance(rule, dict) and rule.get("path") == "/" and isinstance(rule.get("backend"), str):
            return str(rule["backend"])
    return frontend.get("backend")


def _members(number: int) -> str:
    return f"{number or 'no'} member{'' if number == 1 else 's'}"


def _idle(listed: int) -> str:
    """Return the clause which says that none of the listed members takes traffic."""
    return f"has {_members(listed)}, {'which takes no' if listed == 1 else 'none of which takes'} traffic"


def _name_list(names: Collection[str]) -> str:
    """Return a list of at most `NAMES_MAX` names in words, followed by the number of the others."""
    more = len(names) - NAMES_MAX
    return ", ".join([*names][:NAMES_MAX]) + (f" and {more} more" if more > 0 else "")
