"""The option `--thalassa HTTP_PORT[:EVENTS_PORT][:interface=ADDRESS]`: where Thalassa's two protocols listen."""

from __future__ import annotations

from bender.process.options import Endpoint, RawOption, parse_ports

#: The name of the second listener. Messages write `--` before it, as before an option.
THALASSA_EVENTS = "thalassa events"

_FORM = "HTTP_PORT or HTTP_PORT:EVENTS_PORT (such as 9000:5001), optionally followed by :interface=ADDRESS"


def parse_thalassa(raw: RawOption) -> tuple[Endpoint, Endpoint | None]:
    """Return the endpoints of the HTTP API and of the event socket; None for the socket if it has no port.

    Raises `OptionError`.
    """
    (http, *events), interface = parse_ports(raw, 2, _FORM)
    return _endpoint(http, interface), _endpoint(events[0], interface) if events else None


def _endpoint(port: int, interface: str) -> Endpoint:
    escaped = interface.replace(":", "\\:")
    return Endpoint(f"tcp:{port}:interface={escaped}", "tcp", interface, port)


def format_thalassa(http: Endpoint | None, events: Endpoint | None) -> str:
    """Return the value of the option as people write it; `off` without the option."""
    if http is None:
        return "off"
    events_port = "" if events is None else f":{events.port}"
    return f"{http.port}{events_port}:interface={http.interface}"
