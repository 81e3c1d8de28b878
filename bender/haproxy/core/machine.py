"""What a configuration has from the machine that HAProxy is on, and not from the registry.

These are the driver's options, and the files that these name. They are a part of the shape, so what HAProxy refuses of
them is never in the file that it would be started with, and is tried again as any other change is.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from bender.haproxy.core.custom import Custom

#: Seconds, where neither an option nor a frontend or backend says anything.
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
    """Where HAProxy logs to: an address, a path, or `stdout` or `stderr`; `format` is None for HAProxy's default."""

    target: str
    facility: str = "local0"
    format: str | None = None


@frozen
class Machine:
    """All of it. `stats` is where the page of statistics and the metrics are served, `exporter` whether there are any.

    `certificates` is the folder with those for TLS.
    """

    log: Log | None = None
    stats: str | None = None
    exporter: bool = False
    certificates: str | None = None
    maxconn: int | None = None
    timeouts: Mapping[str, float] = field(factory=lambda: dict(TIMEOUTS))
    custom: Custom = field(factory=Custom)
