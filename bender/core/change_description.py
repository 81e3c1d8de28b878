"""Descriptions, in words, of the changes between two settings of a backend or frontend.

`watch`, `set`, `deploy` and the history use the same words for the same change. Some fields have words of their own.
Any other field is described by its value before and after, also a field of a newer release.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

#: Fields that name the object. Changes of these fields are not described.
_NAMES = frozenset({"id", "resource", "name", "location"})

#: The largest number of characters that are shown of one value.
VALUE_CHARACTERS_MAX = 200

Settings = Mapping[str, Any]


def differences(before: Settings | None, after: Settings | None) -> list[str]:
    """Return the differences between two settings of one object, in order of the fields.

    Each difference is described in a few words. None stands for a missing object, and a field that is null counts as
    absent. The list is empty if the settings are equal, and if `after` is None.
    """
    if after is None:
        return []
    old, new = _present(before or {}), _present(after)
    found: list[str] = []
    for field in [*new, *(field for field in old if field not in new)]:
        if field not in _NAMES and old.get(field) != new.get(field):
            describe = _WORDS.get(field, _described)
            found += describe(field, old.get(field), new.get(field), new)
    return found


def _present(settings: Settings) -> dict[str, Any]:
    return {field: value for field, value in settings.items() if value is not None}


def _described(field: str, old: Any, new: Any, _settings: Settings) -> Iterator[str]:
    """Describe a field without words of its own. If it is an object, describe each part that differs, by its path."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(key for key in old if key not in new)]:
            if old.get(key) != new.get(key):
                yield from _described(f"{field}.{key}", old.get(key), new.get(key), _settings)
    elif isinstance(new, dict) and new and old is None:
        for key, value in new.items():
            yield from _described(f"{field}.{key}", None, value, _settings)
    elif new is None and old is not None:
        yield f"{field} removed (was {format_value(old)})"
    else:
        yield f"{field} {format_value(new)}{_was(old)}"


def _was(old: Any) -> str:
    return "" if old is None else f" (was {format_value(old)})"


def _moved(field: str, old: Any, new: Any, _settings: Settings) -> Iterator[str]:
    """Describe a field that selects what serves, as `OLD → NEW`."""
    if new is None:
        yield f"{field} removed (was {format_value(old)})"
    else:
        yield f"{field} {format_value(new)}" if old is None else f"{field} {format_value(old)} → {format_value(new)}"


def _canary(_field: str, old: Any, new: Any, settings: Settings) -> Iterator[str]:
    """Describe a change of the canary.

    If the old canary has the version that the backend has now, its end is described without the version.
    """
    old, new = (each if _is_canary(each) else None for each in (old, new))
    if new is None:
        if old is not None and old["version"] != settings.get("version"):
            yield f"canary version {format_value(old['version'])} ended"
        elif old is not None:
            yield "canary ended"
    elif old is None:
        yield f"canary {_share(new)} of the traffic"
    elif old["version"] == new["version"]:
        yield f"canary {_share(new)} of the traffic (was {_percent(old)})"
    else:
        yield f"canary {_share(new)} of the traffic (was {_share(old)})"


def _is_canary(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() >= {"version", "percent"}


def _percent(canary: Settings) -> str:
    percent = canary["percent"]
    return f"{percent:g} %" if isinstance(percent, int | float) else f"{format_value(percent)} %"


def _share(canary: Settings) -> str:
    return f"version {format_value(canary['version'])} with {_percent(canary)}"


def _servers(field: str, old: Any, new: Any, _settings: Settings) -> Iterator[str]:
    return _items(field, old, new, "server", format_value)


def _rules(field: str, old: Any, new: Any, _settings: Settings) -> Iterator[str]:
    return _items(field, old, new, "rule", _rule)


def _items(field: str, old: Any, new: Any, one: str, word: Callable[[Any], str]) -> Iterator[str]:
    """Describe a change of a list by the items that were added and removed."""
    were, are = _listed(old), _listed(new)
    added, removed = _without(are, were), _without(were, are)
    if not added and not removed:
        yield f"{field} in another order" if are else f"{field} none"
    yield from (f"{one} {word(each)} removed" for each in removed)
    yield from (f"{one} {word(each)} added" for each in added)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _without(items: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """Return the items that are not in `others`.

    If an item is in both lists, it is returned as many times as it occurs more often in `items`.
    """
    left = [*others]
    found = []
    for item in items:
        if item in left:
            left.remove(item)
        else:
            found.append(item)
    return found


def _rule(rule: Any) -> str:
    """Describe one rule of a frontend: the requests that it matches, and the backend to which it sends them."""
    if not isinstance(rule, dict) or "backend" not in rule:
        return format_value(rule)
    about = {key: value for key, value in rule.items() if key != "backend"}
    if about.keys() == {"header", "value"}:
        text = f"header {format_value(about['header'])}: {format_value(about['value'])}"
    else:
        text = " ".join(f"{key} {format_value(value)}" for key, value in about.items())
    return f"{text} to {format_value(rule['backend'])}"


def format_value(value: Any) -> str:
    """Return a value for people: text unchanged, anything else as JSON. Both are cut if they are long."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[:VALUE_CHARACTERS_MAX]}…"


_WORDS: Mapping[str, Callable[[str, Any, Any, Settings], Iterator[str]]] = {
    "app": _moved,
    "version": _moved,
    "backend": _moved,
    "canary": _canary,
    "servers": _servers,
    "rules": _rules,
}
