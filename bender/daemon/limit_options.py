"""The options of a node that are limits: their texts and defaults, and the ranges of their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bender.core.model import ENTRY_BYTES_BOUND
from bender.node.limits import DEFAULTS, Limits
from bender.process.number_options import integer_of, number_of, seconds_of
from bender.process.options import OptionError, RawOption

#: More sockets than any system allows by default.
CONNECTIONS_BOUND = 1_000_000

#: Peers take twice as many entries of one node (`LIVE_MAX` of the exchange), because ends are entries too.
REGISTRATIONS_BOUND = 1_000_000

RATE_BOUND = 1_000_000

#: The least limit of an entry: the names in an entry may take this number of bytes together.
ENTRY_BYTES_LEAST = 2048

#: A body is decoded in one step, which blocks the node: 1 MiB takes some milliseconds.
BODY_BYTES_BOUND = 1024 * 1024

CLIENT_TIMEOUT_S_LEAST, CLIENT_TIMEOUT_S_BOUND = 1.0, 3600.0

#: The option names, their defaults and their texts in `--help`.
LIMIT_OPTIONS: Mapping[str, tuple[Any, str]] = {
    "max-connections": (
        DEFAULTS.connections,
        "NUMBER of client connections that each port for clients accepts, such as --api and --events",
    ),
    "max-subscribers": (DEFAULTS.subscribers, "NUMBER of clients that follow events"),
    "max-registrations": (DEFAULTS.registrations, "NUMBER of registrations accepted at this node"),
    "max-rate": (0, "NUMBER of requests a second from one client address; 0 sets no limit"),
    "max-body": (DEFAULTS.body_bytes, "BYTES of the body of a request"),
    "max-entry": (DEFAULTS.entry_bytes, "BYTES of a registration, backend or frontend as JSON"),
    "client-timeout": (
        int(DEFAULTS.client_timeout_s),
        "DURATION that a client may take to send a request, or to read an answer",
    ),
}


def parse_limits(raw_options: Mapping[str, RawOption]) -> Limits:
    """Return the limits that the options set. Raises `OptionError`."""
    limits = Limits(
        connections=integer_of(raw_options["max-connections"], 1, CONNECTIONS_BOUND),
        subscribers=integer_of(raw_options["max-subscribers"], 1, CONNECTIONS_BOUND),
        registrations=integer_of(raw_options["max-registrations"], 1, REGISTRATIONS_BOUND),
        rate=number_of(raw_options["max-rate"], 0, RATE_BOUND),
        body_bytes=integer_of(raw_options["max-body"], ENTRY_BYTES_LEAST, BODY_BYTES_BOUND),
        entry_bytes=integer_of(raw_options["max-entry"], ENTRY_BYTES_LEAST, ENTRY_BYTES_BOUND),
        client_timeout_s=seconds_of(raw_options["client-timeout"], CLIENT_TIMEOUT_S_LEAST, CLIENT_TIMEOUT_S_BOUND),
    )
    if limits.body_bytes < limits.entry_bytes:
        raise OptionError(
            f"--max-body {limits.body_bytes} is less than --max-entry {limits.entry_bytes}, and an entry is sent in a "
            "body: raise --max-body, or lower --max-entry."
        )
    return limits


def format_limits(limits: Limits) -> dict[str, str]:
    """Return the values of the options as text, by option name."""
    return {
        "max-connections": str(limits.connections),
        "max-subscribers": str(limits.subscribers),
        "max-registrations": str(limits.registrations),
        "max-rate": f"{limits.rate:.15g}",
        "max-body": str(limits.body_bytes),
        "max-entry": str(limits.entry_bytes),
        "client-timeout": f"{limits.client_timeout_s:.15g}",
    }
