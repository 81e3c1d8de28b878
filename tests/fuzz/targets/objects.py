"""Bodies of backends and frontends, for the API, clients and files (`bender.core.object_kinds`)."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from bender.client.responses import check_body
from bender.core.invalid import Invalid
from bender.core.members import backends_of_rules, servers_of, weighted_members
from bender.core.model import TooLarge
from bender.core.object_kinds import Kind, name_of, parse_members_min, parse_object
from bender.core.routing import BACKEND, FRONTEND
from bender.declared.document import Document, declared_fields
from bender.declared.parser import parse_file
from bender.declared.writer import to_toml
from tests.fuzz.documents import documents_of, json_values

WORDS = (
    *(b'"%b":' % field.encode() for field in sorted({*BACKEND.fields, *FRONTEND.fields})),
    *(b'"percent":', b'"interval":', b'"path":', b'"header":', b'"value":', b'"connect":', b'"http_request":'),
    *(b"roundrobin", b"random(2)", b"hdr(X)", b"*:80", b"[::1]:443", b"tcp", b"null", b"1e400", b"\\u0000"),
)

_BACKEND = {"name": "shop", "app": "web", "version": "1.2.0"}
_texts = st.text(max_size=8) | st.sampled_from(["*:80", "10.0.0.1:80,[::1]:443", "/x", "a.example", "X-Beta", "shop"])

NEAR = documents_of(
    _BACKEND,
    {
        "canary": st.fixed_dictionaries({"version": _texts, "percent": st.floats(0, 100) | st.integers(-1, 101)}),
        "balance": st.sampled_from(["roundrobin", "random(2)", "hdr(X-A)", "static-rr", "first"]),
        "health": st.fixed_dictionaries({"path": _texts}, optional={"interval": json_values, "host": _texts}),
        "servers": st.lists(
            st.sampled_from(["a:1", "[::1]:80", "10.0.0.1:80", "0.0.0.0:1", "a:0"]) | _texts, max_size=4
        ),
        "slow_start": st.floats(0, 4000),
        "maxconn": st.integers(-1, 10**7),
        "min_members": json_values,
        "timeouts": st.dictionaries(
            st.sampled_from(["connect", "server", "client", "http_request", "tunnel"]), json_values
        ),
        "meta": st.dictionaries(st.text(max_size=6), json_values, max_size=4),
        "backend": _texts,
        "bind": _texts,
        "mode": st.sampled_from(["http", "tcp", "TCP"]),
        "tls": st.booleans() | _texts,
        "redirect_https": st.booleans(),
        "forwardfor": json_values,
        "log": json_values,
        "rules": st.lists(
            st.dictionaries(st.sampled_from(["host", "path", "header", "value", "backend"]), _texts), max_size=3
        ),
        "id": st.sampled_from(["backend/shop", "frontend/shop"]),
    },
)

EXAMPLES = (
    b'{"name":"shop","app":"web","version":"1","meta":{"a":null,"b":18446744073709551616}}',
    b'{"name":"www","backend":"shop","rules":[{"path":"/","backend":"shop"},{"header":"X","value":"1","backend":"a"}]}',
)


def fuzz(sent: bytes) -> None:
    """A body is refused as `Invalid` or `TooLarge`, or is an object that nodes, clients and files can represent."""
    for kind in (BACKEND, FRONTEND):
        try:
            fields = parse_object(sent)
            kind.require_known(fields)
            name = name_of(fields)
            if kind is BACKEND:
                parse_members_min(fields.pop("min_members", None))
            body = kind.merged_body(name, fields)
        except (Invalid, TooLarge):
            continue
        _check(kind, name, fields, body)


def _check(kind: Kind, name: str, sent: dict[str, Any], body: bytes) -> None:
    # An empty request, and the same request again, change nothing.
    assert kind.merged_body(name, {}, body) == kind.merged_body(name, sent, body) == body
    kept: dict[str, Any] = msgspec.json.decode(body)
    assert kind.problem(name, kept) is None
    assert kind.unknown_fields(kept) == []
    check_body(kind.name, kept)
    if kind is BACKEND:
        assert len(weighted_members(kept, [], [])) == len(servers_of(kept))
    assert all(isinstance(backend, str) for _, backend in backends_of_rules(kept))
    # The stored object can be exported and applied again.
    declared = declared_fields(kept)
    document = Document({name: declared}) if kind is BACKEND else Document({}, {name: declared})
    parsed = parse_file(to_toml(document), 0)
    assert parsed.problems == (), parsed.problems
    assert parsed.document == document
