"""What the operator chose: the options of a node, converted and checked.

Everything that is wrong with them is found here, before anything listens or runs. `Unfit` says in one sentence what is
wrong and what to do, and names the option as the operator wrote it: `--ttl`, or `ttl in FILE`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from itertools import combinations
from math import inf, isfinite
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory

from bender.core.durations import FORM, parse_duration
from bender.core.fields import did_you_mean
from bender.core.guard import GUARD_S_MAX
from bender.core.model import PORT_MAX, Invalid, canonical_host, parse_port
from bender.core.timing import TTL_INTERVALS_MIN, TTL_S_MAX, Timing
from bender.net.addresses import host_port

#: Where peers are looked for that were named without a port.
EXCHANGE_PORT = 1730

#: A request to a peer has one interval's time, and a busy node may need some tens of milliseconds of it.
INTERVAL_S_MIN = 0.05

#: TOML has integers of any size.
_INTEGER_MAX = 2**63

#: Connections that may wait to be accepted; the system cuts it to what it allows. When a node dies its clients all turn
#: to the others within moments: with Twisted's 50, of 400 that came while one was busy for 0.3 s, 349 had to try again.
BACKLOG = 4096

#: Names are part of every message and of many log lines.
NAME_LENGTH_MAX = 255

#: The option names, the defaults of all that have one, and what `--help` says of them.
OPTIONS: Mapping[str, tuple[Any, str]] = {
    "api": ("tcp:1729:interface=127.0.0.1", "ENDPOINT where clients speak HTTP"),
    "exchange": (f"tcp:{EXCHANGE_PORT}:interface=127.0.0.1", "ENDPOINT where peers exchange state"),
    "events": ("tcp:1731:interface=127.0.0.1", "ENDPOINT where events are told, a line each"),
    "peers": ((), "HOST[:PORT],… exchange addresses of some peers; repeatable"),
    "cluster": ("bender", "NAME of the cluster; a peer of another one is refused"),
    "name": (None, "NAME of this node, for people; HOSTNAME:APIPORT if not said"),
    "advertise": (None, "HOST under which peers reach this node; that of --exchange if not said, or the host name"),
    "ttl": (10, "DURATION that a registration lasts if it does not say"),
    "interval": (1, "DURATION between rounds; the same on all nodes"),
    "guard": (0, "DURATION that members stay listed which would be hidden and are most of their app; 0 is off"),
    "insecure": (False, "allow addresses that other machines can reach, though nothing protects them"),
}


class Unfit(ValueError):
    """An option, or several together, with which no node can be started."""


@frozen
class Given:
    """A value, and where it was given, in words that begin a sentence about it."""

    source: str
    value: Any


@frozen
class Endpoint:
    """Where to listen: Twisted's `description` of it, and what that means.

    `interface` is an address ("" for all of them) and `port` that of TCP; a Unix socket has a `path` alone.
    """

    description: str
    kind: str
    interface: str = ""
    port: int = 0
    path: str = ""

    @property
    def listened(self) -> str:
        """The description to listen with, which has a long backlog if it does not say."""
        longer = f"{self.description}:backlog={BACKLOG}"
        with suppress(TypeError):  # it says how many by the place of the number
            if "backlog=" not in self.description:
                serverFromString(_Seen(), longer)
                return longer
        return self.description

    @property
    def loopback(self) -> bool:
        """Whether this machine alone can reach it."""
        return self.kind == "unix" or self.interface == "localhost" or _address_is("is_loopback", self.interface)

    @property
    def everywhere(self) -> bool:
        """Whether it is open on all addresses of this machine."""
        return self.kind != "unix" and (not self.interface or _address_is("is_unspecified", self.interface))

    def meets(self, other: Endpoint) -> bool:
        """Whether not both can be listened on."""
        if self.path or other.path:
            return self.path == other.path
        overlap = self.interface == other.interface or self.everywhere or other.everywhere
        return overlap and self.port == other.port != 0


@frozen
class Choices:
    """All options of one node, each fit for itself and together with the others."""

    api: Endpoint
    exchange: Endpoint
    events: Endpoint
    peers: tuple[str, ...]
    cluster: str
    name: str
    advertise: str
    timing: Timing
    guard_s: float
    insecure: bool

    @property
    def address(self) -> str:
        """Where peers reach the exchange of this node, as `host:port`."""
        return host_port(self.advertise, self.exchange.port)

    @property
    def api_port(self) -> int:
        """Where clients reach the API at the host that is advertised; 0 if they do not."""
        alone = self.api.loopback and not (self.advertise == "localhost" or _address_is("is_loopback", self.advertise))
        return 0 if alone else self.api.port

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        return {"api": self.api, "exchange": self.exchange, "events": self.events}


def choose(given: Mapping[str, Given], host_name: str) -> Choices:
    """Fill in the defaults, convert and check. Raises `Unfit`."""
    unsaid = {option: Given(f"--{option}", default) for option, (default, _) in OPTIONS.items()}
    chosen = {**unsaid, **given}
    api, exchange, events = (parse_endpoint(chosen[option]) for option in ("api", "exchange", "events"))
    if "advertise" in given:
        advertise = _advertised(given["advertise"])
    else:
        advertise = host_name if exchange.everywhere or not exchange.interface else exchange.interface
    choices = Choices(
        api=api,
        exchange=exchange,
        events=events,
        peers=tuple(_peers(chosen["peers"])),
        cluster=_name(chosen["cluster"]),
        name=_name(given["name"]) if "name" in given else f"{host_name}:{api.path or api.port}",
        advertise=advertise,
        timing=Timing(
            interval_s=_seconds(chosen["interval"], INTERVAL_S_MIN), ttl_s=_seconds(chosen["ttl"], 0, TTL_S_MAX)
        ),
        guard_s=_seconds(chosen["guard"], 0, GUARD_S_MAX),
        insecure=_flag(chosen["insecure"]),
    )
    _check_together(choices)
    return choices


def _check_together(choices: Choices) -> None:
    timing = choices.timing
    ttl_s_min = TTL_INTERVALS_MIN * timing.interval_s
    if timing.ttl_s < ttl_s_min:
        raise Unfit(
            f"--ttl {timing.ttl_s:g} is less than {TTL_INTERVALS_MIN} times --interval {timing.interval_s:g}: "
            f"choose a ttl of {ttl_s_min:g} or more, or a shorter interval."
        )
    for (one, place), (other, taken) in combinations(choices.endpoints.items(), 2):
        if place.meets(taken):
            raise Unfit(
                f"--{one} {place.description} and --{other} {taken.description} are in each other's way: give each a "
                "port of its own."
            )
    for option, endpoint in choices.endpoints.items():
        if not endpoint.loopback and not choices.insecure:
            raise Unfit(
                f"--{option} {endpoint.description} can be reached from other machines and nothing protects it: choose "
                "interface=127.0.0.1 or a unix: socket, or add --insecure if all who can reach it may do anything."
            )
    if choices.peers and (choices.exchange.kind == "ssl" or not choices.exchange.port):
        raise Unfit(
            f"--peers cannot reach this node at --exchange {choices.exchange.description}, for they speak plain HTTP "
            "to a fixed port: choose tcp:PORT:interface=ADDRESS, or leave out --peers."
        )


# Conversions, each of one given value.


def parse_endpoint(given: Given) -> Endpoint:
    """Where to listen. Raises `Unfit`."""
    description = _text(given)
    kind = description.partition(":")[0]
    malformed = Unfit(f"{given.source} must be tcp:PORT:interface=ADDRESS, ssl:… or unix:PATH, not {description!r}.")
    if kind not in ("tcp", "tcp6", "ssl", "unix"):  # of others we could not tell who can reach them
        raise malformed
    seen = _Seen()
    try:
        serverFromString(seen, description).listen(Factory())
    except (TypeError, ValueError) as error:  # a part is missing, unknown, or not a number
        raise malformed from error
    except Exception as error:  # OpenSSL has errors of its own for keys and certificates
        raise Unfit(f"{given.source} cannot be {description!r}: {_one_line(error)}.") from error
    if not 0 <= seen.port <= PORT_MAX or (kind == "unix" and not seen.path):
        raise malformed
    return Endpoint(description, kind, seen.interface, seen.port, seen.path)


class _Seen:
    """Stands in for a reactor, so that Twisted itself says what a description means. It listens on nothing."""

    def __init__(self) -> None:
        self.interface = ""
        self.port = 0
        self.path = ""

    def listenTCP(self, port: int, _factory: object, *, interface: str, **_: object) -> None:
        self.port, self.interface = port, interface

    listenSSL = listenTCP

    def listenUNIX(self, address: str, _factory: object, **_: object) -> None:
        self.path = address


def _peers(given: Given) -> Iterable[str]:
    """The peers as `host:port`. A value is a list, on the command line with commas in it."""
    lists = [given.value] if isinstance(given.value, str) else given.value
    if not isinstance(lists, list | tuple) or not all(isinstance(each, str) for each in lists):
        raise Unfit(f"{given.source} must be a list of HOST:PORT, not {given.value!r}.")
    for text in [peer.strip() for each in lists for peer in each.split(",")]:
        host, port = _split(text)
        try:
            yield host_port(canonical_host(host), parse_port(port))
        except Invalid as error:
            raise Unfit(f"{given.source} must be HOST or HOST:PORT, with commas between them, not {text!r}.") from error


def _split(text: str) -> tuple[str, str]:
    """The parts of `HOST[:PORT]`. An address of IPv6 may stand without a port and then needs no brackets."""
    bracketed = re.fullmatch(r"\[(.*:.*)\](?::(.*))?", text)
    if bracketed:
        host, port = bracketed.groups()
    elif text.count(":") == 1:
        host, port = text.split(":")
    else:
        host, port = text, None
    return host, str(EXCHANGE_PORT) if port is None else port


def _advertised(given: Given) -> str:
    text = _text(given)
    try:
        host = canonical_host(text)
    except Invalid as error:
        raise Unfit(f"{given.source} must be a host name or an address, without a port, not {text!r}.") from error
    if _address_is("is_unspecified", host):
        raise Unfit(f"{given.source} must be an address that peers can reach, not {text!r}.")
    return host


def _name(given: Given) -> str:
    name = _text(given)
    if not 1 <= len(name) <= NAME_LENGTH_MAX or not name.isprintable():
        raise Unfit(f"{given.source} must be 1 to {NAME_LENGTH_MAX} printable characters, not {name!r}.")
    return name


def _seconds(given: Given, at_least: float, at_most: float = inf) -> float:
    value = given.value
    if isinstance(value, str):
        with suppress(ValueError):
            value = parse_duration(value)
    if isinstance(value, int) and abs(value) > _INTEGER_MAX:
        value = inf  # no float is that large, and Python might refuse to print it
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise Unfit(f"{given.source} must be {FORM}, not {given.value!r}.")
    if not at_least <= value <= at_most:
        limit = f"at least {at_least:g}" if value < at_least else f"at most {at_most:g}"
        raise Unfit(f"{given.source} must be {limit} seconds, not {value:g}.")
    return float(value)


def _flag(given: Given) -> bool:
    if not isinstance(given.value, bool):
        raise Unfit(f"{given.source} must be true or false, not {given.value!r}.")
    return given.value


def _text(given: Given) -> str:
    if not isinstance(given.value, str) or "\0" in given.value:
        raise Unfit(f"{given.source} must be a string without zeros in it, not {given.value!r}.")
    return given.value


# Where values come from.


def from_toml(path: str, options: Iterable[str] = OPTIONS, program: str = "bender") -> dict[str, Given]:
    """Return the options of a program that a TOML file has. Raises `Unfit`, also for other keys."""
    try:
        document = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise Unfit(f"--config {path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise Unfit(f"--config {path} is not TOML: {_one_line(error)}.") from error
    unknown = [key for key in document if key not in {*options}]
    if unknown:
        problems = "; ".join(_unknown(key, [*options], program) for key in unknown)
        raise Unfit(f"{path}: {problems}. The options are {', '.join(options)}.")
    return {key: Given(f"{key} in {path}", value) for key, value in document.items()}


def _unknown(key: str, options: Sequence[str], program: str) -> str:
    return f"{key!r} is not an option of {program}{did_you_mean(key.replace('_', '-'), options)}"


def from_command_line(option: str, value: Any) -> Given:
    """Everything is text there, also numbers."""
    if option in ("ttl", "interval", "guard"):
        with suppress(ValueError):
            value = float(value)
    if option == "insecure":
        value = bool(value)
    return Given(f"--{option}", value)


# Addresses.


def _address_is(what: str, text: str) -> bool:
    """Whether it is an address at all, and has this property of the standard library's."""
    try:
        return bool(getattr(ip_address(text), what))
    except ValueError:
        return False


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
