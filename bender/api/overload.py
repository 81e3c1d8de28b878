"""Overload: what is answered first when more is asked than a node can answer, and what is turned away.

An instance that is not heard goes offline, a list that comes late harms nobody. So renewals come before registrations
and other changes, those before lists, and those before explanations, for which a node asks all others. A question that
has waited for too long is answered with 429: to answer it would delay the next, and its client may ask another node.
"""

from __future__ import annotations

import re

from bender.api.responses import RETRY_AFTER, ApiResponse, refusal_response
from bender.net.fair_turns import Urgency

#: Seconds after which questions are turned away. Changes never are: their clients would only send them again.
WAIT_S_MAX = {Urgency.QUERY: 1.0, Urgency.DIAGNOSIS: 0.5}

#: The paths that tell how a node is, which is asked all the more when it is overloaded; so does the page, at `/`.
_STATE_OF_NODE = ("/ready", "/status", "/metrics", "/token", "/page")

#: The paths for which a node asks all others.
_ASKED_OF_ALL = ("/explain", "/claims", "/nodes")

_REQUEST = re.compile(rb"([A-Z]+) (/[a-z]*)")

_BUSY = refusal_response(
    "BUSY",
    "this node is overloaded, and answers renewals and registrations first: ask another node, or try again",
    (b"Retry-After", RETRY_AFTER),
)


def urgency_of(method: str, path: str) -> Urgency:
    """Return the urgency of a request; `path` may be cut off after its first part."""
    if path.startswith(_ASKED_OF_ALL):
        return Urgency.DIAGNOSIS
    if path == "/" or path.startswith(_STATE_OF_NODE) or (method == "PUT" and path.startswith("/registrations")):
        return Urgency.RENEWAL
    if path.startswith("/renewals"):
        return Urgency.RENEWAL
    return Urgency.QUERY if method in ("GET", "HEAD") else Urgency.CHANGE


def urgency_at(held: bytes, at: int) -> Urgency:
    """Return the urgency of the request that begins at `at`, or of one of which more has to come first."""
    found = _REQUEST.match(held, at)
    return Urgency.QUERY if found is None else urgency_of(found[1].decode(), found[2].decode())


def turned_away(method: str, path: str, waited_s: float) -> ApiResponse | None:
    """Return the answer to a request that has waited too long; None if it is to be answered."""
    limit_s = WAIT_S_MAX.get(urgency_of(method, path))
    return _BUSY if limit_s is not None and waited_s > limit_s else None
