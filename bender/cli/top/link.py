"""The node that `bender top` follows, as it and the other nodes describe themselves, and whether it is reached."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

from bender.client.responses import NodeStatus

#: For how long, in seconds, the change to another node is shown.
NOTICE_S = 10.0


@define
class NodeLink:
    """The connection to a node; times are those of the caller's steady clock.

    `away` is why no node can be followed, and `silent` why the followed node does not answer. Without them, the state
    is as of now; with either, it may be old.
    """

    #: The nodes to ask, in the order in which they were given.
    given: tuple[str, ...] = ()
    #: The address of the followed node; None before there was one.
    address: str | None = None
    status: NodeStatus | None = None
    #: When the node last sent or answered anything.
    heard_at: float | None = None
    away: str = ""
    silent: str = ""
    notice: str = ""
    renewals_per_s: float | None = None
    #: The status of every other node, or the reason why it does not answer; by address, asked for in the view of nodes.
    others: Mapping[str, NodeStatus | str] = field(factory=dict)
    _noticed_at: float = 0.0
    _renewals: tuple[float, float] | None = None

    @property
    def is_stale(self) -> bool:
        return bool(self.problem)

    @property
    def problem(self) -> str:
        """Why the state may be old; empty if it is not."""
        return self.away or self.silent

    @property
    def name(self) -> str:
        """The name of the followed node, its address until that is known."""
        return self.status.node if self.status is not None else self.address or ""

    def note_events_from(self, address: str | None, now: float) -> None:
        """Note that a node has sent events: it is the followed node from now on."""
        if address != self.address:
            if self.address is not None:
                self.notice = f"lost {self.name}, now following {address}"
                self._noticed_at = now
            self.address = address
            self.status = self._renewals = self.renewals_per_s = None
        self.away = self.silent = ""
        self.heard_at = now

    def update_status(self, status: NodeStatus, now: float) -> None:
        """Take the status of the followed node."""
        renewals = status.since_start.get("renewed")
        if isinstance(renewals, int | float):
            if self._renewals is not None and now > self._renewals[0]:
                self.renewals_per_s = max(0.0, (renewals - self._renewals[1]) / (now - self._renewals[0]))
            self._renewals = (now, renewals)
        self.status = status
        self.silent = ""
        if not self.away:
            self.heard_at = now

    def current_notice(self, now: float) -> str:
        """Return the present notice, empty if there is none or it is old."""
        return self.notice if now < self._noticed_at + NOTICE_S else ""
