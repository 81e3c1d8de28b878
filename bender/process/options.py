"""Options of a service under `twistd`, from the command line or a file, and the endpoints that they name.

An `OptionError` is one sentence: what is wrong with an option, and what to do. It names the option as the operator
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
from bender.core.hosts import PORT_MAX, parse_address

#: Connections that may wait to be accepted; the system may lower this. When a node dies, all its clients turn to other
#: nodes within moments: with Twisted's default of 50, 349 of 400 clients had to try again at a node that was busy for
#: 0.3 s.
BACKLOG = 4096

#: The address of services for this machine only.
LOOPBACK = "127.0.0.1"

#: Ports, and perhaps an address. A colon in the address may have a backslash before it, as in Twisted's endpoints.
_PORTS = re.compile(r"([0-9]{1,5}(?::[0-9]{1,5})*)(?::interface=(.+))?", re.ASCII)


class OptionError(ValueError):
    """An option is not valid, or several options exclude each other. The message is a sentence for the operator."""


@frozen
class RawOption:
    """The value of an option before conversion. `source` names the option in errors: `--ttl` or `ttl in FILE`."""

    source: str
    value: Any


@frozen
class Endpoint:
    """Where to listen: the `description` of Twisted, and its parts. An endpoint of DNS has its own form (kind `dns`).

    `interface` is an address, or "" for all addresses, and `port` is a TCP port. A Unix socket has only a `path`.
    """

    description: str
    kind: str
    interface: str = ""
    port: int = 0
    path: str = ""

    @property
    def listen_description(self) -> str:
        """The description to listen with. It has the backlog `BACKLOG`, unless `description` sets one."""
        longer = f"{self.description}:backlog={BACKLOG}"
        with suppress(TypeError):  # the description sets a backlog by position, without its name
            if "backlog=" not in self.description:
                serverFromString(_EndpointParser(), longer)
                return longer
        return self.description

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can reach the endpoint."""
        return self.kind == "unix" or self.interface == "localhost" or address_is("is_loopback", self.interface)

    @property
    def is_wildcard(self) -> bool:
        """True if the endpoint listens on all addresses of this machine."""
        return self.kind != "unix" and (not self.interface or address_is("is_unspecified", self.interface))

    def overlaps(self, other: Endpoint) -> bool:
        """Return True if a process cannot listen on both endpoints at the same time."""
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
    if kind not in ("tcp", "tcp6", "ssl", "unix"):  # of other kinds, bender does not know which machines reach them
        raise malformed
    parser = _EndpointParser()
    try:
        serverFromString(parser, description).listen(Factory())
    except (TypeError, ValueError) as error:  # a part is missing, unknown, or not a number
        raise malformed from error
    except Exception as error:  # OpenSSL has errors of its own for keys and certificates
        raise OptionError(f"{raw.source} cannot be {description!r}: {one_line(error)}.") from error
    if not 0 <= parser.port <= PORT_MAX or (kind == "unix" and not parser.path):
        raise malformed
    return Endpoint(description, kind, parser.interface, parser.port, parser.path)


def parse_dns_endpoint(raw: RawOption) -> Endpoint:
    """Parse `PORT[:interface=ADDRESS]`, an endpoint for both UDP and TCP. Raises `OptionError`."""
    (port,), interface = parse_ports(raw, 1, "PORT or PORT:interface=ADDRESS, such as 8600")
    return Endpoint(f"{port}:interface={interface}", "dns", interface, port)


def parse_ports(raw: RawOption, ports_max: int, form: str) -> tuple[list[int], str]:
    """Parse `PORT[:PORT…][:interface=ADDRESS]`: return the ports, and the address, by default 127.0.0.1.

    Raises `OptionError`, whose message contains `form`, a description of valid values.
    """
    text = raw.value if isinstance(raw.value, str) else repr(raw.value)  # in a file, a port is a number
    found = _PORTS.fullmatch(text)
    with suppress(ValueError):
        interface = str(ip_address(found[2].replace("\\", "") if found and found[2] else LOOPBACK))
        ports = [] if found is None else [int(port) for port in found[1].split(":")]
        if 1 <= len(ports) <= ports_max and all(1 <= port <= PORT_MAX for port in ports):
            return ports, interface
    raise OptionError(f"{raw.source} must be {form}, not {raw.value!r}.")


class _EndpointParser:
    """Takes the place of a reactor, so that Twisted parses a description. It opens no port."""

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
    """Return the options of a program from a TOML file. Raises `OptionError`, also for keys that are not options."""
    try:
        document = tomllib.loads(Path(path).read_text("utf-8"))
        repr(document)  # raises for a number of thousands of digits, which an error message could not quote
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


def address_is(property_name: str, text: str) -> bool:
    """Return True if `text` is an address with this property of `ipaddress`, such as `is_loopback`."""
    address = parse_address(text)
    return address is not None and bool(getattr(address, property_name))


def one_line(error: BaseException) -> str:
    """Return the text of an error as one line without a final full stop; the name of its class if it has no text."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
