"""The options of `bender run`, and the check whether nodes accept them.

The functions with which nodes check requests also check the options here, without a node. So an invalid option is found
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
from bender.core.timing import Timing
from bender.core.ttl_limits import ttl_s_min

#: A host for the check of a plan without a host.
_ANY_HOST = "127.0.0.1"


@frozen
class RunPlan:
    """The instance to register, its checks, and the time limits at its end. Durations are in seconds.

    If `host` is None, the local address of the connection to a node is registered. If there is a `check_path`, the
    instance is checked by HTTP every `check_apart_s`, deregistered after `fall` failed checks in a row, and registered
    again after `rise` successful checks in a row. At the end, nodes have `wait_s` to apply the deregistration. Then the
    command continues for `drain_s` before it gets the signal, and `kill_s` later it is killed; None means never. If
    `any_process` is True, a process that the command did not start may hold the port.
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
        """Raise `Invalid` if nodes with this interval between rounds refuse the instance.

        The `field` of the error is the name of the field in the API (`ttl`, `host`, …), or `check`.
        """
        if self.ttl_s is not None and not isfinite(self.ttl_s):  # JSON does not have such a number
            raise Invalid("ttl", "must be a number of seconds")
        sent = self.spec_at(self.host or _ANY_HOST).fields()
        request = parse_registration(msgspec.json.encode(sent), Timing(interval_s=interval_s))
        try:
            request.applied_to(None, ttl_s=Timing().ttl_s, node="", now_ms=0).encode(request.key, ENTRY_BYTES_BOUND)
        except TooLarge as error:
            raise Invalid("meta", str(error)) from error
        if self.check_path is not None:
            _require_path(self.check_path)

    def spec_at(self, host: str) -> InstanceSpec:
        """Return the instance to register at a host."""
        return InstanceSpec(self.app, self.version, host, self.port, self.ttl_s, self.weight, self.meta)

    @property
    def needs_short_interval(self) -> bool:
        """Whether the ttl is so short that only nodes with an interval below the default accept it."""
        return self.ttl_s is not None and 0 < self.ttl_s < ttl_s_min(Timing().interval_s)


def _require_path(path: str) -> None:
    try:
        parse_health({"path": path})
    except Invalid as error:
        raise Invalid("check", str(error).removeprefix("health: path: ")) from error
