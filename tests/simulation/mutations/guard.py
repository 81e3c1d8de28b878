"""Rule 9: the guard, broken."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from bender.core.claims import Claims
from bender.core.ledger import Claim
from bender.core.node_loss_guard import Guard, Loss, Suspect
from tests.simulation.mutations.mutation import Changed, around, instead, mutation
from tests.simulation.scenarios import guard as scenarios


def _never_over(original: Changed, guard: Guard, now: float) -> dict[str, None]:
    original(guard, now)
    return {}


def _forgotten_holders(suspect: Suspect, is_known: Callable[[int], bool]) -> dict[int, float]:
    return {node: at for node, at in suspect.holders.items() if not is_known(node)}


def _without_claims_of_the_gone(original: Changed, claims: Claims, key: str, shown: Claim, *rest: Any) -> Any:
    unheard = original(claims, key, shown, *rest)
    if claims.guard.suspect(key) is None or any(map(claims._may_be_renewed, unheard)):
        return unheard
    return [shown] if unheard else []


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


def _over_when_it_was_to_be(
    original: Changed, guard: Guard, key: str, members: int, hidden_at: float, *rest: Any
) -> Any:
    return original(guard, key, members, inf if guard.suspect(key) else hidden_at, *rest)


def _judged_by_the_first_slice(
    original: Changed, guard: Guard, members: Callable[[str], list[str]], out_of_sight: Any, looks: int, now: float
) -> Any:
    return original(guard, lambda app: members(app)[: looks - 1], out_of_sight, looks, now)


def _judged_anew_for_each_slice(original: Changed, claims: Claims, now: float) -> Any:
    more = original(claims, now)
    if not claims.guard.has_undecided:
        claims.guard.forget_judgements()
    return more


MUTATIONS = {
    "the guard never ends": mutation("9", (Guard, "suspects_over", around(_never_over)), first_seed=23),
    "the guard holds up what is known": mutation(
        "9",
        (Claims, "_unheard", around(_suspects_what_is_gone)),
        shown_by=scenarios.what_is_suspect_can_be_renewed_and_deregistered,
    ),
    "a suspect forgets who is gone": mutation(
        "9",
        (Suspect, "forgotten", instead(_forgotten_holders)),
        shown_by=scenarios.a_restarted_node_counts_for_the_time_of_a_suspect,
    ),
    "a suspect whose holders are forgotten has no claims": mutation(
        "9",
        (Claims, "_unheard", around(_without_claims_of_the_gone)),
        shown_by=scenarios.a_restarted_node_counts_for_the_time_of_a_suspect,
    ),
    "everything is guarded": mutation(
        "9", (Guard, "_is_mass_loss", instead(staticmethod(lambda *_: True))), first_seed=27
    ),
    "nothing is guarded": mutation(
        "9", (Guard, "_is_mass_loss", instead(staticmethod(lambda *_: False))), first_seed=27
    ),
    "half is as good as more": mutation(
        "9",
        (Guard, "_is_mass_loss", instead(staticmethod(lambda lost, members: 2 * lost >= members))),
        shown_by=scenarios.half_of_an_app_is_no_mass_loss,
    ),
    "only what is due counts": mutation("9", (Claims, "_is_out_of_sight", instead(_counts_what_is_due)), first_seed=27),
    "what was hidden is forgotten": mutation(
        "9", (Guard, "_losses_within_the_window", instead(lambda *_: {})), first_seed=27
    ),
    "what was hidden counts for ever": mutation(
        "9", (Guard, "_losses_within_the_window", instead(_remembers_losses)), first_seed=27
    ),
    "what came back counts as lost": mutation(
        "9", (Guard, "forget", around(_what_came_back_is_lost)), shown_by=scenarios.what_came_back_is_not_lost
    ),
    "what is suspect is not known": mutation(
        "9",
        (Claims, "winner", around(_unknown_when_suspect)),
        shown_by=scenarios.what_is_suspect_can_be_renewed_and_deregistered,
    ),
    "the time of a suspect is not shortened": mutation(
        "9",
        (Guard, "decide_on", around(_over_when_it_was_to_be)),
        shown_by=scenarios.the_time_of_a_suspect_is_shortened_when_holders_change,
    ),
    "nobody lifts the guard": mutation(
        "9", (Guard, "set_lifted", instead(lambda *_, **__: ())), shown_by=scenarios.a_guard_is_lifted_for_a_while
    ),
    "the guard stays lifted": mutation(
        "9", (Guard, "set_lifted", around(_lifted_for_good)), shown_by=scenarios.a_guard_is_lifted_for_a_while
    ),
    "a mass loss is judged by a slice of it": mutation(
        "9",
        (Guard, "judge", around(_judged_by_the_first_slice)),
        shown_by=scenarios.a_mass_loss_is_judged_as_a_whole,
    ),
    "a verdict holds for one slice": mutation(
        "9",
        (Claims, "judge", around(_judged_anew_for_each_slice)),
        shown_by=scenarios.a_verdict_holds_for_all_that_was_lost_at_once,
    ),
}
