"""What the fields of backends and frontends mean to HAProxy.

They are read by the parsers that the API checks them with; and yet what is kept may be anything, for an older node may
have taken it. What cannot be used is said in a sentence. A frontend is then left out as a whole, for half of its rules
would send requests where nobody wants them; a backend goes on without the field, for it is better served without a
health check than not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from attrs import frozen

from bender.core.model import Invalid
from bender.core.routing import (
    Balance,
    Bind,
    Health,
    Rule,
    parse_balance,
    parse_bind,
    parse_health,
    parse_mode,
    parse_rules,
    parse_slow_start,
)
from bender.haproxy.core.names import at

Mode = Literal["http", "tcp"]

#: How a server is chosen if nobody says.
BALANCE = Balance("roundrobin")

#: What chooses by a hash, and what needs a request to look at.
_HASHED = {"source", "uri", "hdr", "url_param"}
_OF_REQUESTS = {"uri", "hdr", "url_param"}

#: Bytes of one value in the configuration, a line of which has 2,048 at most.
VALUE_BYTES_MAX = 1536

_T = TypeVar("_T")


class Unusable(ValueError):
    """The message names the field, and says what is wrong with it."""


@frozen
class Backend:
    """How the servers of a backend are used."""

    name: str
    balance: Balance
    health: Health | None
    slow_start_s: float

    @property
    def hashed(self) -> bool:
        """Whether a request's own properties choose its server."""
        return self.balance.algorithm in _HASHED

    @property
    def of_requests(self) -> bool:
        """Whether that takes a request, and not a connection alone."""
        return self.balance.algorithm in _OF_REQUESTS


@frozen
class Frontend:
    """What is listened on, and where requests go: to the backend of the first rule that fits, or to `backend`."""

    name: str
    mode: Mode
    binds: tuple[str, ...]
    backend: str | None
    rules: tuple[Rule, ...]


def backend_of(body: Mapping[str, Any]) -> tuple[Backend, tuple[str, ...]]:
    """A backend, and what of it cannot be used."""
    problems: list[str] = []

    def read(field: str, parse: Callable[[Any], _T], unsaid: _T) -> _T:
        try:
            return _read(body, field, parse, unsaid)
        except Unusable as unusable:
            problems.append(str(unusable))
            return unsaid

    balance = read("balance", parse_balance, BALANCE)
    health: Health | None = read("health", parse_health, None)
    slow_start_s = read("slow_start", parse_slow_start, 0.0)
    return Backend(str(body["name"]), balance, health, slow_start_s), (*problems,)


def frontend_of(body: Mapping[str, Any]) -> Frontend:
    """A frontend. Raises `Unusable`."""
    mode: Any = _read(body, "mode", parse_mode, "http")
    binds: tuple[Bind, ...] = _read(body, "bind", parse_bind, ())
    rules: tuple[Rule, ...] = _read(body, "rules", parse_rules, ())
    backend = body.get("backend")
    if backend is not None and not isinstance(backend, str):
        raise Unusable("backend: must be the name of one")
    if rules and mode == "tcp":
        raise Unusable("rules: are for mode http alone")
    for i, rule in enumerate(rules, 1):
        if len(str(rule.host or rule.path or rule.header).encode()) > VALUE_BYTES_MAX:
            raise Unusable(f"rules: number {i}: has more than {VALUE_BYTES_MAX} bytes, which HAProxy has no room for")
    if not binds:
        raise Unusable("bind: is not said yet")
    return Frontend(str(body["name"]), mode, tuple(map(_place, binds)), backend, rules)


def _read(body: Mapping[str, Any], field: str, parse: Callable[[Any], _T], unsaid: _T) -> _T:
    """A field, or what it is if nobody says."""
    value = body.get(field)
    try:
        return unsaid if value is None else parse(value)
    except Invalid as error:
        raise Unusable(str(error)) from None
    except Exception as error:  # what parsers do not expect must harm nothing but the field
        raise Unusable(f"{field}: cannot be read ({type(error).__name__})") from error


def _place(bind: Bind) -> str:
    return at("*" if bind.address is None else bind.address, bind.port)
