"""Rule 6: a node is ready when every peer has answered since the node started or was paused, or the wait is overdue.

A node that is not ready answers no client, lists nothing new and announces nothing. All times are seconds on one
monotonic clock.
"""

from __future__ import annotations

from bender.core.claims import Claims
from bender.core.gossip_targets import Links
from bender.core.peers import Peers
from bender.core.timing import Timing


class Readiness:
    """Whether one incarnation of this node is ready, and the peers for which it waits."""

    def __init__(self, timing: Timing, peers: Peers, links: Links, claims: Claims, now: float) -> None:
        """Be ready at once if there is no seed and no expected peer to wait for."""
        self._timing = timing
        self._peers = peers
        self._links = links
        self._claims = claims
        self.is_ready = not (links.seeds or links.expected_addresses)
        #: Whether this incarnation has never been ready.
        self.is_starting = not self.is_ready
        #: Whether heartbeats stop: after a pause of a ttl or longer, until this node has removed its lapsed claims.
        self.is_mute = False
        #: When this node started, or came back from its last pause.
        self.since = now
        #: The length of its last pause in seconds; 0 if it was never paused.
        self.away_s = 0.0
        claims.is_frozen = not self.is_ready

    def waited_s(self, now: float) -> float:
        """Return the seconds since this node started or came back from its last pause."""
        return now - self.since

    def wait_again(self, now: float, away_s: float) -> None:
        """Wait for all peers again, because this node was paused for `away_s`."""
        self.is_ready = False
        self._claims.is_frozen = True
        self.since = now
        self.away_s = away_s
        self.is_mute = self.is_mute or away_s >= self._timing.ttl_s

    def unanswered_addresses(self, now: float) -> list[str]:
        """Return the seeds at which no node ever answered, and the addresses of the awaited peers that did not answer.

        Only answers to asks made since this node started or came back are counted.
        """
        silent = [peer.address for peer in self._peers.awaited_peers(now) if peer.echoed_at < self.since]
        return [*dict.fromkeys([*self._links.unanswered_seeds(), *silent])]

    def request_waited_s(self, now: float) -> float:
        """Return for how long a request that is read now may have waited here while this node was paused."""
        return self.away_s if now < self.since + self._timing.backlog_s else 0.0

    def answer_waited_s(self, ask: float | None) -> float:
        """Return for how long the answer to a request with this ask may have waited here while this node was paused."""
        return self.away_s if ask is not None and ask < self.since else 0.0

    def is_overdue(self, now: float, paged_at: float) -> bool:
        """Whether this node has waited `patience_s` for peers that do not answer.

        `paged_at` is when the last page of a peer's state came. The wait begins again with each page: a peer that still
        sends pages is answering, and half of its state would look as if the other half were lost.
        """
        return now >= max(self.since, paged_at) + self._timing.patience_s

    def unfreeze(self, now: float, *, overdue: bool) -> None:
        """Let the view change again if all peers have answered, or the wait is `overdue`; else do nothing."""
        all_answered = self.all_answered(now)
        if not (overdue or all_answered):
            return
        self._claims.is_frozen = False
        self._claims.all_peers_answered = all_answered
        # Clients could not renew here until now, so leases are prolonged by the wait as by the pause.
        waited_s = self.waited_s(now)
        self._claims.leases.shift(waited_s, self.away_s + waited_s)
        for peer in self._peers:  # by now all peers have sent the counters that they know
            self._peers.unshift(peer)

    def all_answered(self, now: float) -> bool:
        """Whether every awaited peer has answered since this node came back; at a start, every seed as well.

        An answer counts when this node also has all settings of the peer.
        """
        awaited = self._peers.awaited_peers(now)
        if self.is_starting:
            if self._links.unreached():
                return False
            # Such a peer may be silent by now, so that it is no longer awaited, and have sent only a part of its state.
            found = [self._peers.get(incarnation) for incarnation in self._links.found_incarnations()]
            if None in found:
                return False
            awaited += [peer for peer in found if peer is not None and not peer.is_gone]
        return all(peer.echoed_at >= self.since and peer.agreed_at >= self.since for peer in awaited)

    def become_ready(self) -> None:
        """Note that this node is ready."""
        self.is_ready = True
        self.is_starting = False
        self.is_mute = False
        self._links.expected_addresses = ()
