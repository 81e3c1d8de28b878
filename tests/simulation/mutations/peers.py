"""Input of peers that is not checked or limited, and crowded buckets that are not sent as a whole."""

from __future__ import annotations

from math import inf
from typing import Any

from attrs import evolve

from bender.core import claims, gossip, last_writer_wins
from bender.core.claims import Claims
from bender.core.gossip import Gossip
from bender.core.gossip_targets import Link, Links
from bender.core.last_writer_wins import KEPT_LONGER_S, LASTING_S_MAX, Configuration
from bender.core.ledger import Copy, Delta, Entry
from bender.core.ledger_copies import LedgerCopies
from bender.core.messages import ConfigSetting, Message
from bender.core.peers import Peer
from bender.core.setting_pages import SettingPages
from tests.simulation.mutations.mutation import Changed, around, instead, mutation
from tests.simulation.scenarios import peers as scenarios


def _shown_unchecked(copies: LedgerCopies, entry: Entry) -> None:
    copies.index.add(entry)


def _joined_without_what_is_invalid(original: Changed, copies: LedgerCopies, delta: Delta) -> Any:
    check = copies._validity.problem_of_entry
    valid = tuple(entry for entry in delta.added if isinstance(entry, Copy) or check(entry) is None)
    return original(copies, evolve(delta, added=valid))


def _forgotten_and_reported(original: Changed, claims: Claims, peer: Peer) -> None:
    invalid = {**claims.copies.invalid_entries}
    original(claims, peer)
    claims.copies.invalid_entries = invalid


def _compared_always(original: Changed, copies: LedgerCopies, heads: Any, now: float) -> None:
    copies._started_over_at.clear()
    original(copies, heads, now)


def _left_to_speak(kept: Configuration, key: str, now: float) -> float:
    return max((float(each.lasts_s or 0) - kept.age_s(each, now) for each in kept.settings(key)), default=0.0)


def _kept_for_long(_: ConfigSetting) -> float:
    return LASTING_S_MAX + KEPT_LONGER_S


def _never_partial(original: Changed, of: Gossip, request: Message, now: float) -> Message:
    answer: Message = original(of, request, now)
    return evolve(answer, partial=False)


def _from_the_first(original: Changed, of: SettingPages, link: Link, differing: Any) -> Any:
    link.next_bucket = 0
    return original(of, link, differing)


def _the_first_window(original: Changed, of: SettingPages, link: Link, buckets: Any) -> Any:
    link.next_digests.clear()
    return original(of, link, buckets)


def _all_valid(_: Gossip, message: Message, now: float) -> list[ConfigSetting]:
    return [*message.settings]


def _all_addresses(original: Changed, links: Links, peers: Any) -> list[str]:
    return [*dict.fromkeys([*original(links, peers), *(peer.address for peer in peers)])]


MUTATIONS = {
    "entries are not checked": mutation(
        "peers",
        (LedgerCopies, "_take_in", instead(_shown_unchecked)),
        shown_by=scenarios.what_cannot_be_used_is_not_shown,
    ),
    "invalid entries are dropped": mutation(
        "peers",
        (LedgerCopies, "join", around(_joined_without_what_is_invalid)),
        shown_by=scenarios.what_cannot_be_used_is_kept_and_passed_on,
    ),
    "invalid entries are reported for ever": mutation(
        "peers",
        (Claims, "forget", around(_forgotten_and_reported)),
        shown_by=scenarios.what_cannot_be_used_leaves_with_its_node,
    ),
    "settings are not checked": mutation(
        "peers",
        (Gossip, "_valid_settings", instead(_all_valid)),
        shown_by=scenarios.a_setting_that_cannot_be_used_is_left_out,
    ),
    "revs without end": mutation(
        "peers", (claims, "NUMBER_MAX", instead(inf)), shown_by=scenarios.a_change_after_the_largest_number
    ),
    "copies start over at each word": mutation(
        "peers", (LedgerCopies, "compare", around(_compared_always)), shown_by=scenarios.a_checksum_that_is_made_up
    ),
    "peers without end": mutation(
        "peers", (gossip, "PEERS_MAX", instead(inf)), shown_by=scenarios.more_peers_than_may_be
    ),
    "all addresses are tried": mutation(
        "peers", (Links, "addresses", around(_all_addresses)), shown_by=scenarios.addresses_that_are_made_up
    ),
    "all strangers are asked": mutation(
        "peers", (Links, "may_try", instead(lambda *_: True)), shown_by=scenarios.many_that_were_never_there_speak
    ),
    "clients without quotas": mutation(
        "peers", (last_writer_wins, "CLIENT_SHARE_MAX", instead(1)), shown_by=scenarios.one_client_uses_all_names
    ),
    "names of peers without end": mutation(
        "peers",
        (last_writer_wins, "PEERS_FACTOR", instead(inf)),
        shown_by=scenarios.a_peer_brings_more_names_than_may_be,
    ),
    "removals as long as what they remove speaks": mutation(
        "peers",
        (Configuration, "removal_lasts_s", instead(_left_to_speak)),
        shown_by=scenarios.a_removal_outlives_what_any_node_keeps,
    ),
    "what was forgotten is taken again": mutation(
        "peers",
        (Configuration, "_is_refused", instead(lambda *_: False)),
        shown_by=scenarios.a_state_that_was_forgotten_stays_so,
    ),
    "states are kept for a month": mutation(
        "peers", (last_writer_wins, "kept_s", instead(_kept_for_long)), shown_by=scenarios.states_are_forgotten
    ),
    "a page is all": mutation(
        "peers",
        (Gossip, "_acknowledgement", around(_never_partial)),
        shown_by=scenarios.a_crowded_bucket_is_there_before_readiness,
    ),
    "nothing is brought of crowded buckets": mutation(
        "peers",
        (Gossip, "_push_lacking_settings", instead(lambda *_: None)),
        shown_by=scenarios.a_crowded_bucket_is_brought,
    ),
    "buckets always from the first": mutation(
        "peers",
        (SettingPages, "buckets_in_turn", around(_from_the_first)),
        shown_by=scenarios.a_bucket_that_goes_on_differing,
    ),
    "always the first window": mutation(
        "peers",
        (SettingPages, "window_in_turn", around(_the_first_window)),
        shown_by=scenarios.windows_of_a_very_crowded_bucket,
    ),
}
