"""A node's own claims of many registrations, with the time that each claim has left.

It is for programs that show very many registrations; `bender.core.diagnosis` has all that a node knows of one. This
module decides nothing and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from bender.core.claims import Claims
from bender.core.ledger import Claim

#: The largest number of registrations in one request. A node finds the claims of this number in a tenth of a
#: millisecond.
KEYS_ASKED_MAX = 100


class ClaimLease(msgspec.Struct, frozen=True):
    """A node's own claim of a registration: its ttl and the time that it has left, in seconds.

    `left_s` is 0 if the claim is due and waits for the peers' answers. `speaks` is True if the claim has the rank of
    the winner, whose terms are listed.
    """

    ttl_s: float
    left_s: float
    speaks: bool


def claim_leases(keys: Iterable[str], claims: Claims, now: float) -> list[ClaimLease | None]:
    """Return this node's own claim of each key at the time `now`, in the same order; None where it has no claim."""
    return [_claim_lease(key, claims, now) for key in keys]


def _claim_lease(key: str, claims: Claims, now: float) -> ClaimLease | None:
    lease = claims.index.lease(key)
    if lease is None:
        return None
    claim, winner = lease.entry, claims.winner(key, now)
    assert isinstance(claim, Claim)
    left_s = round(max(0.0, lease.deadline - now), 3)
    return ClaimLease(claim.ttl_s, left_s, winner is not None and winner.rank == claim.rank)
