"""Bodies of requests to register and renew instances (`bender.core.model`)."""

from __future__ import annotations

from contextlib import suppress

import msgspec
from hypothesis import strategies as st

from bender.client.responses import check_body
from bender.core.invalid import Invalid
from bender.core.model import (
    ENTRY_BYTES_MAX,
    RegistrationRequest,
    Terms,
    TooLarge,
    canonical_id,
    has_meta,
    parse_registration,
    parse_registration_at,
    parse_renewals,
    registration,
    registration_bytes,
)
from bender.core.timing import Timing
from tests.fuzz.documents import documents_of, json_values

WORDS = (
    *(b'"%b":' % name for name in (b"app", b"version", b"host", b"port", b"ttl", b"weight", b"meta", b"instance")),
    *(
        b'"resource":"Registration"',
        b'"id":"registration/',
        b'{"ids":[',
        b"null",
        b"1e999",
        b"-0",
        b"\\u0000",
        b"\\ud800",
    ),
)

_WEB = {"app": "web", "version": "1.2.0", "host": "10.0.0.5", "port": 8080}
_PATH = ("web", "1.2.0", "10.0.0.5", "8080")
_TIMING = Timing()

NEAR = documents_of(
    _WEB,
    {
        "app": st.text(max_size=9),
        "version": st.text(max_size=9),
        "host": st.sampled_from(["a", "A.", "::1", "0.0.0.0", "x y"]),
        "port": st.integers(0, 65_536),
        "ttl": st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([4, 10, 3600]),
        "weight": st.integers(-1, 257),
        "meta": st.dictionaries(st.text(max_size=5), json_values, max_size=4),
        "instance": st.text(max_size=65),
        "id": st.sampled_from(["registration/web/1.2.0/10.0.0.5/8080", "registration/web/1.2.0/10.0.0.5/08080"]),
        "resource": st.sampled_from(["Registration", "Backend"]),
        "ids": st.lists(st.text(max_size=20), max_size=5),
        "wieght": st.none(),
    },
)


def fuzz(sent: bytes) -> None:
    """A body is refused as `Invalid` or `TooLarge`, or has terms that nodes can store and clients can decode."""
    with suppress(Invalid, TooLarge):
        ids = parse_renewals(sent)
        assert all(canonical_id(canonical_id(id_)) == canonical_id(id_) for id_ in ids)
    with suppress(Invalid, TooLarge):
        _check(parse_registration_at(_PATH, sent, _TIMING))
    with suppress(Invalid, TooLarge):
        _check(parse_registration(sent, _TIMING))


def _check(wanted: RegistrationRequest) -> None:
    terms = wanted.applied_to(None, ttl_s=10.0, node="n1", now_ms=1)
    body = terms.encode(wanted.key)
    assert Terms.decode(body) == terms
    assert canonical_id(wanted.key) == wanted.key
    # The same request again changes nothing.
    again = wanted.applied_to(body, ttl_s=99.0, node="n2", now_ms=2)
    assert again.encode(wanted.key) == body
    shown = registration(wanted.key, body)
    assert len(shown) == registration_bytes(wanted.key, body) <= ENTRY_BYTES_MAX + 20
    document = msgspec.json.decode(shown)
    check_body("registration", document)
    assert (document["id"], document["app"], document["port"]) == (wanted.key, wanted.app, wanted.port)
    assert has_meta(body, [(key, value) for key, value in document["meta"].items() if isinstance(value, str)])
