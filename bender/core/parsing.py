"""Parts of parsers that the fields of backends and frontends share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from bender.core.did_you_mean import unknown_field
from bender.core.invalid import Invalid
from bender.core.model import printable_name

_T = TypeVar("_T")


def parse_part(field: str, parse: Callable[..., _T], *arguments: Any) -> _T:
    """Parse a part of a field. Raises `Invalid` for the field, whose message names the part."""
    try:
        return parse(*arguments)
    except Invalid as error:
        raise Invalid(field, str(error)) from None


def parse_number(what: str, value: Any, at_least: float, at_most: float) -> float:
    """Return a number from `at_least` to `at_most`, both included. Raises `Invalid`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not at_least <= value <= at_most:
        raise Invalid(what, f"must be a number from {at_least:g} to {at_most:g}")
    return value


def require_fields(field: str, value: Any, known: Sequence[str]) -> None:
    """Raise `Invalid` for the first unknown field of an object that is the value of `field`."""
    if isinstance(value, dict):
        parse_part(field, require_known, field, value, known)


def require_known(of: str, value: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise `Invalid` for the first unknown field of an object; `of` is what the message calls the object."""
    for name in value:
        if name not in known:
            raise Invalid(printable_name(name), unknown_field(of, name, known))
