"""The limits of the ttl of a registration: at least some intervals of the cluster, at most an hour."""

from __future__ import annotations

from bender.core.invalid import Invalid

#: A lease must last for a few rounds, because otherwise one lost message could end it (architecture, "Promises").
TTL_INTERVALS_MIN = 4

TTL_S_MAX = 3600.0


def ttl_s_min(interval_s: float) -> float:
    """Return the shortest ttl in a cluster whose rounds are `interval_s` apart."""
    return TTL_INTERVALS_MIN * interval_s


def require_ttl(ttl_s: float, interval_s: float) -> None:
    """Raise `Invalid` if a registration must not have this ttl."""
    if not ttl_s_min(interval_s) <= ttl_s <= TTL_S_MAX:
        raise Invalid("ttl", f"must be {ttl_s_min(interval_s):g} to {TTL_S_MAX:g} seconds")
