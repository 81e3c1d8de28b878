"""Parse a file with declarations: return the document, and all problems of the file with their lines.

The functions of the API check the fields here too. So a node of this release refuses no declaration in a file without
problems because of its form.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from math import isfinite
from typing import Any, cast, get_args

import msgspec
from attrs import define, field, frozen

from bender.core.admin_state import LASTING_S_MIN
from bender.core.did_you_mean import did_you_mean, unknown_field
from bender.core.durations import FORM, parse_duration
from bender.core.invalid import Invalid
from bender.core.last_writer_wins import LASTING_S_MAX
from bender.core.model import ENTRY_BYTES_BOUND, TooLarge, registration_key
from bender.core.object_kinds import Kind
from bender.core.registration_status import State
from bender.declared.document import (
    CLOCK_ERROR_MS,
    IMPLIED_FIELDS,
    KINDS,
    META,
    META_JSON,
    STATES,
    DeclaredState,
    Document,
    Fields,
    referenced_backends,
)
from bender.declared.line_numbers import Path, lines_of

_STATE_FIELDS = ("state", "for", "until")
_STATE_KEY = "APP/VERSION/HOST/PORT"
_DAYS_MAX = LASTING_S_MAX / 86_400

_IS_CONDITION = "is a condition of one request and not a field of a backend: leave it out"

#: The position of a syntax error in the messages of tomllib.
_ERROR_POSITION = re.compile(r" \(at line (\d+), column (\d+)\)\Z")

#: A valid name that replaces an invalid one, so that other problems of the object are found too.
_PLACEHOLDER = "x"


@frozen
class Problem:
    """A problem of a file, with its line and column; None if they are unknown."""

    line: int | None
    text: str
    column: int | None = None

    def with_location(self, file: str) -> str:
        """Return the problem in the form of compilers: FILE:LINE:COLUMN: TEXT."""
        return (
            ":".join([file, *(str(each) for each in (self.line, self.column) if each is not None)]) + f": {self.text}"
        )


@frozen
class ParsedFile:
    """The declarations of a file, and its problems. `document` is complete if there are no problems.

    `unresolved` has a problem for each reference of a frontend to a backend that is not in the file, after the name of
    that backend.
    """

    document: Document
    problems: tuple[Problem, ...] = ()
    unresolved: tuple[tuple[str, Problem], ...] = ()


def parse_file(text: str, now_ms: int) -> ParsedFile:
    """Return the declarations and problems of a file's text. Raises nothing.

    `now_ms` is the time by the wall clock, which limits the ends of states.
    """
    try:
        return _parse(text, now_ms)
    except tomllib.TOMLDecodeError as error:
        problem = _syntax_problem(text, str(error))
    except RecursionError:
        problem = Problem(None, "the file has too many levels of tables or arrays")
    except ValueError:  # Python's limit, which tomllib passes on
        problem = Problem(None, f"the file has a number of more than {sys.get_int_max_str_digits()} digits")
    return ParsedFile(Document(), (problem,))


def _parse(text: str, now_ms: int) -> ParsedFile:
    content = tomllib.loads(text)
    reader = _Reader(lines_of(text), now_ms)
    document = reader.document(content)
    unresolved = tuple(reader.unresolved(document))
    return ParsedFile(document, tuple(sorted(reader.problems, key=lambda problem: problem.line or 0)), unresolved)


def _syntax_problem(text: str, message: str) -> Problem:
    at = _ERROR_POSITION.search(message)
    what = _ERROR_POSITION.sub("", message).removesuffix(" (at end of document)")
    if at is None:  # at the end of the document
        return Problem(text.count("\n") + 1, f"the file is not TOML: {what} at the end")
    return Problem(int(at[1]), f"the file is not TOML: {what}", int(at[2]))


@define
class _Reader:
    lines: Mapping[Path, int]
    now_ms: int
    problems: list[Problem] = field(factory=list)

    def document(self, content: Mapping[str, Any]) -> Document:
        tables = (*KINDS, STATES)
        for key in content:
            if key not in tables:
                self._note((key,), f"{key}: is not a table: give {_joined(tables)}{did_you_mean(key, tables)}")
        objects = {table: self._objects(table, kind, content) for table, kind in KINDS.items()}
        return Document(objects["backends"], objects["frontends"], self._states(content))

    def unresolved(self, document: Document) -> Iterator[tuple[str, Problem]]:
        """Yield the references of frontends to backends that the document does not have."""
        for name, fields in document.frontends.items():
            for path, backend in referenced_backends(fields):
                if backend not in document.backends:
                    near = did_you_mean(backend, document.backends)
                    where = f"{path[0]}: " if len(path) == 1 else f"{path[0]}: number {int(path[1]) + 1}: "
                    text = f"frontend/{name}: {where}there is no backend {backend}{near}"
                    yield backend, Problem(self._line(("frontends", name, *path)), text)

    def _note(self, path: Path, text: str) -> None:
        self.problems.append(Problem(self._line(path), text))

    def _line(self, path: Path) -> int | None:
        """Return the line of a path, or of the nearest table that contains it; None if there is none."""
        return next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), None)

    def _tables(self, table: str, content: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        found = content.get(table, {})
        if not isinstance(found, dict):
            self._note((table,), f"{table}: must be tables such as [{table}.NAME]")
            return
        for name, fields in found.items():
            if isinstance(fields, dict):
                yield name, fields
            else:
                self._note((table, name), f"{table}.{name}: must be a table: [{table}.NAME]")

    # Backends and frontends.

    def _objects(self, table: str, kind: Kind, content: Mapping[str, Any]) -> dict[str, Fields]:
        found: dict[str, Fields] = {}
        for name, declared in self._tables(table, content):
            path = (table, name)
            for condition in kind.request_only_fields:
                if condition in declared:
                    self._note((*path, condition), f"{kind.key(name)}: {condition}: {_IS_CONDITION}")
            fields = self._json_fields(path, kind.key(name), self._with_meta(path, kind.key(name), declared))
            for problem in _problems_of(kind, name, fields):
                self._note((*path, *_path_in(problem)), f"{kind.key(name)}: {problem}")
            found[name] = {
                key: value for key, value in fields.items() if key not in (*IMPLIED_FIELDS, *kind.request_only_fields)
            }
        return found

    def _with_meta(self, path: Path, id_: str, declared: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields with the value of `meta_json` as `meta`."""
        fields = {key: value for key, value in declared.items() if key != META_JSON}
        if META_JSON not in declared:
            return fields
        if META in declared:
            self._note((*path, META_JSON), f"{id_}: {META_JSON}: give {META} or {META_JSON}, not both")
            return fields
        try:
            fields[META] = msgspec.json.decode(declared[META_JSON], type=dict[str, Any])
        except (ValueError, TypeError, RecursionError):
            self._note((*path, META_JSON), f"{id_}: {META_JSON}: must be a string with an object in JSON")
        return fields

    def _json_fields(self, path: Path, id_: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields with values that JSON has, and note a problem for each of the others."""
        plain: dict[str, Any] = {}
        for key, value in fields.items():
            odd = next(_problems_for_json(value), None)
            if odd is None:
                plain[key] = value
            else:
                self._note((*path, key), f"{id_}: {key}: {odd}")
        return plain

    # States.

    def _states(self, content: Mapping[str, Any]) -> dict[str, DeclaredState]:
        found: dict[str, DeclaredState] = {}
        for key, fields in self._tables(STATES, content):
            path = (STATES, key)
            try:
                id_ = _registration_key(key)
                state = self._state(key, fields)
            except Invalid as error:
                about = () if error.field == "id" else (error.field,)
                self._note((*path, *about), f"state of {key}: {str(error).removeprefix('id: ')}")
            else:
                if id_ in found:
                    self._note(path, f"state of {key}: the instance is declared twice")
                found[id_] = state
        return found

    def _state(self, key: str, fields: Mapping[str, Any]) -> DeclaredState:
        for other in fields:
            if other not in _STATE_FIELDS:
                problem = unknown_field("a state", other, _STATE_FIELDS)
                self._note((STATES, key, other), f"state of {key}: {other}: {problem}")
        state = fields.get("state")
        if state not in get_args(State):
            raise Invalid("state", f"must be {_joined([str(each) for each in get_args(State)], 'or')}")
        if "for" in fields and "until" in fields:
            raise Invalid("until", "give for or until, not both")
        for_s = _for_s(fields["for"]) if "for" in fields else None
        until_ms = _until_ms(fields["until"], self.now_ms) if "until" in fields else None
        return DeclaredState(cast(State, state), for_s, until_ms)


def _problems_of(kind: Kind, name: str, fields: Mapping[str, Any]) -> Iterator[str]:
    """Yield the problems of an object, one for each field: check it again without each field that has a problem."""
    left = dict(fields)
    while True:
        try:
            kind.merged_body(name, left, None, ENTRY_BYTES_BOUND)
        except Invalid as error:
            top = error.field if error.field in left else error.field.partition(".")[0]
            yield str(error).replace(f", for there is no {kind.key(name)} yet", "")
            if top == "name" and "name" not in left and name != _PLACEHOLDER:
                name = _PLACEHOLDER
            elif top in kind.required_names and left.get(top) != _PLACEHOLDER:
                left[top] = _PLACEHOLDER
            elif left.pop(top, None) is None:
                return
        except TooLarge as error:
            yield str(error)
            return
        else:
            return


def _path_in(problem: str) -> Path:
    """Return the path of the field in the text of a problem, such as `rules: number 2: host: must be …`."""
    path: Path = ()
    for part in problem.split(": "):
        number = re.fullmatch(r"number (\d+)", part)
        if number is not None:
            path = (*path, int(number[1]) - 1)
        elif part.isidentifier():
            path = (*path, part)
        else:
            break
    return path


def _registration_key(key: str) -> str:
    parts = key.removeprefix("registration/").split("/")
    if len(parts) != 4:
        raise Invalid("id", f"must be of the form {_STATE_KEY}")
    try:
        return registration_key((parts[0], parts[1], parts[2], parts[3]))
    except Invalid as error:
        raise Invalid("id", str(error)) from None


def _for_s(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Invalid("for", f"must be {FORM}")
    try:
        seconds = parse_duration(value) if isinstance(value, str) else value
    except ValueError as error:
        raise Invalid("for", str(error)) from None
    if not LASTING_S_MIN <= seconds <= LASTING_S_MAX:
        raise Invalid("for", f"must be from {LASTING_S_MIN:g} second to {_DAYS_MAX:g} days")
    return float(seconds)


def _until_ms(value: Any, now_ms: int) -> int:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise Invalid("until", "must be a date and time with its offset, without quotes, such as 2026-11-30T18:00:00Z")
    until_ms = round(value.timestamp() * 1000)
    if until_ms - now_ms > LASTING_S_MAX * 1000 + CLOCK_ERROR_MS:
        raise Invalid("until", f"must be at most {_DAYS_MAX:g} days from now")
    return until_ms


def _problems_for_json(value: Any) -> Iterator[str]:
    """Yield a problem for each part of a value that TOML can express and JSON cannot."""
    if isinstance(value, date | time):
        yield f"{value} is a date or time: put it in quotes"
    elif isinstance(value, float) and not isfinite(value):
        yield f"{value} is not a number in JSON: give another value"
    elif isinstance(value, dict):
        for each in value.values():
            yield from _problems_for_json(each)
    elif isinstance(value, list):
        for each in value:
            yield from _problems_for_json(each)


def _joined(words: Any, last: str = "and") -> str:
    *others, end = words
    return f"{', '.join(others)} {last} {end}"
