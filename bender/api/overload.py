"""Overload: which requests an overloaded node answers first, and which it turns away.

An instance whose renewal is late goes offline, but a late list harms nobody. So the order is: renewals, then
registrations and other changes, then lists, then explanations, for which a node asks all others. A query that has
waited too long is answered with 429, because its answer would delay the next, and its client can ask another node.
"""

from __future__ import annotations

import re

from bender.api.responses import RETRY_AFTER, ApiResponse, refusal_response
from bender.net.fair_turns import Urgency

#: Seconds after which queries are turned away. Changes never are, because their clients would only send them again.
WAIT_S_MAX = {Urgency.QUERY: 1.0, Urgency.DIAGNOSIS: 0.5}

#: The paths that show the state of a node, which operators need most when it is overloaded; so does the page, at `/`.
_STATE_OF_NODE = ("/ready", "/status", "/metrics", "/token", "/page")

#: The paths for whose answer a node asks all other nodes.
_ASKED_OF_ALL = ("/explain", "/claims", "/nodes")

_REQUEST = re.compile(rb"([A-Z]+) (/[a-z]*)")

_BUSY = refusal_response(
    "BUSY",
    "this node is overloaded, and answers renewals and registrations first: ask another node, or try again",
    (b"Retry-After", RETRY_AFTER),
)


def urgency_of(method: str, path: str) -> Urgency:
    """Return the urgency of a request. The first part of its path is enough."""
    if path.startswith(_ASKED_OF_ALL):
        return Urgency.DIAGNOSIS
    if path == "/" or path.startswith(_STATE_OF_NODE) or (method == "PUT" and path.startswith("/registrations")):
        return Urgency.RENEWAL
    if path.startswith("/renewals"):
        return Urgency.RENEWAL
    return Urgency.QUERY if method in ("GET", "HEAD") else Urgency.CHANGE


def urgency_at(held: bytes, at: int) -> Urgency:
    """Return the urgency of the request that begins at `at`; that of a query if its first bytes are incomplete."""
    found = _REQUEST.match(held, at)
    return Urgency.QUERY if found is None else urgency_of(found[1].decode(), found[2].decode())


def overload_response(method: str, path: str, waited_s: float) -> ApiResponse | None:
    """Return the 429 for a request that has waited too long; None for any other request."""
    limit_s = WAIT_S_MAX.get(urgency_of(method, path))
    return _BUSY if limit_s is not None and waited_s > limit_s else None
