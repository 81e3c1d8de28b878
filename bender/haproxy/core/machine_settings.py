"""The settings that come from HAProxy's machine, and not from the registry.

They come from the driver's options, and from the files that these name. They are part of the topology. So settings
that HAProxy refuses are never in the file with which HAProxy starts, and they are retried like any other change.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from bender.haproxy.core.custom import Custom

#: Default timeouts in seconds, where neither an option nor a frontend or backend sets one.
TIMEOUTS: Mapping[str, float] = {
    "connect": 2,
    "client": 60,
    "server": 60,
    "tunnel": 3600,
    "queue": 5,
    "check": 2,
    "http_request": 10,
    "http_keep_alive": 15,
}


@frozen
class Log:
    """The target of HAProxy's log: an address, a path, `stdout` or `stderr`. `format` is None for HAProxy's default."""

    target: str
    facility: str = "local0"
    format: str | None = None


@frozen
class Machine:
    """All settings of the machine.

    `stats` is the address of the statistics page and the metrics; `exporter` is True if HAProxy can serve metrics;
    `certificates` is the folder with the certificates for TLS.
    """

    log: Log | None = None
    stats: str | None = None
    exporter: bool = False
    certificates: str | None = None
    maxconn: int | None = None
    timeouts: Mapping[str, float] = field(factory=lambda: dict(TIMEOUTS))
    custom: Custom = field(factory=Custom)
