"""The fields of backends and frontends about traffic: where it comes in, where it goes, and in what shares.

Each field that has a meaning has its own parser here. The API checks the field with this parser, and load balancer
drivers read the field with it. An accepted value is put into one line of a load balancer's configuration, and mostly
into one word of that line. So a parser refuses every value that could end the line or the word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, TypeVar

from attrs import frozen

from bender.core.connection_settings import (
    parse_backend_timeouts,
    parse_forwardfor,
    parse_frontend_timeouts,
    parse_log,
    parse_maxconn,
    parse_redirect_https,
)
from bender.core.hosts import canonical_host, destination, parse_address, parse_port
from bender.core.invalid import Invalid
from bender.core.model import parse_name, printable_name
from bender.core.object_kinds import Kind
from bender.core.parsing import parse_number, parse_part, require_fields, require_known

#: The largest numbers of fixed servers of one backend and of rules of one frontend. An entry of 4 KiB holds hardly
#: more.
SERVERS_MAX = 100
RULES_MAX = 100

#: The largest number of addresses at which one frontend listens.
BINDS_MAX = 20

HEALTH_INTERVAL_S = 2.0
HEALTH_INTERVAL_S_MAX = 3600
SLOW_START_S_MAX = 3600

#: The largest number of characters of a path, or of a header's value.
TEXT_CHARACTERS_MAX = 1024

MODES = ("http", "tcp")

#: Algorithms with which HAProxy 2.6 can add and remove servers, and which respect the weights of servers. `static-rr`
#: cannot add or remove servers, and `first` ignores weights. The algorithms with an argument need `hash-type
#: consistent`.
_BALANCES = re.compile(
    r"(roundrobin|leastconn|random|source|uri)|(random)\(([1-9][0-9]?)\)|(hdr|url_param)\(([A-Za-z0-9._-]{1,64})\)"
)

_SERVERS_FORM = f"must be a list of at most {SERVERS_MAX} servers, each as host:port"

_HOST_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+)):([0-9]+)", re.ASCII)
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f]*:[0-9A-Fa-f:.]*)\]|([^:\[\]]+))(?::([0-9]+))?", re.ASCII)
_PATH = re.compile(r"/[!-~]*")
_RULE_PATH = re.compile(r"/[!\"$->@-~]*")
_HEADER = re.compile(r"[A-Za-z0-9._-]{1,64}")

_T = TypeVar("_T")


@frozen
class Canary:
    """A version that gets a part of a backend's traffic; `percent` is from 0 to 100."""

    version: str
    percent: Fraction


@frozen
class FixedServer:
    """A server that always belongs to the backend, whether it is registered or not."""

    host: str
    port: int


@frozen
class Balance:
    """How a server is chosen: HAProxy's name of the algorithm, and its argument, if any (a name or a number)."""

    algorithm: str
    argument: str | None = None


@frozen
class Health:
    """A health check: the path that is requested, the seconds between two checks, and the `Host` of the request.

    `host` is a DNS name or an address (an IPv6 address in brackets), with or without a port; None if none is set.
    """

    path: str
    interval_s: float
    host: str | None = None


@frozen
class Bind:
    """An address and port at which a frontend listens. The address None means all addresses of the machine."""

    address: str | None
    port: int


@frozen
class Rule:
    """A rule that sends requests to a backend by their host, the beginning of their path, or the value of a header."""

    backend: str
    host: str | None = None
    path: str | None = None
    header: tuple[str, str] | None = None


def parse_canary(canary: Any) -> Canary:
    """Parse `{"version": "2.1.0", "percent": 10}`."""
    require_fields("canary", canary, ("version", "percent"))
    if not isinstance(canary, dict) or canary.keys() != {"version", "percent"}:
        raise Invalid("canary", "must be an object with version and percent, or null for none")
    percent = parse_part("canary", parse_number, "percent", canary["percent"], 0, 100)
    return Canary(parse_part("canary", parse_name, "version", canary["version"]), Fraction(repr(percent)))


def parse_balance(balance: Any) -> Balance:
    """Parse `roundrobin`, `leastconn`, `random`, `random(DRAWS)`, `source`, `uri`, `hdr(NAME)` or `url_param(NAME)`."""
    match = _BALANCES.fullmatch(balance) if isinstance(balance, str) else None
    if match is None:
        form = "roundrobin, leastconn, random, random(DRAWS), source, uri, hdr(NAME) or url_param(NAME)"
        raise Invalid("balance", f"must be {form}: other algorithms ignore weights, or cannot add servers")
    plain, drawn, draws, looked, name = match.groups()
    return Balance(plain or drawn or looked, draws or name)


def parse_health(health: Any) -> Health:
    """Parse `{"path": "/health", "interval": 2, "host": "shop.example"}`.

    `interval` (in seconds) and `host` are optional.
    """
    require_fields("health", health, ("path", "interval", "host"))
    if not isinstance(health, dict) or "path" not in health:
        raise Invalid("health", "must be an object with path and optionally interval and host, or null for none")
    path = parse_part("health", _matching, "path", health["path"], _PATH, "begin with / and be ASCII without spaces")
    interval_s, host = health.get("interval"), health.get("host")
    if interval_s is None:
        interval_s = HEALTH_INTERVAL_S
    interval_s = parse_part("health", parse_number, "interval", interval_s, 0, HEALTH_INTERVAL_S_MAX)
    if not interval_s:
        raise Invalid("health", "interval: must be more than 0 seconds")
    return Health(path, interval_s, None if host is None else parse_part("health", _authority, host))


def parse_slow_start(seconds: Any) -> float:
    """Return the seconds within which a new member reaches its full weight. Raises `Invalid`."""
    return parse_number("slow_start", seconds, 0, SLOW_START_S_MAX)


def parse_servers(servers: Any) -> tuple[FixedServer, ...]:
    """Parse fixed servers: a list of `host:port`, with IPv6 addresses in brackets.

    Each host must be one at which an instance may be (see `destination`).
    """
    if not isinstance(servers, list) or len(servers) > SERVERS_MAX:
        raise Invalid("servers", _SERVERS_FORM)
    return _different("servers", [FixedServer(*each) for each in _each("servers", _server, servers)])


def valid_servers(servers: Any) -> tuple[tuple[FixedServer, ...], tuple[str, ...]]:
    """Return the valid fixed servers of a backend as it is kept, and the problems of the others, which are left out.

    An older node may have accepted a server that is refused now. The valid servers must stay all the same.
    """
    if not isinstance(servers, list) or len(servers) > SERVERS_MAX:
        return (), (f"servers: {_SERVERS_FORM}",)
    found: dict[FixedServer, None] = {}
    problems: list[str] = []
    for i, each in enumerate(servers, start=1):
        try:
            found[FixedServer(*_server(each))] = None
        except Invalid as error:
            problems.append(f"servers: number {i}: {error}")
    return (*found,), (*problems,)


def parse_bind(bind: Any) -> tuple[Bind, ...]:
    """Parse `*:8080`, `10.0.0.1:80` or `[::1]:80`, or several of these with a comma between them."""
    texts = bind.split(",") if isinstance(bind, str) else []
    if not 1 <= len(texts) <= BINDS_MAX:
        raise Invalid(
            "bind",
            f"must be an address such as *:8080, 10.0.0.1:80 or [::1]:80, or up to {BINDS_MAX} with commas between",
        )
    return _different("bind", [parse_part("bind", _bind, text) for text in texts])


def parse_tls(tls: Any) -> tuple[Bind, ...] | bool:
    """Parse `true` (TLS at all addresses), `false` (at none), or the addresses with TLS, in the form of `bind`."""
    if isinstance(tls, bool):
        return tls
    if not isinstance(tls, str):
        raise Invalid("tls", "must be true, false, or the addresses of bind that speak TLS, such as *:443")
    return parse_part("tls", parse_bind, tls)


def parse_mode(mode: Any) -> str:
    """Parse `http` or `tcp`."""
    if mode not in MODES:
        raise Invalid("mode", f"must be {' or '.join(MODES)}")
    return str(mode)


def parse_rules(rules: Any) -> tuple[Rule, ...]:
    """Parse a list of `{"host": …}`, `{"path": …}` or `{"header": …, "value": …}`, each with a `backend`."""
    if not isinstance(rules, list) or len(rules) > RULES_MAX:
        raise Invalid("rules", f"must be a list of at most {RULES_MAX} rules")
    return (*_each("rules", _rule, rules),)


def tls_binds(binds: tuple[Bind, ...], tls: tuple[Bind, ...] | bool) -> tuple[Bind, ...]:
    """Return the addresses of a frontend that use TLS.

    Raises `Invalid` if `tls` names an address that is not in `bind`.
    """
    if isinstance(tls, bool):
        return binds if tls else ()
    for bind in tls:
        if bind not in binds:
            address = "*" if bind.address is None else bind.address
            raise Invalid("tls", f"{address}:{bind.port} is not an address of bind")
    return tls


def _agree(frontend: Mapping[str, Any]) -> None:
    if frontend.get("mode") == "tcp":
        _agree_with_tcp(frontend)
    binds, tls = frontend.get("bind"), frontend.get("tls")
    if tls is None:
        return
    try:
        known, encrypted = () if binds is None else parse_bind(binds), parse_tls(tls)
    except Invalid:  # An older node kept it; the reader of the field reports it.
        return
    speaking = tls_binds(known, encrypted) if known else ()
    if frontend.get("redirect_https") and known and len(speaking) == len(known):
        raise Invalid(
            "redirect_https",
            "all addresses of bind use TLS, so there is nothing to redirect: remove redirect_https, or list in tls "
            "only the addresses that must use TLS",
        )


def _agree_with_tcp(frontend: Mapping[str, Any]) -> None:
    """Refuse fields about requests, because a frontend in mode tcp forwards connections and sees no requests."""
    if frontend.get("rules"):
        raise Invalid("rules", "need mode http, because mode tcp sees no requests; remove them with null")
    for field in ("redirect_https", "forwardfor"):
        if frontend.get(field):
            raise Invalid(field, "needs mode http; remove it with null")
    timeouts = frontend.get("timeouts")
    for name in timeouts if isinstance(timeouts, dict) else ():
        if name.startswith("http_"):
            raise Invalid("timeouts", f"{name}: needs mode http")


#: Backends and frontends as the API accepts them. The value `null` removes a field.
BACKEND = Kind(
    "backend",
    "Backend",
    required_names=("app", "version"),
    checks={
        "canary": parse_canary,
        "balance": parse_balance,
        "health": parse_health,
        "servers": parse_servers,
        "slow_start": parse_slow_start,
        "timeouts": parse_backend_timeouts,
        "maxconn": parse_maxconn,
    },
    request_only_fields=("min_members",),
)
FRONTEND = Kind(
    "frontend",
    "Frontend",
    optional_names=("backend",),
    checks={
        "bind": parse_bind,
        "mode": parse_mode,
        "rules": parse_rules,
        "tls": parse_tls,
        "redirect_https": parse_redirect_https,
        "forwardfor": parse_forwardfor,
        "log": parse_log,
        "timeouts": parse_frontend_timeouts,
        "maxconn": parse_maxconn,
    },
    check_together=_agree,
)


# Parsers of parts of fields. Their errors name the part.


def _each(field: str, parse: Callable[[Any], _T], values: list[Any]) -> list[_T]:
    return [parse_part(field, parse_part, f"number {i}", parse, value) for i, value in enumerate(values, start=1)]


def _rule(rule: Any) -> Rule:
    if isinstance(rule, dict):
        require_known("a rule", rule, ("host", "path", "header", "value", "backend"))
    said = {*rule} if isinstance(rule, dict) else set()
    if said not in ({"host", "backend"}, {"path", "backend"}, {"header", "value", "backend"}):
        raise Invalid("rule", "must be an object with a backend and either host, or path, or header and value")
    backend = parse_name("backend", rule["backend"])
    if "host" in said:
        return Rule(backend, host=_host(rule["host"]))
    if "path" in said:
        form = "begin with / and be ASCII without spaces, ? or #"
        return Rule(backend, path=_matching("path", rule["path"], _RULE_PATH, form))
    header = _matching("header", rule["header"], _HEADER, "be 1 to 64 letters, digits, dots, - or _")
    return Rule(backend, header=(header, _value(rule["value"])))


def _value(value: Any) -> str:
    printable = isinstance(value, str) and 1 <= len(value) <= TEXT_CHARACTERS_MAX and value.isprintable()
    if not printable or value != value.strip():  # spaces around a value are not part of it (RFC 9110, 5.5)
        form = f"1 to {TEXT_CHARACTERS_MAX} printable characters without spaces around them"
        raise Invalid("value", f"must be {form}")
    return str(value)


def _host(host: Any) -> str:
    return canonical_host(host if isinstance(host, str) else "")


def _bind(text: str) -> Bind:
    if text.startswith("*:"):
        return Bind(None, parse_port(text[2:]))
    host, port = _host_port(text, printable_name(text), "*:8080, 10.0.0.1:80 or [::1]:80")
    if parse_address(host) is None:
        raise Invalid("host", f"must be * or an IP address, not {host}")
    return Bind(host, port)


def _authority(text: Any) -> str:
    """Return the value of a request's `Host` in canonical form: a host, with or without a port."""
    if not isinstance(text, str):
        raise Invalid("host", "must be a DNS name or an address, optionally with a port")
    match = _AUTHORITY.fullmatch(text)
    if match is None:  # an IPv6 address without brackets, or not a host
        return _bracketed(canonical_host(text))
    in_brackets, host, port = match.groups()
    host = _bracketed(canonical_host(in_brackets or host))
    return host if port is None else f"{host}:{parse_port(port)}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _server(text: Any) -> tuple[str, int]:
    host, port = _host_port(text)
    return destination(host), port


def _host_port(
    text: Any, what: str = "server", form: str = "host:port, with an IPv6 address in brackets"
) -> tuple[str, int]:
    match = _HOST_PORT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise Invalid(what, f"must be of the form {form}")
    in_brackets, host, port = match.groups()
    return canonical_host(in_brackets or host), parse_port(port)


def _matching(what: str, text: Any, pattern: re.Pattern[str], form: str) -> str:
    if not isinstance(text, str) or len(text) > TEXT_CHARACTERS_MAX or not pattern.fullmatch(text):
        raise Invalid(what, f"must {form}")
    return text


def _different(field: str, values: list[_T]) -> tuple[_T, ...]:
    if len({*values}) < len(values):
        raise Invalid(field, "must not have the same entry twice")
    return (*values,)
