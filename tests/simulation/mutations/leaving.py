"""Rules 7 and 8: leaving and forgetting, broken."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from bender.core.claims import Claims
from bender.core.gossip import Gossip
from bender.core.gossip_targets import Links
from bender.core.messages import Counter, Sender
from bender.core.peers import Peer, Peers
from bender.core.timing import Timing
from tests.simulation.mutations.mutation import Changed, around, instead, mutation
from tests.simulation.scenarios import leaving as scenarios


def _says_no_good_bye(original: Changed, gossip: Gossip, now: float) -> Any:
    message = original(gossip, now)
    return evolve(message, counters=tuple(evolve(counter, left=False) for counter in message.counters))


def _passes_on_its_conclusions(original: Changed, gossip: Gossip, peer: Peer, now: float) -> Any:
    return evolve(original(gossip, peer, now), left=peer.is_gone)


def _replaced_in_spite_of_a_message(original: Changed, peers: Peers, sender: Sender, now: float) -> Any:
    peer = peers.get(sender.incarnation)
    replaced = peer is not None and peer.replaced
    peer = original(peers, sender, now)
    if peer is not None:
        peer.replaced = replaced
    return peer


def _gone_with_its_node(original: Changed, peers: Peers, incarnation: int, ttl_s: float, now: float) -> Any:
    peer = peers.get(incarnation)
    return peer is not None and not peer.is_gone and original(peers, incarnation, ttl_s, now)


def _meets_the_forgotten(original: Changed, peers: Peers, counter: Counter, now: float) -> None:
    if counter.incarnation not in peers:
        peer = Peer(counter.incarnation, counter.name, counter.address, now)
        peer.left = counter.left
        peers._by_incarnation[counter.incarnation] = peer
    original(peers, counter, now)


def _first_age_known_stays(original: Changed, peers: Peers, counter: Counter, now: float) -> None:
    peer = peers.get(counter.incarnation)
    if peer is None or counter.beats > peer.known_beats:
        original(peers, counter, now)


def _keeps_its_longest_ttl_to_itself(original: Changed, gossip: Gossip, peer: Peer, now: float) -> Any:
    return evolve(original(gossip, peer, now), ttl_max_s=0.0)


def _replaced_by_any_answer(peers: Peers, address: str, incarnation: int, since: float) -> None:
    for peer in peers:
        if peer.address == address and peer.incarnation != incarnation:
            peer.mark_replaced(since)


def _stays_where_it_was(original: Changed, peers: Peers, sender: Sender, now: float) -> Any:
    peer = peers.get(sender.incarnation)
    return original(peers, evolve(sender, address=peer.address) if peer else sender, now)


MUTATIONS = {
    "no good-bye": mutation(
        "7", (Gossip, "_greeting", around(_says_no_good_bye)), shown_by=scenarios.who_left_is_not_waited_for
    ),
    "that a node was replaced is passed on": mutation(
        "7",
        (Gossip, "_counter", around(_passes_on_its_conclusions)),
        shown_by=scenarios.that_a_node_was_replaced_is_not_passed_on,
    ),
    "a message does not show that its node lives": mutation(
        "7",
        (Peers, "note_message_from", around(_replaced_in_spite_of_a_message)),
        shown_by=scenarios.a_message_from_a_node_shows_that_it_was_not_replaced,
    ),
    "claims go with their node": mutation("7", (Peers, "counts", around(_gone_with_its_node))),
    "who left may be renewed at": mutation(
        "7",
        (Claims, "_may_be_renewed", instead(lambda *_: True)),
        shown_by=scenarios.what_stops_after_a_node_left_has_expired,
    ),
    "nothing is forgotten": mutation("8", (Peers, "is_forgettable", instead(lambda *_: False)), first_seed=21),
    "the forgotten come back": mutation(
        "8", (Peers, "meet", around(_meets_the_forgotten)), shown_by=scenarios.who_was_forgotten_is_not_met_again
    ),
    "the first age of somebody new stays": mutation(
        "8",
        (Peers, "meet", around(_first_age_known_stays)),
        shown_by=scenarios.who_died_during_a_pause_is_forgotten_when_the_others_do,
    ),
    "the longest ttl does not travel": mutation(
        "8",
        (Gossip, "_counter", around(_keeps_its_longest_ttl_to_itself)),
        shown_by=scenarios.a_newcomer_remembers_for_as_long_as_the_others,
    ),
    "nothing is inherited": mutation(
        "8",
        (Claims, "_is_lost", instead(lambda *_: False)),
        shown_by=scenarios.what_was_listed_before_a_long_absence_is_lost_not_expired,
    ),
    "any answer replaces the others at its address": mutation(
        "7",
        (Peers, "note_answer_at", instead(_replaced_by_any_answer)),
        shown_by=scenarios.a_late_answer_of_an_earlier_start_replaces_nobody,
    ),
    "nodes do not move": mutation(
        "7",
        (Peers, "note_message_from", around(_stays_where_it_was)),
        shown_by=scenarios.a_node_that_moved_is_asked_at_its_new_address,
    ),
    "all ledgers are kept for as long": mutation(
        "8",
        (Timing, "ledger_kept_s", around(lambda original, timing, ttl_max_s: original(timing, 0.0))),
        shown_by=scenarios.a_long_ttl_keeps_the_ledger_of_its_node,
    ),
    "addresses are not forgotten": mutation(
        "8",
        (Links, "forget", instead(lambda *_: None)),
        shown_by=scenarios.the_address_of_a_node_is_forgotten_with_it,
    ),
}
