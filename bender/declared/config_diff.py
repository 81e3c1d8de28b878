"""Find the differences between a document and a registry, and the order in which to make the changes.

The order keeps traffic going at every moment: what adds members comes first, backends come before the frontends that
send to them, and what takes members or entrances away comes last.
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
from bender.core.timing import in_a_word
from bender.declared.document import CLOCK_ERROR_MS, META, DeclaredState, Document, Fields, moment, same

Action = Literal["create", "change", "remove"]

#: Two ends of a state that are no further apart are the same: a file has whole seconds, and requests take a moment.
SAME_END_MS = 2000


@frozen
class Contents:
    """A registry: the fields of backends and frontends as a file would declare them, and operators' states.

    States are by the id of the instance; `now_ms` is when they were read, by the wall clock of this machine.
    `notes` say what could not be read.
    """

    backends: Mapping[str, Fields]
    frontends: Mapping[str, Fields]
    states: Mapping[str, Word]
    now_ms: int
    notes: tuple[str, ...] = ()

    def objects(self, kind: str) -> Mapping[str, Fields]:
        """Return the backends or the frontends."""
        return self.backends if kind == "backend" else self.frontends

    def end_ms(self, word: Word) -> int:
        """Return when a state ends, in whole seconds since the epoch: the same each time until it is set anew.

        That follows from when it was set, by the clock of the node. Where that clock is far off, what is left counts.
        """
        by_node, by_left = self._ends_ms(word)
        end = by_node if abs(by_node - by_left) <= CLOCK_ERROR_MS else by_left
        return round(end / 1000) * 1000

    def ends_at(self, word: Word, at_ms: int) -> bool:
        """Return True if a state ends at a moment, by one clock or the other."""
        return any(abs(end - at_ms) <= SAME_END_MS for end in self._ends_ms(word))

    def _ends_ms(self, word: Word) -> tuple[int, int]:
        return word.at_ms + round(word.lasts_s * 1000), self.now_ms + round(word.left_s * 1000)


@frozen
class ConfigChange:
    """An object or a state that is created, changed or removed.

    `name` is that of a backend or frontend, or the id of an instance whose state it is. None in place of fields means
    that there is nothing before, or after. `state` is what to set, where it is a state, and `word` what is set before.
    """

    kind: Literal["backend", "frontend", "state"]
    name: str
    before: Fields | None
    after: Fields | None
    state: DeclaredState | None = None
    word: Word | None = None
    #: The tag of the object as it is before.
    etag: str | None = None

    @property
    def id(self) -> str:
        return f"{self.kind}/{self.name.removeprefix('registration/')}"

    @property
    def action(self) -> Action:
        if self.before is None:
            return "create"
        return "remove" if self.after is None else "change"

    def described(self) -> list[str]:
        """Return what differs in the words that all commands have for it, a few for each field."""
        found = differences(self.before, self.after)
        before, after = self.before or {}, self.after or {}
        if self.action != "change" or found:
            return found
        return [f"{field} with values of another type" for field in changed_fields(before, after)]


@frozen
class ChangeSet:
    """All that is to be done, in order.

    `unchanged` is how many objects and states are as declared; `left` are the ids of those that the file does not have
    and that stay; `over` are the ids of states whose time is over by now.
    """

    changes: tuple[ConfigChange, ...]
    unchanged: int = 0
    left: tuple[str, ...] = ()
    over: tuple[str, ...] = ()


def change_set(document: Document, contents: Contents, *, prune: bool) -> ChangeSet:
    """Return what makes a registry as a document declares. What the document does not have goes only with `prune`."""
    over = {id_ for id_, each in document.states.items() if each.lasts_s(contents.now_ms) < 1}
    wanted = {id_: each for id_, each in document.states.items() if id_ not in over}
    compared = [
        *_of_objects(BACKEND, document, contents),
        *_of_objects(FRONTEND, document, contents),
        *_of_states(wanted, contents),
    ]
    different = [change for change in compared if not same(change.before, change.after)]
    changes = [change for change in different if change.action != "remove" or prune]
    return ChangeSet(
        tuple(sorted(changes, key=lambda change: (_rank(change, contents), change.kind, change.name))),
        len(compared) - len(different),
        () if prune else tuple(change.id for change in different if change.action == "remove"),
        tuple(sorted(id_.replace("registration/", "state/", 1) for id_ in over)),
    )


def exported(contents: Contents) -> tuple[Document, list[str]]:
    """Return what a registry has as a document, and what to tell the person who reads it."""
    notes = [*contents.notes]
    objects = {
        kind.name: {name: _movable(kind, name, fields, notes) for name, fields in contents.objects(kind.name).items()}
        for kind in (BACKEND, FRONTEND)
    }
    states = {
        id_: DeclaredState(word.state, None, contents.end_ms(word))  # type: ignore[arg-type]
        for id_, word in contents.states.items()
    }
    return Document(objects["backend"], objects["frontend"], states), notes


def changed_fields(before: Fields, after: Fields) -> list[str]:
    """Return the names of the fields that differ, without those that are only in `before`."""
    return [field for field, value in after.items() if field not in before or not same(before[field], value)]


def _movable(kind: Kind, name: str, fields: Fields, notes: list[str]) -> Fields:
    """The fields, with those that an earlier release kept and this one refuses under `meta`."""
    meta = fields.get(META, {})
    old = [field for field in kind.unknown(fields) if isinstance(meta, dict) and field not in meta]
    if not old:
        return fields
    notes.append(
        f"{kind.key(name)} has {', '.join(old)} from an earlier release: in the file it is under {META}, "
        "the place for fields of your own"
    )
    moved = {field: fields[field] for field in old}
    return {field: value for field, value in fields.items() if field not in old} | {META: {**meta, **moved}}


def _of_objects(kind: Kind, document: Document, contents: Contents) -> Iterator[ConfigChange]:
    declared, existing = document.objects(kind.name), contents.objects(kind.name)
    for name in sorted({*declared, *existing}):
        yield ConfigChange(kind.name, name, existing.get(name), declared.get(name))  # type: ignore[arg-type]


def _of_states(wanted: Mapping[str, DeclaredState], contents: Contents) -> Iterator[ConfigChange]:
    for id_ in sorted({*wanted, *contents.states}):
        declared, word = wanted.get(id_), contents.states.get(id_)
        before = None if word is None else _shown_word(word, contents)
        if declared is None:
            yield ConfigChange("state", id_, before, None, None, word)
        elif word is not None and _is_declared(declared, word, contents):
            yield ConfigChange("state", id_, before, before, declared, word)
        else:
            yield ConfigChange("state", id_, before, _shown_state(declared), declared, word)


def _is_declared(declared: DeclaredState, word: Word, contents: Contents) -> bool:
    if word.state != declared.state:
        return False
    if declared.until_ms is not None:
        return contents.ends_at(word, declared.until_ms)
    return declared.for_s in (None, word.lasts_s)


def _shown_word(word: Word, contents: Contents) -> Fields:
    return {"state": word.state, "until": moment(contents.end_ms(word))}


def _shown_state(declared: DeclaredState) -> Fields:
    if declared.until_ms is not None:
        return {"state": declared.state, "until": moment(declared.until_ms)}
    return {"state": declared.state, "for": in_a_word(declared.lasts_s(0))}


def _rank(change: ConfigChange, contents: Contents) -> int:
    """Return the place of a change in the order; see the top of the module."""
    if change.kind == "state":
        adds = change.state is None or change.state.state == UP
        return 3 if not adds and _is_in_use(change.name, contents) else 0
    if change.action == "remove":
        return 4 if change.kind == "frontend" else 5
    return 1 if change.kind == "backend" else 2


def _is_in_use(id_: str, contents: Contents) -> bool:
    """Return True if a backend sends to the version of an instance."""
    _, app, version, *_ = id_.split("/")
    return any(app == each["app"] and version in versions_of(each) for each in contents.backends.values())
