"""Rule 5: hearing, broken."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from bender.core.claims import Claims
from bender.core.gossip import Gossip
from bender.core.ledger import Delta
from bender.core.messages import Counter, Message
from bender.core.peer_links import Link
from bender.core.peers import Peer, Peers
from tests.simulation.mutations.mutation import Changed, around, instead, mutation, timing
from tests.simulation.scenarios import hearing as scenarios


def _without_age(original: Changed, contacts: Peers, counter: Counter, now: float) -> Any:
    return original(contacts, evolve(counter, age_s=0.0), now)


def _refreshed_by_any(original: Changed, contacts: Peers, counter: Counter, now: float) -> Any:
    heard = original(contacts, counter, now)
    contact = contacts.get(counter.incarnation)
    if contact is not None and counter.beats == contact.beats:
        contact.heard_at = now
    return heard


def _first_age_stays(original: Changed, contacts: Peers, counter: Counter, now: float) -> Any:
    contact = contacts.get(counter.incarnation)
    return counter.beats != contact.beats and original(contacts, counter, now)  # type: ignore[union-attr]


def _believed_at_once(original: Changed, rounds: Gossip, counter: Counter, version: int, now: float) -> None:
    original(rounds, counter, 0, now)


def _told_of_itself_alone(original: Changed, rounds: Gossip, now: float) -> Any:
    message = original(rounds, now)
    return evolve(message, counters=message.counters[:1])


def _own_age_left_out(original: Changed, rounds: Gossip, now: float) -> Any:
    return evolve(original(rounds, now), age_s=0.0)


def _looked_at_one_by_one(original: Changed, claims: Claims, delta: Delta) -> Any:
    keys = original(claims, delta)
    for key in keys:
        claims.refresh(key, claims._contacts_now)  # type: ignore[attr-defined]
    return keys


def _knowing_the_time(original: Changed, rounds: Gossip, message: Message, now: float, **named: Any) -> Any:
    rounds._claims._contacts_now = now  # type: ignore[attr-defined]
    return original(rounds, message, now, **named)


def _stays_hidden(original: Changed, claims: Claims, contact: Peer, horizon_s: float, now: float) -> None:
    hidden_s = contact.hidden_s
    original(claims, contact, horizon_s, now)
    contact.hidden_s = hidden_s


def _asked_twice_without_counters(original: Changed, rounds: Gossip, link: Link, message: Message, *rest: Any) -> None:
    original(rounds, link, evolve(message, counters=()) if message.heads is None else message, *rest)


def _told_of_everybody(original: Changed, rounds: Gossip, now: float) -> Any:
    counters = [rounds._own_counter(now), *(rounds._counter(contact, now) for contact in rounds._contacts)]
    return evolve(original(rounds, now), counters=tuple(counters))


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
        (Gossip, "_take", around(_knowing_the_time)),
        shown_by=scenarios.a_message_is_looked_at_as_a_whole,
    ),
    "a time limit of 1·I": mutation(
        "5",
        (Link, "limit", instead(lambda link, interval_s: interval_s)),
        shown_by=scenarios.nodes_whose_answers_take_long_hear_each_other,
    ),
    "silent after 1·I": mutation("5", timing("silent_s", lambda timing: timing.interval_s)),
    "silent after 4·I": mutation("5", timing("silent_s", lambda timing: 4 * timing.interval_s)),
    "hidden when the ttl is over": mutation(
        "5", (Peers, "horizon_s", instead(lambda contacts, contact, now: now - contact.heard_at))
    ),
    "second requests without counters": mutation(
        "5",
        (Gossip, "_send", around(_asked_twice_without_counters)),
        shown_by=scenarios.a_second_request_brings_counters,
    ),
    "counters of nodes that were not heard": mutation(
        "5",
        (Gossip, "_greeting", around(_told_of_everybody)),
        shown_by=scenarios.a_node_that_was_not_heard_is_no_news,
    ),
    "what was hidden once is not hidden again": mutation(
        "5",
        (Claims, "heard_again", around(_stays_hidden)),
        shown_by=scenarios.an_instance_that_was_restored_is_hidden_again,
    ),
}
