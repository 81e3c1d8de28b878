"""The ledgers of all nodes: this node's own, and its copies of the others, which it joins, compares and passes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf

from attrs import evolve

from bender.core.entry_validation import Validity
from bender.core.index import Index
from bender.core.ledger import Claim, Copy, Delta, Entry, Head, Ledger
from bender.core.peers import Peer, Peers, are_known_to_all
from bender.core.timing import Timing
from bender.core.ttl_limits import TTL_S_MAX


class LedgerCopies:
    """This node's own ledger, its copies of other ledgers, and the index of the valid entries of all."""

    def __init__(self, incarnation: int, timing: Timing, peers: Peers, validity: Validity) -> None:
        self._timing = timing
        self._peers = peers
        self._validity = validity
        self.own = Ledger(incarnation)
        self.ledgers: dict[int, Ledger] = {incarnation: self.own}
        self.index = Index()
        #: The number of invalid entries of an incarnation, and the problem with the latest, by incarnation.
        self.invalid_entries: dict[int, tuple[int, str]] = {}
        # The time at which a copy was last started over, by incarnation.
        self._started_over_at: dict[int, float] = {}

    def versions(self) -> list[tuple[int, int]]:
        """Return the incarnation and version of each ledger that may be passed on, in order of incarnation.

        The ledger of a node whose heartbeats are not believed yet may not be passed on, and none of its claims counts.
        """
        believed = {peer.incarnation for peer in self._peers if peer.beats >= 0} | {self.own.incarnation}
        return sorted((i, ledger.version) for i, ledger in self.ledgers.items() if ledger.version and i in believed)

    def is_forgettable(self, peer: Peer, now: float) -> bool:
        """Whether a peer has been silent for so long that no node needs its ledger any more (rule 8)."""
        return self._peers.is_silent(peer, now) and self._peers.is_forgettable(peer, self.ttl_max_s(peer), now)

    def join(self, delta: Delta) -> dict[str, None]:
        """Bring a copy up to date and return the keys that changed. Raises `Gap`, and changes nothing, if it cannot."""
        ledger = self.ledgers.get(delta.incarnation) or Ledger(delta.incarnation)
        joined = ledger.join(delta.with_copies_resolved(self._entry))
        self.ledgers[delta.incarnation] = ledger
        for entry in joined.removed:
            self._take_out(entry)
        for entry in joined.added:
            self._take_in(entry)
        peer = self._peers.get(delta.incarnation)
        if peer is not None:
            peer.ttls = None
        return {entry.key: None for entry in (*joined.removed, *joined.added)}

    def _take_in(self, entry: Entry) -> None:
        problem = self._validity.problem_of_entry(entry)
        if problem is None:
            self.index.add(entry)
        else:
            count, _ = self.invalid_entries.get(entry.node, (0, ""))
            self.invalid_entries[entry.node] = (count + 1, problem)

    def _take_out(self, entry: Entry) -> None:
        count, problem = self.invalid_entries.get(entry.node, (0, ""))
        if not count or self._validity.problem_of_entry(entry) is None:
            self.index.discard(entry)
        elif count == 1:
            del self.invalid_entries[entry.node]
        else:
            self.invalid_entries[entry.node] = (count - 1, problem)

    def compare(self, heads: Mapping[int, Head], now: float) -> None:
        """Start each copy over of which another node has the same version with a larger checksum (rule 10).

        A version has two contents only if two processes wrote as one incarnation. A copy is started over once in 8·I at
        most, because a peer may make checksums up.
        """
        for incarnation, head in heads.items():
            ledger = self.ledgers.get(incarnation)
            if ledger is None or head.version != ledger.version or head.checksum is None or ledger is self.own:
                continue
            last_at = self._started_over_at.get(incarnation, -inf)
            if ledger.is_complete and head.checksum > ledger.checksum and now >= last_at + self._timing.confirming_s:
                self._started_over_at[incarnation] = now
                ledger.start_over()

    def give_up_pages(self, delta: Delta, peer: Peer, now: float) -> None:
        """Let an older delta complete a copy if no node can send its missing pages. `delta` came and was outdated.

        Such a delta completes the copy when it comes again. Until then the entries of the pages stay and can keep
        registrations listed. `peer` is the node of the ledger. Nothing is changed while `delta` lacks entries of the
        pages and claims of `peer` still count.
        """
        ledger = self.ledgers[delta.incarnation]
        if delta.version >= ledger.reach or self._peers.horizon_s(peer, now) >= self.ttl_max_s(peer):
            ledger.give_up_pages()

    def _entry(self, node: int, n: int) -> Entry | None:
        ledger = self.ledgers.get(node)
        return ledger.entries.get(n) if ledger else None

    def with_copies_for(self, delta: Delta, peer: Peer) -> Delta:
        """Return the delta with a copy in place of each claim that equals a claim which the peer has shown to have."""
        return evolve(delta, added=tuple([self._brief(entry, peer) for entry in delta.added]))

    def _brief(self, entry: Entry | Copy, peer: Peer) -> Entry | Copy:
        if isinstance(entry, Claim):
            for other in self.index.entries(entry.key):
                if other is not entry and isinstance(other, Claim) and other.rank == entry.rank:  # noqa: SIM102
                    if are_known_to_all((other.dot,), (peer,)):
                        return other.copied_by(entry.node, entry.n)
        return entry

    def heads(self) -> dict[int, Head]:
        return {incarnation: ledger.head for incarnation, ledger in self.ledgers.items() if ledger.reach}

    def head(self, incarnation: int) -> Head:
        ledger = self.ledgers.get(incarnation)
        return ledger.head if ledger else Head()

    def ahead_of(self, heads: Mapping[int, Head]) -> list[Ledger]:
        """Return the complete ledgers of which this node has a later version than `heads` has."""
        nothing = Head()
        return [
            ledger
            for incarnation, ledger in self.ledgers.items()
            if ledger.is_complete and ledger.version > heads.get(incarnation, nothing).version
        ]

    def ttl_max_s(self, peer: Peer) -> float:
        """Return the longest ttl of a peer's claims in seconds, at most `TTL_S_MAX`; 0 if there are no claims."""
        return min(self.ttls(peer)[-1], TTL_S_MAX) if self.ttls(peer) else 0.0

    def are_outlasted(self, peer: Peer, waited_s: float) -> bool:
        """Whether a time is at least `--ttl`, and at least the longest ttl of a peer's claims."""
        return waited_s >= max(self._timing.ttl_s, self.ttl_max_s(peer))

    def ttls(self, peer: Peer) -> list[float]:
        """Return the different ttls of a peer's claims, in ascending order."""
        if peer.ttls is None:
            ledger = self.ledgers.get(peer.incarnation)
            entries = ledger.entries.values() if ledger else ()
            peer.ttls = sorted({entry.ttl_s for entry in entries if isinstance(entry, Claim)})
        return peer.ttls

    def forget(self, incarnation: int) -> Iterable[Entry]:
        """Drop a ledger and return its entries, which the caller must remove from the index."""
        ledger = self.ledgers.pop(incarnation, None)
        self.invalid_entries.pop(incarnation, None)
        self._started_over_at.pop(incarnation, None)
        return () if ledger is None else ledger.entries.values()
