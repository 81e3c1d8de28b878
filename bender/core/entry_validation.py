"""Checks of the entries and settings that peers send.

`model`, `object_kinds` and `routing` check input from clients before a node keeps it. A peer may run another release,
have a defect or be hostile, so its entries and settings are checked here again before clients see them. If they are
valid, they can be listed, put into an event line and sent to a load balancer.

The result depends only on the entry or setting, and not on the node or the time, so all nodes of one release agree.
The rules concern the form. They accept additions of later releases: more fields, and more kinds of settings.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
from attrs import frozen

from bender.core.admin_state import registration_of
from bender.core.invalid import Invalid
from bender.core.ledger import End, Entry
from bender.core.messages import ConfigSetting
from bender.core.model import (
    DEPTH_MAX,
    ENTRY_BYTES_BOUND,
    WEIGHT_MAX,
    Terms,
    is_instance,
    is_shallow,
    parse_name,
    registration_bytes,
    registration_key,
)
from bender.core.node_loss_guard import guarded_app
from bender.core.object_kinds import Kind
from bender.core.routing import BACKEND, FRONTEND
from bender.core.ttl_limits import TTL_S_MAX

#: The largest size of a setting's body, or of a registration as clients see it, in bytes. It is the same on all nodes,
#: and does not depend on their limits for clients.
BODY_BYTES_MAX = ENTRY_BYTES_BOUND

#: The largest integer up to which every reader of JSON represents all integers exactly.
_NUMBER_MAX = 2**53

# JSON may have control characters as white space between its parts, but JSON that bender encodes has none (DEL, which
# is allowed in strings, is not matched). An escaped half of a surrogate pair is not a character. The backslashes before
# it come in pairs, else it would not be an escape.
_CONTROL = re.compile(rb"[\x00-\x1f]")
_SURROGATE = re.compile(rb"(?<!\\)(?:\\\\)*\\u[dD][89a-fA-F]")

_KIND = re.compile(r"[a-z]{1,32}")


class _Terms(Terms, frozen=True):
    """Terms that must not have the fields of a registration which come from its key, or from the node that lists it."""

    id: msgspec.UnsetType = msgspec.UNSET
    resource: msgspec.UnsetType = msgspec.UNSET
    app: msgspec.UnsetType = msgspec.UNSET
    version: msgspec.UnsetType = msgspec.UNSET
    host: msgspec.UnsetType = msgspec.UNSET
    port: msgspec.UnsetType = msgspec.UNSET
    state: msgspec.UnsetType = msgspec.UNSET
    suspect: msgspec.UnsetType = msgspec.UNSET


_terms = msgspec.json.Decoder(_Terms)
_object = msgspec.json.Decoder(dict[str, Any])


@frozen
class Validity:
    """The checks of entries and of settings. Each returns the problem as a clause; None if there is none."""

    problem_of_entry: Callable[[Entry], str | None]
    problem_of_setting: Callable[[ConfigSetting], str | None]


def problem_of_entry(entry: Entry) -> str | None:
    """Return the problem with a claim or an end of a peer as a clause; None if it is valid."""
    if not _is_registration(entry.key):
        return f"its id {entry.key[:100]!a} is not that of a registration"
    if isinstance(entry, End):
        return None
    size = registration_bytes(entry.key, entry.body)
    if size > BODY_BYTES_MAX:
        return f"it has {size} bytes, more than {BODY_BYTES_MAX}"
    return problem_of_terms(entry.body, entry.ttl_s)


def problem_of_terms(body: bytes, ttl_s: float) -> str | None:
    """Return the problem with the encoded terms of an entry with the ttl `ttl_s`; None if they are valid."""
    problem = _problem_of_json(body)
    if problem is not None:
        return problem
    try:
        terms = _terms.decode(body)
    except (ValueError, RecursionError) as error:
        return f"its fields are not valid for a registration ({error})"
    if terms.ttl_s != ttl_s:
        return f"its ttl is {ttl_s:g} s, but {terms.ttl_s:g} s in its body"
    if ttl_s > TTL_S_MAX:
        return f"its ttl is {ttl_s:g} s, more than {TTL_S_MAX:g} s"
    if not 0 <= terms.weight <= WEIGHT_MAX:
        return f"its weight is {terms.weight}, not 0 to {WEIGHT_MAX}"
    if not 0 <= terms.registered_ms <= _NUMBER_MAX:
        return f"its time of registration is {terms.registered_ms} ms, not 0 to {_NUMBER_MAX}"
    if terms.instance is not None and not is_instance(terms.instance):
        return "its token (instance) is too long or not printable"
    return None if terms.node.isprintable() else "the name of its node is not printable"


def problem_of_setting(setting: ConfigSetting) -> str | None:
    """Return the problem with a setting of a peer as a clause; None if it is valid."""
    kind, slash, path = setting.key.partition("/")
    if not slash or not _KIND.fullmatch(kind) or not path.isprintable():
        return f"its key {setting.key[:100]!a} is not that of a setting"
    if setting.rev < 1:
        return f"its revision is {setting.rev}, less than 1"
    if not setting.author.isprintable():
        return "its author is not printable"
    check = _CHECKS.get(kind)
    return None if check is None else check(setting, path)


VALIDITY = Validity(problem_of_entry, problem_of_setting)


def _nothing(_: object) -> None:
    return None


#: Accepts all entries and settings: for tests that do not depend on the form of bodies.
UNCHECKED = Validity(_nothing, _nothing)


def _problem_of_json(body: bytes) -> str | None:
    """Return the problem with a body that must be one object as JSON, in one line, with any fields; None if valid."""
    if len(body) > BODY_BYTES_MAX:
        return f"its body has {len(body)} bytes, more than {BODY_BYTES_MAX}"
    unsafe = _CONTROL.search(body) or (b"\\u" in body and _SURROGATE.search(body))
    if unsafe or not (body.startswith(b"{") and body.endswith(b"}")):
        return "its body is not an object of JSON in one line"
    try:
        # Decode all fields: a decoder for only some of them accepts numbers in the others that cannot be represented.
        kept = _object.decode(body)
        # Count first: hardly any body has this many braces and brackets, nested or not.
        if body.count(b"{") + body.count(b"[") > DEPTH_MAX and not is_shallow(kept, DEPTH_MAX + 1):
            return f"its body has lists or objects that are nested more than {DEPTH_MAX} deep"
    except (ValueError, RecursionError):
        return "its body is not an object of JSON in one line"
    return None


def _is_registration(key: str) -> bool:
    kind, *path = key.split("/")
    if kind != "registration" or len(path) != 4:
        return False
    try:
        return registration_key((path[0], path[1], path[2], path[3])) == key
    except Invalid:
        return False


def _of_object(setting: ConfigSetting, name: str, kind: Kind) -> str | None:
    if setting.lasts_s is not None:
        return "it has a duration, but a backend or frontend has none"
    try:
        parse_name("name", name)
        if setting.body is not None:
            return _problem_of_json(setting.body) or kind.problem(name, _object.decode(setting.body))
    except (ValueError, RecursionError) as error:
        return f"its body is not that of a {kind.name} ({error})"
    return None


def _of_backend(setting: ConfigSetting, name: str) -> str | None:
    return _of_object(setting, name, BACKEND)


def _of_frontend(setting: ConfigSetting, name: str) -> str | None:
    return _of_object(setting, name, FRONTEND)


def _of_state(setting: ConfigSetting, _: str) -> str | None:
    if not _is_registration(registration_of(setting.key) or ""):
        return f"its key {setting.key[:100]!a} is not that of an instance's state"
    return _of_word(setting)


def _of_guard(setting: ConfigSetting, _: str) -> str | None:
    try:
        parse_name("app", guarded_app(setting.key))
    except Invalid as error:
        return str(error)
    return _of_word(setting)


def _of_word(setting: ConfigSetting) -> str | None:
    if setting.lasts_s is None:
        return "it lacks a duration: every state has one"
    if setting.body is not None and not (setting.body.isascii() and setting.body.decode("ascii").isidentifier()):
        return "its state is not a word of ASCII letters, digits and _"
    return None


_CHECKS: dict[str, Callable[[ConfigSetting, str], str | None]] = {
    "backend": _of_backend,
    "frontend": _of_frontend,
    "state": _of_state,
    "guard": _of_guard,
}
