"""Rules 1 to 4: how this node's claims are made, follow, lapse and end.

A registration has no owner. Each node at which it was renewed holds a claim, and it is listed as long as any claim of
it counts. A claim of this node is removed only when the peers have confirmed it, so that no node sees the removal
before it has the claim that replaces it.

Work that may concern very many keys at once (a node that falls silent, a return after a pause) is noted in `stale`
and done in slices, so that no single call takes long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from math import inf
from typing import NamedTuple

import msgspec

from bender.core.entry_validation import UNCHECKED, Validity
from bender.core.lapse import LapseRules, confirmed_until
from bender.core.leases import Lease, Leases
from bender.core.ledger import NUMBER_MAX, Claim, Delta, Dot, End, Entry, Ledger, Rank, ended_roots
from bender.core.ledger_copies import LedgerCopies
from bender.core.node_loss_guard import Guard, app_of
from bender.core.peers import Peer, Peers
from bender.core.timing import TTL_INTERVALS_MIN, Timing
from bender.core.view import View

#: How much one call does of work that has no other bound; a slice takes 2 to 5 ms, and several may meet in one turn.
VISITS_PER_SLICE = 5000
KEYS_PER_SLICE = 300


class RegistrationUpdate(NamedTuple):
    """What a registration is from now on; `succeeds` where it is another instance than the registered one."""

    body: bytes
    ttl_s: float
    succeeds: bool = False


#: Returns what a registration becomes, given its body if it is registered, else its body if it is hidden as
#: `node-lost`. None, which is possible only if it is registered, renews it as it is.
Merge = Callable[[bytes | None, bytes | None], RegistrationUpdate | None]


class Claims:
    """The ledgers, this node's leases in its own, and what is shown of them."""

    def __init__(
        self,
        incarnation: int,
        timing: Timing,
        peers: Peers,
        view: View,
        now: float,
        before: int | None = None,
        *,
        guard_s: float = 0.0,
        validity: Validity = UNCHECKED,
    ) -> None:
        """`before` is the incarnation that filled `view`, if any: this node was away for very long and starts again.

        What would be hidden, and is most of an app, is listed for `guard_s` more. Entries of peers that are not valid
        stay in their ledgers, so that all copies remain equal, and have no other effect.
        """
        self._incarnation = incarnation
        self._before = before
        self._timing = timing
        self._peers = peers
        self._view = view
        self.copies = LedgerCopies(incarnation, timing, peers, validity)
        self.ledger, self.index = self.copies.own, self.copies.index
        self.leases = Leases(timing.interval_s / 8, now)
        self.lapse_rules = LapseRules(incarnation, timing, peers, self.index, self.leases)
        self.guard = Guard(guard_s, timing.ttl_s)
        #: While this is set nothing is shown and nothing follows: changes are only noted in `stale`.
        self.holding = False
        #: Keys that have to be looked at again, in order.
        self.stale: dict[str, None] = dict.fromkeys(view.known())
        #: Whether all peers answered before this node became ready, so that a key that none of them has is over.
        self.informed = False
        # Keys of the incarnation before, for as long as a peer may send them again.
        self._inherited = {**self.stale}
        self._inherited_until = now + timing.ledger_kept_s(0.0)
        self._forgotten: list[Entry] = []
        # Entries of the incarnation before, with their deadlines, that this one takes over.
        self._taken_along: list[Lease] = []

    @property
    def ledgers(self) -> dict[int, Ledger]:
        """All ledgers by incarnation, this node's own among them."""
        return self.copies.ledgers

    # Commands: rule 1, and the first half of rule 4.

    def winner(self, key: str, now: float) -> Claim | None:
        """Return the claim that a key is listed by, if any of its claims counts or it is suspect."""
        lease = self.index.lease(key)
        if lease is not None and lease.current:
            assert isinstance(lease.entry, Claim)
            return lease.entry  # its rank is the winner's, and it counts as long as it is here
        winner = self._winner(self.index.entries(key), now)
        return self._view.claim(key) if winner is None and self.guard.suspect(key) else winner

    def shown(self, key: str) -> Claim | None:
        """Return the claim by which a registration is listed; None if it is not listed."""
        return self._view.claim(key)

    def hidden(self, key: str) -> Claim | None:
        """Return the claim that a hidden registration would be listed by if its node were heard."""
        root = self._view.hidden_root(key)
        claims = [entry for entry in self.index.entries(key) if isinstance(entry, Claim) and entry.root == root]
        return max(claims, key=lambda claim: claim.rank, default=None)

    def register(self, key: str, merge: Merge, now: float) -> tuple[bool, bytes]:
        """Register, change or renew `key` as `merge` says. Return True if it was not registered before, and its body.

        Nothing is changed if `merge` raises.
        """
        winner = self.winner(key, now)
        if winner is None:
            hidden = self.hidden(key)
            update = merge(None, hidden.body if hidden else None)
            assert update is not None
        else:
            update = merge(winner.body, None)
            if update is None or (winner.body == update.body and winner.ttl_s == update.ttl_s):
                self._hear_from(winner, now)
                return False, winner.body
        self._update(key, winner, update, now)
        return winner is None, update.body

    def _update(self, key: str, winner: Claim | None, update: RegistrationUpdate, now: float) -> None:
        """Put a claim that differs from the winner in its place.

        A change keeps the registration's root, so a deregistration at a node that does not have the change yet ends it
        all the same. A successor begins a registration: such a deregistration ends the one before, and not this one.
        """
        root = winner.root if winner and not update.succeeds else None
        rev = 1 + max((entry.rev for entry in self.index.entries(key)), default=winner.rev if winner else 0)
        if rev > NUMBER_MAX:  # a peer made it up, and no node can make a larger one: another registration begins
            if winner is not None:
                self._end_registrations(key, winner, now)
            rev, root = 1, None
        self._claim(key, update.body, update.ttl_s, rev, root, now)
        if winner is not None and winner.ttl_s > update.ttl_s:
            # Elsewhere claims with the longer ttl may go on for a while: a deregistration has to know of that.
            self._end(key, winner.ttl_s + self._timing.end_kept_s, rev, (), now)
        self.refresh(key, now)

    def renew(self, key: str, now: float) -> Claim | None:
        """Renew `key` and return the claim it is listed by; None, and change nothing, if it is not registered."""
        lease = self.index.lease(key)
        if lease is not None and lease.current:
            assert isinstance(lease.entry, Claim)
            lease.deadline = now + lease.entry.ttl_s
            return lease.entry
        winner = self.winner(key, now)
        if winner is not None:
            self._hear_from(winner, now)
        return winner

    def renew_as_is(self, key: str, body: bytes, now: float) -> bool:
        """Renew `key` if it is registered here with this body, which is nearly always so; else return False."""
        lease = self.index.lease(key)
        if lease is None or not lease.current:
            return False
        claim = lease.entry
        assert isinstance(claim, Claim)
        if claim.body != body:
            return False
        lease.deadline = now + claim.ttl_s
        return True

    def deregister(self, key: str, now: float, reason: str | None = None) -> bool:
        """End every registration of `key` that is known here, with a reason if given; return False if none counts."""
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
        """Let this node's own claim of `key`, if it has one, be due at `deadline` unless it is renewed."""
        lease = self.index.lease(key)
        if lease is not None:
            self.leases.shorten(lease, deadline)

    def _hear_from(self, winner: Claim, now: float) -> None:
        """Take in a renewal. At any node it continues the same registration."""
        lease = self.index.lease(winner.key)
        if lease is not None and _rank(lease) == winner.rank:
            lease.deadline = now + winner.ttl_s
        else:
            self._claim(winner.key, winner.body, winner.ttl_s, winner.rev, winner.root, now)
            self.refresh(winner.key, now)

    def _claim(self, key: str, body: bytes, ttl_s: float, rev: int, root: Dot | None, renewed_at: float) -> Lease:
        """Replace this node's own claim, if any. Without a root the new one begins a registration."""
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
        self._add(end, now + ttl_s - self._timing.patience_s)  # it is looked at then, and when its time is over

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
        """Evaluate a key again after a change: let this node's claim follow, and show the winner."""
        if self.holding:
            self.stale[key] = None
            return
        entries = self.index.entries(key)
        winner = self._winner(entries, now)
        lease = self.index.lease(key)
        if lease is not None:
            self._follow(lease, winner, entries, now)
        if entries:
            self._inherited.pop(key, None)
        if self.guard.on and self._is_guarded(key, winner, entries, now):
            return
        lost = key in self._inherited and self._is_lost(key)
        self._view.show(key, winner, filter(self._may_be_renewed, entries), lost=lost)

    # Rule 9: members that would be hidden at one moment are judged together.

    def _is_guarded(self, key: str, winner: Claim | None, entries: tuple[Entry, ...], now: float) -> bool:
        """Let the guard decide what is shown of a key that no claim counts for; return False if it has no say."""
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
        suspect = self.guard.suspect(key)
        if suspect is not None:  # a long guard outlasts what is remembered of nodes that are not heard
            until |= {node: at for node, at in suspect.holders.items() if node not in self._peers}
        hidden_at = max(until.values(), default=inf)
        outcome = self.guard.lose(key, self._view.count_of(app_of(key)), hidden_at, holders, now)
        if outcome == "suspect":
            self._view.show(key, shown, (), suspect=True)
        elif outcome == "hidden":
            self._view.show(key, None, (), lost=True)
            if not entries:  # no node can send it any more, and it would be remembered for ever
                self.stale[key] = None
        return True

    def _unheard(self, key: str, shown: Claim, entries: tuple[Entry, ...]) -> list[Claim]:
        """Return the claims that would keep a key listed if their nodes were heard; none if it is known to be gone."""
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
        return [] if all(map(self._is_known, suspect.holders)) else [shown]

    def judge(self, now: float) -> bool:
        """Judge a slice of the keys that would be hidden by now; return True if there is more."""
        if self.holding:
            return False
        left, out_of_sight = KEYS_PER_SLICE, partial(self._is_out_of_sight, now=now)
        while left > 0 and self.guard.undecided and not self.stale:
            looks, keys = self.guard.judge(self._view.members, out_of_sight, left, now)
            self.stale |= keys
            left -= looks + self._refresh_stale(left - looks, now)
        if not (self.guard.undecided or self.stale):
            self.guard.judged()
        return bool(self.guard.undecided or self.stale)

    def _is_out_of_sight(self, key: str, *, now: float) -> bool:
        """Whether a key will be hidden unless a node is heard that is silent at present."""
        entries = self.index.entries(key)
        ended = ended_roots(entries)
        claims = [entry for entry in entries if isinstance(entry, Claim) and entry.root not in ended]
        if any(claim.node == self._incarnation or self._peers.in_sight(claim.node, now) for claim in claims):
            return False
        return self.guard.suspect(key) is not None or any(map(self._may_be_renewed, claims))

    def set_guard_duration(self, guard_s: float) -> None:
        """Change how long members stay suspect. Present suspects are judged again, by the shorter duration."""
        self.stale |= dict.fromkeys(self.guard.set_duration(guard_s))

    def lift_guard(self, app: str, *, lifted: bool) -> None:
        """Lift the guard from an app, which hides its suspects, or restore it."""
        self.stale |= dict.fromkeys(self.guard.lift(app, lifted=lifted))

    def _may_be_renewed(self, entry: Entry) -> bool:
        """Whether an instance could still renew `entry` at its node, even if this node does not hear that one."""
        peer = self._peers.get(entry.node)
        return isinstance(entry, End) or entry.node == self._incarnation or (peer is not None and not peer.gone)

    def _is_lost(self, key: str) -> bool:
        """Whether no node has been heard since that could know what became of a key of the incarnation before."""
        claim = self._view.claim(key)
        if claim is None:
            return True
        return not (self._is_known(claim.node) or (claim.node == self._before and self.informed))

    def _is_known(self, incarnation: int) -> bool:
        """Whether the ledger of an incarnation that has had claims is here as a whole, not only its first pages."""
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
        """Give this node's own claim the winner's terms, with its own last renewal.

        If its new ttl is over already it is due now, and not earlier, because the peers are asked from now on whether
        they have the winner.
        """
        claim = lease.entry
        assert isinstance(claim, Claim)
        if self.leases.due.get(lease) is None and claim.root in ended_roots(entries):
            self.leases.due[lease] = now
        lease.current = winner is not None and claim.rank == winner.rank
        if winner is not None and not lease.current:
            due_at = min(lease.deadline, now)
            renewed_at = max(lease.deadline - claim.ttl_s, due_at - winner.ttl_s)
            self._claim(claim.key, winner.body, winner.ttl_s, winner.rev, winner.root, renewed_at).current = True

    # Rules 3 and 4: how claims and ends go.

    def lapse(self, now: float) -> bool:
        """Remove claims and ends that are due and confirmed; return True if there is more to do at once."""
        more = self.leases.turn(now, VISITS_PER_SLICE)
        return self.end_due(now) or more

    def end_due(self, now: float) -> bool:
        """Remove what is due already, as far as the peers have confirmed it; return True if there is more."""
        if not self.leases.due:
            return False
        asked = self._peers.asked(now)
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

    def unconfirmed(self, now: float) -> bool:
        """Whether a claim is due and some peer has not answered an ask made since."""
        if not self.leases.due:
            return False
        confirmed = confirmed_until(self._peers.asked(now))
        return any(
            ended_at is None and isinstance(lease.entry, Claim) and confirmed < lease.deadline <= now
            for lease, ended_at in self.leases.due.items()
        )

    # Others' ledgers: joining them, hiding and forgetting (rules 5 and 8).

    def join(self, delta: Delta) -> dict[str, None]:
        """Bring a copy of another's ledger up to date. Raises `Gap`, and changes nothing, if it cannot.

        Returns the keys to be refreshed after the whole message: one ledger may add what another removes.
        """
        was_known = self._is_known(delta.incarnation)
        keys = self.copies.join(delta)
        if not was_known and self._is_known(delta.incarnation):
            keys |= self.guard.waiting_for(delta.incarnation)
        return keys

    def heard_again(self, peer: Peer, horizon_s: float, now: float) -> None:
        """Evaluate again the claims that did not count while the peer's horizon was `horizon_s`."""
        present_s = self._peers.horizon_s(peer, now)
        if horizon_s >= TTL_INTERVALS_MIN * self._timing.interval_s:
            self._look_again(peer, present_s, horizon_s)
        peer.hidden_s = min(peer.hidden_s, present_s)

    def hide(self, now: float) -> None:
        """Evaluate again the claims of silent nodes that have stopped counting."""
        for peer in self._peers:
            horizon_s = self._peers.horizon_s(peer, now)
            if horizon_s < TTL_INTERVALS_MIN * self._timing.interval_s:
                continue
            newly = [ttl_s for ttl_s in self.copies.ttls(peer) if peer.hidden_s < ttl_s <= horizon_s]
            if newly:
                self._look_again(peer, peer.hidden_s, newly[-1])
                peer.hidden_s = newly[-1]
        if self.guard.on:
            self.stale |= self.guard.over(now)

    def forget(self, peer: Peer) -> None:
        """Drop a ledger whole. Its entries leave the index in slices."""
        self._forgotten.extend(self.copies.forget(peer.incarnation))

    def take_along(self, leases: Leases) -> None:
        """Take over the claims and ends of the incarnation before, in slices."""
        self._taken_along = [*leases]

    def _take_over(self, lease: Lease) -> None:
        entry = msgspec.structs.replace(lease.entry, node=self._incarnation, n=self.ledger.next_n)
        self._add(entry, lease.deadline)
        self.stale[entry.key] = None

    @property
    def settled(self) -> bool:
        """Whether no work waits for a later slice."""
        return not (self.holding or self.stale or self._forgotten or self._taken_along or self._inherited)

    def settle(self, now: float) -> bool:
        """Do a slice of the work that waits; return True if there is more."""
        if self._inherited and now > self._inherited_until:
            self.stale |= self._inherited
            self._inherited = {}
        for _ in range(min(KEYS_PER_SLICE, len(self._forgotten))):
            entry = self._forgotten.pop()
            self.index.discard(entry)
            self.refresh(entry.key, now)
        for _ in range(min(KEYS_PER_SLICE, len(self._taken_along))):
            self._take_over(self._taken_along.pop())
        if self.holding or self._taken_along:  # listed keys must not be hidden before their claims are here
            return bool(self._taken_along)
        self._refresh_stale(KEYS_PER_SLICE, now)
        return bool(self._forgotten or self.stale)

    def _refresh_stale(self, most: int, now: float) -> int:
        keys = [*islice(self.stale, most)]
        for key in keys:
            del self.stale[key]
            self.refresh(key, now)
        return len(keys)

    def _look_again(self, peer: Peer, above_s: float, up_to_s: float) -> None:
        ledger = self.ledgers.get(peer.incarnation)
        for entry in ledger.entries.values() if ledger else ():
            if isinstance(entry, Claim) and above_s < entry.ttl_s <= up_to_s:
                self.stale[entry.key] = None


def _rank(lease: Lease) -> Rank | None:
    return lease.entry.rank if isinstance(lease.entry, Claim) else None
