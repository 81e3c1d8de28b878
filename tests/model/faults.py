"""Faults that are planted into the core, to see that the search finds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from bender.core.claims import Claims
from bender.core.ledger import Claim, Dot, End
from tests.simulation.mutations import MUTATIONS, around
from tests.simulation.patches import Patch

Changed = Callable[..., Any]


def _begins_anew(
    original: Changed, claims: Claims, key: str, body: bytes, ttl_s: float, rev: int, root: Dot | None, at: float
) -> Any:
    known = [entry for entry in claims.index.entries(key) if isinstance(entry, Claim)]
    is_change = (body, ttl_s) not in [(claim.body, claim.ttl_s) for claim in known]
    return original(claims, key, body, ttl_s, rev, None if is_change else root, at)


def _ends_what_it_hides(original: Changed, claims: Claims, key: str, now: float) -> Any:
    original(claims, key, now)
    root = claims._view.hidden_root(key)
    claim = claims.hidden(key)
    ended = [each for entry in claims.index.entries(key) if isinstance(entry, End) for each in entry.roots]
    if root is not None and claim is not None and root not in ended:
        claims._end(key, claim.ttl_s + claims._timing.end_kept_s, claim.rev, (root,), now)


@frozen
class Fault:
    """What is patched, and how it is found: the promise that breaks, with how many nodes, steps, and of which kinds."""

    patches: list[Patch]
    promise: str
    names: str
    depth: int
    kinds: set[str]


def _fault(patches: list[Patch], promise: str, names: str, depth: int, kinds: str) -> Fault:
    return Fault(patches, promise, names, depth, {*kinds.split()})


FAULTS = {
    "a change begins a new root": _fault(
        [(Claims, "_claim", around(_begins_anew))], "P4", "ab", 4, "register change deregister deliver"
    ),
    "ends live for an interval": _fault(
        MUTATIONS["ends live for an interval"].patches, "P4", "ab", 5, "register deregister cut wait"
    ),
    "nobody is asked before a lapse": _fault(
        MUTATIONS["nobody is asked"].patches, "P2", "ab", 5, "register renew tick wait"
    ),
    "a deregistration ends the node's own claim alone": _fault(
        MUTATIONS["a removal without an end"].patches, "P4", "ab", 3, "register deregister deliver"
    ),
    "claims do not follow": _fault(
        MUTATIONS["claims do not follow"].patches, "P3", "ab", 3, "register shorten deliver"
    ),
    "what is hidden is ended": _fault(
        [(Claims, "refresh", around(_ends_what_it_hides))], "P2", "ab", 4, "register deliver cut stay"
    ),
}
