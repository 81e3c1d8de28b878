"""The options of `bender run`, and the check whether nodes accept them.

Options are checked here, without a node, by the functions with which nodes check requests, so a wrong option is found
before the command starts. This module does no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import msgspec
from attrs import frozen

from bender.client.types import InstanceSpec
from bender.core.invalid import Invalid
from bender.core.model import ENTRY_BYTES_BOUND, TooLarge, parse_registration
from bender.core.routing import parse_health
from bender.core.timing import TTL_INTERVALS_MIN, Timing

#: The host that is validated if the plan has none.
_ANY_HOST = "127.0.0.1"


@frozen
class RunPlan:
    """What to register and how to check it. Durations are in seconds.

    Without a `host` it is the local address of the connection to a node. With a `check_path` the instance is checked by
    HTTP every `check_apart_s`, deregistered after `fall` checks in a row that fail, and registered again after `rise`
    that do not. `wait_s` is how long nodes may take to know that it is deregistered, `drain_s` how long the command
    goes on after that, and `kill_s` how long it may take to end after the signal, as long as it likes if that is None.
    With `any_process` a process that the command did not start may hold the port.
    """

    app: str
    version: str
    port: int
    host: str | None = None
    ttl_s: float | None = None
    weight: int | None = None
    meta: Mapping[str, Any] | None = None
    check_path: str | None = None
    check_apart_s: float = 2.0
    check_s_max: float = 2.0
    rise: int = 2
    fall: int = 3
    wait_s: float = 5.0
    drain_s: float = 0.0
    kill_s: float | None = None
    any_process: bool = False

    def require_valid(self, interval_s: float = Timing().interval_s) -> None:
        """Raise `Invalid` for a field that nodes with this interval between rounds refuse.

        The `field` of the error is the one of the API (`ttl`, `host`, …), or `check`.
        """
        if self.ttl_s is not None and not isfinite(self.ttl_s):  # which JSON cannot say
            raise Invalid("ttl", "must be a number of seconds")
        sent = self.spec_at(self.host or _ANY_HOST).fields()
        wanted = parse_registration(msgspec.json.encode(sent), Timing(interval_s=interval_s))
        try:
            wanted.applied_to(None, ttl_s=Timing().ttl_s, node="", now_ms=0).encode(wanted.key, ENTRY_BYTES_BOUND)
        except TooLarge as error:
            raise Invalid("meta", str(error)) from error
        if self.check_path is not None:
            _require_path(self.check_path)

    def spec_at(self, host: str) -> InstanceSpec:
        """Return the instance to register at a host."""
        return InstanceSpec(self.app, self.version, host, self.port, self.ttl_s, self.weight, self.meta)

    @property
    def needs_short_interval(self) -> bool:
        """Return True if the ttl is so short that only nodes with another interval than the default accept it."""
        return self.ttl_s is not None and 0 < self.ttl_s < TTL_INTERVALS_MIN * Timing().interval_s


def _require_path(path: str) -> None:
    try:
        parse_health({"path": path})
    except Invalid as error:
        raise Invalid("check", str(error).removeprefix("health: path: ")) from error
