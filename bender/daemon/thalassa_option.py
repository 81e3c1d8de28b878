"""The option `--thalassa HTTP_PORT[:EVENTS_PORT][:interface=ADDRESS]`: where Thalassa's two protocols listen."""

from __future__ import annotations

from bender.process.options import Endpoint, RawOption, parse_ports

#: The name of the second listener, as it stands after `--` in messages.
THALASSA_EVENTS = "thalassa events"

_FORM = "HTTP_PORT, HTTP_PORT:EVENTS_PORT or either with :interface=ADDRESS, such as 9000:5001"


def parse_thalassa(raw: RawOption) -> tuple[Endpoint, Endpoint | None]:
    """Return where the HTTP API listens, and the event socket if it has a port. Raises `OptionError`."""
    (http, *events), interface = parse_ports(raw, 2, _FORM)
    return _endpoint(http, interface), _endpoint(events[0], interface) if events else None


def _endpoint(port: int, interface: str) -> Endpoint:
    escaped = interface.replace(":", "\\:")
    return Endpoint(f"tcp:{port}:interface={escaped}", "tcp", interface, port)


def format_thalassa(http: Endpoint | None, events: Endpoint | None) -> str:
    """Return the value of the option for people."""
    if http is None:
        return "off"
    events_port = "" if events is None else f":{events.port}"
    return f"{http.port}{events_port}:interface={http.interface}"
