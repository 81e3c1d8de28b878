"""JSON documents, and strategies for documents that are valid or nearly valid for a decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

#: A registration and a backend, as nodes send them.
WEB = {
    "id": "registration/web/1.2.0/10.0.0.5/8080",
    "app": "web",
    "version": "1.2.0",
    "host": "10.0.0.5",
    "port": 8080,
    "ttl": 10.0,
    "weight": 1,
    "meta": {},
    "registered": 1,
    "node": "n1",
}
SITE = {"id": "backend/site", "resource": "Backend", "name": "site", "app": "web", "version": "1"}

#: Any JSON value.
json_values: SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.sampled_from([-1, 0, 1, 80, 256, 2**53])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def documents_of(valid: Mapping[str, Any], fields: Mapping[str, SearchStrategy[Any]]) -> SearchStrategy[bytes]:
    """Return documents with most fields of a valid one, and some other fields; a few documents are damaged."""
    others = st.sets(st.sampled_from(sorted(fields)), max_size=3).flatmap(
        lambda names: st.fixed_dictionaries({name: fields[name] for name in sorted(names)})
    )
    odd = st.dictionaries(st.sampled_from(sorted({*valid, *fields})), json_values, max_size=1)
    none: SearchStrategy[dict[str, Any]] = st.just({})
    nothing: SearchStrategy[set[str]] = st.just(set())
    missing = st.sets(st.sampled_from(sorted(valid)), max_size=1) if valid else nothing
    alone = st.sampled_from([False, False, False, True])

    def merged(parts: tuple[Mapping[str, Any], Mapping[str, Any], set[str], bool]) -> Any:
        more, wrong, left_out, is_alone = parts
        whole = dict(more) if is_alone else {**valid, **more}
        return {key: value for key, value in {**whole, **wrong}.items() if key not in left_out}

    return damaged(st.tuples(others, none | none | odd, nothing | nothing | missing, alone).map(merged).map(_json))


def damaged(whole: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """Return these bytes; in one of three cases with a few bytes changed, removed or inserted."""

    @st.composite
    def broken(draw: st.DrawFn) -> bytes:
        sent = draw(whole)
        begin = draw(st.integers(0, len(sent)))
        end = draw(st.integers(begin, min(len(sent), begin + 4)))
        return (
            sent[:begin]
            + draw(st.binary(max_size=4) | st.sampled_from([b"\r\n", b"\n", b'"', b"[" * 200]))
            + sent[end:]
        )

    return st.one_of(whole, whole, broken())


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)
