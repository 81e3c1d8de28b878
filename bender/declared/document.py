"""The declarations of a file, as values.

Fields are as the API takes them, without those that are null: a field that is not there is not set. So `id`, `resource`
and `name`, which follow from where an object stands in the file, are not among the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from attrs import frozen

from bender.core.admin_state import LASTING_S
from bender.core.members import backends_of_rules
from bender.core.object_kinds import Kind
from bender.core.registration_status import State
from bender.core.routing import BACKEND, FRONTEND

#: The kinds of objects, by the name of their table in a file.
KINDS: Mapping[str, Kind] = {"backends": BACKEND, "frontends": FRONTEND}

#: The table of operators' states.
STATES = "states"

#: Fields that follow from where an object stands.
IMPLIED = ("id", "resource", "name")

#: The field in which the API keeps a user's own fields, and the form of it for what TOML cannot say: JSON in a string.
META = "meta"
META_JSON = "meta_json"

#: The wall clock of a node may differ by this much from this machine's, and its times are still taken for right.
CLOCK_ERROR_MS = 60_000

Fields = Mapping[str, Any]


@frozen
class DeclaredState:
    """An operator's state of an instance: for `for_s` seconds from when it is set, or until a moment.

    `until_ms` is since the epoch. If both are None the state holds as long as the API's default.
    """

    state: State
    for_s: float | None = None
    until_ms: int | None = None

    def lasts_s(self, now_ms: int) -> float:
        """Return for how many seconds the state is to hold if it is set now; not more than 0 if it is over."""
        if self.until_ms is not None:
            return (self.until_ms - now_ms) / 1000
        return LASTING_S if self.for_s is None else self.for_s


def moment(at_ms: int) -> str:
    """Return a moment as text, in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


@frozen
class Document:
    """All that a file declares: the fields of backends and frontends by name, states by the id of the instance."""

    backends: Mapping[str, Fields] = {}
    frontends: Mapping[str, Fields] = {}
    states: Mapping[str, DeclaredState] = {}

    def objects(self, kind: str) -> Mapping[str, Fields]:
        """Return the backends or the frontends."""
        return self.backends if kind == "backend" else self.frontends

    @property
    def is_empty(self) -> bool:
        return not (self.backends or self.frontends or self.states)


def declared_fields(settings: Fields) -> dict[str, Any]:
    """Return the fields of an object as the API shows it, as a file would declare them.

    What is null is not set, which is the same; in `meta` null is a value of its user's, and stays.
    """
    fields = {key: value for key, value in settings.items() if key not in IMPLIED and value is not None}
    return {key: value if key == META else without_nulls(value) for key, value in fields.items()}


def without_nulls(value: Any) -> Any:
    """Return a value without the keys of objects that are null."""
    if isinstance(value, dict):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


def same(one: Any, other: Any) -> bool:
    """Return True if two values are the same in JSON. To Python, true would be the same as 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def backends_named(fields: Fields) -> list[tuple[tuple[str | int, ...], str]]:
    """Return the backends that a frontend sends to, each with the path of the field that names it."""
    named: list[tuple[tuple[str | int, ...], str]] = []
    if isinstance(fields.get("backend"), str):
        named.append((("backend",), fields["backend"]))
    return [*named, *((("rules", at, "backend"), name) for at, name in backends_of_rules(fields))]
