"""Rule 5: hearing, broken."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from bender.core.claims import Claims
from bender.core.gossip import Gossip
from bender.core.gossip_targets import Link
from bender.core.ledger import Delta
from bender.core.messages import Counter, Message
from bender.core.peers import Peer, Peers
from tests.simulation.mutations.mutation import Changed, around, instead, mutation, timing
from tests.simulation.scenarios import hearing as scenarios


def _without_age(original: Changed, peers: Peers, counter: Counter, now: float) -> Any:
    return original(peers, evolve(counter, age_s=0.0), now)


def _refreshed_by_any(original: Changed, peers: Peers, counter: Counter, now: float) -> Any:
    heard = original(peers, counter, now)
    peer = peers.get(counter.incarnation)
    if peer is not None and counter.beats == peer.beats:
        peer.heard_at = now
    return heard


def _first_age_stays(original: Changed, peers: Peers, counter: Counter, now: float) -> Any:
    peer = peers.get(counter.incarnation)
    return counter.beats != peer.beats and original(peers, counter, now)  # type: ignore[union-attr]


def _believed_at_once(
    original: Changed, gossip: Gossip, counter: Counter, version: int, now: float, waited_s: float
) -> None:
    original(gossip, counter, 0, now, waited_s)


def _told_of_itself_alone(original: Changed, gossip: Gossip, now: float) -> Any:
    message = original(gossip, now)
    return evolve(message, counters=message.counters[:1])


def _own_age_left_out(original: Changed, gossip: Gossip, now: float) -> Any:
    return evolve(original(gossip, now), age_s=0.0)


def _looked_at_one_by_one(original: Changed, claims: Claims, delta: Delta) -> Any:
    keys = original(claims, delta)
    for key in keys:
        claims.refresh(key, claims._peers_now)  # type: ignore[attr-defined]
    return keys


def _knowing_the_time(original: Changed, gossip: Gossip, message: Message, now: float, waited_s: float) -> Any:
    gossip._claims._peers_now = now  # type: ignore[attr-defined]
    return original(gossip, message, now, waited_s)


def _stays_hidden(original: Changed, claims: Claims, peer: Peer, horizon_s: float, now: float) -> None:
    hidden_s = peer.hidden_ttl_s
    original(claims, peer, horizon_s, now)
    peer.hidden_ttl_s = hidden_s


def _asked_twice_without_counters(original: Changed, gossip: Gossip, link: Link, message: Message, *rest: Any) -> None:
    original(gossip, link, evolve(message, counters=()) if message.heads is None else message, *rest)


def _told_of_everybody(original: Changed, gossip: Gossip, now: float) -> Any:
    counters = [gossip._own_counter(now), *(gossip._counter(peer, now) for peer in gossip._peers)]
    return evolve(original(gossip, now), counters=tuple(counters))


MUTATIONS = {
    "counters without ages": mutation("5", (Peers, "hear", around(_without_age))),
    "old news keeps alive": mutation("5", (Peers, "hear", around(_refreshed_by_any))),
    "the first age of a heartbeat stays": mutation("5", (Peers, "hear", around(_first_age_stays)), first_seed=37),
    "counters without their ledger": mutation(
        "5",
        (Gossip, "_hear", around(_believed_at_once)),
        shown_by=scenarios.a_counter_without_its_ledger_is_not_believed,
    ),
    "ledgers without their counter": mutation(
        "5", (Gossip, "_counters_with", instead(lambda *_: ())), shown_by=scenarios.a_ledger_brings_its_counter
    ),
    "counters are not relayed": mutation("5", (Gossip, "_greeting", around(_told_of_itself_alone)), first_seed=35),
    "one's own counter has no age": mutation(
        "5", (Gossip, "_own_counter", around(_own_age_left_out)), shown_by=scenarios.a_heartbeat_is_as_old_as_it_is
    ),
    "ledgers are looked at one by one": mutation(
        "5",
        (Claims, "join", around(_looked_at_one_by_one)),
        (Gossip, "_apply", around(_knowing_the_time)),
        shown_by=scenarios.a_message_is_looked_at_as_a_whole,
    ),
    "a time limit of 1·I": mutation(
        "5",
        (Link, "time_limit_s", instead(lambda link, interval_s: interval_s)),
        shown_by=scenarios.nodes_whose_answers_take_long_hear_each_other,
    ),
    "silent after 1·I": mutation("5", timing("silent_s", lambda timing: timing.interval_s)),
    "silent after 4·I": mutation("5", timing("silent_s", lambda timing: 4 * timing.interval_s)),
    "hidden when the ttl is over": mutation(
        "5", (Peers, "horizon_s", instead(lambda peers, peer, now: now - peer.heard_at))
    ),
    "second requests without counters": mutation(
        "5",
        (Gossip, "_add_request", around(_asked_twice_without_counters)),
        shown_by=scenarios.a_second_request_brings_counters,
    ),
    "counters of nodes that were not heard": mutation(
        "5",
        (Gossip, "_greeting", around(_told_of_everybody)),
        shown_by=scenarios.a_node_that_was_not_heard_is_no_news,
    ),
    "what was hidden once is not hidden again": mutation(
        "5",
        (Claims, "refresh_heard_again", around(_stays_hidden)),
        shown_by=scenarios.an_instance_that_was_restored_is_hidden_again,
    ),
}
