"""Rules 3 and 4: whether a claim or an end that is due may be removed."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from bender.core.index import Index
from bender.core.leases import Lease, Leases
from bender.core.ledger import Claim, End, ended_roots
from bender.core.peers import Peer, Peers, are_known_to_all
from bender.core.timing import Timing


def confirmed_until(confirming: Iterable[Peer]) -> float:
    """Return the time up to which this node knows all renewals at the confirming peers; inf if there are no peers."""
    return min((peer.echoed_at for peer in confirming), default=inf)


class LapseRules:
    """One node's decisions on whether claims count and leases are over."""

    def __init__(self, incarnation: int, timing: Timing, peers: Peers, index: Index, leases: Leases) -> None:
        self._incarnation = incarnation
        self._timing = timing
        self._peers = peers
        self._index = index
        self._leases = leases

    def counts(self, claim: Claim, now: float) -> bool:
        """Whether a claim counts: it is this node's own, or its node is heard (rule 5)."""
        return claim.node == self._incarnation or self._peers.counts(claim.node, claim.ttl_s, now)

    def is_over(
        self, lease: Lease, ended_at: float | None, confirming: list[Peer], confirmed: float, now: float
    ) -> bool:
        """Whether the entry of a due lease may be removed now.

        `ended_at` is the time at which this node first had an end for the claim, None if it had none. `confirmed` is
        `confirmed_until(confirming)`. If the claim was renewed, or the end must be kept longer, the lease goes back
        into the wheel; else a lease that is not over stays due.
        """
        if isinstance(lease.entry, End):
            return self._end_is_over(lease, lease.entry, now)
        if ended_at is not None:
            return self._ended_is_over(lease.entry, ended_at, confirming, now)
        if lease.deadline > now:  # renewed while it was due
            self._leases.seat(lease)
            return False
        if now >= lease.deadline + self._timing.patience_s:
            return True
        return confirmed >= lease.deadline and self._replaced_everywhere(lease.entry, confirming, now)

    def _replaced_everywhere(self, claim: Claim, confirming: list[Peer], now: float) -> bool:
        """Whether the other claims of the key have the same or a larger rank, and all confirming peers have them."""
        ended = ended_roots(self._index.entries(claim.key))
        others = [
            other
            for other in self._index.entries(claim.key)
            if other is not claim and isinstance(other, Claim) and other.root not in ended and self.counts(other, now)
        ]
        followed = all(other.rank >= claim.rank for other in others)
        return followed and are_known_to_all((other.dot for other in others), confirming)

    def _ended_is_over(self, claim: Claim, ended_at: float, confirming: list[Peer], now: float) -> bool:
        """Whether all confirming peers have the ends of a claim, or this node has waited `patience_s` for them.

        A peer that received the removal before the end would report the claim as expired.
        """
        ends = [end.dot for end in self._index.entries(claim.key) if isinstance(end, End) and claim.root in end.roots]
        return now >= ended_at + self._timing.patience_s or (bool(ends) and are_known_to_all(ends, confirming))

    def _end_is_over(self, lease: Lease, end: End, now: float) -> bool:
        """Whether no claim that an end names was here at this check and the previous one, `patience_s` or more ago.

        If it must be kept longer, its deadline moves to the next check, `patience_s` from now.
        """
        had_none = lease.is_current
        entries = self._index.entries(end.key)
        lease.is_current = not any(isinstance(other, Claim) and other.root in end.roots for other in entries)
        if had_none and lease.is_current:
            return True
        lease.deadline = now + self._timing.patience_s
        self._leases.seat(lease)
        return False
