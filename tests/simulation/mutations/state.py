"""The state: ledgers, copies and settings that are joined against the rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attrs import evolve

from bender.core import last_writer_wins, ledger
from bender.core.gossip import Gossip
from bender.core.gossip_targets import Link
from bender.core.last_writer_wins import Configuration
from bender.core.ledger import Claim, Copy, Delta, Entry, Ledger
from bender.core.ledger_copies import LedgerCopies
from bender.core.messages import ConfigSetting, Message
from bender.core.peers import Peer, are_known_to_all
from tests.simulation.mutations.mutation import Changed, around, instead, mutation
from tests.simulation.patches import patched
from tests.simulation.scenarios import state as scenarios


def _joined_without_base(original: Changed, ledger: Ledger, delta: Delta) -> Any:
    if delta.version > ledger.version:
        ledger.reach = max(ledger.reach, delta.base)
    return original(ledger, delta)


def _joined_without_since(original: Changed, ledger: Ledger, delta: Delta) -> Any:
    return original(ledger, evolve(delta, since=0))


def _passed_over(entry: Entry | Copy, find: Callable[[int, int], Entry | None]) -> Entry | Copy:
    return entry


def _always_brief(original: Changed, copies: LedgerCopies, entry: Entry | Copy, peer: Peer) -> Entry | Copy:
    alike = (
        [other for other in copies.index.entries(entry.key) if other is not entry] if isinstance(entry, Claim) else []
    )
    return Copy(entry.node, entry.n, alike[0].node, alike[0].n) if alike else entry


def _brief_by_root(copies: LedgerCopies, entry: Entry | Copy, peer: Peer) -> Entry | Copy:
    if isinstance(entry, Claim):
        others = [other for other in copies.index.entries(entry.key) if isinstance(other, Claim) and other is not entry]
        for other in others:
            if other.root == entry.root and are_known_to_all((other.dot,), (peer,)):
                return other.copied_by(entry.node, entry.n)
    return entry


def _pushed_upon_the_last_push(original: Changed, gossip: Gossip, link: Link, peer: Peer, now: float) -> Any:
    with patched([(Gossip, "_version_shown_by", instead(lambda *_: link.pushed_version))]):
        return original(gossip, link, peer, now)


def _acknowledges_whole_ledgers(original: Changed, gossip: Gossip, request: Message, now: float) -> Any:
    answer = original(gossip, request, now)
    return evolve(answer, heads={incarnation: head for incarnation, head in answer.heads.items() if head.version})


def _gives_up_pages(copies: LedgerCopies, delta: Delta, peer: Peer, now: float) -> None:
    copies.ledgers[delta.incarnation].give_up_pages()


def _last_first(settings: tuple[ConfigSetting, ...], new: ConfigSetting) -> tuple[ConfigSetting, ...]:
    if any(setting.rank == new.rank for setting in settings):
        return settings
    return (new, *settings)[:20]


def _removed_for_good(original: Changed, settings: Configuration, setting: ConfigSetting, now: float) -> Any:
    changed = original(settings, setting, now)
    if setting.body is None:
        settings._settings.pop(setting.key, None)
    return changed


def _over_for_good(original: Changed, kept: Configuration, now: float) -> Any:
    keys = original(kept, now)
    for key in filter(kept.__contains__, keys):
        kept._replace(key, kept.settings(key), ())
        del kept._due_at[key]
    return keys


def _told_as_new(_: Configuration, settings: Iterable[ConfigSetting], __: float) -> Any:
    return (*settings,)


MUTATIONS = {
    "copies of what is not there": mutation(
        "state", (ledger, "_resolved", instead(_passed_over)), shown_by=scenarios.a_copy_is_of_what_is_there
    ),
    "copies without their checksum": mutation(
        "state",
        (Claim, "checksum", instead(property(lambda claim: 0))),
        shown_by=scenarios.a_copy_says_what_it_is_of,
    ),
    "copies of what nobody has": mutation(
        "state", (LedgerCopies, "_brief", around(_always_brief)), shown_by=scenarios.a_copy_is_of_what_the_other_has
    ),
    "deltas without base": mutation(
        "state", (Ledger, "join", around(_joined_without_base)), shown_by=scenarios.a_delta_needs_its_base
    ),
    "deltas without since": mutation(
        "state", (Ledger, "join", around(_joined_without_since)), shown_by=scenarios.a_delta_needs_its_removals
    ),
    "pages are waited for": mutation(
        "state",
        (LedgerCopies, "give_up_pages", instead(lambda *_: None)),
        shown_by=scenarios.the_rest_of_the_pages_never_comes,
    ),
    "pages are given up that count": mutation(
        "state",
        (LedgerCopies, "give_up_pages", instead(_gives_up_pages)),
        shown_by=scenarios.pages_are_kept_as_long_as_they_count,
    ),
    "the last setting speaks": mutation("state", (last_writer_wins, "_joined", instead(_last_first)), first_seed=98),
    "removed settings leave nothing": mutation(
        "state", (Configuration, "join", around(_removed_for_good)), first_seed=98
    ),
    "words that are never over": mutation(
        "state", (Configuration, "take_due_keys", instead(lambda *_: [])), first_seed=88
    ),
    "words without their age": mutation("state", (Configuration, "with_ages", instead(_told_as_new)), first_seed=69),
    "words that are over leave nothing": mutation(
        "state", (Configuration, "take_due_keys", around(_over_for_good)), first_seed=74
    ),
    "copies of what was before a change": mutation(
        "state",
        (LedgerCopies, "_brief", instead(_brief_by_root)),
        shown_by=scenarios.a_copy_is_of_a_claim_that_says_the_same,
    ),
    "pushes build on the last one": mutation(
        "state",
        (Gossip, "_push_message", around(_pushed_upon_the_last_push)),
        shown_by=scenarios.a_push_builds_on_what_was_shown,
    ),
    "pages are not acknowledged": mutation(
        "state",
        (Gossip, "_acknowledgement", around(_acknowledges_whole_ledgers)),
        shown_by=scenarios.pages_that_nobody_asked_for_follow_each_other_at_once,
    ),
}
