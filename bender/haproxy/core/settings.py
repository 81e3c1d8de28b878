"""What the fields of backends and frontends mean to HAProxy.

They may hold anything: other nodes, older ones and people have written them. What cannot be used is said in a sentence;
a frontend is then left out as a whole, for half of its rules would send requests where nobody wants them, and a backend
goes on without the field, for it is better served without a health check than not at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from math import isfinite
from typing import Any, Literal

from attrs import frozen

from bender.core.model import PORT_MAX

Mode = Literal["http", "tcp"]

#: Seconds between two checks of a server if nobody says, and what can be said.
INTERVAL_S = 2.0
INTERVAL_S_MIN = 0.1
INTERVAL_S_MAX = 3600.0

#: Seconds that the weight of a new member may take to grow.
SLOW_START_S_MAX = 3600.0

#: Bytes of one value in a line of HAProxy's configuration, of which it takes 2,048.
VALUE_BYTES_MAX = 1024

#: Rules of one frontend. With more than that an entry has no room for them anyway.
RULES_MAX = 200

#: How requests are shared out if nobody says.
BALANCE = "roundrobin"

#: These choose by the load of servers, and the others by a hash, of which HAProxy can only make some for TCP.
_BY_LOAD = {"roundrobin", "leastconn", "first", "random"}
_BY_HASH = {"source": "tcp", "uri": "http"}
_ARGUED = re.compile(r"(?:random\(([1-9][0-9]?)\)|(hdr)\(([A-Za-z0-9_-]{1,64})\)|(url_param) ([A-Za-z0-9_.-]{1,64}))")

# A token of RFC 9110, without what HAProxy takes for its own in the argument of a fetch.
_HEADER = re.compile(r"[A-Za-z0-9!#$%&*+.^_|~-]{1,128}", re.ASCII)
_BIND = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]*|\*)):([0-9]{1,5})", re.ASCII)
_VISIBLE = re.compile(r"[\x21-\x7e]")


class Unusable(ValueError):
    """The message is a sentence without its end, which names the field."""


@frozen
class Health:
    """How a server is checked: that its page is answered with 200 to 399, or, without a path, that its port is."""

    path: str | None
    interval_ms: int


@frozen
class Backend:
    """How the servers of a backend are used. `hashed` says that a request's own properties choose the server."""

    name: str
    balance: str
    hashed: bool
    http_only: bool
    health: Health | None
    slow_start_s: float


@frozen
class Rule:
    """What sends a request to another backend: `subject` of it has, or begins with, `value`."""

    kind: Literal["host", "path", "header"]
    subject: str
    value: str
    backend: str


@frozen
class Frontend:
    """What is listened on, and where requests go: to the backend of the first rule that fits, or to `backend`."""

    name: str
    mode: Mode
    bind: str
    backend: str | None
    rules: tuple[Rule, ...]


def backend_of(body: Mapping[str, Any]) -> tuple[Backend, tuple[str, ...]]:
    """A backend, and what of it cannot be used."""
    problems: list[str] = []

    def read(read_it: Any, field: str, unsaid: Any) -> Any:
        try:
            return unsaid if body.get(field) is None else read_it(body[field])
        except Unusable as unusable:
            problems.append(str(unusable))
            return unsaid

    balance, hashed, http_only = read(_balance, "balance", (BALANCE, False, False))
    health = read(_health, "health", None)
    slow_start_s = read(_slow_start, "slow_start", 0.0)
    return Backend(str(body["name"]), balance, hashed, http_only, health, slow_start_s), (*problems,)


def frontend_of(body: Mapping[str, Any]) -> Frontend:
    """A frontend. Raises `Unusable`."""
    mode = body.get("mode")
    if mode not in (None, "http", "tcp"):
        raise Unusable(f"mode must be http or tcp, not {_shown(mode)}")
    backend = body.get("backend")
    if backend is not None and not isinstance(backend, str):
        raise Unusable("backend must be the name of one")
    rules = body.get("rules") or []
    if not isinstance(rules, list) or len(rules) > RULES_MAX:
        raise Unusable(f"rules must be a list of at most {RULES_MAX}")
    if rules and mode == "tcp":
        raise Unusable("rules need mode http, for they are about requests")
    if body.get("bind") is None:
        raise Unusable("it has no bind yet")
    parsed = tuple(_rule(rule, f"rules[{i}]") for i, rule in enumerate(rules))
    return Frontend(str(body["name"]), mode or "http", _bind(body["bind"]), backend, parsed)


def _rule(rule: Any, where: str) -> Rule:
    if not isinstance(rule, dict) or not isinstance(rule.get("backend"), str):
        raise Unusable(f"{where} must be an object with a backend")
    kinds = [kind for kind in ("host", "path", "header") if rule.get(kind) is not None]
    if len(kinds) != 1 or not rule.keys() <= {*kinds, "backend", "value"}:
        raise Unusable(f"{where} must have one of host, path or header, and value beside header alone")
    kind = kinds[0]
    if kind == "header":
        header = rule["header"]
        if not isinstance(header, str) or not _HEADER.fullmatch(header):
            raise Unusable(f"{where}.header must be the name of a header, not {_shown(header)}")
        return Rule("header", header, _value(rule.get("value"), f"{where}.value"), rule["backend"])
    if "value" in rule:
        raise Unusable(f"{where}.value belongs to a header")
    value = _value(rule[kind], f"{where}.{kind}")
    if kind == "path":
        if not value.startswith("/"):
            raise Unusable(f"{where}.path must begin with a slash, not {_shown(value)}")
        return Rule("path", "path", value, rule["backend"])
    return Rule("host", "host", value.lower(), rule["backend"])


def _value(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value.encode()) <= VALUE_BYTES_MAX:
        raise Unusable(f"{where} must be 1 to {VALUE_BYTES_MAX} bytes of printable text, not {_shown(value)}")
    return value


def _bind(bind: Any) -> str:
    match = _BIND.fullmatch(bind) if isinstance(bind, str) else None
    if match is None or not 1 <= int(match[3]) <= PORT_MAX:
        raise Unusable(f"bind must be *:PORT or ADDRESS:PORT, with an address of IPv6 in brackets, not {_shown(bind)}")
    in_brackets, host, port = match.groups()
    if not in_brackets and host in ("", "*"):
        return f"*:{int(port)}"
    try:
        address = ip_address(in_brackets or host)
    except ValueError:
        raise Unusable(f"bind must have an address, not {_shown(bind)}") from None
    if (address.version == 6) != (in_brackets is not None):
        raise Unusable(f"bind must have an address of IPv6 in brackets, and no other, not {_shown(bind)}")
    return f"[{address}]:{int(port)}" if address.version == 6 else f"{address}:{int(port)}"


def _balance(balance: Any) -> tuple[str, bool, bool]:
    if isinstance(balance, str):
        if balance in _BY_LOAD:
            return balance, False, False
        if balance in _BY_HASH:
            return balance, True, _BY_HASH[balance] == "http"
        match = _ARGUED.fullmatch(balance)
        if match:
            return balance, match[1] is None, match[1] is None
    raise Unusable(
        "balance must be roundrobin, leastconn, first, random, random(NUMBER), source, uri, hdr(NAME) or "
        f"url_param NAME, not {_shown(balance)}"
    )


def _health(health: Any) -> Health:
    if not isinstance(health, dict):
        raise Unusable(f"health must be an object with a path, not {_shown(health)}")
    path = health.get("path")
    if path is not None:
        path = _value(path, "health.path")
        if not path.startswith("/"):
            raise Unusable(f"health.path must begin with a slash, not {_shown(path)}")
        path = _percent_encoded(path)
        if len(path) > VALUE_BYTES_MAX:
            raise Unusable(f"health.path must be at most {VALUE_BYTES_MAX} bytes, percent-encoded")
    seconds = _seconds(health.get("interval"), "health.interval", INTERVAL_S, INTERVAL_S_MIN, INTERVAL_S_MAX)
    return Health(path, round(1000 * seconds))


def _slow_start(seconds: Any) -> float:
    return _seconds(seconds, "slow_start", 0.0, 0.0, SLOW_START_S_MAX)


def _seconds(seconds: Any, field: str, unsaid: float, at_least: float, at_most: float) -> float:
    if seconds is None:
        return unsaid
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not isfinite(seconds) or not at_least <= seconds <= at_most:
        raise Unusable(f"{field} must be {at_least:g} to {at_most:g} seconds, not {_shown(seconds)}")
    return float(seconds)


def _percent_encoded(path: str) -> str:
    """What cannot stand in a request line, encoded; what is encoded already stays so."""
    return "".join(
        character if _VISIBLE.fullmatch(character) else "".join(f"%{byte:02X}" for byte in character.encode())
        for character in path
    )


def _shown(value: Any) -> str:
    """It in a message: not more of it than anybody reads."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 2**63 else "so large a number"
    return text if len(text) <= 60 else f"{text[:57]}…"
