"""The registrations, backends and frontends that bender has reported, and that are still valid.

Without a report from bender, HAProxy stays unchanged.

- An instance is removed if bender reports that it was deregistered (also because a check failed) or has expired.
- An instance may be alive if it is hidden because nodes are unreachable, or missing at a node that was restarted. It is
  kept for `KEEP_S` seconds. This time runs only while the driver follows a node.
- Backends and frontends are kept until an operator removes them, because nobody intends their loss at all nodes. States
  that operators have set (`admin_states`) are kept for the same reason.

A node may send anything, because it may be hostile, defective or of another version. This module makes checked values
of all that it sends, by the rules that the API has for clients. An event that breaks them changes only `problems`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar, get_args

from attrs import define, evolve, field, frozen

from bender.core.hosts import PORT_MAX, destination
from bender.core.invalid import Invalid
from bender.core.model import WEIGHT_MAX, parse_name
from bender.core.registration_status import UP, State
from bender.haproxy.core.admin_states import AdminStates, StateAnswer
from bender.haproxy.core.safe_text import printable
from bender.haproxy.core.settings import BackendSettings, FrontendSettings, parse_backend, parse_frontend

#: The reasons of an `offline` event for which an instance is removed.
GONE_REASONS = ("expired", "deregistered", "check-failed")

#: Seconds for which an instance is kept that is not listed for another reason.
KEEP_S = 60.0

#: The largest number of problems that are kept, and the key of the note that there are more.
PROBLEMS_MAX = 200
MORE_PROBLEMS = "…"

Kind = Literal["registration", "backend", "frontend"]

_STATES: Mapping[object, State] = {state: state for state in get_args(State)}

_APPEARS = {
    "registration": ("online", "changed"),
    "backend": ("created", "changed"),
    "frontend": ("created", "changed"),
}
_GOES = {"registration": "offline", "backend": "removed", "frontend": "removed"}

_T = TypeVar("_T", BackendSettings, FrontendSettings)


@frozen
class ReceivedEvent:
    """One event as received. `body` is the object of the event, and may contain anything."""

    event: str
    kind: str
    id: str
    reason: str
    body: Mapping[str, Any]


@frozen
class RegisteredInstance:
    """A registration, with the fields that the driver uses."""

    id: str
    app: str
    version: str
    host: str
    port: int
    weight: int
    state: State


def parse_instance(body: Mapping[str, Any]) -> RegisteredInstance:
    """Return the registration in the body of an event. Raises `Invalid`."""
    app, version = (parse_name(field, body.get(field)) for field in ("app", "version"))
    host = body.get("host")
    if not isinstance(host, str):
        raise Invalid("host", "must be a string")
    host, port = destination(host), _number("port", body.get("port"), 1, PORT_MAX)
    state = body.get("state", UP)
    if not isinstance(state, str) or state not in _STATES:
        raise Invalid("state", f"must be {', '.join(map(str, _STATES))}")
    weight = _number("weight", body.get("weight"), 0, WEIGHT_MAX)
    return RegisteredInstance(
        f"registration/{app}/{version}/{host}/{port}", app, version, host, port, weight, _STATES[state]
    )


def _number(field: str, number: object, at_least: int, at_most: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or not at_least <= number <= at_most:
        raise Invalid(field, f"must be an integer from {at_least} to {at_most}")
    return number


@define
class Registry:
    """Registrations, backends and frontends, as bender reported them last."""

    backends: dict[str, BackendSettings] = field(factory=dict)
    frontends: dict[str, FrontendSettings] = field(factory=dict)
    #: The ids of backends and frontends that bender has lost although nobody has removed them.
    missing: set[str] = field(factory=set)
    #: The problem of the last event about an id, by id in printable form.
    problems: dict[str, str] = field(factory=dict)
    admin_states: AdminStates = field(factory=AdminStates)
    _registrations: dict[str, RegisteredInstance] = field(factory=dict)
    _of_version: dict[tuple[str, str], set[str]] = field(factory=dict)
    _of_app: dict[str, set[str]] = field(factory=dict)
    # Registrations that are not listed, with the time until which they are kept.
    _lost: dict[str, float] = field(factory=dict)

    @property
    def lost(self) -> Mapping[str, float]:
        """The ids of registrations that bender does not list any more, with the time until which they are kept."""
        return self._lost

    def registrations(self, app: str, version: str) -> list[RegisteredInstance]:
        """Return the registrations of a version, in order of id."""
        return [self._registrations[id_] for id_ in sorted(self._of_version.get((app, version), ()))]

    def backends_of(self, app: str) -> frozenset[str]:
        """Return the names of the backends that an app serves."""
        return frozenset(self._of_app.get(app, ()))

    def receive(self, event: ReceivedEvent, now: float) -> frozenset[str]:
        """Process an event. Return the names of the backends whose settings or servers it may have changed.

        An invalid event changes nothing, and adds its error to `problems`.
        """
        try:
            changed = self._receive(event, now)
        except Invalid as error:
            self.note_problem(event.id, str(error))
            return frozenset()
        self.problems.pop(printable(event.id), None)
        return changed

    def note_problem(self, id_: str, problem: str) -> None:
        """Add to `problems` a problem of the last event about an id, or from a node."""
        id_ = printable(id_)
        if id_ in self.problems or len(self.problems) < PROBLEMS_MAX:
            self.problems[id_] = printable(problem)
        else:
            self.problems[MORE_PROBLEMS] = "there are more problems than can be listed"

    def due_at(self) -> float | None:
        """Return when the next kept registration or state ends; None if there is none."""
        at = [*self._lost.values(), *filter(None, [self.admin_states.due_at()])]
        return min(at, default=None)

    def lapse(self, now: float) -> frozenset[str]:
        """Remove registrations and states that were kept long enough; return the names of the backends they served."""
        changed: set[str] = set()
        for id_ in [id_ for id_, until in self._lost.items() if until <= now]:
            changed |= self._remove(id_)
        for id_ in self.admin_states.lapse(now):
            changed |= self._set_state(id_, UP)
        return frozenset(changed)

    def receive_state_answer(self, id_: str, answer: StateAnswer, asked_at: float, now: float) -> frozenset[str]:
        """Process a node's answer about the state of an instance.

        Return the names of the backends that the instance serves, if its state has changed.
        """
        state = self.admin_states.receive_answer(id_, answer, asked_at, now)
        return frozenset() if state is None else self._set_state(id_, state)

    def restart_keep_times(self, now: float) -> None:
        """Restart the time of all kept registrations, because the driver follows a node again."""
        self._lost = dict.fromkeys(self._lost, now + KEEP_S)

    def _receive(self, event: ReceivedEvent, now: float) -> frozenset[str]:
        if event.kind not in _GOES:
            raise Invalid("kind", f"must be {', '.join(_GOES)}")
        if event.event == _GOES[event.kind]:
            return self._receive_removal(event, now)
        if event.event not in _APPEARS[event.kind]:
            raise Invalid("event", f"must be {', '.join((*_APPEARS[event.kind], _GOES[event.kind]))}")
        if event.kind == "registration":
            return self._receive_registration(event, now)
        if event.kind == "backend":
            return self._set_backend(event, parse_backend(event.body))
        self._set(self.frontends, event, parse_frontend(event.body))
        return frozenset()

    def _receive_removal(self, event: ReceivedEvent, now: float) -> frozenset[str]:
        """Remove an object by its id. The event may contain anything else."""
        if event.kind == "registration":
            if event.reason in GONE_REASONS:
                return self._remove(event.id)
            if event.id in self._registrations:
                self._lost.setdefault(event.id, now + KEEP_S)
            return frozenset()
        name = event.id.partition("/")[2]
        objects: dict[str, Any] = self.backends if event.kind == "backend" else self.frontends
        if name not in objects or event.id != f"{event.kind}/{name}":
            return frozenset()
        if event.reason != "configured":
            self.missing.add(event.id)
            return frozenset()
        self.missing.discard(event.id)
        gone = objects.pop(name)
        if event.kind == "frontend":
            return frozenset()
        self._of_app[gone.service.app].discard(name)
        return frozenset({name})

    def _receive_registration(self, event: ReceivedEvent, now: float) -> frozenset[str]:
        instance = parse_instance(event.body)
        _require_id(event, instance.id)
        self._lost.pop(event.id, None)
        certain = event.event == "changed" and event.reason == "configured"
        state = self.admin_states.receive(event.id, instance.state, now, certain=certain)
        self._registrations[event.id] = evolve(instance, state=state)
        self._of_version.setdefault((instance.app, instance.version), set()).add(event.id)
        return self.backends_of(instance.app)

    def _set_state(self, id_: str, state: State) -> frozenset[str]:
        instance = self._registrations.get(id_)
        if instance is None:
            return frozenset()
        self._registrations[id_] = evolve(instance, state=state)
        return self.backends_of(instance.app)

    def _remove(self, id_: str) -> frozenset[str]:
        self._lost.pop(id_, None)
        instance = self._registrations.pop(id_, None)
        if instance is None:
            return frozenset()
        version = instance.app, instance.version
        ids = self._of_version[version]
        ids.discard(id_)
        if not ids:
            del self._of_version[version]
        return self.backends_of(instance.app)

    def _set_backend(self, event: ReceivedEvent, backend: BackendSettings) -> frozenset[str]:
        before = self.backends.get(backend.name)
        self._set(self.backends, event, backend)
        if before is not None:
            self._of_app[before.service.app].discard(backend.name)
        self._of_app.setdefault(backend.service.app, set()).add(backend.name)
        return frozenset({backend.name})

    def _set(self, objects: dict[str, _T], event: ReceivedEvent, value: _T) -> None:
        _require_id(event, f"{event.kind}/{value.name}")
        self.missing.discard(event.id)
        objects[value.name] = value


def _require_id(event: ReceivedEvent, id_: str) -> None:
    if event.id != id_:
        raise Invalid("id", f"must be {id_}, as the other fields say")


def kept_ids(registry: Registry) -> Iterator[str]:
    """Yield, in order, the ids of the objects that are kept although bender does not list them.

    The id of a state is the id of its instance with `/state`.
    """
    yield from sorted({*registry.missing, *registry.lost, *(f"{id_}/state" for id_ in registry.admin_states.lost())})
