"""Rule 6: starts and pauses, broken."""

from __future__ import annotations

from math import inf
from typing import Any

from attrs import evolve

from bender.core.claims import Claims
from bender.core.gossip import Gossip
from bender.core.gossip_targets import Links
from bender.core.leases import Leases
from bender.core.ledger_copies import LedgerCopies
from bender.core.messages import Counter, Message, Sender
from bender.core.peers import Peer, Peers
from bender.core.readiness import Readiness
from bender.core.replica import Replica
from tests.simulation.mutations.mutation import Changed, around, instead, mutation
from tests.simulation.patches import patched
from tests.simulation.scenarios import pauses as scenarios

_notice = Replica._notice_pause


def _sweep_notices(original: Changed, replica: Replica, now: float) -> Any:
    _notice(replica, now)
    return original(replica, now)


def _shown_while_holding(original: Changed, claims: Claims, key: str, now: float) -> None:
    holding, claims.is_frozen = claims.is_frozen, False
    original(claims, key, now)
    claims.is_frozen = holding


def _ready_at_once(original: Changed, readiness: Readiness, now: float) -> Any:
    return original(readiness, now) if readiness.is_starting else True


def _started_at_once(original: Changed, readiness: Readiness, now: float) -> Any:
    return True if readiness.is_starting else original(readiness, now)


def _ready_after_one(original: Changed, readiness: Readiness, now: float) -> Any:
    since = readiness.since
    return original(readiness, now) or any(peer.echoed_at >= since for peer in readiness._peers)


def _ready_without_agreement(readiness: Readiness, now: float) -> bool:
    if readiness.is_starting and readiness._links.unanswered_seeds():
        return False
    return all(peer.echoed_at >= readiness.since for peer in readiness._peers.awaited_peers(now))


def _ready_without_seeds(readiness: Readiness, now: float) -> bool:
    since = readiness.since
    return all(peer.echoed_at >= since and peer.agreed_at >= since for peer in readiness._peers.awaited_peers(now))


def _shifts_once(original: Changed, leases: Leases, by_s: float, away_s: float) -> None:
    if by_s == away_s:
        original(leases, by_s, away_s)


def _shifts_all(original: Changed, leases: Leases, by_s: float, away_s: float) -> None:
    original(leases, by_s, 0.0)


def _shifts_what_is_not_due(original: Changed, leases: Leases, by_s: float, away_s: float) -> None:
    deadlines = {lease: lease.deadline for lease in leases.due}
    original(leases, by_s, away_s)
    for lease, deadline in deadlines.items():
        lease.deadline = deadline


def _shifts_by_the_wait_alone(original: Changed, leases: Leases, by_s: float, away_s: float) -> None:
    original(leases, by_s, by_s)


def _mute_after_the_last_pause_alone(original: Changed, readiness: Readiness, now: float, away_s: float) -> None:
    original(readiness, now, away_s)
    readiness.is_mute = readiness.is_mute and away_s >= readiness._timing.ttl_s


def _ready_without_telling(original: Changed, replica: Replica, now: float) -> None:
    with patched([(Gossip, "ask", instead(lambda *_: None))]):
        original(replica, now)


def _agreed_for_good(original: Changed, readiness: Readiness, now: float) -> Any:
    for peer in readiness._peers:
        if peer.agreed_at > -inf:
            peer.agreed_at = max(peer.agreed_at, readiness.since)
    return original(readiness, now)


def _whole_with_whole_deltas(original: Changed, *arguments: Any) -> Any:
    lacking = original(*arguments)
    return evolve(lacking, is_all=all(delta.is_final for delta in lacking.deltas))


def _one_address_of_a_seed_is_enough(original: Changed, links: Links) -> list[str]:
    return [
        seed for seed in original(links) if all(links[address].incarnation is None for address in links.seeds[seed])
    ]


def _beats_while_mute(original: Changed, readiness: Readiness, now: float, away_s: float) -> None:
    original(readiness, now, away_s)
    readiness.is_mute = False


def _ready_without_a_beat(replica: Replica, now: float) -> None:
    replica.readiness.become_ready()


def _beats_before_it_lapses(original: Changed, replica: Replica, now: float) -> Any:
    lapse = replica.claims.lapse
    if not replica.is_ready:
        replica.claims.lapse = lambda now: False  # type: ignore[method-assign]
    try:
        return original(replica, now)
    finally:
        replica.claims.lapse = lapse  # type: ignore[method-assign]


def _believes_what_waited(original: Changed, gossip: Gossip, message: Message, now: float, *, waited_s: float) -> Any:
    return original(gossip, message, now, waited_s=0.0)


def _does_not_ask_who_waited(
    original: Changed, gossip: Gossip, message: Message, now: float, *, waited_s: float
) -> Any:
    received = original(gossip, message, now, waited_s=waited_s)
    return evolve(received, is_from_stranger=received.is_from_stranger and not waited_s)


def _believes_as_if_it_waited(
    original: Changed, gossip: Gossip, counter: Counter, version: int, now: float, waited_s: float
) -> None:
    peer = gossip._peers.get(counter.incarnation)
    if not (peer and counter.beats > peer.beats and gossip._claims.copies.are_outlasted(peer, waited_s)):
        original(gossip, counter, version, now, waited_s)


def _outlasted_by_any_wait(copies: LedgerCopies, peer: Peer, waited_s: float) -> bool:
    return waited_s > 0


def _known_without_the_pause(original: Changed, peers: Peers, counter: Counter, now: float) -> None:
    peer = peers.get(counter.incarnation)
    if peer is None:
        original(peers, counter, now)
        return
    shift_s, peer.shift_s = peer.shift_s, 0.0
    original(peers, counter, now)
    peer.shift_s = shift_s


def _begins_with_nothing_to_show(original: Changed, replica: Replica, *arguments: Any) -> None:
    original(replica, *arguments)
    replica._shown_settings._stale = {}


def _begins_without_its_peers(
    original: Changed, replica: Replica, identity: Sender, now: float, seeds: Any, expected: Any, *rest: Any
) -> None:
    original(replica, identity, now, seeds, (), *rest)


def _does_not_ask_back(original: Changed, gossip: Gossip, *arguments: Any, ask: bool) -> Any:
    return original(gossip, *arguments, ask=False)


def _echoes_with_a_page(original: Changed, gossip: Gossip, request: Message, *rest: Any, **named: Any) -> Any:
    return evolve(original(gossip, request, *rest, **named), echo=request.ask)


def _stays_itself(replica: Replica, now: float) -> bool:
    return False


MUTATIONS = {
    "only sweeps notice a pause": mutation(
        "6", (Replica, "_notice_pause", instead(lambda *_: None)), (Replica, "sweep", around(_sweep_notices))
    ),
    "ready at once after a pause": mutation("6", (Readiness, "all_answered", around(_ready_at_once)), first_seed=85),
    "ready at once after a start": mutation("6", (Readiness, "all_answered", around(_started_at_once))),
    "ready after the first answer": mutation("6", (Readiness, "all_answered", around(_ready_after_one))),
    "ready without agreement": mutation(
        "6",
        (Readiness, "all_answered", instead(_ready_without_agreement)),
        shown_by=scenarios.configuration_comes_before_readiness,
    ),
    "ready without the seeds": mutation("6", (Readiness, "all_answered", instead(_ready_without_seeds))),
    "events before it is ready": mutation("6", (Claims, "refresh", around(_shown_while_holding))),
    "leases lose a pause": mutation("6", (Leases, "shift", instead(lambda *_: None)), first_seed=23),
    "leases lose the wait after a pause": mutation(
        "6",
        (Leases, "shift", around(_shifts_once)),
        shown_by=scenarios.the_wait_for_readiness_is_no_fault_of_the_instance,
    ),
    "leases gain a pause of any length": mutation(
        "6", (Leases, "shift", around(_shifts_all)), shown_by=scenarios.what_died_before_a_long_pause_stays_dead
    ),
    "others lose a pause": mutation("6", (Peers, "shift", instead(lambda *_: None)), first_seed=85),
    "others gain a pause for good": mutation("6", (Peers, "unshift", instead(lambda *_: None))),
    "heartbeats after a long pause": mutation(
        "6",
        (Readiness, "wait_again", around(_beats_while_mute)),
        shown_by=scenarios.what_died_before_a_long_pause_stays_dead,
    ),
    "ready without a heartbeat": mutation("6", (Replica, "_become_ready", instead(_ready_without_a_beat))),
    "a heartbeat before what has lapsed goes": mutation(
        "6",
        (Replica, "_settle", around(_beats_before_it_lapses)),
        shown_by=scenarios.what_died_before_a_long_pause_stays_dead,
    ),
    "what is known at the end of a pause is older": mutation(
        "6",
        (Peers, "meet", around(_known_without_the_pause)),
        shown_by=scenarios.news_at_the_end_of_a_pause_keeps_nobody_from_being_waited_for,
    ),
    "settings go with the incarnation that held them": mutation(
        "6",
        (Replica, "_begin", around(_begins_with_nothing_to_show)),
        shown_by=scenarios.settings_outlive_the_incarnation_that_held_them_back,
    ),
    "a new incarnation does not wait for the peers of the one before": mutation(
        "6",
        (Replica, "_begin", around(_begins_without_its_peers)),
        shown_by=scenarios.the_peers_of_the_incarnation_before_are_waited_for,
    ),
    "strangers who waited are not asked": mutation(
        "6",
        (Gossip, "apply_request", around(_does_not_ask_who_waited)),
        shown_by=scenarios.who_came_during_a_pause_is_met_after_it,
    ),
    "what waited is believed": mutation(
        "6",
        (Gossip, "apply_request", around(_believes_what_waited)),
        shown_by=scenarios.what_waited_during_a_long_absence_brings_back_nobody,
    ),
    "answers that waited are believed": mutation(
        "6",
        (Readiness, "answer_waited_s", instead(lambda *_: 0.0)),
        shown_by=scenarios.an_answer_that_waited_brings_back_nobody,
    ),
    "heartbeats that waited for the ttl are believed": mutation(
        "6",
        (LedgerCopies, "are_outlasted", instead(lambda *_: False)),
        shown_by=scenarios.heartbeats_that_waited_for_the_ttl_bring_back_nothing,
    ),
    "heartbeats that waited are not believed": mutation(
        "6",
        (LedgerCopies, "are_outlasted", instead(_outlasted_by_any_wait)),
        shown_by=scenarios.heartbeats_that_waited_for_less_than_the_ttl_count,
    ),
    "a node that waits for nobody believes no heartbeats that waited": mutation(
        "6",
        (Gossip, "_hear", around(_believes_as_if_it_waited)),
        shown_by=scenarios.a_node_that_waits_for_nobody_believes_what_waited,
    ),
    "nobody asks back": mutation(
        "6", (Gossip, "_answer", around(_does_not_ask_back)), shown_by=scenarios.who_cannot_ask_is_asked_back
    ),
    "an echo with a page": mutation(
        "6", (Gossip, "_answer", around(_echoes_with_a_page)), shown_by=scenarios.an_echo_comes_with_everything
    ),
    "the same incarnation after ten minutes": mutation(
        "6",
        (Replica, "is_forgotten", instead(_stays_itself)),
        shown_by=scenarios.what_waited_during_a_long_absence_brings_back_nobody,
    ),
    "what was hidden stays hidden": mutation(
        "6",
        (Claims, "refresh_heard_again", instead(lambda *_: None)),
        shown_by=scenarios.an_instance_hidden_before_a_pause_is_restored_after_it,
    ),
    "what is due loses a pause": mutation(
        "6",
        (Leases, "shift", around(_shifts_what_is_not_due)),
        shown_by=scenarios.a_renewal_of_what_was_due_gets_the_pause_back,
    ),
    "leases gain the wait after a long pause": mutation(
        "6",
        (Leases, "shift", around(_shifts_by_the_wait_alone)),
        shown_by=scenarios.the_wait_after_a_long_pause_is_not_given_back,
    ),
    "heartbeats after a second pause": mutation(
        "6",
        (Readiness, "wait_again", around(_mute_after_the_last_pause_alone)),
        shown_by=scenarios.a_second_pause_does_not_let_a_node_beat,
    ),
    "nobody is told of the heartbeat of a node that is ready": mutation(
        "6",
        (Replica, "_become_ready", around(_ready_without_telling)),
        shown_by=scenarios.a_node_tells_at_once_that_it_is_ready,
    ),
    "agreed once is agreed for good": mutation(
        "6",
        (Readiness, "all_answered", around(_agreed_for_good)),
        shown_by=scenarios.configuration_is_agreed_on_again_after_a_pause,
    ),
    "an echo with some ledgers": mutation(
        "6",
        (Gossip, "_lacking", around(_whole_with_whole_deltas)),
        shown_by=scenarios.an_echo_comes_with_all_ledgers,
    ),
    "one address of a seed is enough": mutation(
        "6",
        (Links, "unanswered_seeds", around(_one_address_of_a_seed_is_enough)),
        shown_by=scenarios.all_addresses_of_a_seed_are_waited_for,
    ),
}
