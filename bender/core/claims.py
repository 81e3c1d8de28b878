"""Rules 1 to 4: how this node's claims are made, follow the winner, lapse and end.

A registration has no owner. Each node at which it was renewed holds a claim of it, and the registration is listed as
long as any of its claims counts. A claim of this node that is due is removed only when the peers have confirmed that
they have the claims that replace it, so that no node receives the removal before these.

Work that may concern very many keys at once (after a node becomes silent, or this node was paused) is noted in
`stale_keys` and done in slices, so that no single call takes long.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import islice
from math import inf

import msgspec

from bender.core.entry_validation import UNCHECKED, Validity
from bender.core.lapse import LapseRules, confirmed_until
from bender.core.leases import Lease, Leases
from bender.core.ledger import NUMBER_MAX, Claim, Delta, Dot, End, Entry, Ledger, Rank, ended_roots
from bender.core.ledger_copies import LedgerCopies
from bender.core.node_loss_guard import Guard, app_of
from bender.core.peers import Peer, Peers
from bender.core.registration_update import Merge, RegistrationUpdate
from bender.core.timing import Timing
from bender.core.ttl_limits import ttl_s_min
from bender.core.view import View

#: Limits of one slice of work that has no other bound. A slice takes 2 to 5 ms, and one call may do several.
VISITS_PER_SLICE = 5000
KEYS_PER_SLICE = 300


class Claims:
    """The ledgers of all nodes, and the leases of this node's own entries. Keeps the view equal to them."""

    def __init__(
        self,
        incarnation: int,
        timing: Timing,
        peers: Peers,
        view: View,
        now: float,
        previous: int | None = None,
        *,
        guard_s: float = 0.0,
        validity: Validity = UNCHECKED,
    ) -> None:
        """`previous` is the incarnation of this node that filled `view`, if this node continues as a new one.

        Members that would be hidden, if they are most of an app, stay listed for `guard_s` more. Invalid entries of
        peers stay in their ledgers, so that all copies remain equal, and have no other effect.
        """
        self._incarnation = incarnation
        self._previous = previous
        self._timing = timing
        self._peers = peers
        self._view = view
        self.copies = LedgerCopies(incarnation, timing, peers, validity)
        self.ledger, self.index = self.copies.own, self.copies.index
        self.leases = Leases(timing.interval_s / 8, now)
        self.lapse_rules = LapseRules(incarnation, timing, peers, self.index, self.leases)
        self.guard = Guard(guard_s, timing.ttl_s)
        #: While True, the view does not change and no claim follows: changed keys are only noted in `stale_keys`.
        self.is_frozen = False
        #: Keys to be evaluated again, in order.
        self.stale_keys: dict[str, None] = dict.fromkeys(view.known_keys())
        #: Whether all peers answered before this node became ready: a key that no ledger has is no longer registered.
        self.all_peers_answered = False
        # Keys of the previous incarnation, until no peer can send claims of them any more.
        self._inherited = {**self.stale_keys}
        self._inherited_until = now + timing.ledger_kept_s(0.0)
        self._forgotten: list[Entry] = []
        # Entries of the previous incarnation, with their deadlines, to be written again as this one's.
        self._leases_to_take_over: list[Lease] = []

    @property
    def ledgers(self) -> dict[int, Ledger]:
        """All ledgers by incarnation, this node's own among them."""
        return self.copies.ledgers

    # Commands: rule 1, and the first half of rule 4.

    def winner(self, key: str, now: float) -> Claim | None:
        """Return the largest claim of a key that counts, or the listed claim of a suspect; None if not registered."""
        lease = self.index.lease(key)
        if lease is not None and lease.is_current:
            assert isinstance(lease.entry, Claim)
            return lease.entry  # its rank is the winner's, and it counts as long as it is here
        winner = self._winner(self.index.entries(key), now)
        return self._view.claim(key) if winner is None and self.guard.suspect(key) else winner

    def listed_claim(self, key: str) -> Claim | None:
        """Return the claim by which a registration is listed; None if it is not listed."""
        return self._view.claim(key)

    def hidden_claim(self, key: str) -> Claim | None:
        """Return the largest claim of a registration that is hidden as `node-lost`; None if it is not hidden."""
        root = self._view.hidden_root(key)
        claims = [entry for entry in self.index.entries(key) if isinstance(entry, Claim) and entry.root == root]
        return max(claims, key=lambda claim: claim.rank, default=None)

    def register(self, key: str, merge: Merge, now: float) -> tuple[bool, bytes]:
        """Register, change or renew `key` as `merge` says. Return True if it was not registered before, and its body.

        Nothing is changed if `merge` raises.
        """
        winner = self.winner(key, now)
        if winner is None:
            hidden = self.hidden_claim(key)
            update = merge(None, hidden.body if hidden else None)
            assert update is not None
        else:
            update = merge(winner.body, None)
            if update is None or (winner.body == update.body and winner.ttl_s == update.ttl_s):
                self._renew_claim(winner, now)
                return False, winner.body
        self._update(key, winner, update, now)
        return winner is None, update.body

    def _update(self, key: str, winner: Claim | None, update: RegistrationUpdate, now: float) -> None:
        """Make a claim with new terms, which becomes the winner.

        A change keeps the registration's root: a deregistration at a node that has not received the change ends it too.
        A successor begins a new registration: such a deregistration ends only the registration before it.
        """
        root = winner.root if winner and not update.is_successor else None
        rev = 1 + max((entry.rev for entry in self.index.entries(key)), default=winner.rev if winner else 0)
        if rev > NUMBER_MAX:  # a peer made the rev up, and no node may send a larger one: begin a new registration
            if winner is not None:
                self._end_registrations(key, winner, now)
            rev, root = 1, None
        self._claim(key, update.body, update.ttl_s, rev, root, now)
        if winner is not None and winner.ttl_s > update.ttl_s:
            # Other nodes may keep claims with the longer ttl for a while: an end of this key must outlast them.
            self._end(key, winner.ttl_s + self._timing.end_kept_s, rev, (), now)
        self.refresh(key, now)

    def renew(self, key: str, now: float) -> Claim | None:
        """Renew `key` and return its winner; return None, and change nothing, if it is not registered."""
        lease = self.index.lease(key)
        if lease is not None and lease.is_current:
            assert isinstance(lease.entry, Claim)
            lease.deadline = now + lease.entry.ttl_s
            return lease.entry
        winner = self.winner(key, now)
        if winner is not None:
            self._renew_claim(winner, now)
        return winner

    def renew_all(self, keys: Iterable[str], now: float) -> list[str]:
        """Renew many keys and return those that are not registered."""
        lease_of = self.index.lease
        unknown = []
        for key in keys:
            lease = lease_of(key)
            if lease is not None and lease.is_current:  # as in `renew`, without the cost of a call for each key
                lease.deadline = now + lease.entry.ttl_s
            elif self.renew(key, now) is None:
                unknown.append(key)
        return unknown

    def renew_as_is(self, key: str, body: bytes, now: float) -> bool:
        """Renew `key` if this node's claim has this body, as nearly all renewals find it; else return False."""
        lease = self.index.lease(key)
        if lease is None or not lease.is_current:
            return False
        claim = lease.entry
        assert isinstance(claim, Claim)
        if claim.body != body:
            return False
        lease.deadline = now + claim.ttl_s
        return True

    def deregister(self, key: str, now: float, reason: str | None = None) -> bool:
        """End all registrations of `key` that this node has claims of; return False if the key is not registered."""
        winner = self.winner(key, now)
        if winner is None:
            return False
        self._end_registrations(key, winner, now, reason)
        self.refresh(key, now)
        return True

    def _end_registrations(self, key: str, winner: Claim, now: float, reason: str | None = None) -> None:
        # The claims of a suspect may have been forgotten.
        entries = self.index.entries(key) or (winner,)
        claims = [entry for entry in entries if isinstance(entry, Claim)]
        kept_s = [entry.ttl_s + self._timing.end_kept_s * isinstance(entry, Claim) for entry in entries]
        rev = max(entry.rev for entry in entries)
        lease = self.index.lease(key)
        if lease is not None:
            self._remove(lease)
        self._end(key, max(kept_s), rev, tuple(sorted({claim.root for claim in claims})), now, reason)

    def shorten(self, key: str, deadline: float) -> None:
        """Make this node's claim of `key`, if it has one, due at `deadline` unless it is renewed."""
        lease = self.index.lease(key)
        if lease is not None:
            self.leases.shorten(lease, deadline)

    def _renew_claim(self, winner: Claim, now: float) -> None:
        """Renew this node's claim of a registration, or make one with the winner's terms."""
        lease = self.index.lease(winner.key)
        if lease is not None and _rank(lease) == winner.rank:
            lease.deadline = now + winner.ttl_s
        else:
            self._claim(winner.key, winner.body, winner.ttl_s, winner.rev, winner.root, now)
            self.refresh(winner.key, now)

    def _claim(self, key: str, body: bytes, ttl_s: float, rev: int, root: Dot | None, renewed_at: float) -> Lease:
        """Replace this node's claim of a key, if any. Without a root the new claim begins a registration."""
        lease = self.index.lease(key)
        if lease is not None:
            self._remove(lease)
        n = self.ledger.next_n
        root_node, root_n = root or (self._incarnation, n)
        return self._add(Claim(self._incarnation, n, key, body, ttl_s, rev, root_node, root_n), renewed_at + ttl_s)

    def _end(
        self, key: str, ttl_s: float, rev: int, roots: tuple[Dot, ...], now: float, reason: str | None = None
    ) -> None:
        end = End(self._incarnation, self.ledger.next_n, key, ttl_s, rev, roots, reason)
        self._add(end, now + ttl_s - self._timing.patience_s)  # it is checked then, and again when its time is over

    def _add(self, entry: Entry, deadline: float) -> Lease:
        self.ledger.add(entry)
        lease = self.leases.grant(entry, deadline)
        self.index.add(lease if isinstance(entry, Claim) else entry)
        return lease

    def _remove(self, lease: Lease) -> None:
        self.ledger.remove(lease.entry.n)
        self.index.discard(lease.entry)
        self.leases.revoke(lease)

    # What counts, and rule 2.

    def refresh(self, key: str, now: float) -> None:
        """Evaluate a key again after a change: update this node's claim to the winner's terms, and list the winner."""
        if self.is_frozen:
            self.stale_keys[key] = None
            return
        entries = self.index.entries(key)
        winner = self._winner(entries, now)
        lease = self.index.lease(key)
        if lease is not None:
            self._follow(lease, winner, entries, now)
        if entries:
            self._inherited.pop(key, None)
        if self.guard.is_on and self._is_guarded(key, winner, entries, now):
            return
        lost = key in self._inherited and self._is_lost(key)
        self._view.show(key, winner, filter(self._may_be_renewed, entries), lost=lost)

    # Rule 9: members that would be hidden at one moment are judged together.

    def _is_guarded(self, key: str, winner: Claim | None, entries: tuple[Entry, ...], now: float) -> bool:
        """List or hide a key without a claim that counts as the guard decides; return False if it need not decide."""
        shown = self._view.claim(key)
        if winner is None and shown is None:
            return False
        unheard = [] if winner is not None or shown is None else self._unheard(key, shown, entries)
        if shown is None or not unheard:
            self.guard.forget(key)
            return False
        known = [claim for claim in unheard if claim.node in self._peers]
        until = {claim.node: self._peers.counts_until(claim.node, claim.ttl_s) for claim in known}
        holders = {claim.node: until[claim.node] for claim in known if self._may_be_renewed(claim)}
        gone = {node: at for node, at in until.items() if node not in holders}
        suspect = self.guard.suspect(key)
        if suspect is not None:  # a long guard outlasts what is remembered of nodes that are not heard
            until |= suspect.forgotten(self._peers.__contains__)
        hidden_at = max(until.values(), default=inf)
        outcome = self.guard.decide_on(key, self._view.count_of(app_of(key)), hidden_at, holders, gone, now)
        if outcome == "suspect":
            self._view.show(key, shown, (), suspect=True)
        elif outcome == "hidden":
            self._view.show(key, None, (), lost=True)
            if not entries:  # no node can send the key again: evaluate it once more, which forgets it
                self.stale_keys[key] = None
        return True

    def _unheard(self, key: str, shown: Claim, entries: tuple[Entry, ...]) -> list[Claim]:
        """Return the claims that would keep a key listed if their nodes were heard; none if it has certainly ended."""
        ended = ended_roots(entries)
        claims = [entry for entry in entries if isinstance(entry, Claim) and entry.root not in ended]
        suspect = self.guard.suspect(key)
        if shown.root in ended:
            return []
        if suspect is None:
            return claims if any(map(self._may_be_renewed, claims)) else []
        if any(claim.node in suspect.holders or self._may_be_renewed(claim) for claim in claims):
            return claims
        # A long guard outlasts the memory of nodes that are not heard.
        return [] if all(map(self._is_known, suspect.holders)) else claims or [shown]

    def judge(self, now: float) -> bool:
        """Let the guard judge a slice of the keys that would be hidden now; return True if there is more to do."""
        if self.is_frozen:
            return False
        left, out_of_sight = KEYS_PER_SLICE, partial(self._is_out_of_sight, now=now)
        while left > 0 and self.guard.has_undecided and not self.stale_keys:
            looks, keys = self.guard.judge(self._view.member_keys, out_of_sight, left, now)
            self.stale_keys |= keys
            left -= looks + self._refresh_stale(left - looks, now)
        if not (self.guard.has_undecided or self.stale_keys):
            self.guard.forget_judgements()
        return bool(self.guard.has_undecided or self.stale_keys)

    def _is_out_of_sight(self, key: str, *, now: float) -> bool:
        """Whether all nodes with claims of a key are silent, so that it will be hidden unless one is heard."""
        entries = self.index.entries(key)
        ended = ended_roots(entries)
        claims = [entry for entry in entries if isinstance(entry, Claim) and entry.root not in ended]
        if any(claim.node == self._incarnation or self._peers.is_in_sight(claim.node, now) for claim in claims):
            return False
        return self.guard.suspect(key) is not None or any(map(self._may_be_renewed, claims))

    def set_guard_duration(self, guard_s: float) -> None:
        """Change how long members stay suspect. Present suspects keep the shorter of both durations."""
        self.stale_keys |= dict.fromkeys(self.guard.set_duration(guard_s))

    def set_guard_lifted(self, app: str, *, lifted: bool) -> None:
        """Lift the guard from an app, which hides the app's suspects; restore the guard if `lifted` is False."""
        self.stale_keys |= dict.fromkeys(self.guard.set_lifted(app, lifted=lifted))

    def _may_be_renewed(self, entry: Entry) -> bool:
        """Whether a claim may still be renewed at its node, which may be silent; True for an end."""
        peer = self._peers.get(entry.node)
        return isinstance(entry, End) or entry.node == self._incarnation or (peer is not None and not peer.is_gone)

    def _is_lost(self, key: str) -> bool:
        """Whether this node has not heard since from any node that could know a key of the previous incarnation."""
        claim = self._view.claim(key)
        if claim is None:
            return True
        return not (self._is_known(claim.node) or (claim.node == self._previous and self.all_peers_answered))

    def _is_known(self, incarnation: int) -> bool:
        """Whether this node has the whole ledger of an incarnation that has had claims, not only its first pages."""
        return self.copies.head(incarnation).version > 0

    def _winner(self, entries: tuple[Entry, ...], now: float) -> Claim | None:
        if len(entries) == 1:
            (only,) = entries
            return only if isinstance(only, Claim) and self.lapse_rules.counts(only, now) else None
        ended = ended_roots(entries)
        best: Claim | None = None
        for entry in entries:
            if isinstance(entry, Claim) and entry.root not in ended and self.lapse_rules.counts(entry, now):  # noqa: SIM102
                if best is None or entry.rank > best.rank:
                    best = entry
        return best

    def _follow(self, lease: Lease, winner: Claim | None, entries: Iterable[Entry], now: float) -> None:
        """Give this node's claim the winner's terms (rule 2). It keeps the time of its last renewal.

        If the new ttl is over already, the claim is due now and not earlier: only answers to asks from now on show
        whether the peers have the winner.
        """
        claim = lease.entry
        assert isinstance(claim, Claim)
        if self.leases.due.get(lease) is None and claim.root in ended_roots(entries):
            self.leases.due[lease] = now
        lease.is_current = winner is not None and claim.rank == winner.rank
        if winner is not None and not lease.is_current:
            due_at = min(lease.deadline, now)
            renewed_at = max(lease.deadline - claim.ttl_s, due_at - winner.ttl_s)
            self._claim(claim.key, winner.body, winner.ttl_s, winner.rev, winner.root, renewed_at).is_current = True

    # Rules 3 and 4: when claims and ends are removed.

    def lapse(self, now: float) -> bool:
        """Find the claims and ends that are due, and remove the confirmed ones; return True if there is more to do."""
        more = self.leases.turn(now, VISITS_PER_SLICE)
        return self.remove_due(now) or more

    def remove_due(self, now: float) -> bool:
        """Remove the due claims and ends that the peers have confirmed; return True if there is more to do."""
        if not self.leases.due:
            return False
        asked = self._peers.confirming_peers(now)
        confirmed = confirmed_until(asked)
        ended = 0
        for lease, ended_at in [*self.leases.due.items()]:
            if self.lapse_rules.is_over(lease, ended_at, asked, confirmed, now):
                self._remove(lease)
                self.refresh(lease.entry.key, now)
                ended += 1
                if ended >= KEYS_PER_SLICE:
                    return True
        return False

    def awaits_confirmation(self, now: float) -> bool:
        """Whether a claim is due and a peer that must confirm it has not answered an ask made since then."""
        if not self.leases.due:
            return False
        confirmed = confirmed_until(self._peers.confirming_peers(now))
        return any(
            ended_at is None and isinstance(lease.entry, Claim) and confirmed < lease.deadline <= now
            for lease, ended_at in self.leases.due.items()
        )

    # Others' ledgers: joining them, hiding and forgetting (rules 5 and 8).

    def join(self, delta: Delta) -> dict[str, None]:
        """Bring the copy of another node's ledger up to date. Raises `Gap`, and changes nothing, if it cannot.

        Return the keys to refresh after all deltas of the message: one ledger may add a claim that replaces another's.
        """
        was_known = self._is_known(delta.incarnation)
        keys = self.copies.join(delta)
        if not was_known and self._is_known(delta.incarnation):
            keys |= self.guard.suspects_held_by(delta.incarnation)
        return keys

    def refresh_heard_again(self, peer: Peer, horizon_s: float, now: float) -> None:
        """Evaluate again the claims of a peer that did not count while its horizon was `horizon_s`."""
        present_s = self._peers.horizon_s(peer, now)
        if horizon_s >= ttl_s_min(self._timing.interval_s):
            self._mark_stale(peer, present_s, horizon_s)
        peer.hidden_ttl_s = min(peer.hidden_ttl_s, present_s)

    def hide(self, now: float) -> None:
        """Evaluate the claims of silent nodes that have stopped counting, and the suspects whose time is over."""
        for peer in self._peers:
            horizon_s = self._peers.horizon_s(peer, now)
            if horizon_s < ttl_s_min(self._timing.interval_s):
                continue
            newly = [ttl_s for ttl_s in self.copies.ttls(peer) if peer.hidden_ttl_s < ttl_s <= horizon_s]
            if newly:
                self._mark_stale(peer, peer.hidden_ttl_s, newly[-1])
                peer.hidden_ttl_s = newly[-1]
        if self.guard.is_on:
            self.stale_keys |= self.guard.suspects_over(now)

    def forget(self, peer: Peer) -> None:
        """Drop the ledger of a peer. Its entries leave the index in slices."""
        self._forgotten.extend(self.copies.forget(peer.incarnation))

    def take_over(self, leases: Leases) -> None:
        """Write the claims and ends of the previous incarnation again as this one's, in slices."""
        self._leases_to_take_over = [*leases]

    def _take_over_lease(self, lease: Lease) -> None:
        entry = msgspec.structs.replace(lease.entry, node=self._incarnation, n=self.ledger.next_n)
        self._add(entry, lease.deadline)
        self.stale_keys[entry.key] = None

    @property
    def is_settled(self) -> bool:
        """Whether no work waits for a later slice."""
        return not (
            self.is_frozen or self.stale_keys or self._forgotten or self._leases_to_take_over or self._inherited
        )

    def settle(self, now: float) -> bool:
        """Do a slice of the waiting work; return True if there is more."""
        if self._inherited and now > self._inherited_until:
            self.stale_keys |= self._inherited
            self._inherited = {}
        for _ in range(min(KEYS_PER_SLICE, len(self._forgotten))):
            entry = self._forgotten.pop()
            self.index.discard(entry)
            self.refresh(entry.key, now)
        for _ in range(min(KEYS_PER_SLICE, len(self._leases_to_take_over))):
            self._take_over_lease(self._leases_to_take_over.pop())
        if self.is_frozen or self._leases_to_take_over:  # listed keys must not be hidden before their claims are here
            return bool(self._leases_to_take_over)
        self._refresh_stale(KEYS_PER_SLICE, now)
        return bool(self._forgotten or self.stale_keys)

    def _refresh_stale(self, most: int, now: float) -> int:
        keys = [*islice(self.stale_keys, most)]
        for key in keys:
            del self.stale_keys[key]
            self.refresh(key, now)
        return len(keys)

    def _mark_stale(self, peer: Peer, above_s: float, up_to_s: float) -> None:
        ledger = self.ledgers.get(peer.incarnation)
        for entry in ledger.entries.values() if ledger else ():
            if isinstance(entry, Claim) and above_s < entry.ttl_s <= up_to_s:
                self.stale_keys[entry.key] = None


def _rank(lease: Lease) -> Rank | None:
    return lease.entry.rank if isinstance(lease.entry, Claim) else None
