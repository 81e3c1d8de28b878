"""Write a document as readable TOML. The same document always gives the same bytes, so that it can be kept in git.

Tables are in order of name. Fields are in the order of `FIELD_ORDER`, and other fields follow in alphabetical order.
Two values have a special form:

- The end of a state is a time (`until`) and not the remaining seconds. These would differ in each export, and a file
  that is applied a day later would drain an instance for a day longer than its operator wanted.
- `meta` with a value that TOML does not have (null, an integer of more than 64 bits) is JSON in a string, `meta_json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import tomli_w

from bender.declared.document import KINDS, META, META_JSON, STATES, DeclaredState, Document, Fields

#: The order of fields, the most important first.
FIELD_ORDER = (
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


def to_toml(document: Document) -> str:
    """Return a document as TOML."""
    parts = [HEADER, *_objects(document), *_states(document.states)]
    return "\n".join(parts)


def _objects(document: Document) -> Iterator[str]:
    for table, kind in KINDS.items():
        for name, fields in sorted(document.objects(kind.name).items()):
            yield _object(table, name, fields)


def _object(table: str, name: str, fields: Fields) -> str:
    """Return a backend or frontend as TOML. Its rules are at the end, each in its own table."""
    ordered = _sort_keys(_as_toml(fields))
    rules = [_backend_last(rule) for rule in ordered.pop("rules")] if _can_be_tables(ordered.get("rules")) else []
    text = tomli_w.dumps({table: {name: ordered}})
    if META_JSON in ordered and "'" not in ordered[META_JSON] and "\x7f" not in ordered[META_JSON]:
        escaped = tomli_w.dumps({META_JSON: ordered[META_JSON]})  # half of its characters would be backslashes
        text = text.replace(f"\n{escaped}", f"\n{META_JSON} = '{ordered[META_JSON]}'\n")
    return "\n".join([text, *(_array_element({table: {name: {"rules": rule}}}) for rule in rules)])


def _can_be_tables(rules: Any) -> bool:
    """Return True if these are valid rules: an earlier release may have kept another value under this name."""
    if not isinstance(rules, list) or not rules:
        return False
    return all(isinstance(rule, dict) and all(isinstance(each, str) for each in rule.values()) for rule in rules)


def _backend_last(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule with its conditions first and its backend last."""
    return {key: rule[key] for key in sorted(rule, key=lambda key: key == "backend")}


def _array_element(nested: Mapping[str, Any]) -> str:
    """Return a table as an element of an array of tables. tomli_w itself would write a short array in one line."""
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


def _as_toml(fields: Fields) -> dict[str, Any]:
    """Return the fields in a form that TOML has: `meta` as `meta_json` if it has values that TOML does not have."""
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


def _sort_keys(value: Any) -> Any:
    """Return a value with the keys of its objects in the order of `FIELD_ORDER`."""
    if isinstance(value, list):
        return [_sort_keys(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {key: _sort_keys(value[key]) for key in sorted(value, key=_rank)}


def _rank(key: str) -> tuple[int, str]:
    return (FIELD_ORDER.index(key) if key in FIELD_ORDER else len(FIELD_ORDER), key)
