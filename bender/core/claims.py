"""Rules 1 to 4: how this node's claims come, follow, lapse and end; and every ledger that it has a copy of.

There is no owner of a registration. Whoever hears from it holds a claim, and it is listed as long as any claim of it
counts. A claim of this node's own goes only when the others had their say, so that nobody sees it go before what
replaces it has come.

Work that may concern very many keys at once (a node that falls silent, a return after a pause) is put down in `stale`
and done in slices, so that no single call takes long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from math import inf
from typing import NamedTuple

import msgspec
from attrs import evolve

from bender.core.guard import Guard, app_of
from bender.core.index import Index
from bender.core.leases import Lease, Leases
from bender.core.ledger import NUMBER_MAX, Claim, Copy, Delta, Dot, End, Entry, Head, Ledger, Rank
from bender.core.peers import Peer, Peers, covered
from bender.core.timing import TTL_INTERVALS_MIN, TTL_S_MAX, Timing
from bender.core.validity import UNCHECKED, Validity
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
        contacts: Peers,
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
        self._contacts = contacts
        self._view = view
        self.ledger = Ledger(incarnation)
        self.ledgers: dict[int, Ledger] = {incarnation: self.ledger}
        self.index = Index()
        self.leases = Leases(timing.interval_s / 8, now)
        self.guard = Guard(guard_s, timing.ttl_s)
        self._validity = validity
        #: Of each incarnation with entries that are not valid: how many there are, and what is wrong with the latest.
        self.invalid: dict[int, tuple[int, str]] = {}
        # When the copy of which incarnation was last begun anew.
        self._started_over_at: dict[int, float] = {}
        #: While this is set nothing is shown and nothing follows: what changes is only put down in `stale`.
        self.holding = False
        #: Keys that have to be looked at again, in order.
        self.stale: dict[str, None] = dict.fromkeys(view.known())
        #: Whether everybody was heard before this node spoke, so that what nobody tells of is over.
        self.informed = False
        # What the incarnation before knew of, for as long as somebody may tell of it again.
        self._inherited = {**self.stale}
        self._inherited_until = now + timing.ledger_kept_s(0.0)
        self._forgotten: list[Entry] = []
        # What an incarnation before this one leaves to it: entries and their deadlines.
        self._taken_along: list[Lease] = []

    # Commands: rule 1, and the first half of rule 4.

    def winner(self, key: str, now: float) -> Claim | None:
        """The claim that speaks for a key, if any of its claims counts, or it is listed on suspicion."""
        lease = self.index.lease(key)
        if lease is not None and lease.current:
            assert isinstance(lease.entry, Claim)
            return lease.entry  # it was seen to say what the winner says, and counts as long as it is here
        winner = self._winner(self.index.entries(key), now)
        return self._view.claim(key) if winner is None and self.guard.suspect(key) else winner

    def shown(self, key: str) -> Claim | None:
        """The claim by which a registration is listed."""
        return self._view.claim(key)

    def hidden(self, key: str) -> Claim | None:
        """The claim that would speak for a registration that is hidden, if its node were heard."""
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
        if rev > NUMBER_MAX:  # a peer made it up, and nobody can make a larger one: another registration begins
            if winner is not None:
                self._end_registrations(key, winner, now)
            rev, root = 1, None
        self._claim(key, update.body, update.ttl_s, rev, root, now)
        if winner is not None and winner.ttl_s > update.ttl_s:
            # Elsewhere claims with the longer ttl may go on for a while: a deregistration has to know of that.
            self._end(key, winner.ttl_s + self._timing.end_kept_s, rev, (), now)
        self.refresh(key, now)

    def renew(self, key: str, now: float) -> Claim | None:
        """Hear from `key`; the claim that speaks for it, or None, and nothing is changed, if it is not registered."""
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
        """Hear from `key` if it is registered here with this body, which is nearly always so; else nothing is done."""
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
        """End every registration of `key` that is known here, for a reason if one is given; False if none counts."""
        winner = self.winner(key, now)
        if winner is None:
            return False
        self._end_registrations(key, winner, now, reason)
        self.refresh(key, now)
        return True

    def _end_registrations(self, key: str, winner: Claim, now: float, reason: str | None = None) -> None:
        # Of what is listed on suspicion the claims may have been forgotten.
        entries = self.index.entries(key) or (winner,)
        claims = [entry for entry in entries if isinstance(entry, Claim)]
        kept_s = [entry.ttl_s + self._timing.end_kept_s * isinstance(entry, Claim) for entry in entries]
        rev = max(entry.rev for entry in entries)
        lease = self.index.lease(key)
        if lease is not None:
            self._remove(lease)
        self._end(key, max(kept_s), rev, tuple(sorted({claim.root for claim in claims})), now, reason)

    def shorten(self, key: str, deadline: float) -> None:
        """Let this node's own claim of `key`, if it has one, end at `deadline` where nobody renews it."""
        lease = self.index.lease(key)
        if lease is not None:
            self.leases.shorten(lease, deadline)

    def _hear_from(self, winner: Claim, now: float) -> None:
        """Take in a renewal, which goes on with the same registration wherever it comes in."""
        lease = self.index.lease(winner.key)
        if lease is not None and _rank(lease) == winner.rank:
            lease.deadline = now + winner.ttl_s
        else:
            self._claim(winner.key, winner.body, winner.ttl_s, winner.rev, winner.root, now)
            self.refresh(winner.key, now)

    def _claim(self, key: str, body: bytes, ttl_s: float, rev: int, root: Dot | None, renewed_at: float) -> Lease:
        """Put a claim in the place of this node's own, if any. Without a root a registration begins with it."""
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
        """Look at a key again after something about it has changed."""
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

    # Rule 9: what would be hidden is judged when all is seen that would be at the same moment.

    def _is_guarded(self, key: str, winner: Claim | None, entries: tuple[Entry, ...], now: float) -> bool:
        """Whether the guard has to do with a key of which no claim counts, and has seen to what is shown of it."""
        shown = self._view.claim(key)
        if winner is None and shown is None:
            return False
        unheard = [] if winner is not None or shown is None else self._unheard(key, shown, entries)
        if shown is None or not unheard:
            self.guard.forget(key)
            return False
        known = [claim for claim in unheard if claim.node in self._contacts]
        until = {claim.node: self._contacts.counts_until(claim.node, claim.ttl_s) for claim in known}
        holders = {claim.node: until[claim.node] for claim in known if self._may_be_renewed(claim)}
        suspect = self.guard.suspect(key)
        if suspect is not None:  # a long guard outlasts what is remembered of nodes that are not heard
            until |= {node: at for node, at in suspect.holders.items() if node not in self._contacts}
        hidden_at = max(until.values(), default=inf)
        outcome = self.guard.lose(key, self._view.count_of(app_of(key)), hidden_at, holders, now)
        if outcome == "suspect":
            self._view.show(key, shown, (), suspect=True)
        elif outcome == "hidden":
            self._view.show(key, None, (), lost=True)
            if not entries:  # nobody can tell of it any more, and it would be remembered for ever
                self.stale[key] = None
        return True

    def _unheard(self, key: str, shown: Claim, entries: tuple[Entry, ...]) -> list[Claim]:
        """The claims that would keep a key listed if their nodes were heard. None where it is known to be gone."""
        ended = _ended_roots(entries)
        claims = [entry for entry in entries if isinstance(entry, Claim) and entry.root not in ended]
        suspect = self.guard.suspect(key)
        if shown.root in ended:
            return []
        if suspect is None:
            return claims if any(map(self._may_be_renewed, claims)) else []
        if any(claim.node in suspect.holders or self._may_be_renewed(claim) for claim in claims):
            return claims
        # A long guard outlasts what is remembered of who is not heard.
        return [] if all(map(self._is_known, suspect.holders)) else [shown]

    def judge(self, now: float) -> bool:
        """Judge a slice of what would be hidden, when all is seen that would be by now; whether there is more."""
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
        """Whether a key will be hidden unless somebody is heard who is not at present."""
        entries = self.index.entries(key)
        ended = _ended_roots(entries)
        claims = [entry for entry in entries if isinstance(entry, Claim) and entry.root not in ended]
        if any(claim.node == self._incarnation or self._contacts.in_sight(claim.node, now) for claim in claims):
            return False
        return self.guard.suspect(key) is not None or any(map(self._may_be_renewed, claims))

    def set_guard_duration(self, guard_s: float) -> None:
        """Change how long members stay suspect. Present suspects are judged again, by the shorter duration."""
        self.stale |= dict.fromkeys(self.guard.set_duration(guard_s))

    def lift_guard(self, app: str, *, lifted: bool) -> None:
        """Take the guard from an app, whose suspects are hidden with that, or give it back."""
        self.stale |= dict.fromkeys(self.guard.lift(app, lifted=lifted))

    def _may_be_renewed(self, entry: Entry) -> bool:
        """Whether somebody could be hearing from `entry` still, if only out of this node's hearing."""
        contact = self._contacts.get(entry.node)
        return isinstance(entry, End) or entry.node == self._incarnation or (contact is not None and not contact.gone)

    def _is_lost(self, key: str) -> bool:
        """Whether nobody was heard since who could know what became of a key that the incarnation before had."""
        claim = self._view.claim(key)
        if claim is None:
            return True
        return not (self._is_known(claim.node) or (claim.node == self._before and self.informed))

    def _is_known(self, incarnation: int) -> bool:
        """Whether the ledger of an incarnation that has had claims is here as a whole, not only its first pages."""
        return self.head(incarnation).version > 0

    def _winner(self, entries: tuple[Entry, ...], now: float) -> Claim | None:
        if len(entries) == 1:
            (only,) = entries
            return only if isinstance(only, Claim) and self._counts(only, now) else None
        ended = _ended_roots(entries)
        best: Claim | None = None
        for entry in entries:
            if isinstance(entry, Claim) and entry.root not in ended and self._counts(entry, now):  # noqa: SIM102
                if best is None or entry.rank > best.rank:
                    best = entry
        return best

    def _counts(self, claim: Claim, now: float) -> bool:
        return claim.node == self._incarnation or self._contacts.counts(claim.node, claim.ttl_s, now)

    def _follow(self, lease: Lease, winner: Claim | None, entries: Iterable[Entry], now: float) -> None:
        """Let this node's own claim say what the winner says, with its own last renewal.

        By a shorter ttl it may be over already. It is due now then, and not earlier, for the peers are asked from then
        on whether they have what the winner says.
        """
        claim = lease.entry
        assert isinstance(claim, Claim)
        if self.leases.due.get(lease) is None and claim.root in _ended_roots(entries):
            self.leases.due[lease] = now
        lease.current = winner is not None and claim.rank == winner.rank
        if winner is not None and not lease.current:
            due_at = min(lease.deadline, now)
            renewed_at = max(lease.deadline - claim.ttl_s, due_at - winner.ttl_s)
            self._claim(claim.key, winner.body, winner.ttl_s, winner.rev, winner.root, renewed_at).current = True

    # Rules 3 and 4: how claims and ends go.

    def lapse(self, now: float) -> bool:
        """Let go of what is due and confirmed; whether there is more to do at once."""
        more = self.leases.turn(now, VISITS_PER_SLICE)
        return self.end_due(now) or more

    def end_due(self, now: float) -> bool:
        """Let go of what is due, as far as the peers have confirmed it; whether there is more to do at once."""
        if not self.leases.due:
            return False
        asked = self._contacts.asked(now)
        confirmed = self._confirmed(asked)
        ended = 0
        for lease, ended_at in [*self.leases.due.items()]:
            if self._is_over(lease, ended_at, asked, confirmed, now):
                self._remove(lease)
                self.refresh(lease.entry.key, now)
                ended += 1
                if ended >= KEYS_PER_SLICE:
                    return True
        return False

    def unconfirmed(self, now: float) -> bool:
        """Whether a claim is due that not every peer has been asked about."""
        if not self.leases.due:
            return False
        confirmed = self._confirmed(self._contacts.asked(now))
        return any(
            ended_at is None and isinstance(lease.entry, Claim) and confirmed < lease.deadline <= now
            for lease, ended_at in self.leases.due.items()
        )

    @staticmethod
    def _confirmed(asked: Iterable[Peer]) -> float:
        """What everybody had heard by this time is here."""
        return min((contact.echoed for contact in asked), default=inf)

    def _is_over(self, lease: Lease, ended_at: float | None, asked: list[Peer], confirmed: float, now: float) -> bool:
        if isinstance(lease.entry, End):
            return self._end_is_over(lease, lease.entry, now)
        if ended_at is not None:
            return self._ended_is_over(lease.entry, ended_at, asked, now)
        if lease.deadline > now:  # renewed while it was due
            self.leases.seat(lease)
            return False
        if now >= lease.deadline + self._timing.patience_s:
            return True
        return confirmed >= lease.deadline and self._replaced_everywhere(lease.entry, asked, now)

    def _replaced_everywhere(self, claim: Claim, asked: list[Peer], now: float) -> bool:
        """Whether nobody asked could see this claim go before the others of its key have come, and say the same."""
        ended = _ended_roots(self.index.entries(claim.key))
        others = [
            other
            for other in self.index.entries(claim.key)
            if other is not claim and isinstance(other, Claim) and other.root not in ended and self._counts(other, now)
        ]
        followed = all(other.rank >= claim.rank for other in others)
        return followed and covered((other.dot for other in others), asked)

    def _ended_is_over(self, claim: Claim, ended_at: float, asked: list[Peer], now: float) -> bool:
        """A claim that was ended goes when all have the end, or they would take it for expired."""
        ends = [end.dot for end in self.index.entries(claim.key) if isinstance(end, End) and claim.root in end.roots]
        return now >= ended_at + self._timing.patience_s or (bool(ends) and covered(ends, asked))

    def _end_is_over(self, lease: Lease, end: End, now: float) -> bool:
        """An end goes when its time is over, and it had no claims left to end a while before that either."""
        had_none = lease.current
        entries = self.index.entries(end.key)
        lease.current = not any(isinstance(other, Claim) and other.root in end.roots for other in entries)
        if had_none and lease.current:
            return True
        lease.deadline = now + self._timing.patience_s
        self.leases.seat(lease)
        return False

    # Others' ledgers: joining them, hiding and forgetting (rules 5 and 8).

    def join(self, delta: Delta) -> dict[str, None]:
        """Bring a copy of another's ledger up to date. Raises `Gap`, and changes nothing, where it cannot.

        Returns the keys to be refreshed once a whole message is here: what one ledger lets go, another may hold.
        """
        ledger = self.ledgers.get(delta.incarnation) or Ledger(delta.incarnation)
        was_known = ledger.version > 0
        joined = ledger.join(delta.resolved(self._entry))
        self.ledgers[delta.incarnation] = ledger
        for entry in joined.removed:
            self._take_out(entry)
        for entry in joined.added:
            self._take_in(entry)
        contact = self._contacts.get(delta.incarnation)
        if contact is not None:
            contact.ttls = None
        keys = {entry.key: None for entry in (*joined.removed, *joined.added)}
        if ledger.version > 0 and not was_known:
            keys |= self.guard.waiting_for(delta.incarnation)
        return keys

    def _take_in(self, entry: Entry) -> None:
        problem = self._validity.of_entry(entry)
        if problem is None:
            self.index.add(entry)
        else:
            count, _ = self.invalid.get(entry.node, (0, ""))
            self.invalid[entry.node] = (count + 1, problem)

    def _take_out(self, entry: Entry) -> None:
        count, problem = self.invalid.get(entry.node, (0, ""))
        if not count or self._validity.of_entry(entry) is None:
            self.index.discard(entry)
        elif count == 1:
            del self.invalid[entry.node]
        else:
            self.invalid[entry.node] = (count - 1, problem)

    def compare(self, heads: Mapping[int, Head], now: float) -> None:
        """Start over with copies that another node has with the same version and a larger checksum.

        Only where several processes wrote as one incarnation are there two contents of one version. One copy does so
        only now and then, because a checksum may also be made up.
        """
        for incarnation, head in heads.items():
            ledger = self.ledgers.get(incarnation)
            if ledger is None or head.version != ledger.version or head.checksum is None or ledger is self.ledger:
                continue
            last_at = self._started_over_at.get(incarnation, -inf)
            if ledger.complete and head.checksum > ledger.checksum and now >= last_at + self._timing.asked_s:
                self._started_over_at[incarnation] = now
                ledger.start_over()

    def give_up_pages(self, delta: Delta, contact: Peer, now: float) -> None:
        """Let a delta like this one, which is older than the pages of a copy, complete it when it comes again.

        Nobody can bring the rest of the pages, for the contact whose ledger it is has gone. What came in them stays,
        and keeps what it lists, until the copy is complete, and as long as it counts.
        """
        ledger = self.ledgers[delta.incarnation]
        if delta.version >= ledger.reach or self._contacts.horizon_s(contact, now) >= self.ttl_max_s(contact):
            ledger.give_up_pages()

    def _entry(self, node: int, n: int) -> Entry | None:
        ledger = self.ledgers.get(node)
        return ledger.entries.get(n) if ledger else None

    def brief(self, delta: Delta, contact: Peer) -> Delta:
        """The same with copies in the place of claims that say what others say which a contact has shown to have."""
        return evolve(delta, added=tuple([self._brief(entry, contact) for entry in delta.added]))

    def _brief(self, entry: Entry | Copy, contact: Peer) -> Entry | Copy:
        if isinstance(entry, Claim):
            for other in self.index.entries(entry.key):
                if other is not entry and isinstance(other, Claim) and other.rank == entry.rank:  # noqa: SIM102
                    if covered((other.dot,), (contact,)):
                        return other.copied_by(entry.node, entry.n)
        return entry

    def heads(self) -> dict[int, Head]:
        return {incarnation: ledger.head for incarnation, ledger in self.ledgers.items() if ledger.reach}

    def head(self, incarnation: int) -> Head:
        ledger = self.ledgers.get(incarnation)
        return ledger.head if ledger else Head()

    def ahead_of(self, heads: Mapping[int, Head]) -> list[Ledger]:
        """The ledgers of which more is known here than `heads` says."""
        nothing = Head()
        return [
            ledger
            for incarnation, ledger in self.ledgers.items()
            if ledger.complete and ledger.version > heads.get(incarnation, nothing).version
        ]

    def heard_again(self, contact: Peer, horizon_s: float, now: float) -> None:
        """Look again at what did not count while the contact's horizon was still `horizon_s`."""
        present_s = self._contacts.horizon_s(contact, now)
        if horizon_s >= TTL_INTERVALS_MIN * self._timing.interval_s:
            self._look_again(contact, present_s, horizon_s)
        contact.hidden_s = min(contact.hidden_s, present_s)

    def hide(self, now: float) -> None:
        """Look again at the claims of silent nodes that have stopped counting."""
        for contact in self._contacts:
            horizon_s = self._contacts.horizon_s(contact, now)
            if horizon_s < TTL_INTERVALS_MIN * self._timing.interval_s:
                continue
            newly = [ttl_s for ttl_s in self._ttls(contact) if contact.hidden_s < ttl_s <= horizon_s]
            if newly:
                self._look_again(contact, contact.hidden_s, newly[-1])
                contact.hidden_s = newly[-1]
        if self.guard.on:
            self.stale |= self.guard.over(now)

    def ttl_max_s(self, contact: Peer) -> float:
        """The longest ttl of a contact's claims, 0 if there are none; no longer than any that is valid."""
        return min(self._ttls(contact)[-1], TTL_S_MAX) if self._ttls(contact) else 0.0

    def forget(self, contact: Peer) -> None:
        """Drop a ledger whole. Its entries leave the index in slices."""
        ledger = self.ledgers.pop(contact.incarnation, None)
        self.invalid.pop(contact.incarnation, None)
        self._started_over_at.pop(contact.incarnation, None)
        if ledger is not None:
            self._forgotten.extend(ledger.entries.values())

    def take_along(self, leases: Leases) -> None:
        """Go on with the claims and ends of an incarnation before this one, in slices."""
        self._taken_along = [*leases]

    def _take_over(self, lease: Lease) -> None:
        entry = msgspec.structs.replace(lease.entry, node=self._incarnation, n=self.ledger.next_n)
        self._add(entry, lease.deadline)
        self.stale[entry.key] = None

    @property
    def settled(self) -> bool:
        """Whether nothing was put down for later."""
        return not (self.holding or self.stale or self._forgotten or self._taken_along or self._inherited)

    def settle(self, now: float) -> bool:
        """Do a slice of what was put down for later; whether there is more."""
        if self._inherited and now > self._inherited_until:
            self.stale |= self._inherited
            self._inherited = {}
        for _ in range(min(KEYS_PER_SLICE, len(self._forgotten))):
            entry = self._forgotten.pop()
            self.index.discard(entry)
            self.refresh(entry.key, now)
        for _ in range(min(KEYS_PER_SLICE, len(self._taken_along))):
            self._take_over(self._taken_along.pop())
        if self.holding or self._taken_along:  # what was listed before must not go before its claim is here
            return bool(self._taken_along)
        self._refresh_stale(KEYS_PER_SLICE, now)
        return bool(self._forgotten or self.stale)

    def _refresh_stale(self, most: int, now: float) -> int:
        keys = [*islice(self.stale, most)]
        for key in keys:
            del self.stale[key]
            self.refresh(key, now)
        return len(keys)

    def _ttls(self, contact: Peer) -> list[float]:
        if contact.ttls is None:
            ledger = self.ledgers.get(contact.incarnation)
            entries = ledger.entries.values() if ledger else ()
            contact.ttls = sorted({entry.ttl_s for entry in entries if isinstance(entry, Claim)})
        return contact.ttls

    def _look_again(self, contact: Peer, above_s: float, up_to_s: float) -> None:
        ledger = self.ledgers.get(contact.incarnation)
        for entry in ledger.entries.values() if ledger else ():
            if isinstance(entry, Claim) and above_s < entry.ttl_s <= up_to_s:
                self.stale[entry.key] = None


def _ended_roots(entries: Iterable[Entry]) -> set[Dot]:
    return {root for entry in entries if isinstance(entry, End) for root in entry.roots}


def _rank(lease: Lease) -> Rank | None:
    return lease.entry.rank if isinstance(lease.entry, Claim) else None
