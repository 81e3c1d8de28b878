"""Write a document as TOML: the same bytes for the same document, readable, and fit for git.

Tables come in order of name, fields in the order below, and those that are not in it by the alphabet. Two things need a
form of their own:

- The end of a state is a moment (`until`), and not what is left of it: that would differ from export to export, and
  a file that is applied tomorrow would drain an instance for a day longer than its operator meant.
- `meta` with a value that TOML does not have (null, an integer of more than 64 bits) is JSON in a string, `meta_json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import tomli_w

from bender.declared.document import KINDS, META, META_JSON, STATES, DeclaredState, Document, Fields

#: The order in which fields stand, the most important first.
ORDER = (
    "app",
    "version",
    "canary",
    "backend",
    "bind",
    "mode",
    "host",
    "path",
    "header",
    "value",
    "percent",
    "interval",
)

HEADER = """\
# Backends, frontends and operators' states of a bender registry, written by `bender export`.
#
#   bender check FILE                 whether the file can be applied, without asking a node
#   bender apply -f FILE --dry-run    what differs in the registry
#   bender apply -f FILE              make the registry as the file says
"""

_INTEGERS = range(-(2**63), 2**63)


def write(document: Document) -> str:
    """Return a document as TOML."""
    parts = [HEADER, *_objects(document), *_states(document.states)]
    return "\n".join(parts)


def _objects(document: Document) -> Iterator[str]:
    for table, kind in KINDS.items():
        for name, fields in sorted(document.objects(kind.name).items()):
            yield _object(table, name, fields)


def _object(table: str, name: str, fields: Fields) -> str:
    """One backend or frontend, and its rules after all else, each as a table of its own."""
    ordered = _sorted(_sayable(fields))
    rules = [_backend_last(rule) for rule in ordered.pop("rules")] if _are_tables(ordered.get("rules")) else []
    text = tomli_w.dumps({table: {name: ordered}})
    if META_JSON in ordered and "'" not in ordered[META_JSON] and "\x7f" not in ordered[META_JSON]:
        escaped = tomli_w.dumps({META_JSON: ordered[META_JSON]})  # half of its characters would be backslashes
        text = text.replace(f"\n{escaped}", f"\n{META_JSON} = '{ordered[META_JSON]}'\n")
    return "\n".join([text, *(_element({table: {name: {"rules": rule}}}) for rule in rules)])


def _are_tables(rules: Any) -> bool:
    """Return True if these are rules, and not what an earlier release may have kept in their place."""
    if not isinstance(rules, list) or not rules:
        return False
    return all(isinstance(rule, dict) and all(isinstance(each, str) for each in rule.values()) for rule in rules)


def _backend_last(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule as it reads: first what it looks at, and then where it sends to."""
    return {key: rule[key] for key in sorted(rule, key=lambda key: key == "backend")}


def _element(nested: Mapping[str, Any]) -> str:
    """A table as an element of an array of tables. tomli_w puts short ones into one line, and longer ones not."""
    header, _, rest = tomli_w.dumps(nested).partition("\n")
    return f"[{header}]\n{rest}"


def _states(states: Mapping[str, DeclaredState]) -> Iterator[str]:
    for id_, declared in sorted(states.items()):
        fields: dict[str, Any] = {"state": declared.state}
        if declared.for_s is not None:
            fields["for"] = declared.for_s
        text = tomli_w.dumps({STATES: {id_.removeprefix("registration/"): fields}})
        if declared.until_ms is not None:  # tomli_w would write it with a space and +00:00
            text += f"until = {datetime.fromtimestamp(declared.until_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}\n"
        yield text


def _sayable(fields: Fields) -> dict[str, Any]:
    """Return the fields in a form that TOML has."""
    if _is_toml(fields.get(META, {})):
        return dict(fields)
    others = {key: value for key, value in fields.items() if key != META}
    return others | {META_JSON: msgspec.json.encode(fields[META], order="deterministic").decode()}


def _is_toml(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_toml, value.values()))
    if isinstance(value, list):
        return all(map(_is_toml, value))
    return value is not None and (not isinstance(value, int) or value in _INTEGERS)


def _sorted(value: Any) -> Any:
    """Return a value with the keys of its objects in order."""
    if isinstance(value, list):
        return [_sorted(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {key: _sorted(value[key]) for key in sorted(value, key=_rank)}


def _rank(key: str) -> tuple[int, str]:
    return (ORDER.index(key) if key in ORDER else len(ORDER), key)
