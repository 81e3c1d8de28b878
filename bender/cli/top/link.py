"""The state of the node that `bender top` follows, of the other nodes, and of the connection to the followed node."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

from bender.client.responses import NodeStatus

#: Seconds for which the change to another node is shown.
NOTICE_S = 10.0


@define
class NodeLink:
    """The connection to the followed node. Times are those of the caller's steady clock.

    `follow_problem` is the reason why no node can be followed, and `status_problem` the reason why the followed node
    does not answer. If both are empty, the state is current; otherwise it may be old.
    """

    #: The nodes to ask, in the given order.
    configured_nodes: tuple[str, ...] = ()
    #: The address of the followed node; None before the first.
    address: str | None = None
    status: NodeStatus | None = None
    #: The last time at which the node sent or answered something.
    heard_at: float | None = None
    follow_problem: str = ""
    status_problem: str = ""
    notice: str = ""
    renewals_per_s: float | None = None
    #: The status of each other node by its address, or the reason why it does not answer. Only the view of nodes asks.
    others: Mapping[str, NodeStatus | str] = field(factory=dict)
    _noticed_at: float = 0.0
    _renewals: tuple[float, float] | None = None

    @property
    def is_stale(self) -> bool:
        return bool(self.problem)

    @property
    def problem(self) -> str:
        """The reason why the state may be old; empty if it is current."""
        return self.follow_problem or self.status_problem

    @property
    def name(self) -> str:
        """The name of the followed node, or its address until the name is known."""
        return self.status.node if self.status is not None else self.address or ""

    def note_events_from(self, address: str | None, now: float) -> None:
        """Make a node that has sent events the followed node."""
        if address != self.address:
            if self.address is not None:
                self.notice = f"lost {self.name}, now following {address}"
                self._noticed_at = now
            self.address = address
            self.status = self._renewals = self.renewals_per_s = None
        self.follow_problem = self.status_problem = ""
        self.heard_at = now

    def update_status(self, status: NodeStatus, now: float) -> None:
        """Update the status of the followed node, and the rate of renewals at it."""
        renewals = status.since_start.get("renewed")
        if isinstance(renewals, int | float):
            if self._renewals is not None and now > self._renewals[0]:
                self.renewals_per_s = max(0.0, (renewals - self._renewals[1]) / (now - self._renewals[0]))
            self._renewals = (now, renewals)
        self.status = status
        self.status_problem = ""
        if not self.follow_problem:
            self.heard_at = now

    def current_notice(self, now: float) -> str:
        """Return the present notice, or an empty text if there is none or it is old."""
        return self.notice if now < self._noticed_at + NOTICE_S else ""
