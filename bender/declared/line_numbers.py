"""Find the line of each key of a TOML document.

`tomllib` reports the line of a syntax error, but not the line of a value. So this module reads a valid document a
second time, statement by statement: each statement of TOML is also a document.
"""

from __future__ import annotations

import tomllib
from typing import Any

#: Keys and indices that lead to a value.
Path = tuple[str | int, ...]


def lines_of(text: str) -> dict[Path, int]:
    """Return the first line of each path in a valid document. The first line of the document is 1."""
    found: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    statement, begins = "", 0
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        statement, begins = (f"{statement}\n{line}", begins) if statement else (line, number)
        try:
            read = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # the statement continues in the next line
        if statement.lstrip().startswith("["):
            table = _table(read, statement.lstrip().startswith("[["), counts)
            _note_line(found, table, begins)
        else:
            for path in _paths(read):
                _note_line(found, table + path, begins)
        statement = ""
    return found


def _table(header: dict[str, Any], is_element: bool, counts: dict[Path, int]) -> Path:
    """Return the path of the table with this header. `counts` has the number of elements of each array so far."""
    keys: list[str] = []
    inner: Any = header
    while isinstance(inner, dict) and inner:
        ((key, inner),) = inner.items()
        keys.append(key)
    path: Path = ()
    for key in keys[:-1]:
        path = _last_element((*path, key), counts)
    path += (keys[-1],)
    if is_element:
        counts[path] = counts.get(path, 0) + 1
    return _last_element(path, counts)


def _last_element(path: Path, counts: dict[Path, int]) -> Path:
    return (*path, counts[path] - 1) if path in counts else path


def _paths(value: Any) -> list[Path]:
    """Return the paths of all values inside a value."""
    if isinstance(value, dict):
        items: list[tuple[str | int, Any]] = [*value.items()]
    else:
        items = [*enumerate(value)] if isinstance(value, list) else []
    return [path for key, inner in items for path in ((key,), *((key, *rest) for rest in _paths(inner)))]


def _note_line(found: dict[Path, int], path: Path, line: int) -> None:
    for length in range(1, len(path) + 1):
        found.setdefault(path[:length], line)
