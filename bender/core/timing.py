"""The interval and the ttl on which all other durations depend, and these other durations."""

from __future__ import annotations

from attrs import frozen

#: How long a silent node's ledger is kept once its claims no longer count, so that it need not be sent whole again.
LEDGER_KEPT_S = 600.0

#: After a gap longer than this, peers may have forgotten this node's ledger: it continues as a new incarnation.
ABSENCE_S_MAX = 600.0


@frozen
class Timing:
    """The durations of a cluster, in seconds.

    `interval_s` is the time between rounds, the same on all nodes. `ttl_s` is the ttl of registrations whose clients
    request none.

    A shorter interval finds dead nodes sooner and costs proportionally more messages. `ttl_s` must be at least
    `ttl_limits.TTL_INTERVALS_MIN` intervals. With fewer than ten intervals the promises hold with a smaller margin.
    """

    interval_s: float = 1.0
    ttl_s: float = 10.0

    @property
    def pause_s(self) -> float:
        """A gap between two inputs that is longer than this means that the node itself was paused."""
        return 1.5 * self.interval_s

    @property
    def backlog_s(self) -> float:
        """The time after a pause within which a node reads the input that arrived during the pause."""
        return self.interval_s / 2

    @property
    def silent_s(self) -> float:
        """A node that was not heard for this long is silent. Its claims count for their ttl after that."""
        return 3 * self.interval_s

    @property
    def patience_s(self) -> float:
        """The longest wait for peers that do not answer.

        Together with the sweep that ends it, this is the promised 5·I.
        """
        return 4.5 * self.interval_s

    @property
    def confirming_s(self) -> float:
        """The peers from which anything came within this time are asked before a claim is removed."""
        return 8 * self.interval_s

    @property
    def end_kept_s(self) -> float:
        """The time for which an end is kept after the ttl of the claims that it ends."""
        return 8 * self.interval_s

    @property
    def asks_apart_s(self) -> float:
        """The shortest time between two asks for the same thing."""
        return self.interval_s / 4

    def ledger_kept_s(self, ttl_max_s: float) -> float:
        """Return how long to remember a node that is not heard, and its ledger, whose longest ttl is `ttl_max_s`."""
        return max(self.ttl_s, ttl_max_s) + self.silent_s + LEDGER_KEPT_S


def format_duration(duration_s: float) -> str:
    """Return a duration for people, in its largest unit of which there are two or more."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if duration_s >= 2 * size:
            return f"{duration_s / size:.0f} {unit}"
    return f"{duration_s:.1f} s"
