"""Answers of nodes to a client (`bender.client.responses`)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from hypothesis import strategies as st

from bender.client.responses import (
    BACKEND_KIND,
    FRONTEND_KIND,
    MESSAGE_CHARACTERS_MAX,
    Explanation,
    NodeStatus,
    Renewals,
    read_as_dict,
    read_nothing,
    reader,
    refusal_of,
)
from bender.client.transport import WARNINGS_MAX, parse_warnings
from bender.client.types import BenderError, Guarded, Registration, Reply
from bender.haproxy.state_reader import _NotSet, _Set
from bender.net.addresses import NoAnswer
from tests.fuzz.documents import SITE, WEB, damaged, documents_of, json_values
from tests.fuzz.targets.sse import WORDS

__all__ = ["NEAR", "WORDS", "fuzz"]

_READERS: tuple[Callable[[Reply], Any], ...] = (
    read_nothing,
    reader(Registration),
    reader(list[Registration]),
    reader(Renewals),
    reader(list[Guarded]),
    reader(_Set),
    reader(_NotSet),
    read_as_dict(NodeStatus),
    read_as_dict(Explanation),
    *(read for kind in (BACKEND_KIND, FRONTEND_KIND) for read in (kind.read, kind.read_list, kind.read_history)),
)

_STATUS = {
    "node": "n1",
    "version": "1",
    "ready": True,
    "uptime": 1.5,
    "digest": "x",
    "counts": {"registrations": 1, "frontends": 0, "claims": 1},
    "peers": [{"node": "n2", "state": "connected", "lag": 0.5}],
}
_SETTINGS = [{"at": 1, "author": "ops", "backend": SITE}, {"at": 0, "author": "", "frontend": None}]
_CLAIM = {"ttl": 10, "held": 1, "renewed": 1, "left": 9}
_EXPLANATION = {
    "id": WEB["id"],
    "listed": True,
    "why": "listed",
    "nodes": [
        {"node": "n1", "answered": True, "claim": _CLAIM, "events": [{"event": "online", "at": 1, "reason": "a"}]}
    ],
    "backends": [{"name": "site", "as": "version"}],
}
_REFUSAL = {"code": "NOT_FOUND", "message": "there is no backend/x"}

_WHOLE = st.sampled_from([WEB, [WEB], _STATUS, _EXPLANATION, SITE, [SITE], _SETTINGS, _REFUSAL, {"unknown": []}])
NEAR = damaged(_WHOLE.map(msgspec.json.encode)) | documents_of(
    WEB, {"meta": json_values, "state": st.sampled_from(["up", "drain", "?"]), "suspect": json_values}
)


def fuzz(sent: bytes) -> None:
    """An answer raises `NoAnswer` with a clause, or becomes a value that can be encoded, compared and parsed again."""
    for read in _READERS:
        try:
            value = read(Reply("n1:1729", 200, sent))
        except NoAnswer as no_answer:
            assert str(no_answer).startswith("sent an invalid answer ("), no_answer
            continue
        encoded = msgspec.json.encode(value)
        assert value == value and len(encoded) < 100 * (len(sent) + 100)  # noqa: PLR0124 - NaN is not equal to itself
    for status in (301, 304, 404, 409, 503):
        with suppress(NoAnswer):
            refusal = refusal_of(Reply("n1:1729", status, sent))
            assert (refusal is None) == (status == 304)
            assert refusal is None or len(str(refusal)) <= MESSAGE_CHARACTERS_MAX
    warnings = parse_warnings(sent.decode("latin-1"))
    assert len(warnings) <= WARNINGS_MAX and all(isinstance(each, str) for each in warnings)
    with suppress(BenderError):
        Reply("n1:1729", 200, sent).json()
