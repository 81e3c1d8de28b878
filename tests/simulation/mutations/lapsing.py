"""Rule 3: claims that lapse too early, or too late."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

from bender.core import claims
from bender.core.gossip import Gossip
from bender.core.lapse import LapseRules
from bender.core.ledger import Claim, Delta, Dot, Head
from bender.core.peers import Peer, Peers, are_known_to_all
from bender.core.replica import Replica
from tests.simulation.mutations.mutation import Changed, around, instead, mutation, timing
from tests.simulation.scenarios import lapsing as scenarios


def _answered_by_anything(original: Changed, peers: Peers, sender: Any, now: float) -> Any:
    peer = original(peers, sender, now)
    if peer is not None:
        peer.echoed_at = now
    return peer


def _covered_by_one(dots: Iterable[Dot], peers: Iterable[Peer]) -> bool:
    wanted = [*dots]
    return not wanted or all(
        any(peer.incarnation == i or peer.shown_versions.get(i, 0) >= n for i, n in wanted) for peer in peers
    )


def _others(rules: LapseRules, claim: Claim, now: float) -> list[Claim]:
    """Return the other claims of the key that count, whether they were ended or not."""
    return [
        other
        for other in rules._index.entries(claim.key)
        if other is not claim and isinstance(other, Claim) and rules.counts(other, now)
    ]


def _replaced_by_one(rules: LapseRules, claim: Claim, asked: list[Peer], now: float) -> bool:
    return _covered_by_one((other.dot for other in _others(rules, claim, now)), asked)


def _gone_before_all_have_followed(rules: LapseRules, claim: Claim, asked: list[Peer], now: float) -> bool:
    return are_known_to_all((other.dot for other in _others(rules, claim, now)), asked)


def _waits_beside_what_was_ended(rules: LapseRules, claim: Claim, asked: list[Peer], now: float) -> bool:
    others = _others(rules, claim, now)
    return all(other.rank >= claim.rank for other in others) and are_known_to_all(
        (other.dot for other in others), asked
    )


def _has_what_it_takes_ahead(original: Changed, gossip: Gossip, sender: Peer, heads: Mapping[int, Head]) -> None:
    original(gossip, sender, {incarnation: Head(head.reach, head.reach) for incarnation, head in heads.items()})


def _asked_if_heard(peers: Peers, now: float) -> list[Peer]:
    since = now - peers._timing.confirming_s
    return [peer for peer in peers if not peer.is_gone and peer.heard_at > since]


def _asked_if_it_sent_something(peers: Peers, now: float) -> list[Peer]:
    since = now - peers._timing.confirming_s
    return [peer for peer in peers if not peer.is_gone and peer.message_at > since]


def _all_fits(original: Changed, gossip: Gossip, deltas: Iterable[Delta], now: float) -> Any:
    _, *rest = original(gossip, deltas, now)
    return (True, *rest)


def _asked_with_rounds_only(replica: Replica, now: float) -> None:
    """Keep rounds at every interval, but ask nothing between them."""


MUTATIONS = {
    "nobody is asked": mutation("3", (claims, "confirmed_until", instead(lambda asked: inf)), first_seed=28),
    "anything is an answer": mutation(
        "3",
        (Peers, "note_message_from", around(_answered_by_anything)),
        shown_by=scenarios.the_answer_to_an_older_question_is_none,
    ),
    "only who is heard is asked": mutation(
        "3", timing("confirming_s", lambda timing: timing.silent_s), shown_by=scenarios.who_was_heard_of_lately_is_asked
    ),
    "asks wait for the next round": mutation(
        "3", (Replica, "_ask_again", instead(_asked_with_rounds_only)), shown_by=scenarios.asking_begins_at_once
    ),
    "others need not have been seen": mutation(
        "3",
        (LapseRules, "_replaced_everywhere", instead(lambda *_: True)),
        shown_by=scenarios.every_other_claim_must_have_been_seen,
    ),
    "others need not have followed": mutation(
        "3",
        (LapseRules, "_replaced_everywhere", instead(_gone_before_all_have_followed)),
        shown_by=scenarios.what_changed_does_not_change_back_where_nobody_has_followed,
    ),
    "one other seen is enough": mutation(
        "3",
        (LapseRules, "_replaced_everywhere", instead(_replaced_by_one)),
        shown_by=scenarios.every_other_claim_must_have_been_seen,
    ),
    "patience of 2·I": mutation("3", timing("patience_s", lambda timing: 2 * timing.interval_s), first_seed=69),
    "endless patience": mutation("3", timing("patience_s", lambda timing: 1e6 * timing.interval_s)),
    "who was replaced is waited for": mutation(
        "3", (Peers, "note_answer_at", instead(lambda *_: None)), shown_by=scenarios.who_was_replaced_is_not_waited_for
    ),
    "an ended claim holds up others": mutation(
        "3",
        (LapseRules, "_replaced_everywhere", instead(_waits_beside_what_was_ended)),
        shown_by=scenarios.a_claim_lapses_beside_one_that_was_ended,
    ),
    "what was taken ahead of its ledger was seen": mutation(
        "3",
        (Gossip, "_note_heads", around(_has_what_it_takes_ahead)),
        shown_by=scenarios.a_claim_without_its_ledger_was_not_seen,
    ),
    "only nodes that sent something are asked": mutation(
        "3",
        (Peers, "confirming_peers", instead(_asked_if_it_sent_something)),
        shown_by=scenarios.a_node_heard_by_way_of_another_is_waited_for,
    ),
    "only nodes whose counters are believed are asked": mutation(
        "3",
        (Peers, "confirming_peers", instead(_asked_if_heard)),
        shown_by=scenarios.a_node_that_sent_anything_is_waited_for,
    ),
    "what does not fit is an answer": mutation(
        "3",
        (Gossip, "_join_deltas", around(_all_fits)),
        shown_by=scenarios.an_answer_that_does_not_fit_is_none,
    ),
}
