"""The option `--thalassa HTTP_PORT[:EVENTS_PORT][:interface=ADDRESS]`: where Thalassa's two protocols listen."""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import ip_address

from bender.core.hosts import PORT_MAX
from bender.process.options import Endpoint, OptionError, RawOption

#: The second listener of this option, in words that name it after two dashes.
THALASSA_EVENTS = "thalassa events"

_LOOPBACK = "127.0.0.1"

_FORM = re.compile(r"([0-9]{1,5})(?::([0-9]{1,5}))?(?::interface=(.+))?", re.ASCII)


def parse_thalassa(given: RawOption) -> tuple[Endpoint, Endpoint | None]:
    """Return where the HTTP API listens, and the event socket if it has a port. Raises `OptionError`."""
    number = isinstance(given.value, int) and not isinstance(given.value, bool)  # as it may stand in a file
    text = str(given.value) if number else given.value
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if found is not None:
        with suppress(ValueError):
            interface = str(ip_address((found[3] or _LOOPBACK).replace("\\", "")))
            ports = [int(port) for port in (found[1], found[2]) if port is not None]
            if all(1 <= port <= PORT_MAX for port in ports):
                http, events = (*(_endpoint(port, interface) for port in ports), None)[:2]
                assert http is not None
                return http, events
    raise OptionError(
        f"{given.source} must be HTTP_PORT, HTTP_PORT:EVENTS_PORT or either with :interface=ADDRESS, such as "
        f"9000:5001, not {given.value!r}."
    )


def _endpoint(port: int, interface: str) -> Endpoint:
    escaped = interface.replace(":", "\\:")
    return Endpoint(f"tcp:{port}:interface={escaped}", "tcp", interface, port)


def shown_thalassa(http: Endpoint | None, events: Endpoint | None) -> str:
    """Return the value of the option for people."""
    if http is None:
        return "off"
    events_port = "" if events is None else f":{events.port}"
    return f"{http.port}{events_port}:interface={http.interface}"
