"""Decode the answers of a node, or of another program in its place: another version, a proxy, any server.

Everything is checked as it comes in, in one place, so that users of a value need not doubt its type, its range, or
that it can be encoded and compared again. What does not fit is no answer, and the next node is asked.
"""

from __future__ import annotations

from typing import Any

import msgspec

from bender.core.model import DEPTH_MAX, is_shallow
from bender.net.addresses import NoAnswer


def decoded(body: bytes, type_: Any) -> Any:
    """Decode JSON from a node. Raises `NoAnswer` if it is not an answer of a node."""
    try:
        return msgspec.json.decode(body, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoAnswer(strange(str(error))) from error


def converted(value: object, type_: Any) -> Any:
    """Convert decoded JSON to a type. Raises `NoAnswer` if it is not an answer of a node."""
    try:
        return msgspec.convert(value, type_)
    except (msgspec.ValidationError, RecursionError) as error:
        raise NoAnswer(strange(str(error))) from error


def strange(why: str) -> str:
    """Return what is wrong with a node's answer, in a clause that follows its name."""
    return f"sent an invalid answer ({why})"


def require_shallow(value: object) -> None:
    """Raise `ValueError` for more levels of lists and objects than any node accepts."""
    if not is_shallow(value, DEPTH_MAX):
        raise ValueError(f"lists or objects are nested more than {DEPTH_MAX} deep")
