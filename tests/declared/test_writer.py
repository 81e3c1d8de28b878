"""The form of a written document, and its completeness."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.declared.document import DeclaredState, Document, declared_fields
from bender.declared.parser import parse_file
from bender.declared.writer import HEADER, to_toml

NOW_MS = 1_795_447_900_000

DOCUMENT = Document(
    {
        "shop": {
            "meta": {"owner": "anna", "tags": ["a", {"b": 1}]},
            "servers": ["[::1]:80", "a:1"],
            "canary": {"percent": 33.3, "version": "1.3.0"},
            "balance": "leastconn",
            "version": "1.2.0",
            "app": "web",
        },
        "ü b?": {"app": "w", "version": "1", "meta": {"n": None, "k": [2**64]}},
    },
    {
        "www": {
            "rules": [{"backend": "ü b?", "path": "/api"}, {"backend": "shop", "header": "X-Beta", "value": "1"}],
            "backend": "shop",
            "bind": "*:8080",
        },
        "empty": {},
    },
    {
        "registration/web/1.2.0/::1/80": DeclaredState("drain", None, 1_795_447_942_999),
        "registration/web/+00:00/h/80": DeclaredState("maint", 60.0),
    },
)

WRITTEN = """
[backends.shop]
app = "web"
version = "1.2.0"
balance = "leastconn"
servers = [
    "[::1]:80",
    "a:1",
]

[backends.shop.canary]
version = "1.3.0"
percent = 33.3

[backends.shop.meta]
owner = "anna"
tags = [
    "a",
    { b = 1 },
]

[backends."ü b?"]
app = "w"
version = "1"
meta_json = '{"k":[18446744073709551616],"n":null}'

[frontends.empty]

[frontends.www]
backend = "shop"
bind = "*:8080"

[[frontends.www.rules]]
path = "/api"
backend = "ü b?"

[[frontends.www.rules]]
header = "X-Beta"
value = "1"
backend = "shop"

[states."web/+00:00/h/80"]
state = "maint"
for = 60.0

[states."web/1.2.0/::1/80"]
state = "drain"
until = 2026-11-23T15:32:22Z
"""

_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
_json = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
)


class Writing(SynchronousTestCase):
    def test_form(self) -> None:
        """Important fields come first, each object and rule has a table, and the order of keys has no influence."""
        self.assertEqual(to_toml(DOCUMENT), HEADER + WRITTEN)

    def test_it_is_read_as_it_was(self) -> None:
        """A written document is read back unchanged, except for the fractions of a second in ends of states."""
        found = parse_file(to_toml(DOCUMENT), NOW_MS)
        self.assertEqual((found.problems, found.unresolved), ((), ()))
        self.assertEqual((found.document.backends, found.document.frontends), (DOCUMENT.backends, DOCUMENT.frontends))
        self.assertEqual(found.document.states["registration/web/1.2.0/::1/80"].until_ms, 1_795_447_942_000)
        self.assertEqual(to_toml(found.document), to_toml(DOCUMENT))

    def test_a_quote_in_json(self) -> None:
        """Quotes and backslashes in `meta_json` do not end the string."""
        for value in ("'", '"', "\x7f", "\n", "\\", "'''"):
            document = Document({"b": {"app": "a", "version": "1", "meta": {"k": value, "n": None}}})
            self.assertEqual(parse_file(to_toml(document), NOW_MS).document, document)

    @given(st.dictionaries(st.text(max_size=9), _json, max_size=4), st.floats(0, 100) | st.integers(0, 100))
    def test_values(self, meta: dict[str, Any], percent: float) -> None:
        """Any `meta` and any percentage are unchanged after writing and reading."""
        fields = {"app": "a", "version": "1", "canary": {"version": "2", "percent": percent}, "meta": meta}
        text = to_toml(Document({"b": fields}))
        self.assertEqual(parse_file(text, NOW_MS).document.backends, {"b": fields})
        again = tomllib.loads(text)["backends"]["b"]["canary"]["percent"]
        self.assertEqual((again, type(again)), (percent, type(percent)))


class Fields(SynchronousTestCase):
    def test_what_is_null_is_not_set(self) -> None:
        """A null field of an object is missing in the file; a null in `meta` is a value, and stays."""
        shown: dict[str, Any] = {
            "id": "backend/b",
            "resource": "Backend",
            "name": "b",
            "app": "a",
            "version": "1",
            "canary": None,
        }
        shown |= {"health": {"path": "/", "interval": None}, "meta": {"a": None}}
        self.assertEqual(
            declared_fields(shown), {"app": "a", "version": "1", "health": {"path": "/"}, "meta": {"a": None}}
        )
