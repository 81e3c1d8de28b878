"""Valid entries and settings of peers: everything that nodes make of the requests of clients, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.core.admin_state import key_of_state, parse_override
from bender.core.entry_validation import BODY_BYTES_MAX, problem_of_entry, problem_of_setting
from bender.core.invalid import Invalid
from bender.core.last_writer_wins import LASTING_S_MAX
from bender.core.ledger import End
from bender.core.messages import ConfigSetting
from bender.core.model import (
    DEPTH_MAX,
    NAME_CHARACTERS_MAX,
    WEIGHT_MAX,
    TooLarge,
    parse_registration,
    registration_bytes,
)
from bender.core.node_loss_guard import LIFTED, key_of_guard
from bender.core.object_kinds import parse_object
from bender.core.routing import BACKEND, FRONTEND
from bender.core.timing import Timing
from bender.core.ttl_limits import TTL_S_MAX
from tests.core.peer_entries import BACKEND_BODY, TERMS, backend, claim, nested, said, terms, word

# Values that clients send.

#: All of Unicode that JSON can carry, and more often the characters that JSON escapes.
texts = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from('\\"/\x00\x1f\x7f\x80\u2028\ufeffud8'), max_size=12
)
printable = st.characters(exclude_categories=["C", "Z"], exclude_characters="/")
names = st.text(printable | st.sampled_from('"\\ '), min_size=1, max_size=8)
hosts = st.sampled_from(["10.0.0.5", "Host.Example.", "2001:DB8::1", "a_b", "::ffff:1.2.3.4"])
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([2**64, -(2**63), 1e308])
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)
metas = st.dictionaries(texts, anything, max_size=3)
depths = st.integers(0, DEPTH_MAX - 1)
options = {
    "canary": st.none() | st.fixed_dictionaries({"version": names, "percent": st.integers(0, 100) | st.floats(0, 100)}),
    "balance": st.sampled_from(["roundrobin", "hdr(X-User)", "random(2)"]),
    "health": st.fixed_dictionaries({"path": st.just("/health")}, optional={"interval": st.floats(0.1, 60)}),
    "servers": st.lists(st.sampled_from(["h:1", "[::1]:2", "10.0.0.1:3"]), unique=True, max_size=3),
    "slow_start": st.floats(0, 3600) | st.integers(0, 3600),
}


class WhatNodesMake(SynchronousTestCase):
    """Everything that a node accepts from a client is valid at all nodes, because all must show it."""

    @given(
        names,
        names,
        hosts,
        st.integers(1, 65535),
        st.floats(4, TTL_S_MAX) | st.integers(4, 3600),
        st.integers(0, WEIGHT_MAX),
        metas,
        depths,
    )
    @example("a", "1", "h", 1, 10, 1, {"x": "\x7f"}, 0)
    @example("a", "1", "h", 1, 10, 1, {"x": 10**400}, 0)
    @example("a", "1", "h", 1, 10, 1, {"x": "\\ud800"}, 0)
    @example("a", "1", "h", 1, 10, 1, {"\\\\ud800": "\U0001f600"}, DEPTH_MAX - 1)
    def test_registrations(
        self, app: str, version: str, host: str, port: int, ttl: float, weight: int, meta: dict[str, Any], levels: int
    ) -> None:
        """A registration is valid with anything in `meta`, at any permitted depth, and with any name."""
        meta["deep"] = nested(levels)
        sent = {"app": app, "version": version, "host": host, "port": port, "ttl": ttl, "weight": weight, "meta": meta}
        sent["instance"] = app[:64]
        try:
            wanted = parse_registration(json.dumps(sent).encode(), Timing())
            kept = wanted.applied_to(None, ttl_s=10.0, node="n1", now_ms=1795447942248)
            body = kept.encode(wanted.key)
        except (Invalid, TooLarge):
            return
        self.assertIsNone(said(wanted.key, kept.ttl_s, body))
        self.assertIsNone(problem_of_entry(End(2, 1, wanted.key, 18.0, 1, ())))
        self.assertIsNone(problem_of_setting(word(key=key_of_state(wanted.key))))
        self.assertIsNone(problem_of_setting(word(LIFTED, key=key_of_guard(wanted.app))))

    @given(
        names, names, names, st.fixed_dictionaries({}, optional=options), st.dictionaries(texts, anything, max_size=3)
    )
    @example("web", "web", "1", {"canary": {"version": "2", "percent": 2.5}}, {"note": "\x7f"})
    def test_backends(self, name: str, app: str, version: str, some: dict[str, Any], more: dict[str, Any]) -> None:
        """A backend is valid with any of its fields, and with fields that nodes do not know."""
        document = json.dumps({**more, **some, "app": app, "version": version}).encode()
        try:
            body = BACKEND.merged_body(name, parse_object(document))
            again = BACKEND.merged_body(name, parse_object(b'{"canary":null}'), body)
        except (Invalid, TooLarge):
            return
        for each in (body, again, None):
            self.assertIsNone(problem_of_setting(backend(each, BACKEND.key(name))))

    @given(names, st.none() | names, metas, depths)
    def test_frontends(self, name: str, of: str | None, more: dict[str, Any], levels: int) -> None:
        """A frontend is valid with a backend or without one."""
        some = {"bind": "*:80", "rules": [{"path": "/a", "backend": "web"}], "deep": nested(levels + 1)}
        try:
            body = FRONTEND.merged_body(name, parse_object(json.dumps({**more, **some, "backend": of}).encode()))
        except (Invalid, TooLarge):
            return
        self.assertIsNone(problem_of_setting(ConfigSetting(FRONTEND.key(name), 1, 2, 0, "ops", body)))

    def test_states(self) -> None:
        """Each state is valid, for the shortest and the longest time, and so is its removal."""
        for state in ("drain", "maint", "up"):
            for lasts_s in (1.0, LASTING_S_MAX):
                asked = parse_override(json.dumps({"state": state, "for": lasts_s}).encode())
                self.assertIsNone(problem_of_setting(word(asked.state.encode(), lasts_s=asked.lasts_s)))
        self.assertIsNone(problem_of_setting(word(None)))

    def test_the_largest(self) -> None:
        """Registrations with names of the greatest length are valid."""
        longest = ["a" * NAME_CHARACTERS_MAX, "\U0001f600" * NAME_CHARACTERS_MAX, '"' * NAME_CHARACTERS_MAX]
        for name in longest:
            try:
                wanted = parse_registration(
                    json.dumps({"app": name, "version": name, "host": "h", "port": 1}).encode(), Timing()
                )
                kept = wanted.applied_to(None, ttl_s=10.0, node="n1", now_ms=5)
                body = kept.encode(wanted.key)
            except TooLarge:
                continue
            self.assertIsNone(said(wanted.key, kept.ttl_s, body))

    def test_of_other_releases(self) -> None:
        """Unknown fields are valid, so those of a later release are shown."""
        self.assertIsNone(problem_of_entry(claim(terms(zone="a", more={"deep": nested(DEPTH_MAX - 1)}))))
        self.assertIsNone(problem_of_setting(backend(BACKEND_BODY[:-1] + b',"canary":"none yet","later":{}}')))
        self.assertIsNone(problem_of_setting(ConfigSetting("policy/x", 1, 2, 0, "ops", b"anything \xff", None)))


@st.composite
def damaged(draw: st.DrawFn, body: bytes) -> bytes:
    """Draw a body in which a few bytes were lost, changed or inserted."""
    odd = [
        b"{",
        b"}",
        b"\n",
        b"\\ud800",
        b'"x":1e999,',
        b'"id":1,',
        b"\\",
        b'"',
        b",",
        b"\x7f",
        b"\xff",
        b"[" * 30,
        b"1",
    ]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(body)))
        until = draw(st.integers(at, min(len(body), at + 4)))
        body = body[:at] + draw(st.sampled_from([*odd, b"\\u0069"]) | st.binary(max_size=3)) + body[until:]
    return body


class WhateverPasses(SynchronousTestCase):
    """Every JSON reader can read a valid body, as one object in one line."""

    def readable(self, body: bytes) -> dict[str, Any]:
        self.assertNotIn(b"\n", body)
        self.assertNotIn(b"\r", body)
        strict = json.loads(body.decode(), parse_constant=self.fail)
        assert isinstance(strict, dict)
        json.dumps(strict, allow_nan=False, ensure_ascii=False).encode()
        msgspec.json.decode(body)
        return strict

    @given(damaged(TERMS[:-1] + b',"zone":{"a":["\\u0041\\\\",-1.5e3,null,true]}}'))
    @example(TERMS[:-1] + b',"x":1e999}')
    @example(TERMS[:-1] + b',"x":{"a":1e999}}')
    @example(TERMS[:-1] + b',"i\\u0064":"x"}')
    def test_terms(self, body: bytes) -> None:
        """Valid terms do not have fields that the key has, in any spelling."""
        if problem_of_entry(claim(body)) is None:
            reserved = {"id", "resource", "app", "version", "host", "port", "state", "suspect"}
            self.assertFalse(self.readable(body).keys() & reserved)

    @given(damaged(BACKEND_BODY))
    @example(BACKEND_BODY[:-1] + b',"x":1e999}')
    def test_settings(self, body: bytes) -> None:
        """A valid setting has the id and the name of its key."""
        if problem_of_setting(backend(body)) is None:
            read = self.readable(body)
            self.assertEqual((read["id"], read["resource"], read["name"]), ("backend/web", "Backend", "web"))

    @given(
        st.sampled_from(["registration", "backend", "frontend", "state", "guard", "policy", ""]),
        st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | hosts, max_size=5),
        st.binary(max_size=20) | damaged(TERMS),
        st.none() | st.floats(0.1, 60),
    )
    def test_anything(self, kind: str, path: list[str], body: bytes, lasts_s: float | None) -> None:
        """Any key and body get an answer."""
        key = "/".join([kind, *path])
        for problem in (
            problem_of_entry(claim(body, key)),
            problem_of_setting(ConfigSetting(key, 1, 2, 0, "ops", body, lasts_s)),
            problem_of_setting(ConfigSetting(key, 1, 2, 0, "ops", None, lasts_s)),
        ):
            self.assertTrue(problem is None or 0 < len(problem) < 700)

    def test_an_event_fits_a_line(self) -> None:
        """The longest valid claim with the longest key is shorter than 16 KiB by 250 bytes."""
        name = "\U0001f600" * NAME_CHARACTERS_MAX
        key = f"registration/{name}/{name}/{'.'.join(['a' * 62] * 4)}/65535"
        lengths = range(BODY_BYTES_MAX - 6000, BODY_BYTES_MAX + 1, 50)
        bodies = [terms(meta={"x": "x" * (length - len(terms(meta={"x": ""})))}) for length in lengths]
        longest = max(body for body in bodies if problem_of_entry(claim(body, key)) is None)
        self.assertLess(registration_bytes(key, longest), 16 * 1024 - 250)
