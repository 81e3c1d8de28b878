"""Rules 1, 2 and 4: claims that arise, follow or end against the rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from bender.core.claims import Claims, _rank
from bender.core.lapse import LapseRules
from bender.core.leases import Lease, Leases
from bender.core.ledger import Claim, Dot, End, Entry, ended_roots
from bender.core.registration_update import RegistrationUpdate
from tests.simulation.mutations.mutation import Changed, around, instead, mutation, timing
from tests.simulation.patches import patched
from tests.simulation.scenarios import claims as scenarios

# Rule 1: registering and renewing.


def _renewed_as_new(claims: Claims, winner: Claim, now: float) -> None:
    lease = claims.index.lease(winner.key)
    if lease is not None and _rank(lease) == winner.rank:
        lease.deadline = now + winner.ttl_s
    else:
        claims._claim(winner.key, winner.body, winner.ttl_s, winner.rev, None, now)
        claims.refresh(winner.key, now)


def _renewed_in_another_place(original: Changed, claims: Claims, key: str, now: float) -> Any:
    winner = claims.winner(key, now)
    if winner is not None and claims.index.lease(key) is None:
        return winner
    return original(claims, key, now)


def _claimed_at_every_renewal(original: Changed, claims: Claims, key: str, now: float) -> Any:
    winner = claims.winner(key, now)
    if winner is not None:
        claims._claim(key, winner.body, winner.ttl_s, winner.rev, winner.root, now)
        claims.refresh(key, now)
    return winner


def _ended_with_its_session(claims: Claims, key: str, deadline: float) -> None:
    claims.deregister(key, deadline)


def _rev_stays(original: Changed, claims: Claims, key: str, body: bytes, ttl_s: float, rev: int, *rest: Any) -> Any:
    return original(claims, key, body, ttl_s, 1, *rest)


def _registered_with_an_old_root(
    original: Changed, claims: Claims, key: str, body: bytes, ttl_s: float, rev: int, root: Dot | None, at: float
) -> Any:
    known = [entry for entry in claims.index.entries(key) if isinstance(entry, Claim)]
    if root is None and known:
        root = max(known, key=lambda claim: claim.rank).root
    return original(claims, key, body, ttl_s, rev, root, at)


def _changed_as_new(
    original: Changed, claims: Claims, key: str, body: bytes, ttl_s: float, rev: int, root: Dot | None, at: float
) -> Any:
    is_change = all(entry.rev < rev for entry in claims.index.entries(key))
    return original(claims, key, body, ttl_s, rev, None if is_change else root, at)


def _succeeded_as_changed(
    original: Changed, claims: Claims, key: str, winner: Claim | None, update: RegistrationUpdate, now: float
) -> None:
    original(claims, key, winner, update._replace(is_successor=False), now)


def _shorter_without_a_trace(original: Changed, claims: Claims, *arguments: Any, **named: Any) -> Any:
    with patched([(Claims, "_end", instead(lambda *_: None))]):
        return original(claims, *arguments, **named)


# Rule 2: claims follow.


def _nothing_follows(claims: Claims, lease: Lease, winner: Claim | None, entries: Iterable[Entry], now: float) -> None:
    lease.is_current = winner is not None and _rank(lease) == winner.rank
    ended = isinstance(lease.entry, Claim) and lease.entry.root in ended_roots(entries)
    if ended and claims.leases.due.get(lease) is None:
        claims.leases.due[lease] = now


def _rewritten(claims: Claims, lease: Lease) -> Lease | None:
    """Return the lease that replaces a lease whose claim has followed; None if the claim has not followed."""
    own = claims.index.lease(lease.entry.key)
    return None if own is lease else own


def _follows_as_if_renewed(
    original: Changed, claims: Claims, lease: Lease, winner: Claim | None, entries: Iterable[Entry], now: float
) -> None:
    original(claims, lease, winner, entries, now)
    own = _rewritten(claims, lease)
    if own is not None:
        own.deadline = now + own.entry.ttl_s


def _follows_and_keeps_its_deadline(
    original: Changed, claims: Claims, lease: Lease, winner: Claim | None, entries: Iterable[Entry], now: float
) -> None:
    deadline = lease.deadline
    original(claims, lease, winner, entries, now)
    own = _rewritten(claims, lease)
    if own is not None:
        own.deadline = deadline


def _follows_into_the_past(
    original: Changed, claims: Claims, lease: Lease, winner: Claim | None, entries: Iterable[Entry], now: float
) -> None:
    claim, deadline = lease.entry, lease.deadline
    original(claims, lease, winner, entries, now)
    own = _rewritten(claims, lease)
    if own is not None:
        own.deadline = deadline - claim.ttl_s + own.entry.ttl_s


# Rule 4: deregistering.


def _removed_without_an_end(claims: Claims, key: str, now: float, _reason: str | None = None) -> bool:
    if claims.winner(key, now) is None:
        return False
    lease = claims.index.lease(key)
    if lease is not None:
        claims._remove(lease)
    claims.refresh(key, now)
    return True


def _ends_its_own_root_alone(original: Changed, claims: Claims, entry: Entry, deadline: float) -> Any:
    if isinstance(entry, End):
        entry = msgspec.structs.replace(entry, roots=entry.roots[:1])
    return original(claims, entry, deadline)


def _end_on_time(rules: LapseRules, lease: Lease, end: End, now: float) -> bool:
    if lease.deadline > now:
        rules._leases.seat(lease)
        return False
    return True


def _end_of_what_is_least(
    original: Changed, claims: Claims, key: str, ttl_s: float, rev: int, roots: Any, now: float, *reason: Any
) -> None:
    rev = min((entry.rev for entry in claims.index.entries(key)), default=rev)
    original(claims, key, ttl_s, rev, roots, now, *reason)


def _end_kept_by_the_shortest_ttl(
    original: Changed, claims: Claims, key: str, ttl_s: float, rev: int, roots: Any, now: float, *reason: Any
) -> None:
    known = [entry.ttl_s for entry in claims.index.entries(key) if isinstance(entry, Claim)]
    if roots and known:
        ttl_s = min(known) + claims._timing.end_kept_s
    original(claims, key, ttl_s, rev, roots, now, *reason)


def _end_for_no_reason(original: Changed, claims: Claims, *arguments: Any) -> None:
    original(claims, *arguments[:5])


def _largest_of_all(claims: Claims, entries: tuple[Entry, ...], now: float) -> Claim | None:
    known = [entry for entry in entries if isinstance(entry, Claim) and claims.lapse_rules.counts(entry, now)]
    largest = max(known, key=lambda claim: claim.rank, default=None)
    return None if largest is None or largest.root in ended_roots(entries) else largest


def _ends_go_with_their_node(original: Changed, claims: Claims, entry: Entry) -> bool:
    peer = claims._peers.get(entry.node)
    return bool(original(claims, entry)) and not (peer is not None and peer.is_gone)


MUTATIONS = {
    "a renewal elsewhere begins a registration": mutation(
        "1", (Claims, "_renew_claim", instead(_renewed_as_new)), first_seed=85
    ),
    "a renewal elsewhere makes no claim": mutation("1", (Claims, "renew", around(_renewed_in_another_place))),
    "every renewal makes a claim": mutation("1", (Claims, "renew", around(_claimed_at_every_renewal))),
    "a session's end is not noticed": mutation(
        "1",
        (Leases, "shorten", instead(lambda *_: None)),
        shown_by=scenarios.the_end_of_a_session_comes_before_its_ttl,
    ),
    "a session's end is an end": mutation(
        "1",
        (Claims, "shorten", instead(_ended_with_its_session)),
        shown_by=scenarios.the_end_of_a_session_is_no_word_about_others,
    ),
    "a change counts nothing": mutation("1", (Claims, "_claim", around(_rev_stays)), first_seed=35),
    "a change begins a registration": mutation(
        "1",
        (Claims, "_claim", around(_changed_as_new)),
        shown_by=scenarios.a_deregistration_ends_a_change_that_it_does_not_know,
    ),
    "another instance goes on with the same registration": mutation(
        "1",
        (Claims, "_update", around(_succeeded_as_changed)),
        shown_by=scenarios.a_deregistration_ends_no_successor_that_it_does_not_know,
    ),
    "a change to a shorter ttl leaves no trace": mutation(
        "1",
        (Claims, "_update", around(_shorter_without_a_trace)),
        shown_by=scenarios.an_end_is_kept_by_the_longest_ttl,
    ),
    "a registration takes an old root": mutation("1", (Claims, "_claim", around(_registered_with_an_old_root))),
    "claims do not follow": mutation(
        "2", (Claims, "_follow", instead(_nothing_follows)), shown_by=scenarios.what_changed_does_not_change_back
    ),
    "who follows is renewed by it": mutation(
        "2", (Claims, "_follow", around(_follows_as_if_renewed)), shown_by=scenarios.who_follows_is_not_renewed_by_it
    ),
    "who follows may be over long since": mutation(
        "2",
        (Claims, "_follow", around(_follows_into_the_past)),
        shown_by=scenarios.what_follows_a_shorter_ttl_waits_for_the_others,
    ),
    "a removal without an end": mutation("4", (Claims, "deregister", instead(_removed_without_an_end))),
    "an end names one root": mutation("4", (Claims, "_add", around(_ends_its_own_root_alone)), first_seed=91),
    "an end has no reason": mutation(
        "4",
        (Claims, "_end", around(_end_for_no_reason)),
        shown_by=scenarios.why_a_check_ended_it_is_known_everywhere,
    ),
    "an ended claim goes at once": mutation(
        "4",
        (LapseRules, "_ended_is_over", instead(lambda *_: True)),
        shown_by=scenarios.an_ended_claim_goes_when_all_have_the_end,
    ),
    "an ended claim stays": mutation("4", (LapseRules, "_ended_is_over", instead(lambda *_: False)), first_seed=35),
    "ends go before what they end": mutation(
        "4", (LapseRules, "_end_is_over", instead(_end_on_time)), shown_by=scenarios.an_end_outlives_what_it_ends
    ),
    "ends live for an interval": mutation(
        "4",
        timing("end_kept_s", lambda timing: timing.interval_s - timing.ttl_s),
        (LapseRules, "_end_is_over", instead(_end_on_time)),
        first_seed=16,
    ),
    "a claim that follows keeps its deadline": mutation(
        "2",
        (Claims, "_follow", around(_follows_and_keeps_its_deadline)),
        shown_by=scenarios.a_claim_that_follows_a_shorter_ttl_ends_by_that,
    ),
    "ends are kept for an interval less": mutation(
        "4",
        timing("end_kept_s", lambda timing: 7 * timing.interval_s),
        shown_by=scenarios.an_end_is_kept_for_the_ttl_and_eight_intervals,
    ),
    "an end is kept by the shortest ttl": mutation(
        "4",
        (Claims, "_end", around(_end_kept_by_the_shortest_ttl)),
        shown_by=scenarios.an_end_is_kept_by_the_longest_ttl,
    ),
    "an end has the smallest rev": mutation(
        "4",
        (Claims, "_end", around(_end_of_what_is_least)),
        shown_by=scenarios.a_registration_outranks_what_was_deregistered_before_it,
    ),
    "an ended registration outranks others": mutation(
        "4",
        (Claims, "_winner", instead(_largest_of_all)),
        shown_by=scenarios.a_registration_that_was_ended_does_not_outrank_another,
    ),
    "ends of a node that left are overlooked": mutation(
        "4",
        (Claims, "_may_be_renewed", around(_ends_go_with_their_node)),
        shown_by=scenarios.a_deregistration_at_a_node_that_left_is_known_as_one,
    ),
}
