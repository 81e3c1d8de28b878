"""Every rule of the architecture, broken on purpose; and what notices it.

A checker that nobody saw fail is no checker, and a rule whose absence nothing can notice is none. The core has no
switches for this: a mutation replaces some of its parts for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import Any

from attrs import evolve, frozen

from bender.core import configuration, ledger
from bender.core.claims import Claims, _ended_roots, _rank
from bender.core.configuration import Configuration
from bender.core.contacts import Contact, Contacts, covered
from bender.core.guard import Guard, Loss, Suspect, app_of
from bender.core.leases import Lease, Leases
from bender.core.ledger import Claim, Copy, Delta, Dot, End, Entry, Ledger
from bender.core.messages import Counter, Message, Setting
from bender.core.replica import Replica
from bender.core.rounds import Rounds
from bender.core.timing import Timing
from tests.simulation import scenarios
from tests.simulation.patches import Patch
from tests.simulation.scenarios import Scenario

Changed = Callable[..., Any]


def instead(replacement: Any) -> Callable[[Any], Any]:
    """A change that pays no heed to the original."""
    return lambda original: replacement


def around(change: Callable[..., Any]) -> Callable[[Changed], Changed]:
    """A change that is called with the original and its arguments."""
    return lambda original: lambda *arguments, **named: change(original, *arguments, **named)


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


def _changed_with_its_old_root(
    original: Changed, claims: Claims, key: str, body: bytes, ttl_s: float, rev: int, root: Dot | None, at: float
) -> Any:
    known = [entry for entry in claims.index.entries(key) if isinstance(entry, Claim)]
    if root is None and known:
        root = max(known, key=lambda claim: claim.rank).root
    return original(claims, key, body, ttl_s, rev, root, at)


# Rule 2: claims follow.


def _nothing_follows(claims: Claims, lease: Lease, winner: Claim | None, entries: Iterable[Entry], now: float) -> bool:
    lease.current = winner is not None and _rank(lease) == winner.rank
    ended = isinstance(lease.entry, Claim) and lease.entry.root in _ended_roots(entries)
    if ended and claims.leases.due.get(lease) is None:
        claims.leases.due[lease] = now
    return False


def _follows_as_if_renewed(
    original: Changed, claims: Claims, lease: Lease, winner: Claim | None, entries: Iterable[Entry], now: float
) -> Any:
    followed = original(claims, lease, winner, entries, now)
    if followed:
        claims.index.lease(lease.entry.key).deadline = now + winner.ttl_s  # type: ignore[union-attr]
    return followed


# Rule 3: lapsing.


def _answered_by_anything(original: Changed, contacts: Contacts, sender: Any, now: float) -> Any:
    contact = original(contacts, sender, now)
    if contact is not None:
        contact.echoed = now
    return contact


def _covered_by_one(dots: Iterable[Dot], contacts: Iterable[Contact]) -> bool:
    wanted = [*dots]
    return not wanted or all(
        any(contact.incarnation == i or contact.heads.get(i, 0) >= n for i, n in wanted) for contact in contacts
    )


def _replaced_by_one(claims: Claims, claim: Claim, asked: list[Contact], now: float) -> bool:
    others = [
        other.dot
        for other in claims.index.entries(claim.key)
        if other is not claim and isinstance(other, Claim) and claims._counts(other, now)
    ]
    return _covered_by_one(others, asked)


def _gone_before_all_have_followed(claims: Claims, claim: Claim, asked: list[Contact], now: float) -> bool:
    others = [
        other.dot
        for other in claims.index.entries(claim.key)
        if other is not claim and isinstance(other, Claim) and claims._counts(other, now)
    ]
    return covered(others, asked)


def _asked_with_rounds_only(replica: Replica, now: float) -> None:
    """Rounds go on every interval; nothing is asked between them."""


# Rule 4: deregistering.


def _removed_without_an_end(claims: Claims, key: str, now: float) -> bool:
    if claims.winner(key, now) is None:
        return False
    lease = claims.index.lease(key)
    if lease is not None:
        claims._remove(lease)
    claims.refresh(key, now)
    return True


def _ends_its_own_root_alone(original: Changed, claims: Claims, entry: Entry, deadline: float) -> Any:
    if isinstance(entry, End):
        entry = End(entry.node, entry.n, entry.key, entry.ttl_s, entry.rev, entry.roots[:1])
    return original(claims, entry, deadline)


def _end_on_time(claims: Claims, lease: Lease, end: End, now: float) -> bool:
    if lease.deadline > now:
        claims.leases.seat(lease)
        return False
    return True


# Rule 5: hearing.


def _without_age(original: Changed, contacts: Contacts, counter: Counter, now: float) -> Any:
    return original(contacts, evolve(counter, age_s=0.0), now)


def _refreshed_by_any(original: Changed, contacts: Contacts, counter: Counter, now: float) -> Any:
    heard = original(contacts, counter, now)
    contact = contacts.get(counter.incarnation)
    if contact is not None and counter.beats == contact.beats:
        contact.heard_at = now
    return heard


def _first_age_stays(original: Changed, contacts: Contacts, counter: Counter, now: float) -> Any:
    contact = contacts.get(counter.incarnation)
    return counter.beats != contact.beats and original(contacts, counter, now)  # type: ignore[union-attr]


def _believed_at_once(original: Changed, rounds: Rounds, counter: Counter, version: int, now: float) -> None:
    original(rounds, counter, 0, now)


def _told_of_itself_alone(original: Changed, rounds: Rounds, now: float) -> Any:
    message = original(rounds, now)
    return evolve(message, counters=message.counters[:1])


def _own_age_left_out(original: Changed, rounds: Rounds, now: float) -> Any:
    return evolve(original(rounds, now), age_s=0.0)


def _looked_at_one_by_one(original: Changed, claims: Claims, delta: Delta) -> Any:
    keys = original(claims, delta)
    for key in keys:
        claims.refresh(key, claims._contacts_now)  # type: ignore[attr-defined]
    return keys


def _knowing_the_time(original: Changed, rounds: Rounds, message: Message, now: float, **named: Any) -> Any:
    rounds._claims._contacts_now = now  # type: ignore[attr-defined]
    return original(rounds, message, now, **named)


# Rule 6: pauses.

_notice = Replica._notice


def _sweep_notices(original: Changed, replica: Replica, now: float) -> Any:
    _notice(replica, now)
    return original(replica, now)


def _shown_while_holding(original: Changed, claims: Claims, key: str, now: float) -> None:
    holding, claims.holding = claims.holding, False
    original(claims, key, now)
    claims.holding = holding


def _ready_at_once(original: Changed, replica: Replica, now: float) -> Any:
    return original(replica, now) if replica.starting else True


def _started_at_once(original: Changed, replica: Replica, now: float) -> Any:
    return True if replica.starting else original(replica, now)


def _ready_after_one(original: Changed, replica: Replica, now: float) -> Any:
    since = replica._away_since
    return original(replica, now) or any(contact.echoed >= since for contact in replica.contacts)


def _ready_without_agreement(replica: Replica, now: float) -> bool:
    if replica.starting and replica.links.unanswered():
        return False
    return all(contact.echoed >= replica._away_since for contact in replica.contacts.awaited(now))


def _ready_without_seeds(replica: Replica, now: float) -> bool:
    since = replica._away_since
    return all(contact.echoed >= since and contact.agreed >= since for contact in replica.contacts.awaited(now))


def _shifts_once(original: Changed, leases: Leases, by_s: float, away_s: float) -> None:
    if by_s == away_s:
        original(leases, by_s, away_s)


def _shifts_all(original: Changed, leases: Leases, by_s: float, away_s: float) -> None:
    original(leases, by_s, 0.0)


def _beats_while_mute(original: Changed, replica: Replica, now: float, *rest: Any) -> None:
    original(replica, now, *rest)
    replica._mute = False


def _ready_without_a_beat(replica: Replica, now: float) -> None:
    replica.ready = True
    replica.starting = replica._mute = False


def _beats_before_it_lapses(original: Changed, replica: Replica, now: float) -> Any:
    lapse = replica.claims.lapse
    if not replica.ready:
        replica.claims.lapse = lambda now: False  # type: ignore[method-assign]
    try:
        return original(replica, now)
    finally:
        replica.claims.lapse = lapse  # type: ignore[method-assign]


def _believes_what_waited(original: Changed, rounds: Rounds, message: Message, now: float, **named: Any) -> Any:
    return original(rounds, message, now, **{**named, "late": False})


def _does_not_ask_who_waited(original: Changed, rounds: Rounds, message: Message, now: float, **named: Any) -> Any:
    requests = [*rounds.requests]
    came_of_it = original(rounds, message, now, **named)
    if named["late"]:
        rounds.requests = requests
    return came_of_it


def _known_without_the_pause(original: Changed, contacts: Contacts, counter: Counter, now: float) -> None:
    contact = contacts.get(counter.incarnation)
    if contact is None:
        original(contacts, counter, now)
        return
    shift_s, contact.shift_s = contact.shift_s, 0.0
    original(contacts, counter, now)
    contact.shift_s = shift_s


def _begins_with_nothing_to_show(original: Changed, replica: Replica, *arguments: Any) -> None:
    original(replica, *arguments)
    replica._stale_settings = {}


def _does_not_ask_back(original: Changed, rounds: Rounds, *arguments: Any, ask: bool) -> Any:
    return original(rounds, *arguments, ask=False)


def _echoes_with_a_page(original: Changed, rounds: Rounds, request: Message, *rest: Any, **named: Any) -> Any:
    return evolve(original(rounds, request, *rest, **named), echo=request.ask)


def _stays_itself(replica: Replica, now: float) -> bool:
    return False


# Rules 7 and 8: leaving and forgetting.


def _says_no_good_bye(original: Changed, rounds: Rounds, now: float) -> Any:
    message = original(rounds, now)
    return evolve(message, counters=tuple(evolve(counter, left=False) for counter in message.counters))


def _gone_with_its_node(original: Changed, contacts: Contacts, incarnation: int, ttl_s: float, now: float) -> Any:
    contact = contacts.get(incarnation)
    return contact is not None and not contact.gone and original(contacts, incarnation, ttl_s, now)


def _meets_the_forgotten(original: Changed, contacts: Contacts, counter: Counter, now: float) -> None:
    if counter.incarnation not in contacts:
        contact = Contact(counter.incarnation, counter.name, counter.address, now)
        contact.left = counter.left
        contacts._by_incarnation[counter.incarnation] = contact
    original(contacts, counter, now)


def _first_age_known_stays(original: Changed, contacts: Contacts, counter: Counter, now: float) -> None:
    contact = contacts.get(counter.incarnation)
    if contact is None or counter.beats > contact.known_beats:
        original(contacts, counter, now)


def _keeps_its_longest_ttl_to_itself(original: Changed, rounds: Rounds, contact: Contact, now: float) -> Any:
    return evolve(original(rounds, contact, now), ttl_max_s=0.0)


# The state.


def _joined_without_base(original: Changed, ledger: Ledger, delta: Delta) -> Any:
    if delta.version > ledger.version:
        ledger.reach = max(ledger.reach, delta.base)
    return original(ledger, delta)


def _joined_without_since(original: Changed, ledger: Ledger, delta: Delta) -> Any:
    return original(ledger, evolve(delta, since=0))


def _passed_over(entry: Entry | Copy, find: Callable[[int, int], Entry | None]) -> Entry | Copy:
    return entry


def _always_brief(original: Changed, claims: Claims, entry: Entry | Copy, contact: Contact) -> Entry | Copy:
    alike = (
        [other for other in claims.index.entries(entry.key) if other is not entry] if isinstance(entry, Claim) else []
    )
    return Copy(entry.node, entry.n, alike[0].node, alike[0].n) if alike else entry


def _last_first(settings: tuple[Setting, ...], new: Setting) -> tuple[Setting, ...]:
    if any(setting.rank == new.rank for setting in settings):
        return settings
    return (new, *settings)[:20]


def _removed_for_good(original: Changed, settings: Configuration, setting: Setting, now: float) -> Any:
    changed = original(settings, setting, now)
    if setting.body is None:
        settings._settings.pop(setting.key, None)
    return changed


def _over_for_good(original: Changed, kept: Configuration, now: float) -> Any:
    keys = original(kept, now)
    for key in filter(kept.__contains__, keys):
        kept._replace(key, kept.settings(key), ())
        del kept._settings[key], kept._due_at[key]
    return keys


def _told_as_new(_: Configuration, settings: Iterable[Setting], __: float) -> Any:
    return (*settings,)


# Rule 9: the guard.


def _never_over(original: Changed, guard: Guard, now: float) -> dict[str, None]:
    original(guard, now)
    return {}


def _suspects_what_is_gone(original: Changed, claims: Claims, key: str, shown: Claim, *rest: Any) -> Any:
    return original(claims, key, shown, *rest) or ([shown] if claims.guard.suspect(key) else [])


def _counts_what_is_due(claims: Claims, key: str, *, now: float) -> bool:
    return claims._winner(claims.index.entries(key), now) is None


def _remembers_losses(guard: Guard, app: str, now: float) -> dict[str, Loss]:
    return guard._losses.get(app, {})


def _what_came_back_is_lost(original: Changed, guard: Guard, key: str) -> None:
    losses = {app: {**of_app} for app, of_app in guard._losses.items()}
    original(guard, key)
    guard._losses = losses


def _unknown_when_suspect(original: Changed, claims: Claims, key: str, now: float) -> Any:
    return None if claims.guard.suspect(key) else original(claims, key, now)


def _lifted_for_good(original: Changed, guard: Guard, app: str, *, lifted: bool) -> Any:
    return original(guard, app, lifted=True)


def _lengthened(original: Changed, guard: Guard, key: str, *rest: Any) -> Any:
    suspect = guard.suspect(key)
    if suspect is not None:
        guard._suspects[app_of(key)][key] = Suspect(suspect.over_at + 1.0, suspect.holders)
    return original(guard, key, *rest)


@frozen
class Mutation:
    """What is broken, of which rule: `patches` do it; `shown_by` is the scenario that notices, where seeds do not."""

    rule: str
    patches: list[Patch]
    shown_by: Scenario | None


def _mutation(rule: str, *patches: Patch, shown_by: Scenario | None = None) -> Mutation:
    return Mutation(rule, [*patches], shown_by)


def _timing(name: str, of: Callable[[Timing], float]) -> Patch:
    return (Timing, name, instead(property(of)))


MUTATIONS = {
    "a renewal elsewhere begins a registration": _mutation("1", (Claims, "_hear_from", instead(_renewed_as_new))),
    "a renewal elsewhere makes no claim": _mutation("1", (Claims, "renew", around(_renewed_in_another_place))),
    "every renewal makes a claim": _mutation("1", (Claims, "renew", around(_claimed_at_every_renewal))),
    "a session's end is not noticed": _mutation(
        "1",
        (Leases, "shorten", instead(lambda *_: None)),
        shown_by=scenarios.the_end_of_a_session_comes_before_its_ttl,
    ),
    "a session's end is an end": _mutation(
        "1",
        (Claims, "shorten", instead(_ended_with_its_session)),
        shown_by=scenarios.the_end_of_a_session_is_no_word_about_others,
    ),
    "a change counts nothing": _mutation("1", (Claims, "_claim", around(_rev_stays))),
    "a change keeps the root": _mutation("1", (Claims, "_claim", around(_changed_with_its_old_root))),
    "claims do not follow": _mutation(
        "2", (Claims, "_follow", instead(_nothing_follows)), shown_by=scenarios.what_changed_does_not_change_back
    ),
    "who follows is renewed by it": _mutation(
        "2", (Claims, "_follow", around(_follows_as_if_renewed)), shown_by=scenarios.who_follows_is_not_renewed_by_it
    ),
    "nobody is asked": _mutation("3", (Claims, "_confirmed", instead(staticmethod(lambda asked: inf)))),
    "anything is an answer": _mutation(
        "3",
        (Contacts, "message_from", around(_answered_by_anything)),
        shown_by=scenarios.the_answer_to_an_older_question_is_none,
    ),
    "only who is heard is asked": _mutation(
        "3", _timing("asked_s", lambda timing: timing.silent_s), shown_by=scenarios.who_was_heard_of_lately_is_asked
    ),
    "asks wait for the next round": _mutation(
        "3", (Replica, "_ask_again", instead(_asked_with_rounds_only)), shown_by=scenarios.asking_begins_at_once
    ),
    "others need not have been seen": _mutation(
        "3",
        (Claims, "_replaced_everywhere", instead(lambda *_: True)),
        shown_by=scenarios.every_other_claim_must_have_been_seen,
    ),
    "others need not have followed": _mutation(
        "3",
        (Claims, "_replaced_everywhere", instead(_gone_before_all_have_followed)),
        shown_by=scenarios.what_changed_does_not_change_back_where_nobody_has_followed,
    ),
    "one other seen is enough": _mutation(
        "3",
        (Claims, "_replaced_everywhere", instead(_replaced_by_one)),
        shown_by=scenarios.every_other_claim_must_have_been_seen,
    ),
    "patience of 2·I": _mutation("3", _timing("patience_s", lambda timing: 2 * timing.interval_s)),
    "endless patience": _mutation("3", _timing("patience_s", lambda timing: 1e6 * timing.interval_s)),
    "who was replaced is waited for": _mutation(
        "3", (Contacts, "found", instead(lambda *_: None)), shown_by=scenarios.who_was_replaced_is_not_waited_for
    ),
    "a removal without an end": _mutation("4", (Claims, "deregister", instead(_removed_without_an_end))),
    "an end names one root": _mutation("4", (Claims, "_add", around(_ends_its_own_root_alone))),
    "an ended claim goes at once": _mutation(
        "4",
        (Claims, "_ended_is_over", instead(lambda *_: True)),
        shown_by=scenarios.an_ended_claim_goes_when_all_have_the_end,
    ),
    "an ended claim stays": _mutation("4", (Claims, "_ended_is_over", instead(lambda *_: False))),
    "ends go before what they end": _mutation(
        "4", (Claims, "_end_is_over", instead(_end_on_time)), shown_by=scenarios.an_end_outlives_what_it_ends
    ),
    "ends live for an interval": _mutation(
        "4",
        _timing("end_kept_s", lambda timing: timing.interval_s - timing.ttl_s),
        (Claims, "_end_is_over", instead(_end_on_time)),
    ),
    "counters without ages": _mutation("5", (Contacts, "hear", around(_without_age))),
    "old news keeps alive": _mutation("5", (Contacts, "hear", around(_refreshed_by_any))),
    "the first age of a heartbeat stays": _mutation("5", (Contacts, "hear", around(_first_age_stays))),
    "counters without their ledger": _mutation(
        "5",
        (Rounds, "_hear", around(_believed_at_once)),
        shown_by=scenarios.a_counter_without_its_ledger_is_not_believed,
    ),
    "ledgers without their counter": _mutation(
        "5", (Rounds, "_counters_with", instead(lambda *_: ())), shown_by=scenarios.a_ledger_brings_its_counter
    ),
    "counters are not relayed": _mutation("5", (Rounds, "_greeting", around(_told_of_itself_alone))),
    "one's own counter has no age": _mutation(
        "5", (Rounds, "_own_counter", around(_own_age_left_out)), shown_by=scenarios.a_heartbeat_is_as_old_as_it_is
    ),
    "ledgers are looked at one by one": _mutation(
        "5",
        (Claims, "join", around(_looked_at_one_by_one)),
        (Rounds, "_take", around(_knowing_the_time)),
        shown_by=scenarios.a_message_is_looked_at_as_a_whole,
    ),
    "silent after 1·I": _mutation("5", _timing("silent_s", lambda timing: timing.interval_s)),
    "silent after 4·I": _mutation("5", _timing("silent_s", lambda timing: 4 * timing.interval_s)),
    "hidden when the ttl is over": _mutation(
        "5", (Contacts, "horizon_s", instead(lambda contacts, contact, now: now - contact.heard_at))
    ),
    "only sweeps notice a pause": _mutation(
        "6", (Replica, "_notice", instead(lambda *_: None)), (Replica, "sweep", around(_sweep_notices))
    ),
    "ready at once after a pause": _mutation("6", (Replica, "_all_answered", around(_ready_at_once))),
    "ready at once after a start": _mutation("6", (Replica, "_all_answered", around(_started_at_once))),
    "ready after the first answer": _mutation("6", (Replica, "_all_answered", around(_ready_after_one))),
    "ready without agreement": _mutation(
        "6",
        (Replica, "_all_answered", instead(_ready_without_agreement)),
        shown_by=scenarios.configuration_comes_before_readiness,
    ),
    "ready without the seeds": _mutation("6", (Replica, "_all_answered", instead(_ready_without_seeds))),
    "events before it is ready": _mutation("6", (Claims, "refresh", around(_shown_while_holding))),
    "leases lose a pause": _mutation("6", (Leases, "shift", instead(lambda *_: None))),
    "leases lose the wait after a pause": _mutation(
        "6",
        (Leases, "shift", around(_shifts_once)),
        shown_by=scenarios.the_wait_for_readiness_is_no_fault_of_the_instance,
    ),
    "leases gain a pause of any length": _mutation(
        "6", (Leases, "shift", around(_shifts_all)), shown_by=scenarios.what_died_before_a_long_pause_stays_dead
    ),
    "others lose a pause": _mutation("6", (Contacts, "shift", instead(lambda *_: None))),
    "others gain a pause for good": _mutation("6", (Contacts, "unshift", instead(lambda *_: None))),
    "heartbeats after a long pause": _mutation(
        "6",
        (Replica, "_return", around(_beats_while_mute)),
        shown_by=scenarios.what_died_before_a_long_pause_stays_dead,
    ),
    "ready without a heartbeat": _mutation("6", (Replica, "_become_ready", instead(_ready_without_a_beat))),
    "a heartbeat before what has lapsed goes": _mutation(
        "6",
        (Replica, "_settle", around(_beats_before_it_lapses)),
        shown_by=scenarios.what_died_before_a_long_pause_stays_dead,
    ),
    "what is known at the end of a pause is older": _mutation(
        "6",
        (Contacts, "meet", around(_known_without_the_pause)),
        shown_by=scenarios.news_at_the_end_of_a_pause_keeps_nobody_from_being_waited_for,
    ),
    "settings go with the incarnation that held them": _mutation(
        "6",
        (Replica, "_begin", around(_begins_with_nothing_to_show)),
        shown_by=scenarios.settings_outlive_the_incarnation_that_held_them_back,
    ),
    "strangers who waited are not asked": _mutation(
        "6",
        (Rounds, "receive", around(_does_not_ask_who_waited)),
        shown_by=scenarios.who_came_during_a_pause_is_met_after_it,
    ),
    "what waited is believed": _mutation(
        "6",
        (Rounds, "receive", around(_believes_what_waited)),
        shown_by=scenarios.what_waited_during_a_long_absence_brings_back_nobody,
    ),
    "nobody asks back": _mutation(
        "6", (Rounds, "_answer", around(_does_not_ask_back)), shown_by=scenarios.who_cannot_ask_is_asked_back
    ),
    "an echo with a page": _mutation(
        "6", (Rounds, "_answer", around(_echoes_with_a_page)), shown_by=scenarios.an_echo_comes_with_everything
    ),
    "the same incarnation after ten minutes": _mutation(
        "6",
        (Replica, "outlived", instead(_stays_itself)),
        shown_by=scenarios.what_waited_during_a_long_absence_brings_back_nobody,
    ),
    "no good-bye": _mutation(
        "7", (Rounds, "_greeting", around(_says_no_good_bye)), shown_by=scenarios.who_left_is_not_waited_for
    ),
    "claims go with their node": _mutation("7", (Contacts, "counts", around(_gone_with_its_node))),
    "who left may be renewed at": _mutation(
        "7",
        (Claims, "_may_be_renewed", instead(lambda *_: True)),
        shown_by=scenarios.what_stops_after_a_node_left_has_expired,
    ),
    "nothing is forgotten": _mutation("8", (Contacts, "forgettable", instead(lambda *_: False))),
    "the forgotten come back": _mutation(
        "8", (Contacts, "meet", around(_meets_the_forgotten)), shown_by=scenarios.who_was_forgotten_is_not_met_again
    ),
    "the first age of somebody new stays": _mutation(
        "8",
        (Contacts, "meet", around(_first_age_known_stays)),
        shown_by=scenarios.who_died_during_a_pause_is_forgotten_when_the_others_do,
    ),
    "the longest ttl does not travel": _mutation(
        "8",
        (Rounds, "_counter", around(_keeps_its_longest_ttl_to_itself)),
        shown_by=scenarios.a_newcomer_remembers_for_as_long_as_the_others,
    ),
    "nothing is inherited": _mutation(
        "8",
        (Claims, "_is_lost", instead(lambda *_: False)),
        shown_by=scenarios.what_was_listed_before_a_long_absence_is_lost_not_expired,
    ),
    "copies of what is not there": _mutation(
        "state", (ledger, "_resolved", instead(_passed_over)), shown_by=scenarios.a_copy_is_of_what_is_there
    ),
    "copies of what nobody has": _mutation(
        "state", (Claims, "_brief", around(_always_brief)), shown_by=scenarios.a_copy_is_of_what_the_other_has
    ),
    "deltas without base": _mutation(
        "state", (Ledger, "join", around(_joined_without_base)), shown_by=scenarios.a_delta_needs_its_base
    ),
    "deltas without since": _mutation(
        "state", (Ledger, "join", around(_joined_without_since)), shown_by=scenarios.a_delta_needs_its_removals
    ),
    "the last setting speaks": _mutation("state", (configuration, "_joined", instead(_last_first))),
    "removed settings leave nothing": _mutation("state", (Configuration, "join", around(_removed_for_good))),
    "words that are never over": _mutation("state", (Configuration, "due", instead(lambda *_: []))),
    "words without their age": _mutation("state", (Configuration, "told", instead(_told_as_new))),
    "words that are over leave nothing": _mutation("state", (Configuration, "due", around(_over_for_good))),
    "the guard never ends": _mutation("9", (Guard, "over", around(_never_over))),
    "the guard holds up what is known": _mutation("9", (Claims, "_unheard", around(_suspects_what_is_gone))),
    "everything is guarded": _mutation("9", (Guard, "_is_mass_loss", instead(staticmethod(lambda *_: True)))),
    "nothing is guarded": _mutation("9", (Guard, "_is_mass_loss", instead(staticmethod(lambda *_: False)))),
    "half is as good as more": _mutation(
        "9",
        (Guard, "_is_mass_loss", instead(staticmethod(lambda lost, members: 2 * lost >= members))),
        shown_by=scenarios.half_of_an_app_is_no_mass_loss,
    ),
    "only what is due counts": _mutation("9", (Claims, "_is_out_of_sight", instead(_counts_what_is_due))),
    "what was hidden is forgotten": _mutation("9", (Guard, "_losses_within_the_window", instead(lambda *_: {}))),
    "what was hidden counts for ever": _mutation("9", (Guard, "_losses_within_the_window", instead(_remembers_losses))),
    "what came back counts as lost": _mutation(
        "9", (Guard, "forget", around(_what_came_back_is_lost)), shown_by=scenarios.what_came_back_is_not_lost
    ),
    "what is suspect is not known": _mutation(
        "9",
        (Claims, "winner", around(_unknown_when_suspect)),
        shown_by=scenarios.what_is_suspect_can_be_renewed_and_deregistered,
    ),
    "each look lengthens the guard": _mutation("9", (Guard, "lose", around(_lengthened))),
    "nobody lifts the guard": _mutation(
        "9", (Guard, "lift", instead(lambda *_, **__: ())), shown_by=scenarios.a_guard_is_lifted_for_a_while
    ),
    "the guard stays lifted": _mutation(
        "9", (Guard, "lift", around(_lifted_for_good)), shown_by=scenarios.a_guard_is_lifted_for_a_while
    ),
}
