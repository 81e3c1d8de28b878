"""Decoding what comes from a node, or from whatever answers in its place: another version, a proxy, any server.

Everything is checked as it comes in, in one place, so that whoever uses a value need not doubt its type, its range, or
that it can be encoded and compared again. What does not fit is no answer, and the next node is asked.
"""

from __future__ import annotations

from typing import Any

import msgspec

from bender.core.model import DEPTH_MAX, is_shallow
from bender.net.addresses import NoAnswer


def decoded(body: bytes, type_: Any) -> Any:
    """JSON from a node. Raises `NoAnswer` where no node says that."""
    try:
        return msgspec.json.decode(body, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoAnswer(strange(str(error))) from error


def converted(value: object, type_: Any) -> Any:
    """The same of what was JSON."""
    try:
        return msgspec.convert(value, type_)
    except (msgspec.ValidationError, RecursionError) as error:
        raise NoAnswer(strange(str(error))) from error


def strange(why: str) -> str:
    """What is said of a node whose answer is none."""
    return f"sent an invalid answer ({why})"


def require_shallow(value: object) -> None:
    """Raises `ValueError` where lists and objects are inside each other in more levels than any node takes."""
    if not is_shallow(value, DEPTH_MAX):
        raise ValueError(f"more than {DEPTH_MAX} lists or objects are inside each other")
