"""Suggestions for misspelled names: the known name that a client probably meant.

If a node ignored an unknown field, its user would believe that the setting is in force. So bender refuses any name
that it does not know, and the error contains the nearest known name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msgspec import inspect

#: The least similarity of two names for a suggestion (`difflib`): `bnid` and `bind` have 0.75, `helth` and `health`
#: 0.91, `app` and `host` 0.29.
ALIKE_MIN = 0.6

#: Longer names get no suggestion, because comparing a name of 60 KB would take 10 ms.
CHARACTERS_MAX = 255

#: The message of msgspec about a number out of range.
_BOUND = re.compile(r"Expected `(?:int|float)` (<=|>=|<|>) (-?[0-9.]+)")

#: The largest number of known names that an error lists if none of them is near.
LISTED_MAX = 20


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the nearest known name; None if none is near."""
    return next(iter(nearest_names(name, known, 1)), None)


def nearest_names(name: str, known: Iterable[str], names_max: int) -> list[str]:
    """Return at most `names_max` known names that are near, the nearest first."""
    if len(name) > CHARACTERS_MAX:
        return []
    from difflib import get_close_matches  # noqa: PLC0415 - only errors need it, and commands start faster without

    folded = {each.casefold(): each for each in known}
    return [folded[each] for each in get_close_matches(name.casefold(), folded, n=names_max, cutoff=ALIKE_MIN)]


def did_you_mean(name: str, known: Iterable[str], names_max: int = 1) -> str:
    """Return ", did you mean …?" with the nearest known names; an empty text if none is near."""
    nearest = nearest_names(name, known, names_max)
    return f", did you mean {' or '.join(nearest)}?" if nearest else ""


def unknown_field(of: str, name: str, known: Iterable[str]) -> str:
    """Return a clause that says that `name` is not a field of `of`, and what to do.

    The clause suggests the nearest of the `known` fields, or lists all of them if none is near. If `meta` is one of
    them, it says that the user's own fields belong there.
    """
    known = [each for each in known if each not in ("id", "resource")]  # these two are accepted, but never needed
    hint = did_you_mean(name, known)
    if not hint and 0 < len(known) <= LISTED_MAX:
        hint = f", whose fields are {', '.join(known)}"
    own = f"{' F' if hint.endswith('?') else '; f'}ields of your own go into meta" if "meta" in known else ""
    return f"is not a field of {of}{hint}{own}"


def reword_bound(message: str) -> str:
    """Return msgspec's message about a number out of range in plain words; return any other message unchanged."""
    bound = _BOUND.fullmatch(message)
    if bound is None:
        return message
    than = {"<=": "at most", ">=": "at least", "<": "less than", ">": "more than"}[bound[1]]
    return f"must be {than} {float(bound[2]):.15g}"


def names_at(kind: Any, path: Iterable[str]) -> list[str]:
    """Return the JSON names of the fields of the object at a path in a msgspec type; an empty list if there is none.

    A part of the path is the name of a field, or `[...]` for any item of a list or any value of a dict.
    """
    from msgspec import inspect  # noqa: PLC0415 - as above

    found: inspect.Type | None = inspect.type_info(kind)
    for part in path:
        found = _inside(found, part)
    struct = _struct_in(found)
    return [] if struct is None else [field.encode_name for field in struct.fields]


def _inside(outer: inspect.Type | None, part: str) -> inspect.Type | None:
    """Return the type of one part of the type `outer`; None if `outer` has no such part."""
    struct = _struct_in(outer)
    if struct is not None:
        return next((field.type for field in struct.fields if field.encode_name == part), None)
    values = [getattr(each, "value_type", None) or getattr(each, "item_type", None) for each in _choices(outer)]
    return next((value for value in values if value is not None), None)


def _struct_in(outer: inspect.Type | None) -> inspect.StructType | None:
    return next((each for each in _choices(outer) if hasattr(each, "fields") and hasattr(each, "cls")), None)


def _choices(outer: inspect.Type | None) -> tuple[Any, ...]:
    plain = getattr(outer, "type", outer)  # the type without its constraints
    return getattr(plain, "types", (plain,))
