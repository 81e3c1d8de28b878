"""The weight of a new server in a backend with `slow_start`: it begins small and grows in steps."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from attrs import define, evolve, field

from bender.core.model import WEIGHT_MAX
from bender.haproxy.core.servers import DesiredServer

#: The number of steps in which a weight grows.
STEPS = 10

#: The time by which a timer may be early because of rounding.
_ROUNDING_S = 1e-6


@define
class Ramps:
    """The time at which each server of each backend was added, from which its weight grows."""

    _since: dict[str, dict[str, float]] = field(factory=dict)

    def start_at_full_weight(self, backend: str, servers: Sequence[DesiredServer]) -> None:
        """Note the servers that existed before the driver started. They have their full weights."""
        self._since[backend] = {server.name: -inf for server in servers}

    def forget(self, backend: str) -> None:
        self._since.pop(backend, None)

    def ramp(
        self, backend: str, servers: Sequence[DesiredServer], slow_start_s: float, now: float
    ) -> tuple[list[DesiredServer], float | None]:
        """Return the servers with their present weights, and when these change next; None if they do not change.

        All weights are scaled up as far as possible, because no weight is between 0 and 1, the weight of most members.
        """
        before = self._since.get(backend, {})
        since = self._since[backend] = {server.name: before.get(server.name, now) for server in servers}
        heaviest = max((server.weight for server in servers), default=0)
        if not slow_start_s or not heaviest:
            return [*servers], None
        times = WEIGHT_MAX // heaviest
        step_s = slow_start_s / STEPS
        ramped, next_at = [], inf
        for server in servers:
            done = _steps(now - since[server.name], step_s)
            if done < STEPS:
                next_at = min(next_at, since[server.name] + done * step_s)
            weight = server.weight * times * done // STEPS
            ramped.append(evolve(server, weight=max(weight, 1) if server.weight else 0))
        return ramped, None if next_at == inf else next_at


def _steps(past_s: float, step_s: float) -> int:
    """Return the number of steps after `past_s` seconds, from 1 to `STEPS`. The first step is at once."""
    return STEPS if past_s + _ROUNDING_S >= STEPS * step_s else int((past_s + _ROUNDING_S) // step_s) + 1
