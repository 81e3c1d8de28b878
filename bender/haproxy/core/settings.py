"""Parses backends and frontends as settings for HAProxy from the bodies of events.

The parsers are those of the API. Still, a stored field may contain anything, because an older node may have accepted
it. A field that cannot be used becomes a problem, in a sentence.

- A frontend with an unusable `mode`, `bind`, `backend`, `rules`, `tls` or `redirect_https` is left out as a whole,
  because half of its rules would send requests to wrong backends. Its other fields are left out one by one.
- A backend is used without the field, because a backend without a health check is better than none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from attrs import field, frozen

from bender.core.connection_settings import (
    HTTPS_PORT,
    parse_backend_timeouts,
    parse_forwardfor,
    parse_frontend_timeouts,
    parse_log,
    parse_maxconn,
    parse_redirect_https,
)
from bender.core.invalid import Invalid
from bender.core.members import ServedVersions
from bender.core.model import parse_name
from bender.core.routing import (
    Balance,
    Bind,
    Canary,
    Health,
    Rule,
    parse_balance,
    parse_bind,
    parse_canary,
    parse_health,
    parse_mode,
    parse_rules,
    parse_slow_start,
    parse_tls,
    tls_binds,
    valid_servers,
)
from bender.haproxy.core.names import address_port
from bender.haproxy.core.safe_text import quoted

Mode = Literal["http", "tcp"]

#: The default of `balance`.
BALANCE = Balance("roundrobin")

#: Algorithms that choose a server by a hash, and those that need an HTTP request.
_HASHED = {"source", "uri", "hdr", "url_param"}
_NEED_REQUESTS = {"uri", "hdr", "url_param"}

#: The largest value in the configuration, in bytes; a line may have 2,048 bytes.
VALUE_BYTES_MAX = 1536

_T = TypeVar("_T")


class Unusable(ValueError):
    """A field cannot be used; the message has its name and the reason."""


@frozen
class BackendSettings:
    """A backend: its members, how its servers are used, and the problems of its fields."""

    name: str
    service: ServedVersions
    balance: Balance = BALANCE
    health: Health | None = None
    slow_start_s: float = 0.0
    #: Seconds, by bender's names.
    timeouts: Mapping[str, float] = field(factory=dict)
    #: Connections to one server at the same time.
    maxconn: int | None = None
    problems: tuple[str, ...] = ()

    @property
    def hashed(self) -> bool:
        """Whether a hash of the request chooses the server."""
        return self.balance.algorithm in _HASHED

    @property
    def needs_requests(self) -> bool:
        """Whether the algorithm needs an HTTP request, and not only a connection."""
        return self.balance.algorithm in _NEED_REQUESTS


@frozen
class FrontendSettings:
    """A frontend: its addresses (`binds`), and the backends for its requests.

    A request goes to the backend of the first matching rule, else to `backend`. A frontend with a `problem` cannot be
    used, and has no other fields. `problems` are about fields that are left out. `tls` has the addresses among `binds`
    with TLS. `redirect_port` is the HTTPS port to which requests are redirected.
    """

    name: str
    mode: Mode = "http"
    binds: tuple[str, ...] = ()
    backend: str | None = None
    rules: tuple[Rule, ...] = ()
    tls: tuple[str, ...] = ()
    redirect_port: int | None = None
    forwardfor: bool = True
    log: bool = True
    timeouts: Mapping[str, float] = field(factory=dict)
    maxconn: int | None = None
    problems: tuple[str, ...] = ()
    problem: str | None = None


def parse_backend(body: Mapping[str, Any]) -> BackendSettings:
    """Return a backend without the fields that cannot be used. Raises `Invalid` if the backend cannot be used."""
    problems: list[str] = []
    read = _tolerant(body, problems)
    name, app, version = (parse_name(field, body.get(field)) for field in ("name", "app", "version"))
    canary: Canary | None = read("canary", parse_canary, None)
    servers, unusable = ((), ()) if body.get("servers") is None else valid_servers(body["servers"])
    problems += unusable
    service = ServedVersions(
        app,
        version,
        None if canary is None or canary.version == version else canary,
        servers,
    )
    balance = read("balance", parse_balance, BALANCE)
    health: Health | None = read("health", _parse_health, None)
    slow_start_s = read("slow_start", parse_slow_start, 0.0)
    timeouts = read("timeouts", parse_backend_timeouts, {})
    maxconn = read("maxconn", parse_maxconn, None)
    return BackendSettings(name, service, balance, health, slow_start_s, timeouts, maxconn, (*problems,))


def parse_frontend(body: Mapping[str, Any]) -> FrontendSettings:
    """Return a frontend, or one with a problem. Raises `Invalid` if it has no name."""
    name = parse_name("name", body.get("name"))
    try:
        return _frontend(name, body)
    except Unusable as unusable:
        return FrontendSettings(name, problem=str(unusable))


def _frontend(name: str, body: Mapping[str, Any]) -> FrontendSettings:
    mode: Any = _read(body, "mode", parse_mode, "http")
    binds: tuple[Bind, ...] = _read(body, "bind", parse_bind, ())
    rules: tuple[Rule, ...] = _read(body, "rules", parse_rules, ())
    backend: str | None = _read(body, "backend", lambda name: parse_name("backend", name), None)
    if rules and mode == "tcp":
        raise Unusable("rules: need mode http")
    for i, rule in enumerate(rules, 1):
        # The name of a header needs no check, because it is always short.
        _require_room(f"rules: number {i}", str(rule.host or rule.path or (rule.header or ("", ""))[1]))
    if not binds:
        raise Unusable("bind: is not set yet")
    tls: tuple[Bind, ...] = _read(body, "tls", lambda value: tls_binds(binds, parse_tls(value)), ())
    problems: list[str] = []
    read = _tolerant(body, problems)
    timeouts = read("timeouts", parse_frontend_timeouts, {})
    return FrontendSettings(
        name,
        mode,
        tuple(map(_place, binds)),
        backend,
        rules,
        tls=tuple(map(_place, tls)),
        redirect_port=_redirect_port(body, mode, tls),
        forwardfor=mode == "http" and read("forwardfor", parse_forwardfor, True),
        log=read("log", parse_log, True),
        timeouts={key: value for key, value in timeouts.items() if mode == "http" or not key.startswith("http_")},
        maxconn=read("maxconn", parse_maxconn, None),
        problems=(*problems,),
    )


def _redirect_port(body: Mapping[str, Any], mode: str, tls: tuple[Bind, ...]) -> int | None:
    """Return the port to redirect to, which may be the frontend's own port with TLS; None for no redirect."""
    redirect: Any = _read(body, "redirect_https", parse_redirect_https, None)
    if not redirect:
        return None
    if mode == "tcp":
        raise Unusable("redirect_https: needs mode http")
    if redirect is True:
        return tls[0].port if tls else HTTPS_PORT
    return int(redirect)


def _parse_health(value: Any) -> Health:
    health = parse_health(value)
    _require_room("health: path", health.path)
    return health


def _require_room(what: str, text: str) -> None:
    """Raise `Unusable` if a value, quoted for the configuration, is too long."""
    if len(quoted(text).encode()) > VALUE_BYTES_MAX:
        raise Unusable(f"{what}: takes more than {VALUE_BYTES_MAX} bytes, and does not fit into a line for HAProxy")


def _tolerant(body: Mapping[str, Any], problems: list[str]) -> Callable[[str, Callable[[Any], Any], Any], Any]:
    """Return a reader of optional fields. It adds to `problems` the fields that cannot be used."""

    def read(field: str, parse: Callable[[Any], Any], default: Any) -> Any:
        try:
            return _read(body, field, parse, default)
        except Unusable as unusable:
            problems.append(str(unusable))
            return default

    return read


def _read(body: Mapping[str, Any], field: str, parse: Callable[[Any], _T], default: _T) -> _T:
    """Return a field, or `default` if it is not set."""
    value = body.get(field)
    try:
        return default if value is None else parse(value)
    except Unusable:
        raise
    except Invalid as error:
        raise Unusable(str(error)) from None
    except Exception as error:  # an unexpected value must affect only its field
        raise Unusable(f"{field}: cannot be read ({type(error).__name__})") from error


def _place(bind: Bind) -> str:
    return address_port("*" if bind.address is None else bind.address, bind.port)
