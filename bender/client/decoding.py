"""Decode and check the JSON in answers of nodes.

Another program may answer in place of a node: another version of bender, a proxy, any server. So all types and ranges
are checked here, and code that uses a value need not check them, nor whether the value can be encoded and compared
again. An invalid answer counts as no answer: the client asks the next node.
"""

from __future__ import annotations

from typing import Any

import msgspec

from bender.core.model import DEPTH_MAX, is_shallow
from bender.net.addresses import NoAnswer


def decode_json(body: bytes, type_: Any) -> Any:
    """Return the value of this type in JSON from a node. Raises `NoAnswer` if the JSON has another form."""
    try:
        return msgspec.json.decode(body, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoAnswer(invalid_answer(str(error))) from error


def convert_json(value: object, type_: Any) -> Any:
    """Return decoded JSON from a node as a value of this type. Raises `NoAnswer` if the JSON has another form."""
    try:
        return msgspec.convert(value, type_)
    except (msgspec.ValidationError, RecursionError) as error:
        raise NoAnswer(invalid_answer(str(error))) from error


def invalid_answer(why: str) -> str:
    """Return the reason why a node's answer is invalid, as a clause that follows the name of the node."""
    return f"sent an invalid answer ({why})"


def require_shallow(value: object) -> None:
    """Raise `ValueError` if a value has more levels of lists and objects than any node accepts."""
    if not is_shallow(value, DEPTH_MAX):
        raise ValueError(f"lists or objects are nested more than {DEPTH_MAX} deep")
