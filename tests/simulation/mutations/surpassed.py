"""Rule 10: nodes that do not notice that they were surpassed, or that lose their claims by that."""

from __future__ import annotations

from attrs import evolve

from bender.core.claims import Claims
from bender.core.gossip import Gossip
from bender.core.ledger import Ledger
from bender.core.ledger_copies import LedgerCopies
from bender.core.messages import Message
from tests.simulation.mutations.mutation import Changed, around, instead, mutation
from tests.simulation.scenarios import surpassed as scenarios


def _own_questions_are_not_told_apart(original: Changed, gossip: Gossip, message: Message) -> int | None:
    surpassed_by: int | None = original(gossip, evolve(message, ask=None))
    return surpassed_by


MUTATIONS = {
    "a node set back to a snapshot goes on": mutation(
        "10",
        (Gossip, "surpassing_beats", instead(lambda *_: None)),
        shown_by=scenarios.a_node_set_back_to_a_snapshot_begins_anew,
    ),
    "questions in one's own name are overlooked": mutation(
        "10",
        (Gossip, "surpassing_beats", around(_own_questions_are_not_told_apart)),
        shown_by=scenarios.a_clone_begins_anew,
    ),
    "checksums are not compared": mutation(
        "10",
        (Ledger, "matches", instead(lambda *_: True)),
        shown_by=scenarios.a_node_whose_clone_was_heard_begins_anew,
    ),
    "contents of one version are not compared": mutation(
        "10",
        (LedgerCopies, "compare", instead(lambda *_: None)),
        shown_by=scenarios.copies_of_clones_become_the_same,
    ),
    "claims go with a surpassed incarnation": mutation(
        "10",
        (Claims, "take_over", instead(lambda *_: None)),
        shown_by=scenarios.a_node_that_begins_anew_takes_its_claims_along,
    ),
}
