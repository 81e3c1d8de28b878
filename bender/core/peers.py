"""The peers: every other incarnation that this node knows, and when it was heard.

A node is heard through its heartbeat counter, directly or relayed, and a counter comes with its age, so that relayed
counters keep no node alive. Times are this node's own; no other clock is ever looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import Literal

from bender.core.ledger import Dot
from bender.core.messages import Counter, Sender
from bender.core.timing import Timing

#: Incarnations that are known. With ten minutes until one is forgotten, 200 nodes may start ten times each in that
#: time; a message that names all of them is well below what peers take (`wire_schema.NODES_MAX`).
PEERS_MAX = 2_000

#: An incarnation that two processes use is ended with this many heartbeats more than either has counted: more than the
#: other process can make before it receives that counter.
BEATS_BEYOND = 1000

#: How a node sees another incarnation: `replaced` if another incarnation is at its address by now.
PeerState = Literal["heard", "silent", "left", "replaced"]


class Peer:
    """What this node knows of one other incarnation. All times are this node's.

    It has made `beats` heartbeats, the last of them at `heard_at`; `known_beats` and `known_at` are the same with those
    that are not believed yet because their ledger is not here. A counter that was under way, or waited here while this
    node was away, seems younger than it is, and never older: of several ages of one heartbeat the largest is right.
    After a pause of this node both times are taken to be `shift_s` later than they were.
    `message_at` is when anything last came from it, `echoed` the time of the newest ask that it answered, `agreed` that
    of the newest ask since which all of its configuration has come, and `heads` are the versions that it has shown to
    have, by incarnation. `met_at` is when this node first learned of it.

    `left`: its last heartbeat announced that it stops; peers pass that on. `replaced`: another incarnation answered at
    its address at `replaced_at`. This is a conclusion of this node alone, and any sign of life ends it.
    """

    __slots__ = (
        "address",
        "agreed",
        "api_port",
        "beats",
        "echoed",
        "heads",
        "heard_at",
        "hidden_s",
        "incarnation",
        "known_at",
        "known_beats",
        "left",
        "message_at",
        "met_at",
        "name",
        "replaced",
        "replaced_at",
        "shift_s",
        "ttls",
    )

    def __init__(self, incarnation: int, name: str, address: str, met_at: float, api_port: int = 0) -> None:
        self.incarnation = incarnation
        self.name = name
        self.address = address
        self.api_port = api_port
        self.beats = -1
        self.heard_at = -inf
        self.known_beats = -1
        self.known_at = -inf
        self.message_at = -inf
        self.echoed = -inf
        self.agreed = -inf
        self.met_at = met_at
        self.left = False
        self.replaced = False
        self.replaced_at = -inf
        self.shift_s = 0.0
        self.heads: dict[int, int] = {}
        # Claims of a silent node are hidden by their ttl: those up to `hidden_s` are. `ttls` are the distinct ones of
        # its ledger in order, None where they have to be looked up again.
        self.hidden_s = -inf
        self.ttls: list[float] | None = None

    @property
    def gone(self) -> bool:
        """Whether it has left or was replaced, so that nothing is sent to it and nothing is expected from it."""
        return self.left or self.replaced

    def replace(self, at: float) -> None:
        """Note that another incarnation was found at its address."""
        self.replaced, self.replaced_at = True, at


class Peers:
    """All peers, by incarnation."""

    def __init__(self, address: str, timing: Timing) -> None:
        """`address` is this node's own."""
        self._address = address
        self._timing = timing
        self._by_incarnation: dict[int, Peer] = {}

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._by_incarnation.values())

    def __len__(self) -> int:
        return len(self._by_incarnation)

    def __contains__(self, incarnation: int) -> bool:
        return incarnation in self._by_incarnation

    def get(self, incarnation: int) -> Peer | None:
        return self._by_incarnation.get(incarnation)

    def meet(self, counter: Counter, now: float) -> None:
        """Add an incarnation, unless its counter is so old that it would be forgotten at once."""
        peer = self._by_incarnation.get(counter.incarnation)
        if peer is None:
            if counter.age_s >= self._timing.ledger_kept_s(counter.ttl_max_s):
                return
            peer = Peer(counter.incarnation, counter.name, counter.address, now, counter.api_port)
            peer.left = counter.left
            if counter.address == self._address:  # most likely an earlier start of this node
                peer.replace(now)
            self._by_incarnation[counter.incarnation] = peer
        known_at = now - counter.age_s + peer.shift_s
        if counter.beats > peer.known_beats:
            peer.known_beats, peer.known_at = counter.beats, known_at
        elif counter.beats == peer.known_beats:
            peer.known_at = min(peer.known_at, known_at)

    def dispensable(self, now: float) -> Peer | None:
        """Return the peer that can best be forgotten early, None if all are needed.

        It is one that never sent anything to this node itself, or else a silent one; of several, the one that was heard
        longest ago.
        """
        candidates = [peer for peer in self if peer.message_at == -inf or self.silent(peer, now)]
        return min(candidates, key=lambda peer: (peer.message_at > -inf, peer.known_at), default=None)

    def forget(self, peer: Peer) -> None:
        del self._by_incarnation[peer.incarnation]
        for other in self:
            other.heads.pop(peer.incarnation, None)

    def message_from(self, sender: Sender, now: float) -> Peer | None:
        """Note that something came from `sender`, and return that peer; None if it is not known yet."""
        peer = self._by_incarnation.get(sender.incarnation)
        if peer is not None:
            peer.message_at = now
            peer.address = sender.address
            peer.replaced = False
        return peer

    def found(self, address: str, incarnation: int, since: float) -> None:
        """Note that `incarnation` answered at `address` what it was asked at `since`.

        An incarnation that had this address before was replaced if nothing was heard from it since. One that is heard
        beside the other, because two nodes advertise the same address, is taken for replaced only after a pause that
        no living node makes.
        """
        answerer = self._by_incarnation.get(incarnation)
        known_since = answerer.met_at if answerer else since
        for peer in self:
            if peer.address == address and peer.incarnation != incarnation:
                last = max(peer.heard_at, peer.message_at)
                if last < min(since, max(known_since, since - self._timing.pause_s)):
                    peer.replace(since)

    def hear(self, counter: Counter, now: float) -> bool:
        """Take in a counter of a known peer; return True if its claims count for longer now."""
        peer = self._by_incarnation[counter.incarnation]
        heard_at = now - counter.age_s
        if counter.beats == peer.beats:
            peer.heard_at = min(peer.heard_at, heard_at + peer.shift_s)
        if counter.beats <= peer.beats:
            return False
        peer.beats = counter.beats
        peer.left = counter.left
        self.unshift(peer)
        anew = heard_at > peer.heard_at
        peer.heard_at = heard_at
        # Relayed news seems younger than it is by the time it was under way.
        if heard_at > peer.replaced_at + self._timing.pause_s:
            peer.replaced = False
        return anew

    def succeeded(self, peer: Peer) -> bool:
        """Whether a peer is gone and another incarnation, maybe this one, has its address."""
        others = (other for other in self if not other.gone)
        return peer.gone and (peer.address == self._address or peer.address in {o.address for o in others})

    def state(self, peer: Peer, now: float) -> PeerState:
        """Return how this node sees a peer."""
        if peer.gone:
            return "replaced" if peer.replaced or self.succeeded(peer) else "left"
        return "silent" if self.silent(peer, now) else "heard"

    def sharing_addresses(self, now: float) -> dict[str, list[str]]:
        """Return the names of the nodes that advertise the same address while they live, by that address.

        This node itself is named by an empty string.
        """
        shared = {}
        for address, peers in self._beside_each_other(lambda peer: peer.address, now).items():
            names = [peer.name for peer in peers] + [""] * (address == self._address)
            if len(names) > 1:
                shared[address] = sorted(names)
        return shared

    def sharing_names(self, name: str, now: float) -> dict[str, list[str]]:
        """Return the addresses of the nodes that have the same name while they live, by that name.

        `name` is this node's own. Nodes that have the address in common as well are not among them.
        """
        shared = {}
        for each, peers in self._beside_each_other(lambda peer: peer.name, now).items():
            addresses = {peer.address for peer in peers} | ({self._address} if each == name else set())
            if len(addresses) > 1:
                shared[each] = sorted(addresses)
        return shared

    def _beside_each_other(self, key: Callable[[Peer], str], now: float) -> dict[str, list[Peer]]:
        """Return the peers that live at the same time, by what they have in common; a group may be a single peer.

        Two incarnations that were heard a while after each became known live both: a restart looks different, because
        the earlier incarnation is not heard any more.
        """
        alike: dict[str, list[Peer]] = {}
        for peer in self:
            if not self.silent(peer, now):
                alike.setdefault(key(peer), []).append(peer)
        beside = {}
        for each, peers in alike.items():
            known_since = max(peer.met_at for peer in peers) + self._timing.silent_s
            if all(peer.heard_at > known_since for peer in peers):
                beside[each] = peers
        return beside

    def silent(self, peer: Peer, now: float) -> bool:
        """Whether a node has not been heard for 3·I, or is gone."""
        return peer.gone or now >= peer.heard_at + self._timing.silent_s

    def horizon_s(self, peer: Peer, now: float) -> float:
        """Return the largest ttl with which a peer's claims no longer count."""
        return now - peer.heard_at - self._timing.silent_s

    def counts(self, incarnation: int, ttl_s: float, now: float) -> bool:
        """Whether a claim with `ttl_s` that another incarnation holds still counts (rule 5)."""
        peer = self._by_incarnation.get(incarnation)
        return peer is not None and ttl_s > self.horizon_s(peer, now)

    def counts_until(self, incarnation: int, ttl_s: float) -> float:
        """Return until when such a claim counts if its node is not heard any more."""
        peer = self._by_incarnation.get(incarnation)
        return -inf if peer is None else peer.heard_at + ttl_s + self._timing.silent_s

    def in_sight(self, incarnation: int, now: float) -> bool:
        """Whether another incarnation is known, and not silent."""
        peer = self._by_incarnation.get(incarnation)
        return peer is not None and not self.silent(peer, now)

    def awaited(self, now: float) -> list[Peer]:
        """Return the peers that must answer before this node is ready."""
        return [peer for peer in self if self.lately_alive(peer, now)]

    def lately_alive(self, peer: Peer, now: float) -> bool:
        """Whether a peer is not silent, or would not be if all its counters were believed already."""
        return not peer.gone and max(peer.known_at, peer.message_at) > now - self._timing.silent_s

    def asked(self, now: float) -> list[Peer]:
        """Return the peers that must answer before a claim lapses: anything came from them within 8·I."""
        since = now - self._timing.asked_s
        return [peer for peer in self if not peer.gone and max(peer.heard_at, peer.message_at) > since]

    def shift(self, gap_s: float) -> None:
        """Move the times of all peers by `gap_s`, for which this node was away, until they have been asked."""
        for peer in self:
            peer.shift_s += gap_s
            peer.heard_at += gap_s
            peer.known_at += gap_s
            peer.message_at += gap_s

    def unshift(self, peer: Peer) -> None:
        """Set the times of a peer back to what they were before a pause of this node."""
        peer.heard_at -= peer.shift_s
        peer.known_at -= peer.shift_s
        peer.shift_s = 0.0

    def forgettable(self, peer: Peer, ttl_max_s: float, now: float) -> bool:
        """Whether a peer was heard so long ago that no node needs its ledger any more (rule 8)."""
        return now > peer.known_at + self._timing.ledger_kept_s(ttl_max_s)

    def version_reached(self, incarnation: int, now: float) -> float:
        """Return the version of a ledger that every peer that is heard has shown to have; inf if none is heard."""
        heard = (peer for peer in self if not self.silent(peer, now))
        return min((peer.heads.get(incarnation, 0) for peer in heard), default=inf)

    def split_by_version(self, incarnation: int, version: int) -> tuple[list[Peer], list[Peer]]:
        """Return the peers that have shown to have a ledger at `version`, and those that have not."""
        present = [peer for peer in self if not peer.gone]
        having = [peer for peer in present if peer.heads.get(incarnation, 0) >= version]
        return having, [peer for peer in present if peer not in having]


def covered(dots: Iterable[Dot], peers: Iterable[Peer]) -> bool:
    """Whether each of `peers` has shown that it has all of `dots`."""
    wanted = [*dots]
    return all(
        peer.incarnation == incarnation or peer.heads.get(incarnation, 0) >= n
        for peer in peers
        for incarnation, n in wanted
    )
