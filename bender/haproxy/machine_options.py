"""Converts and checks the options about HAProxy's machine. Raises `OptionError`, as `options` does."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address

from bender.core.connection_settings import MAXCONN_MAX, parse_maxconn, parse_timeout
from bender.core.durations import parse_duration
from bender.core.hosts import parse_address, parse_port
from bender.core.invalid import Invalid
from bender.core.routing import parse_bind
from bender.haproxy.core.machine_settings import TIMEOUTS, Log, Machine
from bender.haproxy.core.names import address_port
from bender.process.options import OptionError

#: The port of the statistics in HAProxy's own examples.
STATS_PORT = 8404

#: The port of syslog.
LOG_PORT = 514

#: Targets of `--log` that are HAProxy's own output.
_OUTPUTS = ("stdout", "stderr")

_FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "auth2", "ftp", "ntp"),
    *("audit", "alert", "cron2", *(f"local{number}" for number in range(8))),
)

#: By option, the text that a template contains if it uses that option.
_USES = {
    "log": "machine.log",
    "stats": "machine.stats",
    "maxconn": "machine.maxconn",
    "timeouts": "machine.timeouts",
    "include": "custom.of",
}


def machine_of(given: Mapping[str, str], *, insecure: bool) -> Machine:
    """Return the settings of the machine from the options."""
    return Machine(
        log=_log(given.get("log")),
        stats=_stats(given.get("stats"), insecure=insecure),
        maxconn=_maxconn(given.get("maxconn")),
        timeouts=_timeouts(given.get("timeouts")),
    )


def require_used(given: Mapping[str, str], template: str | None) -> None:
    """Refuse an option that the operator's template does not use, because it would have no effect."""
    for option, use in _USES.items():
        if option in given and template is not None and use not in template:
            raise OptionError(
                f"--{option} has no effect with this --template, which does not use {use}: copy the lines with it from "
                f"the built-in template, or leave out --{option}."
            )


def _log(text: str | None) -> Log | None:
    if text is None:
        return None
    target, comma, facility = text.partition(",")
    if comma and facility not in _FACILITIES:
        raise OptionError(f"--log {text}: {facility!r} is not a syslog facility: use one of {', '.join(_FACILITIES)}.")
    facility = facility or "local0"
    if target in _OUTPUTS:
        return Log(target, facility, "raw")
    if target.startswith("/"):
        if not target.isprintable():
            raise OptionError(f"--log {text!r} must be a path of printable characters.")
        return Log(target, facility)
    return Log(_log_address(text, target), facility)


def _log_address(text: str, target: str) -> str:
    """Return the address and port of syslog. Names are refused: HAProxy does not start while one cannot be resolved."""
    host, port = target, LOG_PORT
    if target.count(":") == 1 or target.startswith("["):
        host, colon, after = target.rpartition(":") if not target.endswith("]") else (target, "", "")
        host = host.removeprefix("[").removesuffix("]")
        try:
            port = parse_port(after) if colon else LOG_PORT
        except Invalid as error:
            raise OptionError(f"--log {text}: {error}.") from error
    try:
        return address_port(str(ip_address("127.0.0.1" if host == "localhost" else host)), port)
    except ValueError:
        raise OptionError(
            f"--log {text} must be ADDRESS[:PORT], the path of a socket such as /dev/log, stdout or stderr, optionally "
            "with a comma and a facility such as local3. Host names are refused, because HAProxy does not start while "
            "one cannot be resolved."
        ) from None


def _stats(text: str | None, *, insecure: bool) -> str | None:
    if text is None:
        return None
    address, port = _stats_place(text)
    if not insecure and (address is None or not ip_address(address).is_loopback):
        raise OptionError(
            f"--stats {text} can be reached from other machines and nothing protects it: use 127.0.0.1, or add "
            "--insecure if every client that reaches it may read it."
        )
    return address_port("*" if address is None else address, port)


def _stats_place(text: str) -> tuple[str | None, int]:
    place = f"127.0.0.1:{text}" if text.isdigit() else text
    try:
        address = parse_address(place.strip("[]"))
        if place == "*" or address is not None:
            return (None if address is None else str(address)), STATS_PORT
        (bind,) = parse_bind(place)
    except (Invalid, ValueError):
        raise OptionError(
            f"--stats {text} must be PORT, ADDRESS or ADDRESS:PORT, with an IPv6 address in brackets."
        ) from None
    return bind.address, bind.port


def _maxconn(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_maxconn(int(text))
    except ValueError:
        raise OptionError(f"--maxconn {text} must be a number from 1 to {MAXCONN_MAX}.") from None


def _timeouts(text: str | None) -> Mapping[str, float]:
    timeouts = dict(TIMEOUTS)
    for each in [] if text is None else text.split(","):
        name, _, value = each.strip().partition("=")
        name = name.replace("-", "_")
        if name not in TIMEOUTS or not value:
            raise OptionError(
                f"--timeouts {each!r} must be NAME=SECONDS, such as server=30 or tunnel=2h, where NAME is one of "
                f"{', '.join(TIMEOUTS)}."
            )
        try:
            timeouts[name] = parse_timeout(name, parse_duration(value))
        except ValueError as error:
            raise OptionError(f"--timeouts {error}.") from None
    return timeouts
