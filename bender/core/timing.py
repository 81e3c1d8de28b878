"""The two durations that everything else follows from, and the ones that follow."""

from __future__ import annotations

from attrs import frozen

#: How long a silent node's ledger is kept once its claims no longer count, so that it need not be sent whole again.
LEDGER_KEPT_S = 600.0

#: A gap after which others have forgotten this node's ledger: it goes on as a new incarnation.
ABSENCE_S_MAX = 600.0


@frozen
class Timing:
    """`interval_s` is the time between rounds, the same on all nodes; `ttl_s` the lease of clients that ask for none.

    A shorter interval finds dead nodes sooner and costs proportionally more messages. `ttl_s` must be at least
    `ttl_limits.TTL_INTERVALS_MIN` intervals; with fewer than ten the promises hold with less to spare.
    """

    interval_s: float = 1.0
    ttl_s: float = 10.0

    @property
    def pause_s(self) -> float:
        """A gap between two inputs above this means that the node itself was paused."""
        return 1.5 * self.interval_s

    @property
    def backlog_s(self) -> float:
        """After a pause, the input that arrived meanwhile is read within this time."""
        return self.interval_s / 2

    @property
    def silent_s(self) -> float:
        """A node that was not heard for this long is silent; its claims count for their ttl on top."""
        return 3 * self.interval_s

    @property
    def patience_s(self) -> float:
        """The longest wait for peers that do not answer. With the sweep that ends it, this is the promised 5·I."""
        return 4.5 * self.interval_s

    @property
    def confirming_s(self) -> float:
        """A peer from which anything came within this time is asked before a claim lapses."""
        return 8 * self.interval_s

    @property
    def end_kept_s(self) -> float:
        """An end is kept for this long on top of the ttl of the claims that it ends."""
        return 8 * self.interval_s

    @property
    def asks_apart_s(self) -> float:
        """The least time between two asks for the same thing."""
        return self.interval_s / 4

    def ledger_kept_s(self, ttl_max_s: float) -> float:
        """Return for how long an unheard node and its ledger, whose longest ttl is `ttl_max_s`, are remembered."""
        return max(self.ttl_s, ttl_max_s) + self.silent_s + LEDGER_KEPT_S


def format_duration(duration_s: float) -> str:
    """Return a duration for people, as exact as necessary."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if duration_s >= 2 * size:
            return f"{duration_s / size:.0f} {unit}"
    return f"{duration_s:.1f} s"
