"""Find the differences between a document and a registry, and the order in which to make the changes.

The order keeps the traffic undisturbed: changes that add members come first, and backends come before the frontends
that send to them. Changes that remove members or frontends come last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from attrs import frozen

from bender.client.types import Word
from bender.core.change_description import differences
from bender.core.members import versions_of
from bender.core.object_kinds import Kind
from bender.core.registration_status import UP
from bender.core.routing import BACKEND, FRONTEND
from bender.core.timing import format_duration
from bender.declared.document import CLOCK_ERROR_MS, META, DeclaredState, Document, Fields, is_same_json, time_text

Action = Literal["create", "change", "remove"]

#: The largest difference between two ends of a state that count as the same. A file has whole seconds, and requests
#: take some time.
SAME_END_MS = 2000


@frozen
class Contents:
    """The contents of a registry: the fields of backends and frontends as a file would declare them, and states.

    `states` has the states that operators set, by the id of the instance. They were read at `now_ms`, by the wall clock
    of this machine. `notes` are sentences about parts that could not be read.
    """

    backends: Mapping[str, Fields]
    frontends: Mapping[str, Fields]
    states: Mapping[str, Word]
    now_ms: int
    notes: tuple[str, ...] = ()

    def objects(self, kind: str) -> Mapping[str, Fields]:
        """Return the backends or the frontends."""
        return self.backends if kind == "backend" else self.frontends

    def end_ms(self, present_state: Word) -> int:
        """Return the end of a state in milliseconds since the epoch, rounded to seconds.

        The result stays the same until the state is set again, because it follows from the time at which the state was
        set, by the clock of the node. If that clock is far off, the end follows from the remaining time.
        """
        by_node, by_left = self._ends_ms(present_state)
        end = by_node if abs(by_node - by_left) <= CLOCK_ERROR_MS else by_left
        return round(end / 1000) * 1000

    def ends_at(self, present_state: Word, at_ms: int) -> bool:
        """Return True if a state ends at a time, by the clock of the node or by this machine's clock."""
        return any(abs(end - at_ms) <= SAME_END_MS for end in self._ends_ms(present_state))

    def _ends_ms(self, present_state: Word) -> tuple[int, int]:
        return present_state.at_ms + round(present_state.lasts_s * 1000), self.now_ms + round(
            present_state.left_s * 1000
        )


@frozen
class ConfigChange:
    """A backend, frontend or operator's state that is created, changed or removed.

    `name` is the name of the backend or frontend, or the id of the instance that has the state. `before` and `after`
    are the fields, None if the object does not exist then. For a state, `state` is the state to set, and
    `present_state` the state that is set now.
    """

    kind: Literal["backend", "frontend", "state"]
    name: str
    before: Fields | None
    after: Fields | None
    state: DeclaredState | None = None
    present_state: Word | None = None
    #: The tag of the object before the change.
    etag: str | None = None

    @property
    def id(self) -> str:
        return f"{self.kind}/{self.name.removeprefix('registration/')}"

    @property
    def action(self) -> Action:
        if self.before is None:
            return "create"
        return "remove" if self.after is None else "change"

    def describe(self) -> list[str]:
        """Return a phrase for each field that differs, as all commands describe a change."""
        found = differences(self.before, self.after)
        before, after = self.before or {}, self.after or {}
        if self.action != "change" or found:
            return found
        return [f"{field} with values of another type" for field in changed_fields(before, after)]


@frozen
class ChangeSet:
    """The changes to make, in order.

    `unchanged` is the number of objects and states that are as declared. `undeclared` has the ids of those that the
    file does not have and that stay. `expired` has the ids of declared states that have ended already.
    """

    changes: tuple[ConfigChange, ...]
    unchanged: int = 0
    undeclared: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()


def change_set(document: Document, contents: Contents, *, prune: bool) -> ChangeSet:
    """Return the changes that make a registry match a document.

    Objects and states that the document does not declare are removed only with `prune`.
    """
    expired = {id_ for id_, each in document.states.items() if each.lasts_s(contents.now_ms) < 1}
    wanted = {id_: each for id_, each in document.states.items() if id_ not in expired}
    compared = [
        *_object_changes(BACKEND, document, contents),
        *_object_changes(FRONTEND, document, contents),
        *_state_changes(wanted, contents),
    ]
    different = [change for change in compared if not is_same_json(change.before, change.after)]
    changes = [change for change in different if change.action != "remove" or prune]
    return ChangeSet(
        tuple(sorted(changes, key=lambda change: (_rank(change, contents), change.kind, change.name))),
        len(compared) - len(different),
        () if prune else tuple(change.id for change in different if change.action == "remove"),
        tuple(sorted(id_.replace("registration/", "state/", 1) for id_ in expired)),
    )


def export_document(contents: Contents) -> tuple[Document, list[str]]:
    """Return the contents of a registry as a document, and notes for the person who reads it."""
    notes = [*contents.notes]
    objects = {
        kind.name: {
            name: _move_old_fields(kind, name, fields, notes) for name, fields in contents.objects(kind.name).items()
        }
        for kind in (BACKEND, FRONTEND)
    }
    states = {
        id_: DeclaredState(present_state.state, None, contents.end_ms(present_state))  # type: ignore[arg-type]
        for id_, present_state in contents.states.items()
    }
    return Document(objects["backend"], objects["frontend"], states), notes


def changed_fields(before: Fields, after: Fields) -> list[str]:
    """Return the names of the fields that differ, without those that are only in `before`."""
    return [field for field, value in after.items() if field not in before or not is_same_json(before[field], value)]


def _move_old_fields(kind: Kind, name: str, fields: Fields, notes: list[str]) -> Fields:
    """Return the fields of an object, and move unknown fields from an earlier release, which nodes refuse, to `meta`.

    Add a note for the reader if there are such fields.
    """
    meta = fields.get(META, {})
    old = [field for field in kind.unknown_fields(fields) if isinstance(meta, dict) and field not in meta]
    if not old:
        return fields
    notes.append(
        f"{kind.key(name)} has {', '.join(old)} from an earlier release: in the file it is under {META}, "
        "the place for fields of your own"
    )
    moved = {field: fields[field] for field in old}
    return {field: value for field, value in fields.items() if field not in old} | {META: {**meta, **moved}}


def _object_changes(kind: Kind, document: Document, contents: Contents) -> Iterator[ConfigChange]:
    declared, existing = document.objects(kind.name), contents.objects(kind.name)
    for name in sorted({*declared, *existing}):
        yield ConfigChange(kind.name, name, existing.get(name), declared.get(name))  # type: ignore[arg-type]


def _state_changes(wanted: Mapping[str, DeclaredState], contents: Contents) -> Iterator[ConfigChange]:
    for id_ in sorted({*wanted, *contents.states}):
        declared, present_state = wanted.get(id_), contents.states.get(id_)
        before = None if present_state is None else _present_state_fields(present_state, contents)
        if declared is None:
            yield ConfigChange("state", id_, before, None, None, present_state)
        elif present_state is not None and _is_declared(declared, present_state, contents):
            yield ConfigChange("state", id_, before, before, declared, present_state)
        else:
            yield ConfigChange("state", id_, before, _declared_state_fields(declared), declared, present_state)


def _is_declared(declared: DeclaredState, present_state: Word, contents: Contents) -> bool:
    if present_state.state != declared.state:
        return False
    if declared.until_ms is not None:
        return contents.ends_at(present_state, declared.until_ms)
    return declared.for_s in (None, present_state.lasts_s)


def _present_state_fields(present_state: Word, contents: Contents) -> Fields:
    return {"state": present_state.state, "until": time_text(contents.end_ms(present_state))}


def _declared_state_fields(declared: DeclaredState) -> Fields:
    if declared.until_ms is not None:
        return {"state": declared.state, "until": time_text(declared.until_ms)}
    return {"state": declared.state, "for": format_duration(declared.lasts_s(0))}


def _rank(change: ConfigChange, contents: Contents) -> int:
    """Return the place of a change in the order that the module describes."""
    if change.kind == "state":
        adds = change.state is None or change.state.state == UP
        return 3 if not adds and _is_in_use(change.name, contents) else 0
    if change.action == "remove":
        return 4 if change.kind == "frontend" else 5
    return 1 if change.kind == "backend" else 2


def _is_in_use(id_: str, contents: Contents) -> bool:
    """Return True if a backend sends requests to the version of an instance."""
    _, app, version, *_ = id_.split("/")
    return any(app == each["app"] and version in versions_of(each) for each in contents.backends.values())
