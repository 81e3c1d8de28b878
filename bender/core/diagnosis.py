"""What one node knows about one id: its own claim, the claims of other nodes, and why each counts or does not count.

A diagnosis is made on request, from state that the node needs for other purposes, and changes nothing. Only the node
that holds a claim knows how much time the claim has left, so a complete answer needs the diagnoses of all nodes.
"""

from __future__ import annotations

from bisect import bisect_left

import msgspec

from bender.core.claims import Claims
from bender.core.leases import Lease
from bender.core.ledger import Claim, Dot, End
from bender.core.messages import Sender
from bender.core.peers import Peer, Peers
from bender.core.reasons import CHECK_FAILED

#: The largest number of marks. When there are more, every second one is dropped, so old times become less exact.
MARKS_MAX = 4096

#: Replaces the name of a node that is forgotten here.
FORGOTTEN = "?"


class HeldClaim(msgspec.Struct, frozen=True, rename={"held_s": "held", "renewed_s": "renewed", "left_s": "left"}):
    """A node's own claim.

    The node has held it with its present terms for `held_s`, renewed it `renewed_s` ago, and it has `left_s` left, in
    seconds. `left_s` is 0 if the claim is due and waits for the peers' answers. `speaks` says that the claim has the
    rank of the winner.
    """

    ttl: float
    held_s: float
    renewed_s: float
    left_s: float
    rev: int
    speaks: bool


class SeenClaim(msgspec.Struct, frozen=True, rename={"heard_s": "heard"}):
    """Another node's claim, as seen here.

    That node was heard `heard_s` seconds ago (None: never). `earlier` says that the claim is of an earlier incarnation
    of that node, which was restarted since. `counts` says that the claim keeps the instance listed here. If it does
    not, `why` is `ended` (deregistered) or `silent` (its node is not heard).
    """

    node: str
    earlier: bool
    rev: int
    counts: bool
    why: str | None
    heard_s: float | None


class Heard(msgspec.Struct, frozen=True, rename={"heard_s": "heard"}):
    """How many seconds ago another node was heard (None: never). `left` says that it left or was replaced."""

    node: str
    heard_s: float | None
    left: bool


class PastEvent(msgspec.Struct, frozen=True, rename={"at_ms": "at"}):
    """An event of the id. `at_ms` is its time on the node's wall clock, in milliseconds since the epoch."""

    event: str
    at_ms: int
    reason: str


class NodeDiagnosis(msgspec.Struct, frozen=True, rename={"suspect_s": "suspect"}):
    """All that one node knows about an id.

    `hidden` says that the registration is hidden as `node-lost`. `ended` names the nodes that received deregistrations
    of it, as long as their ends are kept; `check_failed` says that all these were sent because a check failed. `sees`
    has the claims of other nodes, and `hears` the other nodes. `events` are the last events in the node's journal,
    newest first; a replica leaves them empty. `suspect_s` is for how many seconds at most the registration stays
    listed as suspect, None if it is not suspect.
    """

    node: str
    address: str
    ready: bool
    listed: bool
    hidden: bool
    claim: HeldClaim | None
    sees: tuple[SeenClaim, ...]
    ended: tuple[str, ...]
    hears: tuple[Heard, ...]
    events: tuple[PastEvent, ...] = ()
    suspect_s: float | None = None
    check_failed: bool = False

    @property
    def has_content(self) -> bool:
        """Whether the node knows anything about the id."""
        known = self.listed or self.hidden or self.claim is not None
        return known or bool(self.sees or self.ended or self.events)


class NoDiagnosis(msgspec.Struct, frozen=True):
    """A node that sent no diagnosis. `problem` says why."""

    node: str
    address: str
    problem: str


class VersionTimes:
    """The approximate times at which this node's ledger had its versions: one mark for each heartbeat after a change.

    A time in each claim would be exact, but would cost 24 bytes for each of a million claims.
    """

    def __init__(self, now: float) -> None:
        self._versions = [0]
        self._times = [now]

    def note(self, version: int, now: float) -> None:
        """Note the version of the ledger at a heartbeat. Call this with each heartbeat."""
        if version == self._versions[-1]:
            return
        self._versions.append(version)
        self._times.append(now)
        if len(self._versions) > MARKS_MAX:
            # The newest mark stays. Without it, its version would be noted again with a later time.
            del self._versions[1:-1:2], self._times[1:-1:2]

    def added_at(self, n: int, now: float) -> float:
        """Return the latest time at which the entry `n` can have been added."""
        place = bisect_left(self._versions, n)
        return self._times[place] if place < len(self._times) else now


def diagnose(
    key: str, node: Sender, claims: Claims, peers: Peers, marks: VersionTimes, now: float, *, ready: bool
) -> NodeDiagnosis:
    """Return what the node `node` knows about `key` at the time `now`. `marks` are those of its ledger."""
    entries = claims.index.entries(key)
    ends = [entry for entry in entries if isinstance(entry, End)]
    ended = {root for end in ends for root in end.roots}
    lease = claims.index.lease(key)
    requests = [end for end in ends if end.roots]
    suspect = claims.guard.suspect(key)
    others = [entry for entry in entries if isinstance(entry, Claim) and entry.node != node.incarnation]
    names = {node.incarnation: node.name, **{peer.incarnation: peer.name for peer in peers}}
    return NodeDiagnosis(
        node=node.name,
        address=node.address,
        ready=ready,
        listed=claims.listed_claim(key) is not None,
        hidden=claims.hidden_claim(key) is not None,
        claim=None if lease is None else _held(lease, claims.winner(key, now), marks, now),
        sees=tuple(_seen(claim, peers, ended, now) for claim in others),
        ended=tuple(names.get(end.node, FORGOTTEN) for end in requests),
        check_failed=bool(requests) and all(end.reason == CHECK_FAILED for end in requests),
        hears=tuple(
            Heard(peer.name, heard_s(peer, now), peer.is_gone) for peer in peers if not peers.has_successor(peer)
        ),
        suspect_s=None if suspect is None else round(max(0.0, suspect.over_at - now), 3),
    )


def _held(lease: Lease, winner: Claim | None, marks: VersionTimes, now: float) -> HeldClaim:
    claim = lease.entry
    assert isinstance(claim, Claim)
    return HeldClaim(
        ttl=claim.ttl_s,
        held_s=round(now - marks.added_at(claim.n, now), 3),
        renewed_s=round(max(0.0, now - (lease.deadline - claim.ttl_s)), 3),
        left_s=round(max(0.0, lease.deadline - now), 3),
        rev=claim.rev,
        speaks=winner is not None and winner.rank == claim.rank,
    )


def _seen(claim: Claim, peers: Peers, ended: set[Dot], now: float) -> SeenClaim:
    peer = peers.get(claim.node)
    counts = claim.root not in ended and peers.counts(claim.node, claim.ttl_s, now)
    why = None if counts else "ended" if claim.root in ended else "silent"
    earlier = peer is not None and peers.has_successor(peer)
    return SeenClaim(peer.name if peer else FORGOTTEN, earlier, claim.rev, counts, why, heard_s(peer, now))


def heard_s(peer: Peer | None, now: float) -> float | None:
    """Return how many seconds ago a node was heard; None if it never was, or is unknown."""
    return None if peer is None or peer.beats < 0 else round(now - peer.heard_at, 3)
