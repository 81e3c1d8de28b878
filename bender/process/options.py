"""Options of a service under `twistd`, from the command line or a file, and the endpoints that they name.

`OptionError` says in one sentence what is wrong with an option and what to do, and names the option as the operator
wrote it: `--ttl`, or `ttl in FILE`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory

from bender.core.did_you_mean import did_you_mean
from bender.core.hosts import PORT_MAX

#: Connections that may wait to be accepted; the system cuts it to what it allows. When a node dies its clients all turn
#: to the others within moments: with Twisted's 50, of 400 that came while one was busy for 0.3 s, 349 had to try again.
BACKLOG = 4096


#: Where a service for this machine alone listens.
LOOPBACK = "127.0.0.1"

#: A port, and perhaps an address, with a backslash before each colon in it, as Twisted has it, or without.
_PORTS = re.compile(r"([0-9]{1,5}(?::[0-9]{1,5})*)(?::interface=(.+))?", re.ASCII)


class OptionError(ValueError):
    """An option, or several together, with which a node cannot be started."""


@frozen
class RawOption:
    """A value, and where it was given, in words that begin a sentence about it."""

    source: str
    value: Any


@frozen
class Endpoint:
    """Where to listen: Twisted's `description` of it, and what that means. DNS has a form of its own (kind `dns`).

    `interface` is an address ("" for all of them) and `port` that of TCP; a Unix socket has a `path` alone.
    """

    description: str
    kind: str
    interface: str = ""
    port: int = 0
    path: str = ""

    @property
    def listen_description(self) -> str:
        """Return the description to listen with, which has a long backlog unless it sets its own."""
        longer = f"{self.description}:backlog={BACKLOG}"
        with suppress(TypeError):  # it says how many by the place of the number
            if "backlog=" not in self.description:
                serverFromString(_Seen(), longer)
                return longer
        return self.description

    @property
    def is_loopback(self) -> bool:
        """Return True if only this machine can reach it."""
        return self.kind == "unix" or self.interface == "localhost" or address_is("is_loopback", self.interface)

    @property
    def is_wildcard(self) -> bool:
        """Return True if it is open on all addresses of this machine."""
        return self.kind != "unix" and (not self.interface or address_is("is_unspecified", self.interface))

    def overlaps(self, other: Endpoint) -> bool:
        """Return True if both cannot be listened on at the same time."""
        if self.path or other.path:
            return self.path == other.path
        overlap = self.interface == other.interface or self.is_wildcard or other.is_wildcard
        return overlap and self.port == other.port != 0


def parse_endpoint(raw: RawOption) -> Endpoint:
    """Parse an endpoint to listen on. Raises `OptionError`."""
    description = text_of(raw)
    kind = description.partition(":")[0]
    malformed = OptionError(
        f"{raw.source} must be tcp:PORT:interface=ADDRESS, ssl:… or unix:PATH, not {description!r}."
    )
    if kind not in ("tcp", "tcp6", "ssl", "unix"):  # for others it is not known which machines can reach them
        raise malformed
    seen = _Seen()
    try:
        serverFromString(seen, description).listen(Factory())
    except (TypeError, ValueError) as error:  # a part is missing, unknown, or not a number
        raise malformed from error
    except Exception as error:  # OpenSSL has errors of its own for keys and certificates
        raise OptionError(f"{raw.source} cannot be {description!r}: {one_line(error)}.") from error
    if not 0 <= seen.port <= PORT_MAX or (kind == "unix" and not seen.path):
        raise malformed
    return Endpoint(description, kind, seen.interface, seen.port, seen.path)


def parse_dns_endpoint(raw: RawOption) -> Endpoint:
    """Parse `PORT[:interface=ADDRESS]`, where to listen over UDP and TCP. Raises `OptionError`."""
    (port,), interface = parse_ports(raw, 1, "PORT or PORT:interface=ADDRESS, such as 8600")
    return Endpoint(f"{port}:interface={interface}", "dns", interface, port)


def parse_ports(raw: RawOption, ports_max: int, form: str) -> tuple[list[int], str]:
    """Parse `PORT[:PORT…][:interface=ADDRESS]`: return the ports, and the address, by default 127.0.0.1.

    Raises `OptionError`, which shows this `form`.
    """
    text = raw.value if isinstance(raw.value, str) else repr(raw.value)  # in a file, a port is a number
    found = _PORTS.fullmatch(text)
    with suppress(ValueError):
        interface = str(ip_address(found[2].replace("\\", "") if found and found[2] else LOOPBACK))
        ports = [] if found is None else [int(port) for port in found[1].split(":")]
        if 1 <= len(ports) <= ports_max and all(1 <= port <= PORT_MAX for port in ports):
            return ports, interface
    raise OptionError(f"{raw.source} must be {form}, not {raw.value!r}.")


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


def flag_of(raw: RawOption) -> bool:
    """Return the value of an option that is true or false. Raises `OptionError`."""
    if not isinstance(raw.value, bool):
        raise OptionError(f"{raw.source} must be true or false, not {raw.value!r}.")
    return raw.value


def text_of(raw: RawOption) -> str:
    """Return the value of an option that is text. Raises `OptionError`."""
    if not isinstance(raw.value, str) or "\0" in raw.value:
        raise OptionError(f"{raw.source} must be a string without NUL characters, not {raw.value!r}.")
    return raw.value


def from_toml(path: str, options: Iterable[str], program: str) -> dict[str, RawOption]:
    """Return the options of a program from a TOML file. Raises `OptionError`, also for other keys."""
    try:
        document = tomllib.loads(Path(path).read_text("utf-8"))
        repr(document)  # errors quote values, and Python prints no number of thousands of digits
    except OSError as error:
        raise OptionError(f"--config {path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise OptionError(f"--config {path} is not TOML: {one_line(error)}.") from error
    unknown = [key for key in document if key not in {*options}]
    if unknown:
        problems = "; ".join(_unknown(key, [*options], program) for key in unknown)
        raise OptionError(f"{path}: {problems} The options are {', '.join(options)}.")
    return {key: RawOption(f"{key} in {path}", value) for key, value in document.items()}


def _unknown(key: str, options: Sequence[str], program: str) -> str:
    hint = did_you_mean(key.replace("_", "-"), options)
    return f"{key!r} is not an option of {program}{hint or '.'}"


def address_is(what: str, text: str) -> bool:
    """Return True if a text is an address that has this property of `ipaddress`."""
    try:
        return bool(getattr(ip_address(text), what))
    except ValueError:
        return False


def one_line(error: BaseException) -> str:
    """Return the text of an error as one line without a full stop at its end, or its kind where it has no text."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
