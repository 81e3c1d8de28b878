"""How a load balancer treats the connections of a backend or frontend.

Settings are timeouts, numbers of connections, redirects, headers and logs. Each field has its own parser, as in
`routing`. Names and units are HAProxy's, with `_` for `-` and seconds for times.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bender.core.hosts import PORT_MAX
from bender.core.invalid import Invalid
from bender.core.parsing import parse_part, require_fields

#: A day. No useful connection takes longer, and HAProxy's own limit of 24 days is well above it.
TIMEOUT_S_MAX = 86_400

#: Connections of one frontend, or to one server. One machine does not have ports and memory for more.
MAXCONN_MAX = 1_000_000

#: The port of HTTPS if the setting names none.
HTTPS_PORT = 443

#: The timeouts of a frontend. Those that begin with `http_` have no effect in mode tcp.
FRONTEND_TIMEOUTS = ("client", "http_request", "http_keep_alive")

#: The timeouts of a backend.
BACKEND_TIMEOUTS = ("connect", "server", "queue", "tunnel", "check")


def parse_frontend_timeouts(timeouts: Any) -> Mapping[str, float]:
    """Parse `{"client": 60, "http_request": 10, "http_keep_alive": 15}`, each in seconds and optional."""
    return _timeouts(timeouts, FRONTEND_TIMEOUTS, BACKEND_TIMEOUTS, "backend")


def parse_backend_timeouts(timeouts: Any) -> Mapping[str, float]:
    """Parse `{"connect": 2, "server": 60, "queue": 5, "tunnel": 3600, "check": 2}`, each in seconds and optional."""
    return _timeouts(timeouts, BACKEND_TIMEOUTS, FRONTEND_TIMEOUTS, "frontend")


def parse_timeout(name: str, seconds: Any) -> float:
    """Return the seconds of the timeout with this name. Raises `Invalid`."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= TIMEOUT_S_MAX:
        raise Invalid(name, f"must be a number of seconds greater than 0 and at most {TIMEOUT_S_MAX}")
    return seconds


def parse_maxconn(connections: Any) -> int:
    """Return a number of concurrent connections. Raises `Invalid`."""
    if isinstance(connections, bool) or not isinstance(connections, int) or not 1 <= connections <= MAXCONN_MAX:
        raise Invalid("maxconn", f"must be an integer from 1 to {MAXCONN_MAX}")
    return connections


def parse_redirect_https(redirect: Any) -> int | bool:
    """Parse `true`, `false` (no redirect), or the port of HTTPS."""
    if isinstance(redirect, bool):
        return redirect
    if not isinstance(redirect, int) or not 1 <= redirect <= PORT_MAX:
        raise Invalid("redirect_https", f"must be true, false, or the port of HTTPS (1 to {PORT_MAX})")
    return redirect


def parse_forwardfor(forwardfor: Any) -> bool:
    """Parse a Boolean: whether requests get `X-Forwarded-For`, and `X-Forwarded-Proto` if there is TLS."""
    return _flag("forwardfor", forwardfor)


def parse_log(log: Any) -> bool:
    """Parse a Boolean: whether load balancers that have a log target log requests or connections."""
    return _flag("log", log)


def _flag(field: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise Invalid(field, "must be true or false")
    return value


def _timeouts(timeouts: Any, names: tuple[str, ...], others: tuple[str, ...], kind: str) -> Mapping[str, float]:
    if not isinstance(timeouts, dict):
        raise Invalid("timeouts", f"must be an object with any of {', '.join(names)}, in seconds")
    for name in timeouts:
        if name in others:
            raise Invalid("timeouts", f"{name}: belongs in the {kind}")
    require_fields("timeouts", timeouts, names)
    given = {name: timeouts[name] for name in names if timeouts.get(name) is not None}
    return {name: parse_part("timeouts", parse_timeout, name, seconds) for name, seconds in given.items()}
