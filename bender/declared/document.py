"""The declarations of a file, as values.

Fields have the form of the API. Fields that are null are left out, because they mean the same as fields that are not
set. `id`, `resource` and `name` are left out too, because they follow from the place of the object in the file.
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

#: Fields that follow from the place of an object in the file.
IMPLIED_FIELDS = ("id", "resource", "name")

#: The field in which the API keeps a user's own fields, and the field for values that TOML does not have: a string with
#: the JSON.
META = "meta"
META_JSON = "meta_json"

#: The largest difference between the wall clocks of a node and of this machine at which the node's times are used.
CLOCK_ERROR_MS = 60_000

Fields = Mapping[str, Any]


@frozen
class DeclaredState:
    """An operator's state of an instance: for `for_s` seconds after it is set, or until `until_ms` since the epoch.

    If both are None, the state lasts for the default time of the API.
    """

    state: State
    for_s: float | None = None
    until_ms: int | None = None

    def lasts_s(self, now_ms: int) -> float:
        """Return the number of seconds that the state lasts if it is set now; 0 or less if it has ended already."""
        if self.until_ms is not None:
            return (self.until_ms - now_ms) / 1000
        return LASTING_S if self.for_s is None else self.for_s


def time_text(at_ms: int) -> str:
    """Return a time in milliseconds since the epoch as text, in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


@frozen
class Document:
    """The declarations of a file: the fields of backends and frontends by name, and states by id of the instance."""

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
    """Return the fields of an object in the API as a file would declare them.

    Fields that are null are left out, except in `meta`, where null is a value of the user.
    """
    fields = {key: value for key, value in settings.items() if key not in IMPLIED_FIELDS and value is not None}
    return {key: value if key == META else without_nulls(value) for key, value in fields.items()}


def without_nulls(value: Any) -> Any:
    """Return a JSON value without the keys of objects whose values are null."""
    if isinstance(value, dict):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


def is_same_json(one: Any, other: Any) -> bool:
    """Return True if two values are the same in JSON. In Python, `True == 1`."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_same_json(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same_json, one, other))
    return bool(one == other)


def referenced_backends(fields: Fields) -> list[tuple[tuple[str | int, ...], str]]:
    """Return the names of the backends that a frontend sends to, each after the path of the field that names it."""
    named: list[tuple[tuple[str | int, ...], str]] = []
    if isinstance(fields.get("backend"), str):
        named.append((("backend",), fields["backend"]))
    return [*named, *((("rules", at, "backend"), name) for at, name in backends_of_rules(fields))]
