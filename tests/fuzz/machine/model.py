"""A model of a node as its clients see it, as simple as possible: dictionaries, and no replication.

No other client uses the node. Time passes in whole seconds, and nothing happens between two of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import Factory, define, evolve, field

from tests.api.conversation import NOW_MS

TTL_S = 10.0
STATE_S = 86_400.0
HISTORY_MAX = 20
NODE = "n1"

#: After a longer time without a sweep, a node treats the time as a pause.
PAUSE_S = 1.5

Json = dict[str, Any]


@define
class Instance:
    """The terms of a registration, and the time at which it expires unless it is renewed."""

    ttl: float
    weight: int
    meta: Json
    instance: str | None
    due_at: float


@define
class OperatorState:
    """A state that an operator has set, with its end."""

    state: str
    lasts_s: float
    until: float
    author: str


@define
class Event:
    """An event that a watcher must get: its kind, its reason, and the object after it."""

    event: str
    reason: str
    object: Json

    @property
    def id(self) -> str:
        return str(self.object["id"])


@define
class Model:
    """The whole state of the node."""

    now: float = 0.0
    registered: dict[str, Instance] = Factory(dict)
    #: Every id that was ever registered: the node can explain it.
    known: set[str] = Factory(set)
    operator_states: dict[str, OperatorState] = Factory(dict)
    ever_set: set[str] = Factory(set)
    #: Settings by id, newest first; None for a removal.
    settings: dict[str, list[Json | None]] = Factory(dict)
    authors: dict[str, list[str]] = Factory(dict)
    events: list[Event] = field(factory=list)

    # Registrations.

    def registration_json(self, key: str) -> Json:
        """Return a registration as the API returns it."""
        _, app, version, host, port = key.split("/")
        one = self.registered[key]
        token = {} if one.instance is None else {"instance": one.instance}
        return {
            "id": key,
            "resource": "Registration",
            "app": app,
            "version": version,
            "host": host,
            "port": int(port),
            "ttl": one.ttl,
            "weight": one.weight,
            "meta": one.meta,
            "registered": NOW_MS,
            "node": NODE,
            **token,
            "state": self.state(key),
        }

    def listing(self, app: str | None = None, version: str | None = None) -> list[Json]:
        """Return the registrations of an app, of a version, or all."""
        keys = sorted(key for key in self.registered if _matches(key, app, version))
        return [self.registration_json(key) for key in keys]

    def register(self, key: str, terms: Mapping[str, Any]) -> bool:
        """Register, change or renew an instance; return True if it was not listed. `terms` are those in the request."""
        old = self.registered.get(key)
        new = old or Instance(TTL_S, 1, {}, None, 0.0)
        new = evolve(new, **terms, due_at=self.now + terms.get("ttl", new.ttl))
        self.registered[key] = new
        self.known.add(key)
        if old is None:
            self._emit("online", "registered", self.registration_json(key))
        elif evolve(old, due_at=new.due_at) != new:
            self._emit("changed", "registered", self.registration_json(key))
        return old is None

    def renew(self, key: str) -> bool:
        """Renew a registration; return True if it is listed."""
        one = self.registered.get(key)
        if one is not None:
            one.due_at = self.now + one.ttl
        return one is not None

    def deregister(self, key: str, reason: str = "deregistered") -> bool:
        """Deregister an instance; return True if it was listed."""
        if key not in self.registered:
            return False
        self._emit("offline", reason, self.registration_json(key))
        del self.registered[key]
        return True

    # States.

    def state(self, key: str) -> str:
        return self.operator_states[key].state if key in self.operator_states else "up"

    def set_state(self, key: str, operator_state: OperatorState | None) -> None:
        before = self.state(key)
        if operator_state is None:
            del self.operator_states[key]
        else:
            self.operator_states[key] = operator_state
            self.ever_set.add(key)
        if key in self.registered and self.state(key) != before:
            self._emit("changed", "configured", self.registration_json(key))

    # Time.

    def pass_second(self) -> None:
        """Let one second pass, with a sweep at its end."""
        self.now += 1
        self._end_what_is_over()

    def pause_node(self, seconds: float) -> None:
        """Pause the node. A registration whose ttl is longer than the pause gets this time back."""
        self.now += seconds
        if seconds > PAUSE_S:
            for one in self.registered.values():
                if one.ttl > seconds:
                    one.due_at += seconds
        self._end_what_is_over()

    def ids_due(self) -> list[str]:
        """Return the ids that expire now or at the next sweep: nodes are exact to an interval."""
        return [key for key, one in self.registered.items() if one.due_at == self.now]

    def _end_what_is_over(self) -> None:
        for key, one in [*self.registered.items()]:
            if one.due_at < self.now:
                self.deregister(key, "expired")
        for key, operator_state in [*self.operator_states.items()]:
            if operator_state.until <= self.now:
                self.set_state(key, None)

    # Backends and frontends.

    def setting(self, id_: str) -> Json | None:
        return next(iter(self.settings.get(id_, [])), None)

    def objects(self, kind: str) -> list[Json]:
        """Return all backends, or all frontends."""
        present = (self.setting(id_) for id_ in sorted(self.settings) if id_.startswith(f"{kind}/"))
        return [each for each in present if each is not None]

    def configure(self, id_: str, body: Json | None, author: str) -> None:
        """Set or remove an object. A removal ends its history."""
        before = self.setting(id_)
        if before == body:
            return
        history, authors = self.settings.get(id_, []), self.authors.get(id_, [])
        self.settings[id_] = [None] if body is None else [body, *history][:HISTORY_MAX]
        self.authors[id_] = [author] if body is None else [author, *authors][:HISTORY_MAX]
        if body is None:
            assert before is not None
            self._emit("removed", "configured", before)
        else:
            self._emit("created" if before is None else "changed", "configured", body)

    # Traffic.

    def takes_traffic(self, app: str, version: str, without: str | None = None) -> bool:
        """Return True if a member of a version takes traffic."""
        keys = (key for key in self.registered if _matches(key, app, version) and key != without)
        return any(self.state(key) == "up" and self.registered[key].weight > 0 for key in keys)

    def serves(self, backend: Json, without: str | None = None) -> bool:
        """Return True if any member or server takes the traffic of a backend."""
        return self.has_stable(backend, without) or any(
            self.takes_traffic(backend["app"], version, without) for version in _canary_version(backend)
        )

    def has_stable(self, backend: Json, without: str | None = None) -> bool:
        """Return True if a member of a backend's own version, or a fixed server, takes its traffic."""
        return self._has_fixed(backend) or self.takes_traffic(backend["app"], backend["version"], without)

    def _has_fixed(self, backend: Json) -> bool:
        versions = (backend["version"], *_canary_version(backend))
        for server in backend.get("servers") or ():
            host, _, port = server.rpartition(":")
            if not any(
                f"registration/{backend['app']}/{version}/{host}/{port}" in self.registered for version in versions
            ):
                return True
        return False

    def harms(self, id_: str, before: Json | None, after: Json | None, *, back: bool = False) -> bool:
        """Return True if a change stops traffic that is served now, or refers to an object that serves none."""
        if before == after:
            return False
        if id_.startswith("frontend/"):
            return after is not None and self._frontend_harm(before, after)
        if before is None or not self.serves(before):
            return False
        if after is None:
            return any(before["name"] in [each.get("backend"), *_of_rules(each)] for each in self.objects("frontend"))
        moved = (after["app"], after["version"]) != (before["app"], before["version"])
        if moved and not self.has_stable(after):
            return True
        return self._canary_harm(before, after, back=back) or not self.serves(after)

    def _canary_harm(self, before: Json, after: Json, *, back: bool) -> bool:
        """Return True if a new canary with a share of the traffic has no members."""
        version, former = _canary_version(after), _canary_version(before)
        if not version or not after["canary"]["percent"] or back:
            return False
        is_same = version == former and before["canary"]["percent"] and after["app"] == before["app"]
        return not is_same and not self.takes_traffic(after["app"], version[0])

    def _frontend_harm(self, before: Json | None, after: Json) -> bool:
        known = [] if before is None else _of_rules(before)
        if any(name not in known and self.setting(f"backend/{name}") is None for name in _of_rules(after)):
            return True
        if before is None or _usual(before) == _usual(after):
            return False
        former, name = _usual(before), _usual(after)
        backend = None if name is None else self.setting(f"backend/{name}")
        serving = [each for each in (former, *_of_rules(before)) if each is not None and self._is_served(each)]
        # A frontend whose backend does not serve may be set to another that does not either, or to none.
        if not serving or (former not in serving and (name is None or backend is not None)):
            return False
        return backend is None or not self.serves(backend)

    def _is_served(self, name: str) -> bool:
        backend = self.setting(f"backend/{name}")
        return backend is not None and self.serves(backend)

    def state_harms(self, key: str, state: str) -> bool:
        """Return True if a state removes the last member from a backend that serves traffic."""
        _, app, version, _, _ = key.split("/")
        if state == "up" or self.takes_traffic(app, version, key) or not self.takes_traffic(app, version):
            return False
        return any(
            not self.serves(backend, key)
            for backend in self.objects("backend")
            if backend["app"] == app and version in (backend["version"], *_canary_version(backend))
        )

    def _emit(self, event: str, reason: str, body: Json) -> None:
        self.events.append(Event(event, reason, {**body}))


def events_for(events: list[Event], app: str | None) -> Iterator[Event]:
    """Yield the events for a watcher of an app. Only watchers of all apps get events of backends and frontends."""
    for each in events:
        if app is None or (each.object["resource"] == "Registration" and each.object["app"] == app):
            yield each


def _matches(key: str, app: str | None, version: str | None) -> bool:
    _, of_app, of_version, _, _ = key.split("/")
    return app in (None, of_app) and version in (None, of_version)


def _canary_version(backend: Json) -> tuple[str, ...]:
    canary = backend.get("canary")
    return () if canary is None or canary["version"] == backend["version"] else (canary["version"],)


def _of_rules(frontend: Json) -> list[str]:
    return [rule["backend"] for rule in frontend.get("rules") or ()]


def _usual(frontend: Json) -> str | None:
    everything = (rule["backend"] for rule in frontend.get("rules") or () if rule.get("path") == "/")
    found: str | None = next(everything, frontend.get("backend"))
    return found
