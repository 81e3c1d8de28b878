"""When a node may speak for the cluster: once every peer has answered since it started or came back (rule 6).

A node that is not ready answers no client, and lists and announces nothing new. All times are seconds on one monotonic
clock of the caller's.
"""

from __future__ import annotations

from bender.core.claims import Claims
from bender.core.gossip_targets import Links
from bender.core.peers import Peers
from bender.core.timing import Timing


class Readiness:
    """Whether one incarnation of this node is ready, and which peers it waits for if it is not."""

    def __init__(self, timing: Timing, peers: Peers, links: Links, claims: Claims, now: float) -> None:
        """Start ready if there is no seed and no expected peer to wait for."""
        self._timing = timing
        self._peers = peers
        self._links = links
        self._claims = claims
        self.is_ready = not (links.seeds or links.expected_addresses)
        #: Whether this incarnation has not been ready yet.
        self.is_starting = not self.is_ready
        #: Whether no heartbeat may be sent: after a pause longer than claims live, until this node's own have lapsed.
        self.is_mute = False
        #: When this node started or last came back.
        self.since = now
        #: How long this node was away before it last came back, in seconds; 0 if it never was.
        self.away_s = 0.0
        claims.is_frozen = not self.is_ready

    def waited_s(self, now: float) -> float:
        """Return how long ago this node started or came back, in seconds."""
        return now - self.since

    def wait_again(self, now: float, away_s: float) -> None:
        """Wait for all peers again, because this node was away for `away_s`."""
        self.is_ready = False
        self._claims.is_frozen = True
        self.since = now
        self.away_s = away_s
        self.is_mute = self.is_mute or away_s >= self._timing.ttl_s

    def unanswered_addresses(self, now: float) -> list[str]:
        """Return the addresses that were awaited since this node started or came back, and did not answer."""
        silent = [peer.address for peer in self._peers.awaited_peers(now) if peer.echoed_at < self.since]
        return [*dict.fromkeys([*self._links.unanswered_seeds(), *silent])]

    def may_be_late(self, now: float) -> bool:
        """Whether a message that arrives now may have waited for this node while it was away."""
        return self.away_s > 0 and now < self.since + self._timing.backlog_s

    def is_overdue(self, now: float, paged_at: float) -> bool:
        """Whether this node has waited long enough for peers that do not answer.

        `paged_at` is when the last page of a peer's state came: a peer that still sends pages is answering, and half of
        its state would look like the loss of the other half.
        """
        return now >= max(self.since, paged_at) + self._timing.patience_s

    def unfreeze(self, now: float, *, overdue: bool) -> None:
        """Stop holding back what is listed if all peers have answered, or the wait is `overdue`."""
        all_answered = self.all_answered(now)
        if not (overdue or all_answered):
            return
        self._claims.is_frozen = False
        self._claims.all_peers_answered = all_answered
        # Clients could not be answered until now: to them, this node was away for as long.
        waited_s = self.waited_s(now)
        self._claims.leases.shift(waited_s, self.away_s + waited_s)
        for peer in self._peers:  # by now all peers have sent the counters that they know
            self._peers.unshift(peer)

    def all_answered(self, now: float) -> bool:
        """Whether every peer this node knows has answered since it came back; at a start, every seed too."""
        awaited = self._peers.awaited_peers(now)
        if self.is_starting:
            if self._links.unreached():
                return False
            # A peer that was found may have sent only a part of its state, or nothing, and be silent by now.
            found = [self._peers.get(incarnation) for incarnation in self._links.found_incarnations()]
            if None in found:
                return False
            awaited += [peer for peer in found if peer is not None and not peer.is_gone]
        return all(peer.echoed_at >= self.since and peer.agreed_at >= self.since for peer in awaited)

    def become_ready(self) -> None:
        """Be ready."""
        self.is_ready = True
        self.is_starting = False
        self.is_mute = False
        self._links.expected_addresses = ()
