"""The peers: every other incarnation that this node knows, and when it was heard.

A node is heard through its heartbeat counter, which comes from itself or through other nodes. A counter is sent with
its age, so that passing it on does not make it newer. All times are on this node's clock; clocks are never compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import Literal

from bender.core.ledger import Dot
from bender.core.messages import Counter, Sender
from bender.core.timing import Timing

#: The largest number of known incarnations. One is forgotten after ten minutes, so 200 nodes may start ten times each
#: in that time. A message that names all of them is well below what peers accept (`wire_schema.NODES_MAX`).
PEERS_MAX = 2_000

#: An incarnation that two processes use is ended with this many heartbeats more than either has counted. The other
#: process cannot make as many before it receives that counter.
BEATS_BEYOND = 1000

#: The state of another incarnation as a node sees it: `replaced` if another incarnation has its address now.
PeerState = Literal["heard", "silent", "left", "replaced"]


class Peer:
    """What this node knows of one other incarnation. All times are on this node's clock.

    - `beats` is the number of its heartbeats, the last of them at `heard_at`. `known_beats` and `known_at` include
      heartbeats that are not believed yet because this node lacks their ledger. Transport, and a pause of this node,
      can make a counter seem younger than it is but never older: of several ages of one heartbeat the largest is right.
    - `shift_s` is by how much both times were moved because of pauses of this node.
    - `message_at` is when this node last received a message from it, and `met_at` when it first learned of it.
    - `echoed_at` is the time of the newest ask that it answered, and `agreed_at` that of the newest ask since which
      this node has all of its settings.
    - `shown_versions` are the versions of ledgers that its messages have shown it to have, by incarnation.
    - `left`: its last heartbeat announced that it stops; peers pass this on.
    - `replaced`: another incarnation answered at its address at `replaced_at`. Only this node has concluded this, and
      any sign of life from the peer revokes it.
    """

    __slots__ = (
        "address",
        "agreed_at",
        "api_port",
        "beats",
        "echoed_at",
        "heard_at",
        "hidden_ttl_s",
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
        "shown_versions",
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
        self.echoed_at = -inf
        self.agreed_at = -inf
        self.met_at = met_at
        self.left = False
        self.replaced = False
        self.replaced_at = -inf
        self.shift_s = 0.0
        self.shown_versions: dict[int, int] = {}
        # A silent node's claims with a ttl up to `hidden_ttl_s` are hidden. `ttls` are the different ttls of its ledger
        # in order, None if they have to be collected again.
        self.hidden_ttl_s = -inf
        self.ttls: list[float] | None = None

    @property
    def is_gone(self) -> bool:
        """Whether it has left or was replaced: nothing is sent to it or expected from it."""
        return self.left or self.replaced

    def mark_replaced(self, at: float) -> None:
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
        """Add the incarnation of a counter if it is unknown, and note the counter, which need not be believed yet.

        An unknown incarnation is not added if the counter is so old that it would be forgotten at once.
        """
        peer = self._by_incarnation.get(counter.incarnation)
        if peer is None:
            if counter.age_s >= self._timing.ledger_kept_s(counter.ttl_max_s):
                return
            peer = Peer(counter.incarnation, counter.name, counter.address, now, counter.api_port)
            peer.left = counter.left
            if counter.address == self._address:  # most likely an earlier start of this node
                peer.mark_replaced(now)
            self._by_incarnation[counter.incarnation] = peer
        known_at = now - counter.age_s + peer.shift_s
        if counter.beats > peer.known_beats:
            peer.known_beats, peer.known_at = counter.beats, known_at
        elif counter.beats == peer.known_beats:
            peer.known_at = min(peer.known_at, known_at)

    def dispensable_peer(self, now: float) -> Peer | None:
        """Return the peer that can best be forgotten early; None if all are needed.

        This is a peer that never sent this node a message, or else a silent one; of several, the one heard longest ago.
        """
        candidates = [peer for peer in self if peer.message_at == -inf or self.is_silent(peer, now)]
        return min(candidates, key=lambda peer: (peer.message_at > -inf, peer.known_at), default=None)

    def forget(self, peer: Peer) -> None:
        del self._by_incarnation[peer.incarnation]
        for other in self:
            other.shown_versions.pop(peer.incarnation, None)

    def note_message_from(self, sender: Sender, now: float) -> Peer | None:
        """Note that a message came from `sender`, and return this peer; None if it is not known yet."""
        peer = self._by_incarnation.get(sender.incarnation)
        if peer is not None:
            peer.message_at = now
            peer.address = sender.address
            peer.replaced = False
        return peer

    def note_answer_at(self, address: str, incarnation: int, since: float) -> None:
        """Note that `incarnation` answered at `address` to an ask made at `since`.

        An incarnation that had this address before was replaced if nothing was heard from it since. If two nodes that
        advertise the same address are both heard, either counts as replaced only after a silence that no living node
        makes.
        """
        answerer = self._by_incarnation.get(incarnation)
        known_since = answerer.met_at if answerer else since
        for peer in self:
            if peer.address == address and peer.incarnation != incarnation:
                last = max(peer.heard_at, peer.message_at)
                if last < min(since, max(known_since, since - self._timing.pause_s)):
                    peer.mark_replaced(since)

    def hear(self, counter: Counter, now: float) -> bool:
        """Believe a counter of a known peer; return True if the peer's claims count for longer now."""
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
        # A counter passed on by other nodes seems younger than it is, by its time in transport.
        if heard_at > peer.replaced_at + self._timing.pause_s:
            peer.replaced = False
        return anew

    def has_successor(self, peer: Peer) -> bool:
        """Whether a peer is gone and another incarnation, perhaps this node's, has its address."""
        others = (other for other in self if not other.is_gone)
        return peer.is_gone and (peer.address == self._address or peer.address in {o.address for o in others})

    def state(self, peer: Peer, now: float) -> PeerState:
        """Return how this node sees a peer."""
        if peer.is_gone:
            return "replaced" if peer.replaced or self.has_successor(peer) else "left"
        return "silent" if self.is_silent(peer, now) else "heard"

    def names_by_shared_address(self, now: float) -> dict[str, list[str]]:
        """Return the names of living nodes that advertise the same address, by this address.

        An empty string is the name of this node itself.
        """
        shared = {}
        for address, peers in self._groups_alive_together(lambda peer: peer.address, now).items():
            names = [peer.name for peer in peers] + [""] * (address == self._address)
            if len(names) > 1:
                shared[address] = sorted(names)
        return shared

    def addresses_by_shared_name(self, name: str, now: float) -> dict[str, list[str]]:
        """Return the addresses of living nodes that have the same name, by this name.

        `name` is this node's own. Nodes that also have the same address are left out.
        """
        shared = {}
        for each, peers in self._groups_alive_together(lambda peer: peer.name, now).items():
            addresses = {peer.address for peer in peers} | ({self._address} if each == name else set())
            if len(addresses) > 1:
                shared[each] = sorted(addresses)
        return shared

    def _groups_alive_together(self, key: Callable[[Peer], str], now: float) -> dict[str, list[Peer]]:
        """Return the groups of peers with the same key that all live now, by key; a group may be a single peer.

        All of a group live if each was heard a while after the last of them became known. This excludes a restart,
        after which the earlier incarnation is no longer heard.
        """
        alike: dict[str, list[Peer]] = {}
        for peer in self:
            if not self.is_silent(peer, now):
                alike.setdefault(key(peer), []).append(peer)
        beside = {}
        for each, peers in alike.items():
            known_since = max(peer.met_at for peer in peers) + self._timing.silent_s
            if all(peer.heard_at > known_since for peer in peers):
                beside[each] = peers
        return beside

    def is_silent(self, peer: Peer, now: float) -> bool:
        """Whether a peer has not been heard for 3·I, or is gone."""
        return peer.is_gone or now >= peer.heard_at + self._timing.silent_s

    def horizon_s(self, peer: Peer, now: float) -> float:
        """Return the largest ttl, in seconds, with which a peer's claims no longer count."""
        return now - peer.heard_at - self._timing.silent_s

    def counts(self, incarnation: int, ttl_s: float, now: float) -> bool:
        """Whether a claim with `ttl_s` of another incarnation still counts (rule 5)."""
        peer = self._by_incarnation.get(incarnation)
        return peer is not None and ttl_s > self.horizon_s(peer, now)

    def counts_until(self, incarnation: int, ttl_s: float) -> float:
        """Return the time until which a claim with `ttl_s` of another incarnation counts if that is not heard again."""
        peer = self._by_incarnation.get(incarnation)
        return -inf if peer is None else peer.heard_at + ttl_s + self._timing.silent_s

    def is_in_sight(self, incarnation: int, now: float) -> bool:
        """Whether another incarnation is known, and not silent."""
        peer = self._by_incarnation.get(incarnation)
        return peer is not None and not self.is_silent(peer, now)

    def awaited_peers(self, now: float) -> list[Peer]:
        """Return the peers that must answer before this node is ready."""
        return [peer for peer in self if self.was_recently_alive(peer, now)]

    def was_recently_alive(self, peer: Peer, now: float) -> bool:
        """Whether a peer is not silent, also counting messages, and counters that are not believed yet."""
        return not peer.is_gone and max(peer.known_at, peer.message_at) > now - self._timing.silent_s

    def confirming_peers(self, now: float) -> list[Peer]:
        """Return the peers that must confirm before a claim is removed: those heard, or with a message, within 8·I."""
        since = now - self._timing.confirming_s
        return [peer for peer in self if not peer.is_gone and max(peer.heard_at, peer.message_at) > since]

    def shift(self, gap_s: float) -> None:
        """Move the times of all peers by `gap_s`, the length of a pause of this node, until `unshift` is called."""
        for peer in self:
            peer.shift_s += gap_s
            peer.heard_at += gap_s
            peer.known_at += gap_s
            peer.message_at += gap_s

    def unshift(self, peer: Peer) -> None:
        """Set the `heard_at` and `known_at` of a peer back by the pauses of this node."""
        peer.heard_at -= peer.shift_s
        peer.known_at -= peer.shift_s
        peer.shift_s = 0.0

    def is_forgettable(self, peer: Peer, ttl_max_s: float, now: float) -> bool:
        """Whether a peer was heard so long ago that no node needs its ledger any more (rule 8)."""
        return now > peer.known_at + self._timing.ledger_kept_s(ttl_max_s)

    def version_reached(self, incarnation: int, now: float) -> float:
        """Return the version of a ledger that all peers but silent ones have; inf if there are no such peers."""
        heard = (peer for peer in self if not self.is_silent(peer, now))
        return min((peer.shown_versions.get(incarnation, 0) for peer in heard), default=inf)

    def split_by_version(self, incarnation: int, version: int) -> tuple[list[Peer], list[Peer]]:
        """Return the peers that have a ledger at `version`, as far as they have shown, and the others."""
        present = [peer for peer in self if not peer.is_gone]
        having = [peer for peer in present if peer.shown_versions.get(incarnation, 0) >= version]
        return having, [peer for peer in present if peer not in having]


def are_known_to_all(dots: Iterable[Dot], peers: Iterable[Peer]) -> bool:
    """Whether each of `peers` has shown that it has the entries of all `dots`."""
    wanted = [*dots]
    return all(
        peer.incarnation == incarnation or peer.shown_versions.get(incarnation, 0) >= n
        for peer in peers
        for incarnation, n in wanted
    )
